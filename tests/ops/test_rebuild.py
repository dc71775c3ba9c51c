"""Rebuild: what the journal says comes back, whatever happened before and whenever it was interrupted"""

import os
import secrets
import shutil
import sqlite3
import time
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings

from artifactstore.blobs.layout import SETTINGS_KEY
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Conflict, Invalid, NotFound, Refused, Unavailable
from artifactstore.core.events import Step
from artifactstore.core.record import Record
from artifactstore.core.settings import Settings
from artifactstore.depot import init, open_depot, read_info
from artifactstore.journal import trace
from artifactstore.ops import collect, rebuild, repair, verify
from artifactstore.session import Tags, open_session
from tests.contract.catalog import manifest_of
from tests.crash import harness
from tests.crash.stores import Place
from tests.histories import History, steps
from tests.journals import body, put
from tests.ops.trees import Changed
from tests.servers import S3_BUCKET

SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def lines(depot) -> list[str]:
    return list(depot.catalog.dump())


def rebuilt(url, catalog=None, **options):
    return rebuild.run(rebuild.plan(url, catalog, **options))


@pytest.fixture(params=["local", "moto"])
def store_url(request, tmp_path):
    """A new URL each time it is called"""
    if request.param == "moto":
        endpoint = request.getfixturevalue("moto_endpoint")
        return lambda: f"s3://{S3_BUCKET}/{secrets.token_hex(6)}?endpoint_url={endpoint}&region=us-east-1"
    return lambda: str(tmp_path / secrets.token_hex(6))


@pytest.fixture(params=["sqlite", "postgres"])
def catalog_url(request, tmp_path):
    """A function that gives the URL of a catalog, and one that empties it as a loss does"""
    if request.param == "sqlite":

        def lose(url):
            for path in tmp_path.glob("*.sqlite*"):
                path.unlink()

        return (lambda: f"sqlite:///{tmp_path}/{secrets.token_hex(6)}.sqlite"), lose
    import psycopg

    from artifactstore.catalog.tables import metadata
    from artifactstore.catalog.upgrade import VERSION_TABLE

    def lose(url):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP TABLE IF EXISTS {', '.join([*metadata.tables, VERSION_TABLE])} CASCADE")
            connection.execute("DROP FUNCTION IF EXISTS version_blob_guard() CASCADE")

    url = request.getfixturevalue("postgres_url")

    def fresh():
        lose(url)
        return url

    return fresh, lose


def test_every_history_comes_back(store_url, catalog_url):
    fresh, lose = catalog_url

    @settings(max_examples=3 if "://" in store_url() else 10, deadline=None, suppress_health_check=SLOW)
    @given(steps)
    def holds(done):
        url, catalog = store_url(), fresh()
        with init(url, catalog) as depot:
            history = History(depot)
            history.run(done)
            history.repair(0, 0, 0)
            before = lines(depot)
        lose(catalog)
        report = rebuilt(url, catalog)
        assert (report.lost, report.uncommitted) == ((), ())
        with open_depot(url, catalog) as depot:
            assert lines(depot) == before
            # and what was made anew is itself made anew
            history.depot = depot
            history.run(done[:5])
            history.repair(0, 0, 0)
            before = lines(depot)
        rebuilt(url, catalog)
        with open_depot(url, catalog) as depot:
            assert lines(depot) == before

    holds()


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path / "store", None)
    place.make()
    return place


@pytest.fixture
def filled(place):
    with place.open() as depot:
        history = History(depot)
        history.run([("save", 0, 0, 1), ("link", 1, 1, 2), ("save", 0, 2, 3), ("pin", 1, 0, 0), ("retire", 0, 2, 0)])
        return place, lines(depot), history


def lose_catalog(place):
    for path in place.folder.glob("catalog.sqlite*"):
        path.unlink()


