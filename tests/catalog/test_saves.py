"""Commits: fenced, adopted, settled when their answer was lost"""

import dataclasses
import math
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.catalog.base import Best, Written
from artifactstore.catalog.tables import blob, journal, lease, lease_pin, manifest, metric, tensor_summary, version
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid, LeaseLost, NotFound, Unavailable
from artifactstore.core.names import AliasName, ArtifactName
from tests.catalog.conftest import opened
from tests.catalog.proxy import proxied
from tests.contract.catalog import (
    LATEST,
    begin,
    bodies,
    check_chain,
    drafted,
    inc,
    manifest_of,
    rows,
    save,
    set_state,
)

BEST = AliasName("best")
NAME = ArtifactName("org/m")
COMMIT = b"COMMIT\0"  # a statement of its own, not READ COMMITTED


@pytest.mark.parametrize(
    "spoil",
    [
        lambda draft: {"blobs": draft.blobs[:1]},
        lambda draft: {"blobs": (*draft.blobs, draft.blobs[0])},
        lambda draft: {"blobs": (draft.blobs[0], dataclasses.replace(draft.blobs[1], size=9))},
        lambda draft: {"manifest_object": draft.blobs[0]},
        lambda draft: {"blobs": (draft.blobs[0], dataclasses.replace(draft.blobs[1], key="blobs/xx/other"))},
        lambda draft: {"blobs": (draft.blobs[0], dataclasses.replace(draft.blobs[1], key=draft.blobs[1].key + ".z"))},
        lambda draft: {
            "manifest_object": dataclasses.replace(draft.manifest_object, key=draft.manifest_object.key[:-5])
        },
    ],
)
def test_a_draft_that_does_not_fit_its_manifest_is_refused(sqlite_catalog, spoil):
    draft = drafted(sqlite_catalog, begin(sqlite_catalog), manifest_of(b"1", b"2"))
    with pytest.raises(Invalid):
        sqlite_catalog.saves.commit(dataclasses.replace(draft, **spoil(draft)))
    assert rows(sqlite_catalog, version) == rows(sqlite_catalog, blob) == []
    assert sqlite_catalog.saves.commit(draft).serial == 1


def test_what_a_version_is_stands_in_its_row(catalog):
    fields = {"phase": "sft", "step": 7, "epoch": 1.5, "request_id": "r", "license": "MIT", "metadata": {"ü": [1]}}
    done = save(catalog, manifest_of(b"12", name="a", created=3, dtype="BF16", **fields), taken=9)
    info = done.version
    assert (info.artifact, info.number, info.created, info.taken) == ("a", 1, 3, 9)
    assert (info.phase, info.step, info.epoch, info.request_id, info.license) == ("sft", 7, 1.5, "r", "MIT")
    assert (info.nbytes, info.files, info.formats, info.tensors, info.dtypes) == (2, 1, ("safetensors",), 1, ("BF16",))
    assert rows(catalog, version)[0].metadata == '{"ü":[1]}'
    assert [(row.dtype, row.count, row.nbytes) for row in rows(catalog, tensor_summary)] == [("BF16", 1, 2)]


