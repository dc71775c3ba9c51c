"""What every catalog does, on SQLite and on Postgres; `tests/catalog/test_contract.py` runs it on both"""

import json
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from artifactstore.catalog.base import Draft, Written
from artifactstore.catalog.open import open_catalog
from artifactstore.catalog.tables import blob, journal, lease, lease_pin, version, version_blob
from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.errors import Conflict, LeaseLost
from artifactstore.core.formats.base import TensorInfo
from artifactstore.core.manifest import BlobInfo, Extent, FileEntry, Manifest
from artifactstore.core.names import AliasName, ArtifactName, SafePath
from artifactstore.core.settings import Settings

LATEST = AliasName("latest")


def inc() -> str:
    return secrets.token_hex(8)


def manifest_of(*contents: bytes, name: str = "org/m", created: int = 1, path: str = "a.bin", dtype=None, **fields):
    """A version of one file whose blobs are these contents"""
    blobs = tuple(dict.fromkeys(BlobInfo(Digest.of(data), len(data)) for data in contents))
    at = {info.digest: number for number, info in enumerate(blobs)}
    whole = b"".join(contents)
    entry = FileEntry(
        path=SafePath(path),
        size=len(whole),
        sha256=Sha256.of(whole),
        format="safetensors" if dtype else "raw",
        extents=tuple(Extent(at[Digest.of(data)], 0, len(data)) for data in contents),
        tensors=(TensorInfo("t", dtype, (len(whole),), 0, len(whole)),) if dtype else (),
    )
    return Manifest(ArtifactName(name), created, (entry,), blobs, **fields)


def begin(catalog, kind="save", host="h/1", pid=7) -> str:
    lease_id = secrets.token_hex(16)
    catalog.leases.open(lease_id, host=host, pid=pid, kind=kind)
    return lease_id


def drafted(catalog, lease_id, manifest, **asked) -> Draft:
    """Step A of a save, and what it would commit; B and C are nothing to a catalog"""
    grants = catalog.leases.pin(lease_id, [(info.digest, inc()) for info in manifest.blobs])
    sizes = {info.digest: info.size for info in manifest.blobs}
    [mine] = catalog.leases.pin_manifest(lease_id, [(manifest.id, inc())])
    return Draft(
        lease=lease_id,
        txid=secrets.token_hex(16),
        manifest=manifest,
        manifest_object=Written(mine, len(manifest.raw), f"manifests/xx/{mine.digest}.{mine.inc}.json"),
        blobs=tuple(Written(grant, sizes[grant.digest], f"blobs/xx/{grant.digest}.{grant.inc}") for grant in grants),
        taken=asked.pop("taken", 5),
        **asked,
    )


def save(catalog, manifest, **asked):
    return catalog.saves.commit(drafted(catalog, begin(catalog), manifest, **asked))


def rows(catalog, table, *where):
    return catalog.database.rows(sa.select(table).where(*where).order_by(*table.primary_key))


def set_state(catalog, content: bytes, state: str, table=blob) -> None:
    """What a collector or quarantine of another process does"""
    digest = content if isinstance(content, Digest) else Digest.of(content)
    change = sa.update(table).where(table.c.digest == digest).values(state=state, condemned_at=1)
    catalog.database.write(lambda connection: connection.execute(change), exclusive=True)


def again(catalog, **changed):
    """A second opening of the same catalog, as another process has it"""
    settings = Settings(**changed)
    url = catalog.database.url
    text = catalog.url if url.file is not None else url.url.set(drivername="postgresql").render_as_string(False)
    return open_catalog(text, store_id=None, catalog_id=None, settings=settings)


def bodies(catalog):
    return [json.loads(row.body) for row in rows(catalog, journal)]


def check_chain(catalog) -> None:
    """The journal is gapless, each record names the one before, and the head is the last"""
    records = rows(catalog, journal)
    assert [row.serial for row in records] == list(range(1, len(records) + 1))
    assert [row.previous for row in records] == [None, *(row.txid for row in records)][: len(records)]
    assert catalog.journal.head() == ((records[-1].serial, records[-1].txid) if records else (0, None))
    for row in records:
        body = json.loads(row.body)
        assert (body["serial"], body["txid"], body["previous"]) == (row.serial, row.txid, row.previous)
        assert body["catalog"] == catalog.catalog_id


def in_threads(*work):
    """Run functions at once, from one barrier; their results, or what they raised"""
    barrier = threading.Barrier(len(work))

    def one(function):
        barrier.wait()
        try:
            return function()
        except Exception as e:
            return e

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(one, work))