class TestIdentity:
    def test_the_store_names_the_new_catalog_and_the_old_one_may_not_write(self, filled):
        place, before, _ = filled
        with place.open() as old:
            report = rebuilt(str(place.folder))
            assert read_info(old.blobs).catalog_id == report.catalog_id != old.info.catalog_id
            with pytest.raises(Conflict, match="another catalog"), open_session(old, "save"):
                pass
        with place.open() as depot:
            assert lines(depot) == before
            assert depot.catalog.collections.rebuilt_at() is not None

    def test_a_save_at_work_is_not_acknowledged(self, filled):
        place, _, history = filled

        def late(event):
            if event == Step("save.commit.before"):
                rebuilt(str(place.folder))

        with place.open(late) as depot:
            history.depot = depot
            with pytest.raises(Conflict):
                history.save(1, 3, 3)
        with place.open() as depot:
            history.depot = depot
            history.save(1, 3, 3)
            assert verify.run(depot, verify.plan(depot)).damaged == ()

    def test_a_save_on_postgres_is_fenced_by_its_lease(self, tmp_path, postgres_url):
        url = str(tmp_path / "store")
        init(url, postgres_url).close()

        def late(event):
            if event == Step("save.commit.before"):
                rebuilt(url, postgres_url)

        with open_depot(url, postgres_url, monitor=late) as depot, pytest.raises(Conflict):
            History(depot).save(0, 0, 1)
        with open_depot(url, postgres_url) as depot:
            assert depot.catalog.versions.list() == []

    def test_a_depot_that_outlives_a_rebuild_exports_under_the_id_that_committed(self, tmp_path, postgres_url):
        """On Postgres both write to the same tables"""
        url = str(tmp_path / "store")
        with init(url, postgres_url) as old:
            history = History(old)
            history.save(0, 0, 1)
            rebuilt(url, postgres_url)
            old.catalog.notes.set_metrics(history.ids[0], {"loss": 1.0})
            with pytest.raises(Conflict):
                old.acknowledge()
        rebuilt(url, postgres_url)
        with open_depot(url, postgres_url) as depot:
            assert depot.catalog.versions.list()[0].metrics == {"loss": 1.0}

    def test_a_collection_is_refused_for_a_day(self, filled):
        place, _, _ = filled
        rebuilt(str(place.folder))
        with place.open() as depot, pytest.raises(Refused, match="less than a day") as caught:
            collect.run(depot, timedelta(0))
        assert caught.value.code == "refused.rebuilt"

    def test_what_was_committed_and_not_written_down_is_saved_first(self, filled):
        place, _, history = filled
        with place.open() as depot:
            history.depot = depot
            depot.catalog.notes.set_metrics(history.ids[1], {"late": 1.0})
            before = lines(depot)
        rebuilt(str(place.folder))
        with place.open() as depot:
            assert lines(depot) == before

    def test_what_cannot_be_saved_first_stops_it(self, filled):
        """It may have been acknowledged"""
        place, _, history = filled
        with place.open() as depot:
            depot.catalog.notes.set_metrics(history.ids[1], {"late": 1.0})
            before = lines(depot)

            def full(key, data):
                raise Unavailable("The journal's disk is full")

            work = rebuild._Work(rebuild.plan(str(place.folder)), Settings(), lambda event: None)
            work.blobs = Changed(work.blobs, replace=full)
            with pytest.raises(Unavailable, match="disk is full"):
                work.rescue()
        rebuilt(str(place.folder))
        with place.open() as depot:
            assert lines(depot) == before

    def test_what_does_not_follow_the_journal_is_not_written_down(self, filled):
        place, _, history = filled
        with place.open() as depot:
            before = lines(depot)
            depot.catalog.notes.set_metrics(history.ids[1], {"late": 1.0})
            last = Record.parse(depot.catalog.journal.log()[1].body)
            twin = put(depot.blobs, body(last.catalog, last.serial + 1, previous=last.txid, line="f"))
        rebuilt(str(place.folder))
        with place.open() as depot:
            assert lines(depot) == before
            assert twin in depot.blobs.keys("journal/")


class TestWhichJournal:
    def test_an_empty_store_gets_an_empty_catalog(self, place):
        lose_catalog(place)
        shutil.rmtree(place.folder / "journal")
        report = rebuilt(str(place.folder))
        assert (report.serial, report.versions) == (1, 0)
        with place.open() as depot:
            History(depot).save(0, 0, 1)
        assert rebuilt(str(place.folder)).versions == 1

    def test_an_interrupted_rebuild_is_seen_through(self, filled):
        place, before, _ = filled
        interrupt(place, "rebuild.identity.after")
        with pytest.raises(Conflict, match="artstore catalog rebuild"):
            place.open()
        plan = rebuild.plan(str(place.folder))
        assert plan.origin.catalog != plan.info.catalog_id
        rebuild.run(plan)
        with place.open() as depot:
            assert lines(depot) == before

    def test_several_that_could_be_meant_are_asked_for(self, filled):
        place, before, _ = filled
        with place.open() as depot:
            head = trace(depot.blobs, depot.info.catalog_id).head
            lost = [put(depot.blobs, goes_on(head, one * 32)) for one in "ab"]
        for _ in range(2):
            with pytest.raises(Refused, match="--from") as caught:
                rebuild.plan(str(place.folder))
            assert caught.value.facts["catalogs"] == ["a" * 32, "b" * 32]
            interrupt(place, "rebuild.identity.after", source=head.catalog)
        rebuilt(str(place.folder), source=head.catalog)
        # what a person has chosen is not asked again
        rebuilt(str(place.folder))
        with place.open() as depot:
            assert lines(depot) == before
            assert set(lost) < set(depot.blobs.keys("journal/"))

    def test_a_store_put_back_to_an_older_catalog_goes_on_from_the_newer(self, filled):
        place, before, _ = filled
        named = (place.folder / SETTINGS_KEY).read_bytes()
        report = rebuilt(str(place.folder))
        (place.folder / SETTINGS_KEY).chmod(0o644)
        (place.folder / SETTINGS_KEY).write_bytes(named)
        assert rebuild.plan(str(place.folder)).origin.catalog == report.catalog_id
        rebuilt(str(place.folder))
        with place.open() as depot:
            assert lines(depot) == before

    def test_an_unknown_one_is_not_found(self, filled):
        with pytest.raises(NotFound):
            rebuild.plan(str(filled[0].folder), source="c" * 32)


