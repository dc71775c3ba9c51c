"""artstore ls, show and search"""

import json
import os
import time

import pytest
from artstore.versions import age

from artifactstore.store import Store
from tests.cli.calling import call, document, done, refused

LS = {
    "id",
    "artifact",
    "number",
    "created",
    "phase",
    "step",
    "epoch",
    "request_id",
    "aliases",
    "metrics",
    "license",
    "logical_bytes",
}
SHOW = LS | {"pins", "parents", "files", "unique_bytes"}


@pytest.fixture
def three(store, place):
    """bert:1, and wan:1 and wan:2 of other ages and sizes"""
    for number, size in ((1, 3000), (2, 2000)):
        path = place / "w.bin"
        path.write_bytes(os.urandom(size))
        moment = time.time() - 86400 * 10 * (3 - number)
        os.utime(path, (moment, moment))
        done("add", path, "--as", "wan", "--phase", f"phase_{number}")
    return store


def test_an_empty_store_says_so(place):
    done("init")
    assert done("ls") == "No versions\n"
    assert document("ls") == {"versions": []}


def test_a_table_of_what_matters(three):
    lines = done("ls").splitlines()
    assert lines[0].split() == ["REF", "PHASE", "STEP", "METRICS", "SIZE", "AGE", "LICENSE"]
    assert [line.split()[0] for line in lines[1:]] == ["wan:2", "wan:1", "bert:1"]
    assert lines[2].split() == ["wan:1", "phase_1", "3.0", "kB", "20d"]
    assert not any(line.endswith(" ") for line in lines)


def test_names_order_and_limit(three):
    def refs(*options):
        return [version["ref"] for version in document("ls", *options)["versions"]]

    assert refs("w*") == ["wan:2", "wan:1"]
    assert refs("--sort", "size:desc", "--limit", 2) == ["bert:1", "wan:1"]
    assert refs("--sort", "size:asc", "--limit", 1) == ["wan:2"]
    assert refs("zzz") == []


def test_filters_narrow_the_list(three):
    def refs(*options):
        return [version["ref"] for version in document("ls", *options)["versions"]]

    assert refs("--where", "license = none") == ["wan:2", "wan:1"]
    assert refs("--where", "age > 15d") == ["wan:1", "bert:1"]
    assert refs("--where", "age > 15d", "--where", "phase ~ phase_* or metric.loss < 1") == ["wan:1", "bert:1"]
    assert refs("w*", "--where", "not (size < 2.5kB)", "--limit", 1) == ["wan:1"]
    assert refs("--where", "loaded > 1d") == []
    assert done("ls", "--where", "pinned") == "No versions\n"


def test_the_library_takes_one_filter_or_several(three):
    with Store.open(str(three), read_only=True) as store:
        assert [version.ref for version in store.ls(where="age > 15d")] == ["wan:1", "bert:1"]
        assert [version.ref for version in store.ls("*", where=["age > 15d", "phase = none"])] == ["bert:1"]


def test_a_filter_that_is_wrong_says_where(store):
    line = refused(2, "ls", "--where", "step > 1", "--where", "stepp > 1")
    assert line == "Filter, character 1: unknown key 'stepp'; did you mean step?"
    error = json.loads(call("ls", "--where", "age > 30m", "--json").stderr)
    assert (error["error"], error["facts"]) == ("invalid.filter", {"expression": "age > 30m", "position": 7})


def test_documents_have_their_stable_keys(three):
    (first, *_) = document("ls")["versions"]
    assert set(first) >= LS
    assert "files" not in first
    shown = document("show", "bert")
    assert set(shown) >= SHOW
    assert {"path", "size", "sha256"} <= set(shown["files"][0])
    assert document("search", "wan")["versions"][0].keys() == first.keys()


def test_quiet_is_ids_alone(three):
    ids = done("ls", "-q").split()
    assert ids == [version["id"] for version in document("ls")["versions"]]
    assert done("show", "bert", "-q").strip() == ids[-1]
    assert done("search", "bert", "-q").split() == ids[-1:]


def test_a_page_of_one_version(three, weights):
    done("add", weights, "--as", "bert", "--parent", "bert:1", "--parent", "hf://o/x", "--meta", "note=it")
    done("alias", "set", "bert", "prod", "bert:2")
    lines = done("show", "bert:2").splitlines()
    assert lines[0].split()[:2] == ["bert:2", "@prod"]
    fields = dict(line.split("  ", 1) for line in lines[1 : lines.index("")])
    assert fields["meta note"].strip() == "it"
    assert fields["parent 0"].strip() == "finetune bert:1 (verified by hash)"
    assert fields["parent 1"].strip() == "finetune hf://o/x (not in this store)"
    assert lines[-1].startswith("weights.bin  10.2 kB")


def test_a_page_counts_children_and_tells_what_evidence_there_is(three, weights, place):
    done("add", weights, "--as", "bert", "--parent", "bert:1", "--meta", "note=it")
    other = place / "other"
    other.write_bytes(b"other")
    done("add", other, "--as", "x", "--parent", "hf://org/later")
    done("add", weights, "--as", "org/later")
    lines = done("show", "bert:1").splitlines()
    assert ["children", "1"] in [line.split() for line in lines]
    assert not [line for line in done("show", "bert:2").splitlines() if line.startswith("children")]
    assert "parent 0  finetune org/later:1 (declared as hf://org/later)" in done("show", "x")


def test_a_page_of_what_was_retired(three):
    serial = document("gc", "--older", "15d", "--run", "wan", "--force", "--yes")["done"]["serial"]
    first, gone, *lines = done("show", "wan:1").splitlines()
    assert first == "wan:1"
    assert gone.startswith("It was retired ")
    assert gone.endswith(f"no rule keeps it; bring it back with: artstore undo {serial}")
    assert lines[-1].startswith("w.bin")
    assert "in no other version" not in "".join(lines)
    done("gc", "--now", "--force", "--yes")
    first, gone, *lines = done("show", "wan:1").splitlines()
    assert "; its bytes are gone since 20" in gone
    assert "undo" not in gone
    assert lines[-1].startswith("size")
    told = document("show", "wan:1")
    assert (told["state"], told["retired"]["serial"], told["files"]) == ("swept", serial, [])
    assert document("show", "wan:2")["retired"] is None


def test_search_finds_labels_and_says_when_not(three):
    assert done("search", "phase_2").splitlines()[1].startswith("wan:2")
    assert done("search", "mit").splitlines()[1].startswith("bert:1")
    assert done("search", "nowhere") == "No versions\n"
    assert "give a word" in refused(2, "search", " ")


def test_an_age_of_what_is_yet_to_come():
    assert age("2999-01-01T00:00:00Z") == "-"
    assert age("2020-01-01T00:00:00Z").endswith("d")