class GrantContract:
    """Step A"""

    def test_what_is_absent_is_ours_to_write(self, catalog):
        grant, other = catalog.leases.pin(begin(catalog), [(Digest.of(b"1"), "0" * 16), (Digest.of(b"2"), "1" * 16)])
        assert (grant.inc, grant.upload, other.inc, other.upload) == ("0" * 16, True, "1" * 16, True)
        assert {(row.digest, row.inc) for row in rows(catalog, lease_pin)} == {
            (Digest.of(b"1"), "0" * 16),
            (Digest.of(b"2"), "1" * 16),
        }

    @pytest.mark.parametrize("state", ["live", "condemned"])
    def test_what_is_there_is_pinned_as_it_is(self, catalog, state):
        save(catalog, manifest_of(b"1"))
        [before] = rows(catalog, blob)
        set_state(catalog, b"1", state)
        [grant] = catalog.leases.pin(begin(catalog), [(Digest.of(b"1"), inc())])
        assert (grant.inc, grant.upload) == (before.inc, False)
        assert [row.inc for row in rows(catalog, lease_pin)] == [before.inc]

    @pytest.mark.parametrize("state", ["deleting", "damaged"])
    def test_what_is_going_or_bad_counts_as_absent(self, catalog, state):
        save(catalog, manifest_of(b"1"))
        set_state(catalog, b"1", state)
        [grant] = catalog.leases.pin(begin(catalog), [(Digest.of(b"1"), "f" * 16)])
        assert (grant.inc, grant.upload) == ("f" * 16, True)

    def test_the_base_of_what_is_there_is_pinned_too(self, catalog):
        save(catalog, manifest_of(b"base", b"delta"))
        based = sa.update(blob).where(blob.c.digest == Digest.of(b"delta")).values(base=Digest.of(b"base"))
        catalog.database.write(lambda connection: connection.execute(based))
        catalog.leases.pin(begin(catalog), [(Digest.of(b"delta"), inc())])
        assert {row.digest for row in rows(catalog, lease_pin)} == {Digest.of(b"base"), Digest.of(b"delta")}

    def test_nothing_is_granted_to_an_ended_lease(self, catalog):
        lease_id = begin(catalog)
        catalog.leases.reap(lease_id)
        with pytest.raises(LeaseLost):
            catalog.leases.pin(lease_id, [(Digest.of(b"1"), inc())])
        with pytest.raises(LeaseLost):
            catalog.leases.pin_manifest("never opened", [(Digest.of(b"1"), inc())])

    def test_thousands_at_once_and_again(self, catalog):
        lease_id = begin(catalog)
        wanted = [(Digest.of(b"%d" % number), inc()) for number in range(1203)]
        assert [grant.digest for grant in catalog.leases.pin(lease_id, wanted)] == [digest for digest, _ in wanted]
        catalog.leases.pin(lease_id, wanted[:3])
        assert len(rows(catalog, lease_pin)) == 1203