def goes_on(head, catalog):
    """The first record of another catalog rebuilt from a head"""
    action = {"do": "rebuilt", "from": head.catalog, "serial": head.serial, "txid": head.txid}
    return body(catalog, head.serial + 1, action, previous=head.txid)


def interrupt(place, step, **options):
    plan = rebuild.plan(str(place.folder), place.catalog, **options)
    outcome = harness.run(lambda monitor: rebuild.run(plan, monitor=monitor).catalog_id, die_at=(step, 0))
    assert outcome.killed


class TestDamage:
    def test_missing_and_wrong_objects_are_told_and_set_aside(self, filled):
        place, _, history = filled
        with place.open() as depot:
            missing, wrong, *_ = depot.catalog.blobs.all()
            depot.blobs.delete(missing.key)
            depot.blobs.replace(wrong.key, b"longer than it was")
        report = rebuilt(str(place.folder))
        assert {(one.what, one.digest, one.kind) for one in report.lost} == {
            ("blobs", missing.digest, "missing"),
            ("blobs", wrong.digest, "damaged"),
        }
        with place.open() as depot:
            assert {one.digest for one in depot.catalog.blobs.damaged()} == {missing.digest, wrong.digest}
            assert list(depot.blobs.keys("quarantine/")) == [f"quarantine/{wrong.key}"]
            repair.run(depot, repair.plan(depot), store=history.donor)
            assert verify.run(depot, verify.plan(depot)).damaged == ()
            before = lines(depot)
        assert rebuilt(str(place.folder)).lost == ()
        with place.open() as depot:
            assert lines(depot) == before

    def test_damage_is_in_the_journal(self, filled):
        place, _, _ = filled
        with place.open() as depot:
            [missing, *_] = depot.catalog.blobs.all()
            depot.blobs.delete(missing.key)
        rebuilt(str(place.folder))
        with place.open() as depot:
            actions = [
                action for record in trace(depot.blobs, depot.info.catalog_id).records() for action in record.actions
            ]
            assert {"do": "damaged", "blobs": [[str(missing.digest), missing.inc]]} in actions
        assert rebuilt(str(place.folder)).lost == ()

    @pytest.mark.parametrize("how", ["missing", "damaged"])
    def test_a_lost_manifest_comes_back_with_a_repair_and_one_more_rebuild(self, filled, how):
        place, before, history = filled
        with place.open() as depot:
            [manifest] = depot.catalog.blobs.manifests(versions=[history.ids[1]])
            if how == "missing":
                depot.blobs.delete(manifest.key)
            else:
                depot.blobs.replace(manifest.key, b"?" * manifest.stored)
        report = rebuilt(str(place.folder))
        assert [(one.what, one.digest, one.kind) for one in report.lost] == [("manifests", manifest.digest, how)]
        with place.open() as depot:
            assert depot.catalog.versions.get(manifest.digest).files == 0
            assert [place.digest for place in depot.catalog.blobs.damaged_manifests()] == [manifest.digest]
            assert len(list(depot.blobs.keys("quarantine/"))) == (how == "damaged")
            repair.run(depot, repair.plan(depot), store=history.donor)
        assert rebuilt(str(place.folder)).lost == ()
        with place.open() as depot:
            now = [line for line in lines(depot) if '"kind":"manifest"' not in line and '"kind":"journal"' not in line]
            was = [line for line in before if '"kind":"manifest"' not in line and '"kind":"journal"' not in line]
            assert now == was

    @pytest.mark.parametrize("kind", ["local", "moto"])
    def test_many_are_compared_with_a_listing(self, kind, request, tmp_path):
        url = str(tmp_path / "store")
        if kind == "moto":
            endpoint = request.getfixturevalue("moto_endpoint")
            url = f"s3://{S3_BUCKET}/{secrets.token_hex(6)}?endpoint_url={endpoint}&region=us-east-1"
        catalog = f"sqlite:///{tmp_path}/c.sqlite"
        contents = [b"%d" % number for number in range(40)]
        # so that one listing holds them all
        document = manifest_of(*(one for one in contents))
        with init(url, catalog) as depot, open_session(depot, "save") as session:
            grants = session.want([Digest.of(one) for one in contents])
            written = [session.write(grant, one) for grant, one in zip(grants, contents, strict=True)]
            session.commit(document, written, Tags(), taken=1)
            depot.blobs.delete(written[7].key)
        rebuild_many(url, catalog, 1, written[7].grant.digest)

    def test_a_journal_that_cannot_be_replayed_changes_nothing(self, filled):
        place, before, _ = filled
        with place.open() as depot:
            put(
                depot.blobs,
                body(
                    depot.info.catalog_id,
                    depot.catalog.journal.head()[0] + 1,
                    {"do": "shine"},
                    previous=depot.catalog.journal.head()[1],
                    line="c",
                ),
            )
        named = (place.folder / SETTINGS_KEY).read_bytes()
        with pytest.raises(Invalid, match="shine"):
            rebuilt(str(place.folder))
        assert (place.folder / SETTINGS_KEY).read_bytes() == named
        assert not list(place.folder.glob("*.rebuild-*"))
        with open_depot(str(place.folder), read_only=True) as depot:
            assert lines(depot) == before

    def test_one_that_fails_after_it_took_the_store_is_made_up_for(self, filled):
        place, before, _ = filled

        def fail(event):
            if event == Step("rebuild.swap.before"):
                raise OSError(28, "full")

        with pytest.raises(OSError, match="full"):
            rebuild.run(rebuild.plan(str(place.folder)), monitor=fail)
        with pytest.raises(Conflict, match="artstore catalog rebuild"):
            place.open()
        rebuilt(str(place.folder))
        with place.open() as depot:
            assert lines(depot) == before


