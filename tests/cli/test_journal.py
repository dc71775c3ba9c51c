"""artstore log"""

import pytest
from artstore.journal import _row

from tests.cli.calling import document, done, refused


def test_what_happened_newest_first(store):
    done("alias", "set", "bert", "prod", "bert:1")
    done("metric", "bert", "loss=0.25")
    done("alias", "rm", "bert", "prod")
    lines = done("log").splitlines()
    assert lines[0].split() == ["SERIAL", "AT", "AGE", "WHAT"]
    assert [line.split("  ")[-1].partition(" ")[0] for line in lines[1:]] == ["removed", "metrics", "alias", "added"]
    assert lines[3].endswith("alias bert@prod → bert:1")
    assert lines[4].endswith("added bert:1; metrics of bert:1: loss=0.5")
    assert done("log", "--limit", 1, "-q") == "4\n"
    assert [record["serial"] for record in document("log", "--limit", 2)["records"]] == [4, 3]
    refused(2, "log", "--limit", "0")


def test_the_life_of_a_version_is_told_by_its_name(store, weights):
    for step in range(11, 17):
        done("add", weights, "--as", "bert", "--step", step, "--parent", "bert")
    done("pin", "bert:1", "--why", "paper", "--until", "2250-01-31")
    done("unpin", "bert:1")
    done("gc", "--where", "number = 2", "--yes", "--force")
    done("undo")
    done("gc", "--where", "number < 6", "--yes", "--force", "--now")
    done("catalog", "rebuild", "--yes")
    told = [" ".join(line.split()[3:]) for line in done("log").splitlines()[1:-1]]
    assert told[0].startswith("rebuilt this catalog from ")
    assert told[0].endswith(", which had 13 records")
    assert told[1:9] == [
        "removed for good bert:1, bert:2, bert:3, bert:4 and 1 more; gave up 5 manifests",
        "retired bert:1, bert:2, bert:3, bert:4 and 1 more",
        "took back record 10: bert:2",
        "retired bert:2: where number = 2, no rule keeps it",
        "removed all pins of bert:1",
        "pinned bert:1: paper until 2250-01-31",
        "added bert:7; bert:7 comes from bert:6",
        "added bert:6; bert:6 comes from bert:5",
    ]


ID = "ab" * 32


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        ({"do": "heal", "blobs": 2, "manifests": [["a", "b"]]}, "filled in 2 blobs and 1 manifest"),
        ({"do": "damaged", "manifests": [["a", "b"]]}, "found damage of 1 manifest"),
        ({"do": "intent", "blobs": 1200}, "gave up 1,200 blobs"),
        ({"do": "unpin", "id": ID, "why": "paper"}, "removed pin 'paper' of abababababab"),
        (
            {"do": "rebuilt", "from": ID[:32], "serial": 3, "txid": "x", "over": ["cd" * 16]},
            f"rebuilt this catalog from {ID[:32]}, which had 3 records, leaving out {'cd' * 16}",
        ),
        ({"do": "dream", "of": "sheep", "count": ["a"]}, "dream of sheep count 1"),
    ],
)
def test_actions_of_other_kinds_are_told_too(action, sentence):
    record = {"serial": 1, "at": "2026-01-01T00:00:00Z", "actions": [action]}
    assert _row(record)[-1] == sentence