class CommitContract:
    """Step D"""

    def test_a_version_its_blobs_and_the_journal_appear_at_once(self, catalog):
        manifest = manifest_of(b"1", b"2", b"1")
        draft = drafted(catalog, begin(catalog), manifest, aliases=(LATEST,))
        done = catalog.saves.commit(draft)
        assert (done.serial, done.txid, done.existed, done.lost) == (1, draft.txid, False, ())
        assert done.version == catalog.versions.get(manifest.id)
        assert (done.version.ref, done.version.aliases, done.version.nbytes) == ("org/m:1", ("latest",), 3)
        assert {row.state for row in rows(catalog, blob)} == {"live"}
        assert len(rows(catalog, version_blob)) == 2
        assert rows(catalog, lease_pin) == []
        assert [row.state for row in rows(catalog, lease)] == ["done"]
        [body] = bodies(catalog)
        assert body["actions"] == [
            {
                "do": "version",
                "id": str(manifest.id),
                "artifact": "org/m",
                "number": 1,
                "manifest": draft.manifest_object.grant.inc,
                "taken": 5,
                "blobs": [[str(each.grant.digest), each.grant.inc, "set"] for each in draft.blobs],
            },
            {"do": "alias", "artifact": "org/m", "alias": "latest", "version": str(manifest.id), "generation": 1},
        ]

    def test_a_lost_fence_commits_nothing(self, catalog):
        draft = drafted(catalog, begin(catalog), manifest_of(b"1"))
        assert catalog.leases.reap(draft.lease)
        with pytest.raises(LeaseLost):
            catalog.saves.commit(draft)
        assert rows(catalog, version) == rows(catalog, blob) == rows(catalog, journal) == []

    def test_a_commit_happens_once(self, catalog):
        draft = drafted(catalog, begin(catalog), manifest_of(b"1"))
        catalog.saves.commit(draft)
        with pytest.raises(LeaseLost):
            catalog.saves.commit(draft)

    def test_restart_with_a_new_lease_uses_new_incarnations(self, catalog):
        manifest = manifest_of(b"1")
        first = drafted(catalog, begin(catalog), manifest)
        catalog.leases.reap(first.lease)
        done = save(catalog, manifest)
        assert done.version.number == 1
        assert rows(catalog, blob)[0].inc != first.blobs[0].grant.inc

    def test_a_condemned_blob_is_adopted_and_lives(self, catalog):
        save(catalog, manifest_of(b"1"))
        [before] = rows(catalog, blob)
        set_state(catalog, b"1", "condemned")
        save(catalog, manifest_of(b"1", created=2))
        [after] = rows(catalog, blob)
        assert (after.inc, after.state, after.condemned_at) == (before.inc, "live", None)
        assert bodies(catalog)[1]["actions"][0]["blobs"] == [[str(Digest.of(b"1")), before.inc, "adopted"]]

    @pytest.mark.parametrize("state", ["deleting", "damaged"])
    def test_a_blob_that_is_going_or_bad_gets_our_incarnation(self, catalog, state):
        save(catalog, manifest_of(b"1"))
        set_state(catalog, b"1", state)
        draft = drafted(catalog, begin(catalog), manifest_of(b"1", created=2))
        catalog.saves.commit(draft)
        [after] = rows(catalog, blob)
        assert (after.inc, after.state) == (draft.blobs[0].grant.inc, "live")

    def test_what_was_there_and_went_bad_meanwhile_sends_the_save_back(self, catalog):
        save(catalog, manifest_of(b"1"))
        draft = drafted(catalog, begin(catalog), manifest_of(b"1", created=2))
        set_state(catalog, b"1", "damaged")
        with pytest.raises(LeaseLost):
            catalog.saves.commit(draft)
        assert len(rows(catalog, version)) == 1

    def test_two_savers_of_one_new_blob_share_the_first(self, catalog):
        first = drafted(catalog, begin(catalog), manifest_of(b"1"))
        second = drafted(catalog, begin(catalog), manifest_of(b"1", name="org/n"))
        assert catalog.saves.commit(first).lost == ()
        assert catalog.saves.commit(second).lost == (second.blobs[0].grant,)
        assert [row.inc for row in rows(catalog, blob)] == [first.blobs[0].grant.inc]

    def test_saving_the_same_again_writes_nothing(self, catalog):
        save(catalog, manifest_of(b"1"), aliases=(LATEST,))
        done = save(catalog, manifest_of(b"1"), aliases=(LATEST,))
        assert (done.existed, done.version.ref, done.serial, done.lost) == (True, "org/m:1", 1, ())
        assert len(bodies(catalog)) == 1

    def test_saving_the_same_again_still_sets_what_is_asked_beside_it(self, catalog):
        save(catalog, manifest_of(b"1"))
        done = save(catalog, manifest_of(b"1"), aliases=(LATEST,), metrics={"loss": 1.0})
        assert (done.existed, done.serial) == (True, 2)
        assert (done.version.aliases, done.version.metrics) == (("latest",), {"loss": 1.0})

    def test_saving_the_same_again_heals_what_was_damaged(self, catalog):
        save(catalog, manifest_of(b"1"))
        set_state(catalog, b"1", "damaged")
        draft = drafted(catalog, begin(catalog), manifest_of(b"1"))
        assert catalog.saves.commit(draft).existed
        assert [(row.inc, row.state) for row in rows(catalog, blob)] == [(draft.blobs[0].grant.inc, "live")]
        assert [action["do"] for action in bodies(catalog)[1]["actions"]] == ["heal"]

    def test_saving_a_retired_version_brings_it_back(self, catalog):
        first = save(catalog, manifest_of(b"1"))
        retire(catalog, first.version.id)
        set_state(catalog, b"1", "condemned")
        done = save(catalog, manifest_of(b"1"))
        assert (done.existed, done.version.number) == (False, 1)
        assert len(rows(catalog, version_blob)) == 1
        assert rows(catalog, blob)[0].state == "live"

    def test_numbers_count_within_the_artifact(self, catalog):
        refs = [save(catalog, manifest_of(b"%d" % at, name=name)).version.ref for at, name in enumerate("aabab")]
        assert refs == ["a:1", "a:2", "b:1", "a:3", "b:2"]

    def test_the_journal_is_gapless(self, catalog):
        for number in range(3):
            save(catalog, manifest_of(b"%d" % number))
        check_chain(catalog)


def retire(catalog, version_id) -> None:
    """What a retirement does to the rows"""

    def work(connection):
        key = sa.select(version.c.id).where(version.c.digest == version_id).scalar_subquery()
        connection.execute(sa.delete(version_blob).where(version_blob.c.version_id == key))
        connection.execute(sa.update(version).where(version.c.digest == version_id).values(state="retired"))

    catalog.database.write(work, exclusive=True)