class TestBest:
    def values(self, catalog, losses, mode):
        for created, loss in enumerate(losses, 1):
            rule = Best(BEST, "loss", mode)
            save(catalog, manifest_of(b"%d" % created, created=created), best=(rule,), metrics={"loss": loss})

    @pytest.mark.parametrize(("mode", "number"), [("min", 3), ("max", 2)])
    def test_it_moves_to_what_beats_it(self, catalog, mode, number):
        self.values(catalog, [3.0, 5.0, 1.0, 1.0, 5.0, 4.0], mode)
        assert catalog.versions.get(catalog.aliases.get(NAME, BEST).version).number == number

    def test_what_is_no_number_is_never_best(self, catalog):
        self.values(catalog, [math.nan, math.inf, -math.inf], "min")
        with pytest.raises(NotFound):
            catalog.aliases.get(NAME, BEST)
        self.values(catalog, [], "min")
        save(catalog, manifest_of(b"x"), metrics={"loss": 9.0}, best=(Best(BEST, "loss"),))
        assert catalog.aliases.get(NAME, BEST).generation == 1
        stored = [row.value for row in rows(catalog, metric)]
        assert stored == [None, math.inf, -math.inf, 9.0]
        written = [body["actions"][1]["metrics"]["loss"] for body in bodies(catalog)]
        assert written == ["nan", "inf", "-inf", 9]

    def test_without_the_metric_nothing_moves(self, catalog):
        save(catalog, manifest_of(b"1"), best=(Best(BEST, "loss"),), metrics={"other": 1.0})
        with pytest.raises(NotFound):
            catalog.aliases.get(NAME, BEST)

    def test_a_holder_without_a_number_is_beaten(self, catalog):
        for created, metrics in enumerate([{}, {"loss": 1.0}], 1):
            save(
                catalog,
                manifest_of(b"%d" % created),
                aliases=(BEST,) if created == 1 else (),
                metrics=metrics,
                best=(Best(BEST, "loss"),),
            )
        assert catalog.versions.get(catalog.aliases.get(NAME, BEST).version).number == 2

    def test_saved_again_it_does_not_move(self, catalog):
        self.values(catalog, [1.0], "min")
        self.values(catalog, [1.0], "min")
        assert catalog.aliases.get(NAME, BEST).generation == 1

    def test_it_is_the_extreme_of_all_finite_values(self, sqlite_catalog):
        runs = iter(range(10_000))

        @settings(max_examples=15, deadline=None)
        @given(st.lists(st.floats(allow_nan=True), max_size=6), st.sampled_from(["min", "max"]))
        def holds(losses, mode):
            name = f"run/{next(runs)}"
            for created, loss in enumerate(losses):
                rule = Best(BEST, "loss", mode)
                save(sqlite_catalog, manifest_of(b"%d" % created, name=name), best=(rule,), metrics={"loss": loss})
            finite = [loss for loss in losses if math.isfinite(loss)]
            held = [one for one in sqlite_catalog.versions.list(glob=name) if BEST in one.aliases]
            best = min if mode == "min" else max
            assert [one.metrics["loss"] for one in held] == ([best(finite)] if finite else [])

        holds()


def test_a_commit_whose_pins_were_lost_never_happens(catalog):
    draft = drafted(catalog, begin(catalog), manifest_of(b"1"))
    gone = sa.delete(lease_pin).where(lease_pin.c.digest == Digest.of(b"1"))
    catalog.database.write(lambda connection: connection.execute(gone))
    with pytest.raises(LeaseLost):
        catalog.saves.commit(draft)
    assert rows(catalog, version) == []


class TestHeal:
    def heal(self, catalog, *contents, lease_id=None):
        lease_id = lease_id or begin(catalog, "repair")
        grants = catalog.leases.pin(lease_id, [(Digest.of(data), inc()) for data in contents])
        written = [Written(grant, 1, f"blobs/xx/{grant.digest}.{grant.inc}") for grant in grants]
        return catalog.saves.heal(lease_id, inc(), written).serial, written

    def test_damaged_blobs_become_the_written_ones(self, catalog):
        save(catalog, manifest_of(b"1", b"2"))
        set_state(catalog, b"1", "damaged")
        serial, [first, second] = self.heal(catalog, b"1", b"2")
        assert serial == 2
        assert {row.inc for row in rows(catalog, blob)} == {first.grant.inc, second.grant.inc}
        assert {row.state for row in rows(catalog, blob)} == {"live"}
        [action] = bodies(catalog)[1]["actions"]
        assert action["blobs"] == [
            [str(first.grant.digest), first.grant.inc, "set"],
            [str(second.grant.digest), second.grant.inc, "adopted"],
        ]
        check_chain(catalog)

    def test_a_damaged_manifest_too(self, catalog):
        done = save(catalog, manifest_of(b"1"))
        set_state(catalog, done.version.id, "damaged", manifest)
        lease_id = begin(catalog, "repair")
        [grant] = catalog.leases.pin_manifest(lease_id, [(done.version.id, inc())])
        written = Written(grant, 1, f"manifests/xx/{grant.digest}.{grant.inc}.json")
        assert catalog.saves.heal(lease_id, inc(), [], [written]).serial == 2
        assert catalog.versions.manifest_place(done.version.id).inc == grant.inc

    def test_nothing_to_heal_is_not_journaled(self, catalog):
        save(catalog, manifest_of(b"1"))
        assert self.heal(catalog, b"1")[0] == 1
        assert len(rows(catalog, journal)) == 1

    def test_it_is_fenced(self, catalog):
        lease_id = begin(catalog)
        catalog.leases.finish(lease_id)
        with pytest.raises(LeaseLost):
            catalog.saves.heal(lease_id, inc(), [])


