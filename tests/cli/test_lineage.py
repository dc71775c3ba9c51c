"""artstore tree and why"""

import json
import os

import pytest

from tests.cli.calling import call, document, done, refused


@pytest.fixture
def family(store, place):
    """base:1 and its step base:2, hero:1@prod merged of base:1 and something elsewhere, style:1 on that, style:2"""
    for number, words in enumerate(
        [
            ("base", "--step", 1),
            ("base", "--step", 2, "--parent", "base:1", "--relation", "resume"),
            (
                *("hero", "--alias", "prod", "--parent", "base:1", "--relation", "merge", "--weight", 0.5),
                *("--parent", 'hf://org/"x"#1', "--relation", "merge", "--weight", 0.25),
            ),
            ("style", "--parent", "hero", "--relation", "adapter"),
            ("style",),
        ]
    ):
        path = place / f"w{number}.bin"
        path.write_bytes(bytes([number]) * 1000)
        os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))
        done("add", path, "--as", *words)
    return store


def test_text_has_ancestors_above_and_descendants_below(family):
    whole = done("tree", "hero").splitlines()
    assert whole == [
        "┌─ merge 0.5  base:1  step 1  1.0 kB",
        '├─ merge 0.25  hf://org/"x"#1  not here',
        "hero:1 @prod  1.0 kB",
        "└─ adapter  style:1  1.0 kB",
    ]
    assert done("tree", "hero", "--up").splitlines() == whole[:3]
    assert done("tree", "hero", "--down", "--format", "text").splitlines() == whole[2:]
    assert "base:1" not in done("tree", "style:1", "--depth", 1)
    alone = done("tree", "bert").splitlines()
    assert alone[0].startswith("bert:1  step 10  10.2 kB")
    assert alone[1:] == ["Nothing is known of where it came from or of what came from it"]


def test_json_by_either_option(family):
    told = document("tree", "base:1")
    assert {node["ref"] for node in told["nodes"]} == {"base:1", "base:2", "hero:1", "style:1"}
    assert {(edge["relation"], edge["weight"]) for edge in told["edges"]} == {
        ("resume", None),
        ("merge", 0.5),
        ("adapter", None),
    }
    by_format = done("tree", "base:1", "--format", "json")
    assert json.loads(by_format) == told == document("tree", "base:1", "--format", "json")
    event = json.loads(done("tree", "base:1", "--jsonl"))
    assert event == {"event": "result", **told}
    ids = done("tree", "hero", "-q").split()
    assert ids == [node["id"] for node in document("tree", "hero")["nodes"] if node["id"]]
    assert len(ids) == 3


def test_dot_and_mermaid(family):
    dot = done("tree", "hero", "--format", "dot").splitlines()
    assert (dot[0], dot[-1]) == ("digraph lineage {", "}")
    assert r'  n3 [label="hf://org/\"x\"#1\nnot here", style="rounded,dashed"];' in dot
    assert '  n0 -> n1 [label="merge 0.5"];' in dot
    mermaid = done("tree", "hero", "--format", "mermaid").splitlines()
    assert mermaid[0] == "flowchart TD"
    assert '  n3["hf#58;//org/#34;x#34;#35;1<br>not here"]' in mermaid


def test_why_follows_what_needs_it_and_tells_the_policy(family):
    assert done("why", "base:1").splitlines() == [
        "base:1 stays",
        "  merge source of hero:1, which has alias prod",
        "No stored policy is for it",
    ]
    assert done("why", "style:1").splitlines()[:2] == [
        "style:1 may go",
        "  Nothing keeps it once a rule of gc selects it",
    ]
    done("policy", "set", "style", "--older 1d --keep-last 1")
    goes = done("why", "style:1").splitlines()
    assert goes[:2] == ["style:1 goes with the next gc", "Policy style: --older 1d --keep-last 1"]
    assert goes[2].startswith("  retires it: older than 1d (")
    assert done("why", "style:2").splitlines() == [
        "style:2 stays",
        "  latest 1 of 1",
        "Policy style: --older 1d --keep-last 1",
        "  keeps it: latest 1 of 1",
    ]
    done("pin", "style:1", "--why", "paper", "--until", "2200-01-31")
    assert document("why", "style:1")["keeps"] == [{"kind": "pin", "text": "pinned: paper until 2200-01-31"}]
    done("policy", "set", "style", "--keep-best 1:nothing")
    assert done("why", "style:2").splitlines()[-1].startswith("  gc refuses it: No version here has the metric")
    assert done("why", "style:2", "-q").strip() == document("show", "style:2")["id"]


def test_what_was_retired_is_still_told_of(family):
    done("policy", "set", "style", "--older 1d --keep-last 1")
    short = document("show", "style:1")["id"][:10]
    serial = document("gc", "--yes", "--force")["done"]["serial"]
    for ref in ("style:1", short):
        went, back = done("why", ref).splitlines()
        assert went.startswith("style:1 was retired ")
        assert f" by record {serial}: older than 1d (" in went
        assert back.startswith("Its bytes stay until 2")
        assert back.endswith(f"bring it back with: artstore undo {serial}")
        told = refused(3, "checkout", ref, "out")
        assert told.startswith("style:1 was retired ")
        assert told.endswith(f"no rule keeps it); bring it back with: artstore undo {serial}")
    assert done("tree", "hero").splitlines()[-1] == "└─ adapter  style:1  1.0 kB  retired"
    assert done("tree", "style:1").splitlines()[-1] == "style:1  1.0 kB  retired"
    for words in (("metric", "style:1", "x=1"), ("pin", "style:1", "--why", "x"), ("verify", "style:1")):
        assert f"artstore undo {serial}" in refused(3, *words)
    done("gc", "--now", "--yes", "--force")
    went, back = done("why", "style:1").splitlines()
    assert "; its bytes are gone since 20" in went
    assert back == "It cannot come back from here; take it from a mirror or bundle"
    assert "its bytes are gone since 20" in refused(3, "checkout", "style:1", "out")
    assert document("tree", "hero")["nodes"][2]["state"] == "swept"


def test_until_when_it_may_come_back(family):
    from artstore.lineage import _way_back

    went = {"swept": None, "serial": 7, "undo_until": None}
    assert _way_back(went) == "Its bytes are here until gc collects them; bring it back with: artstore undo 7"
    past = _way_back({**went, "undo_until": "2020-01-01T00:00:00Z"})
    assert past == "Its bytes go with the next gc; bring it back with: artstore undo 7"
    assert _way_back({**went, "serial": None}).endswith("see artstore log")


def test_what_makes_no_sense(family):
    for command in ("tree", "why"):
        refused(3, command, "nobody")
        refused(3, command, "hero:9")
        refused(2, command, "")
        refused(2, command)
    assert "either --up or --down" in refused(2, "tree", "hero", "--up", "--down")
    refused(2, "tree", "hero", "--format", "png")
    refused(2, "tree", "hero", "--depth", 0)
    for option in ("--jsonl", "-q"):
        assert "either --format or" in refused(2, "tree", "hero", "--format", "dot", option)
    assert call("tree", "hero", "--format", "dot", "--json").exit_code == 2
    refused(2, "tree", "hero", "--format", "json", "--jsonl")