class ConcurrencyContract:
    """Several at once, each with connections of its own"""

    def test_of_two_commits_under_one_lease_one_happens(self, catalog):
        first = drafted(catalog, begin(catalog), manifest_of(b"1"))
        second = drafted(catalog, first.lease, manifest_of(b"2", name="org/n"))
        found = in_threads(lambda: catalog.saves.commit(first), lambda: again(catalog).saves.commit(second))
        assert sorted(isinstance(one, LeaseLost) for one in found) == [False, True]
        assert len(rows(catalog, version)) == 1

    def test_a_commit_or_its_reaping_never_both(self, catalog):
        for number in range(8):
            draft = drafted(catalog, begin(catalog), manifest_of(b"%d" % number))
            done, reaped = in_threads(
                lambda draft=draft: catalog.saves.commit(draft), lambda draft=draft: catalog.leases.reap(draft.lease)
            )
            assert isinstance(done, LeaseLost) is reaped
            assert catalog.journal.knows(draft.txid) is not reaped

    def test_savers_of_the_same_blobs_keep_one_row_each(self, catalog):
        contents = [b"%d" % number for number in range(40)]
        drafts = [
            drafted(catalog, begin(catalog), manifest_of(*contents[:: (-1) ** at], name=f"org/{at}")) for at in range(4)
        ]
        done = in_threads(*(lambda draft=draft: catalog.saves.commit(draft) for draft in drafts))
        incs = {row.digest: row.inc for row in rows(catalog, blob)}
        assert len(incs) == 40
        for draft, committed in zip(drafts, done, strict=True):
            kept = {each.grant for each in draft.blobs if incs[each.grant.digest] == each.grant.inc}
            assert kept | set(committed.lost) == {each.grant for each in draft.blobs}
            assert not kept & set(committed.lost)

    def test_savers_of_one_version_agree(self, catalog):
        drafts = [drafted(catalog, begin(catalog), manifest_of(b"1")) for _ in range(4)]
        done = in_threads(*(lambda draft=draft: catalog.saves.commit(draft) for draft in drafts))
        assert sorted(one.existed for one in done) == [False, True, True, True]
        assert {one.version.ref for one in done} == {"org/m:1"}

    def test_serials_and_numbers_are_gapless_under_load(self, catalog):
        def saver(thread):
            mine = again(catalog)
            found = [
                save(mine, manifest_of(b"%d %d" % (thread, at), name=f"org/{at % 2}"), aliases=(LATEST,))
                for at in range(25)
            ]
            mine.close()
            return [one.serial for one in found]

        serials = in_threads(*(lambda thread=thread: saver(thread) for thread in range(4)))
        assert sorted(serial for mine in serials for serial in mine) == list(range(1, 101))
        check_chain(catalog)
        for name in ("org/0", "org/1"):
            numbers = sorted(one.number for one in catalog.versions.list(glob=name))
            assert numbers == list(range(1, len(numbers) + 1))

    def test_of_alias_moves_from_one_generation_one_wins(self, catalog):
        ids = [save(catalog, manifest_of(b"%d" % number)).version.id for number in range(4)]
        found = in_threads(
            *(
                lambda one=one: again(catalog).aliases.set(ArtifactName("org/m"), AliasName("prod"), one, expected=0)
                for one in ids
            )
        )
        assert sum(isinstance(one, Conflict) for one in found) == 3
        assert catalog.aliases.get(ArtifactName("org/m"), AliasName("prod")).generation == 1

    def test_a_child_and_its_parent_at_once_are_linked(self, catalog):
        from artifactstore.core.lineage import Link, Relation

        for number in range(6):
            parent = manifest_of(b"p%d" % number, name="org/p")
            child = manifest_of(b"c%d" % number, name="org/c", parents=(Link(Relation.RESUME, "p", parent.id),))
            drafts = [drafted(catalog, begin(catalog), one) for one in (parent, child)]
            in_threads(*(lambda draft=draft: catalog.saves.commit(draft) for draft in drafts))
            assert [link.parent for link in catalog.versions.parents(child.id)] == [parent.id]

    def test_quarantine_and_adoption_take_turns(self, catalog):
        save(catalog, manifest_of(b"1"))
        [place] = catalog.blobs.all()
        draft = drafted(catalog, begin(catalog), manifest_of(b"1", created=2))
        done, _ = in_threads(lambda: catalog.saves.commit(draft), lambda: catalog.blobs.damage([place]))
        [row] = rows(catalog, blob)
        assert row.state == "damaged"
        assert isinstance(done, LeaseLost) == (len(rows(catalog, version)) == 1)