class TestCommitThatRaises:
    """A COMMIT that raises may have committed"""

    @pytest.fixture
    def proxy(self, postgres_catalog_url):
        with proxied(postgres_catalog_url) as proxy:
            yield proxy

    @pytest.fixture
    def catalog(self, proxy):
        catalog = opened(proxy.url, busy=timedelta(seconds=0.3))
        yield catalog
        catalog.close()

    def test_it_had_committed(self, proxy, catalog):
        draft = drafted(catalog, begin(catalog), manifest_of(b"1"))
        proxy.cut(COMMIT, after=True)
        done = catalog.saves.commit(draft)
        assert proxy.cuts == 1
        assert (done.serial, done.existed, catalog.journal.knows(draft.txid)) == (1, False, True)
        assert len(rows(catalog, version)) == 1

    def test_it_never_arrived(self, proxy, catalog):
        draft = drafted(catalog, begin(catalog), manifest_of(b"1"))
        proxy.cut(COMMIT)
        with pytest.raises(LeaseLost):
            catalog.saves.commit(draft)
        assert proxy.cuts == 1
        assert rows(catalog, version) == []
        # it can never happen any more
        assert [row.state for row in rows(catalog, lease)] == ["reaped"]
        assert save(catalog, manifest_of(b"1")).serial == 1

    def test_it_had_committed_and_wrote_no_record(self, proxy, catalog):
        save(catalog, manifest_of(b"1"))
        draft = drafted(catalog, begin(catalog), manifest_of(b"1"))
        proxy.cut(COMMIT, after=True)
        assert catalog.saves.commit(draft).existed
        assert (proxy.cuts, len(rows(catalog, journal))) == (1, 1)

    def test_somebody_reaped_it_meanwhile(self, proxy, catalog, postgres_catalog_url):
        draft = drafted(catalog, begin(catalog), manifest_of(b"1"))
        proxy.cut(COMMIT, stay_down=True)
        with pytest.raises(Unavailable) as caught:
            catalog.saves.commit(draft)
        assert caught.value.code == "unavailable.commit-unknown"
        direct = opened(postgres_catalog_url)
        assert direct.leases.reap(draft.lease)
        with pytest.raises(LeaseLost):
            direct.saves._settled(draft.lease, draft.txid)
        direct.close()

    def test_a_connection_lost_before_the_commit_starts_over(self, proxy, catalog):
        draft = drafted(catalog, begin(catalog), manifest_of(b"1"))
        proxy.cut(b"INSERT INTO journal")
        assert catalog.saves.commit(draft).serial == 1
        assert proxy.cuts == 1
        check_chain(catalog)

    def test_a_repair_settles_too(self, proxy, catalog):
        save(catalog, manifest_of(b"1"))
        set_state(catalog, b"1", "damaged")
        lease_id = begin(catalog)
        [grant] = catalog.leases.pin(lease_id, [(Digest.of(b"1"), inc())])
        proxy.cut(COMMIT, after=True)
        written = Written(grant, 1, f"blobs/xx/{grant.digest}.{grant.inc}")
        assert catalog.saves.heal(lease_id, inc(), [written]).serial == 2
        assert (proxy.cuts, len(rows(catalog, journal))) == (1, 2)

    @pytest.mark.parametrize("after", [False, True])
    def test_a_journaled_note_happens_once(self, proxy, catalog, after):
        done = save(catalog, manifest_of(b"1"))
        proxy.cut(COMMIT, after=after)
        assert catalog.aliases.set(NAME, LATEST, done.version.id).generation == 1
        assert (proxy.cuts, len(rows(catalog, journal))) == (1, 2)
        check_chain(catalog)

    @pytest.mark.parametrize("after", [False, True])
    def test_what_is_not_journaled_runs_again(self, proxy, catalog, after):
        proxy.cut(COMMIT, after=after)
        lease_id = begin(catalog)
        assert [one.id for one in catalog.leases.active()] == [lease_id]
        assert proxy.cuts == 1
