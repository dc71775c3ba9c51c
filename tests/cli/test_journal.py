"""artstore log"""

from artstore.journal import _row

from tests.cli.calling import document, done, refused


def test_what_happened_newest_first(store):
    done("alias", "set", "bert", "prod", "bert:1")
    done("metric", "bert", "loss=0.25")
    done("alias", "rm", "bert", "prod")
    lines = done("log").splitlines()
    assert lines[0].split() == ["SERIAL", "AT", "AGE", "WHAT"]
    assert [line.split("  ")[-1].partition(" ")[0] for line in lines[1:]] == ["removed", "metrics", "alias", "added"]
    assert lines[4].endswith("added bert:1; metrics of " + document("show", "bert")["id"][:12] + ": loss=0.5")
    assert done("log", "--limit", 1, "-q") == "4\n"
    assert [record["serial"] for record in document("log", "--limit", 2)["records"]] == [4, 3]
    refused(2, "log", "--limit", "0")


def test_actions_of_other_kinds_are_told_too():
    record = {"serial": 1, "at": "2026-01-01T00:00:00Z", "actions": [{"do": "heal", "blobs": 2, "manifests": ["a"]}]}
    assert _row(record)[-1] == "heal blobs 2 manifests 1"