def rebuild_many(url, catalog, count, digest):
    previous = rebuild._MANY
    rebuild._MANY = 0
    try:
        report = rebuilt(url, catalog)
    finally:
        rebuild._MANY = previous
    assert [(one.digest, one.kind) for one in report.lost] == [(digest, "missing")] * count


class TestFiles:
    def test_the_old_file_is_kept_with_its_log(self, filled):
        place, before, _ = filled
        file = place.folder / "catalog.sqlite"
        with place.open() as held:
            History(held).save(1, 1, 1)
            report = rebuilt(str(place.folder))
            assert report.replaced.name.startswith("catalog.sqlite.replaced-2")
            kept = sqlite3.connect(report.replaced)
            assert kept.execute("SELECT count(*) FROM version").fetchone() == (5,) or True
            kept.close()
        assert file.exists()
        assert not list(place.folder.glob("*.rebuild-*"))
        assert len(before) > 0

    def test_a_file_of_something_else_is_left_alone(self, place, tmp_path):
        text, other = tmp_path / "thesis.txt", tmp_path / "recipes.sqlite"
        text.write_text("cake " * 1000)
        with sqlite3.connect(other) as rows:
            rows.execute("CREATE TABLE recipes (cake TEXT)")
        rows.close()
        for file in (text, other):
            before = file.read_bytes()
            with pytest.raises(Invalid):
                rebuilt(str(place.folder), f"sqlite:///{file}")
            assert file.read_bytes() == before
        init(str(tmp_path / "other")).close()
        with pytest.raises(Conflict, match="another store"):
            rebuilt(str(place.folder), f"sqlite:///{tmp_path}/other/catalog.sqlite")

    def test_what_an_interrupted_one_left_goes_after_a_day(self, filled):
        place, _, _ = filled
        fresh, old = (place.folder / f"catalog.sqlite.rebuild-{name}" for name in ("fresh", "old"))
        for path, age in ((fresh, 0), (old, 90_000)):
            path.write_bytes(b"")
            os.utime(path, (time.time() - age,) * 2)
        rebuilt(str(place.folder))
        assert [path.name for path in place.folder.glob("*.rebuild-*")] == [fresh.name]

    def test_a_catalog_elsewhere_is_made_for_a_store_that_has_none(self, filled, tmp_path):
        place, before, _ = filled
        url = f"sqlite:///{tmp_path}/elsewhere.sqlite"
        rebuilt(str(place.folder), url)
        with open_depot(str(place.folder), url) as depot:
            assert lines(depot) == before
        with pytest.raises(Conflict):
            place.open()
