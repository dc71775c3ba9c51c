"""artstore catalog: upgrade, rebuild, dump"""

import json
import shutil
import sqlite3

import pytest

from tests.cli.calling import call, document, done, refused


def test_a_catalog_that_is_there_stays(store):
    assert done("catalog", "upgrade").startswith("The catalog has schema ")
    assert done("catalog", "upgrade", "-q").strip() == document("catalog", "upgrade")["schema"]


def test_a_newer_one_is_left_alone(store):
    with sqlite3.connect(store / "catalog.sqlite") as rows:
        rows.execute("UPDATE artifactstore_schema SET version_num = '9999'")
    rows.close()
    assert "newer" in refused(2, "catalog", "upgrade")
    assert "newer" in refused(2, "catalog", "rebuild", "--yes")


def test_none_is_made(store, place):
    refused(10, "catalog", "upgrade", "--store", "nope")
    refused(3, "catalog", "upgrade", "--catalog", f"sqlite:///{place}/new.sqlite")
    assert not (place / "new.sqlite").exists()


def lose_catalog(store):
    for path in store.glob("catalog.sqlite*"):
        path.unlink()


class TestRebuild:
    def test_a_catalog_that_is_gone_comes_back(self, store):
        before = done("catalog", "dump")
        lose_catalog(store)
        assert "artstore catalog rebuild" in refused(3, "ls")
        assert "artstore catalog rebuild" in refused(3, "metric", "bert", "x=1")
        said = document("catalog", "rebuild", "--yes")
        assert (said["serial"], said["versions"], said["damaged"], said["replaced"]) == (2, 1, [], None)
        assert said["catalog"] == json.loads((store / "artstore.json").read_text())["catalog"]
        assert done("catalog", "dump") == before
        done("metric", "bert", "x=1")

    def test_nothing_is_done_without_consent(self, store):
        before = (store / "artstore.json").read_text()
        assert "--yes" in refused(5, "catalog", "rebuild")
        shown = done("catalog", "rebuild", "-n")
        assert shown.startswith("Replace ")
        assert "1 record of" in shown
        assert document("catalog", "rebuild", "-n")["replaces"] is True
        assert (store / "artstore.json").read_text() == before

    def test_the_old_one_is_kept(self, store):
        said = done("catalog", "rebuild", "--yes")
        kept = min(store.glob("catalog.sqlite.replaced-*"))
        assert f"kept as {kept}" in said
        assert "1 version, serial 2" in said
        assert done("catalog", "rebuild", "--yes", "-q").strip() in (store / "artstore.json").read_text()

    def test_damage_ends_with_its_own_code(self, store):
        [blob] = store.glob("blobs/*/*")
        blob.unlink()
        result = call("catalog", "rebuild", "--yes")
        assert result.exit_code == 4
        assert f"missing  {blob.relative_to(store)}" in result.stdout
        assert "1 object damaged; run artstore repair" in result.stdout
        assert document("status")["damaged"] == 1

    def test_a_lost_manifest_is_told(self, store):
        [manifest] = store.glob("manifests/*/*")
        manifest.unlink()
        result = call("catalog", "rebuild", "--yes")
        assert result.exit_code == 4
        assert "one more rebuild" in result.stdout

    def test_a_damaged_journal_changes_nothing_and_may_be_cut_short(self, store):
        done("metric", "bert", "x=1")
        last = max(store.glob("journal/*/*.json"))
        last.write_bytes(b"{}")
        before = (store / "artstore.json").read_bytes()
        assert last.name in refused(4, "catalog", "rebuild", "--yes")
        assert (store / "artstore.json").read_bytes() == before
        done("ls")
        assert document("catalog", "rebuild", "--yes", "--until", "1")["serial"] == 2
        assert document("show", "bert")["metrics"] == {"loss": 0.5}

    def test_what_was_never_committed_is_told_and_taken_in(self, store):
        first = document("show", "bert")["id"]
        for path in store.glob("journal/*/*"):
            path.unlink()
        lose_catalog(store)
        assert "1 version here that nobody committed" in done("catalog", "rebuild", "--yes")
        said = document("catalog", "rebuild", "--yes", "--adopt")
        assert (said["adopted"], said["uncommitted"], said["versions"]) == ([{"id": first, "ref": "bert:1"}], [], 1)
        assert document("show", "bert")["id"] == first
        assert document("verify")["damaged"] == []

    def test_what_is_not_whole_is_left(self, store):
        for path in (*store.glob("journal/*/*"), *store.glob("blobs/*/*")):
            path.unlink()
        lose_catalog(store)
        result = call("catalog", "rebuild", "--yes", "--adopt")
        assert result.exit_code == 6
        assert "nowhere here whole" in result.stdout

    def test_an_unknown_origin(self, store):
        assert "no records" in refused(3, "catalog", "rebuild", "--yes", "--from", "f" * 32)
        refused(2, "catalog", "rebuild", "--until", "-1")
        assert refused(3, "catalog", "rebuild", "-n", "--until", "99").endswith(" has records 1 to 1, not 99")
        first = document("catalog", "rebuild", "-n")["from"]
        done("catalog", "rebuild", "--yes")
        assert "has records 2 to 2, not 1; " in refused(3, "catalog", "rebuild", "-n", "--until", "1")
        assert first in done("log", "--limit", "1")
        assert document("catalog", "rebuild", "-n", "--until", "1", "--from", first)["serial"] == 1
        assert "has no records, not 7" in refused(3, "catalog", "rebuild", "--from", "f" * 32, "--until", "7")
        refused(10, "catalog", "rebuild", "--store", "nope")

    def test_a_catalog_of_another_store(self, store, place):
        done("init", place / "other")
        other = f"sqlite:///{place}/other/catalog.sqlite"
        assert "another store" in refused(1, "catalog", "rebuild", "--yes", "--catalog", other)
        assert "another store" in refused(1, "ls", "--catalog", other)


class TestDump:
    def test_lines_in_a_stable_order(self, store):
        lines = done("catalog", "dump").splitlines()
        assert lines == done("catalog", "dump").splitlines()
        kinds = [json.loads(line)["kind"] for line in lines]
        assert (kinds[0], kinds[-1]) == ("store", "journal")
        assert document("catalog", "dump")["lines"] == [json.loads(line) for line in lines]
        assert done("catalog", "dump", "-q").split() == [document("show", "bert")["id"]]

    def test_it_writes_nothing(self, store, place):
        shutil.copytree(store, place / "copy")
        done("catalog", "dump", "--store", place / "copy")
        assert sorted(path.name for path in (place / "copy").iterdir()) == sorted(
            path.name for path in store.iterdir() if not path.name.endswith(("-wal", "-shm"))
        )


@pytest.mark.parametrize("page", [0, 1, 5])
def test_a_flipped_page_is_healed(store, page):
    file = store / "catalog.sqlite"
    before = done("catalog", "dump")
    raw = bytearray(file.read_bytes())
    raw[page * 4096 : page * 4096 + 4096] = bytes(byte ^ 0xFF for byte in raw[page * 4096 : page * 4096 + 4096])
    file.write_bytes(raw)
    result = call("doctor")
    assert result.exit_code != 0
    assert "artstore catalog rebuild" in result.stdout + result.stderr
    done("catalog", "rebuild", "--yes")
    assert done("catalog", "dump") == before
    assert call("doctor").exit_code == 0
    kept = min(store.glob("catalog.sqlite.replaced-*"))
    assert kept.read_bytes() == raw
