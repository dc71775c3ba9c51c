"""artstore du"""

import os

from tests.cli.calling import document, done, refused

GROUP = {"key", "versions", "logical_bytes", "stored_bytes", "unique_bytes", "shared_bytes"}


def test_bytes_before_and_after_dedup(store, place):
    path = place / "large.bin"
    path.write_bytes(os.urandom(6_000_000))
    done("add", path, "--as", "a", "--phase", "one")
    done("add", path, "--as", "b", "--phase", "two")
    usage = document("du")
    groups = {group["key"]: group for group in usage["groups"]}
    assert set(groups) == {"a", "b", "bert"}
    assert all(set(group) >= GROUP for group in groups.values())
    assert groups["a"]["shared_bytes"] == groups["b"]["stored_bytes"] == 6_000_000
    assert groups["bert"]["unique_bytes"] == groups["bert"]["stored_bytes"]
    assert (usage["reclaimable_bytes"], usage["logical_bytes"]) == (0, 12_000_000 + 10_240)
    assert {group["key"] for group in document("du", "--by", "phase")["groups"]} == {"one", "two", "-"}
    lines = done("du").splitlines()
    assert lines[0].split() == ["ARTIFACT", "VERSIONS", "LOGICAL", "STORED", "UNIQUE", "SHARED", "RATIO"]
    assert lines[-1] == "total  12.0 MB logical  6.0 MB stored  2.00x dedup"
    assert set(done("du", "-q").split()) == {"a", "b", "bert"}


def test_what_waits_for_collection_is_no_bad_dedup(store, place):
    path = place / "large.bin"
    for _ in range(2):
        path.write_bytes(os.urandom(6_000_000))
        done("add", path, "--as", "a")
    done("gc", "--where", "ref = a:1", "--yes", "--force")
    total, waiting = done("du").splitlines()[-2:]
    assert total == "total  6.0 MB logical  12.0 MB stored  1.00x dedup"
    assert waiting == "6.0 MB of it is needed by no version"
    usage = document("du")
    assert (usage["stored_bytes"], usage["reclaimable_bytes"]) == (12_000_000 + 10_240, 6_000_000)
    assert "waiting   6.0 MB, which gc removes after its grace\n" in done("status")


def test_nothing_stored(place):
    done("init")
    assert document("du") == {
        "groups": [],
        "versions": 0,
        "logical_bytes": 0,
        "stored_bytes": 0,
        "reclaimable_bytes": 0,
    }
    assert done("du") == "total  0 B logical  0 B stored\n"


def test_only_by_what_is_known(store):
    assert "'artifact', 'phase'" in refused(2, "du", "--by", "colour")
