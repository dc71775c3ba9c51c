"""artstore gc: the plan, the question, the deed, and what must be refused"""

import json
import os
import pty
import re
import shutil
import subprocess
import time

import pytest

from artifactstore.store import Store
from tests.cli.calling import PROGRAM, call, contents, document, done, refused


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Twelve steps of a run, the oldest 59 days old; each takes a twelfth of the store"""
    folder = tmp_path_factory.mktemp("filled")
    with Store.init(str(folder / ".artstore")) as store:
        for number in range(1, 13):
            (folder / "w.bin").write_bytes(os.urandom(30_000))
            created = int((time.time() - (60 - number) * 86_400) * 1e6)
            metrics = {"loss": 100 - number}
            store.add([folder / "w.bin"], name="run/a", step=number, metrics=metrics, created=created)
    return folder


@pytest.fixture
def run(place, filled):
    """The same in this folder"""
    shutil.copytree(filled, place, dirs_exist_ok=True)
    return place


def actions(plan):
    return {item["ref"]: item["action"] for item in plan["items"]}


def test_a_dry_run_shows_the_plan_and_changes_nothing(run):
    before = contents(run)
    text = done("gc", "--older", "57d", "--keep-best", "1:loss", "-n")
    assert re.search(r"^run/a  keep 9, retire 3, frees 90.0 kB$", text, re.MULTILINE)
    assert re.search(r"^RETIRE +run/a:3 .* older than 57d \(57d\), no rule keeps it$", text, re.MULTILINE)
    assert re.search(r"^KEEP +run/a:12 .* newest resumable step; best 1 of loss = 88$", text, re.MULTILINE)
    assert "KEEP    8 versions that no selector selects" in text
    assert text.splitlines()[-1] == "Nothing changed (dry run)"
    assert contents(run) == before


def test_without_consent_nothing_changes(run):
    before = contents(run)
    result = call("gc", "--older", "58d")
    assert (result.exit_code, result.stderr.count("--yes")) == (5, 1)
    assert "retire 2" in result.stdout
    assert contents(run) == before
    assert call("gc", "--older", "58d", "--json").exit_code == 5


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 5), ("\n", 5)])
def test_a_person_at_a_terminal_is_asked(run, answer, code):
    ours, theirs = pty.openpty()
    child = subprocess.Popen([PROGRAM, "gc", "--older", "58d"], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(ours, 4096)
    os.write(ours, answer.encode())
    while True:
        try:
            said += os.read(ours, 4096)
        except OSError:
            break
    assert child.wait(timeout=60) == code
    os.close(ours)
    assert b"Retire 2 versions, 60.0 kB?" in said
    assert (b"Retired 2 versions" in said) == (code == 0)


def test_retire_undo_retire_and_sweep(run):
    text = done("gc", "--older", "58d", "--yes")
    serial = int(re.search(r"artstore undo (\d+)", text)[1])
    assert "wait for the end of their grace" in text
    assert "run/a:1 is back" in done("undo")
    assert document("show", "run/a:1")["number"] == 1
    report = document("gc", "--older", "58d", "--now", "--yes")
    assert report["done"]["freed_bytes"] == report["frees_bytes"] == 60_000
    line = refused(5, "undo", report["done"]["serial"])
    assert "swept" in line
    assert serial < report["done"]["serial"]
    assert done("verify").split()[0] == "10"


def test_bare_gc_keeps_everything(run):
    before = document("ls")["versions"]
    assert "No version is to be retired" in done("gc", "--yes")
    assert document("ls")["versions"] == before


def test_a_fifth_is_guarded_and_force_lifts_it_but_no_pin(run):
    done("pin", "run/a:1", "--why", "paper")
    line = refused_after_plan(5, "gc", "--older", "50d", "--yes")
    assert "more than 20%" in line
    report = document("gc", "--older", "50d", "--yes", "--force")
    assert actions(report)["run/a:1"] == "keep"
    assert len(report["done"]["retired"]) == 9


def refused_after_plan(code, *arguments):
    result = call(*arguments)
    assert result.exit_code == code, result.stderr
    return result.stderr


def test_a_plan_is_written_run_once_and_then_stale(run):
    assert "artstore gc --apply p.json" in done("gc", "--older", "58d", "--plan", "p.json")
    plan = json.loads((run / "p.json").read_text())
    assert plan["serial"] == 12
    report = document("gc", "--apply", "p.json", "--yes")
    assert len(report["done"]["retired"]) == 2
    assert "has changed since" in refused(5, "gc", "--apply", "p.json", "--yes")


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"format": 2}', '{"format": 1, "items": [{}]}', "\x00", "[" * 10_000]
)
def test_a_plan_that_is_none(run, text):
    (run / "p.json").write_text(text)
    refused(2, "gc", "--apply", "p.json", "--yes")


def test_a_plan_of_another_store_and_beside_rules(run):
    done("gc", "--older", "58d", "--plan", "p.json")
    other = run / "other"
    done("init", other)
    assert "another store" in refused(5, "gc", "--apply", "p.json", "--yes", "--store", other)
    for more in (["--older", "58d"], ["--now"], ["--grace", "1d"], ["--plan", "q.json"], ["--until-free", "1GB"]):
        refused(2, "gc", "--apply", "p.json", "--yes", *more)
    refused(2, "gc", "--apply", "nowhere.json", "--yes")


def test_until_free_stops_when_enough_is_free(run):
    free = document("status")["free_bytes"]
    plan = document("gc", "--older", "40d", "--until-free", f"{free // 1000 * 2}kB", "-n")
    assert set(list(actions(plan).values())[:11]) == {"retire"}
    plan = document("gc", "--older", "40d", "--until-free", "1kB", "-n")
    assert set(actions(plan).values()) == {"keep"}
    assert plan["items"][0]["reasons"] == ["enough is free without it"]


def test_lineage_rescues_and_says_why(run):
    done("add", "w.bin", "--as", "style", "--parent", "run/a:1", "--relation", "adapter")
    done(
        "add",
        "w.bin",
        "--as",
        "hero",
        "--parent",
        "run/a:2",
        "--relation",
        "merge",
        "--parent",
        "hf://org/base",
        "--relation",
        "merge",
    )
    plan = document("gc", "--older", "58d", "-n")
    reasons = {item["ref"]: item["reasons"] for item in plan["items"]}
    assert reasons["run/a:1"] == ["base of adapter style:1"]
    assert reasons["run/a:2"] == ["merge source of hero:1"]


@pytest.mark.parametrize(
    ("arguments", "say"),
    [
        (["--older", "30m"], "minutes, days or months"),
        (["--older", "30"], "no clear unit"),
        (["--older", "-1d"], ""),
        (["--keep-last", "0"], "keep-last"),
        (["--keep-best", "2:lss"], "did you mean loss?"),
        (["--keep-alias", "prod"], "alias"),
        (["--keep-phase", "sft"], "phase"),
        (["--phase", "sft"], "phase"),
        (["--where", "stp > 3"], "step"),
        (["--now", "--grace", "1d"], "--grace"),
        (["--grace", "x"], "duration"),
        (["--until-free", "lots"], "size"),
    ],
)
def test_what_makes_no_sense_is_refused(run, arguments, say):
    assert say in refused(2, "gc", *arguments, "-n")


def test_a_run_nothing_matches(run):
    assert "--run 'nope*'" in refused(3, "gc", "--run", "nope*", "-n")


def test_ids_only(run):
    ids = done("gc", "--older", "58d", "-n", "-q").split()
    assert ids == [document("show", f"run/a:{n}")["id"] for n in (1, 2)]


def test_policies_are_kept_tested_and_used(run):
    assert "No policies" in done("policy", "ls")
    assert done("policy", "set", "run/*", "--keep-last", "11") == "run/*  --keep-last 11\n"
    assert done("policy", "set", "run/*", "--older 30d --keep-last 10") == "run/*  --older 30d --keep-last 10\n"
    assert document("policy", "ls")["policies"] == [{"pattern": "run/*", "rules": "--older 30d --keep-last 10"}]
    plan = document("policy", "test", "run/*")
    assert [ref for ref, action in actions(plan).items() if action == "retire"] == ["run/a:1", "run/a:2"]
    assert actions(document("gc", "-n")) == actions(plan)
    assert actions(document("gc", "--older", "57d", "-n")) == actions(plan)
    done("gc", "--yes")
    assert len(document("ls")["versions"]) == 10
    assert done("policy", "rm", "run/*") == "run/*  no rules\n"
    refused(3, "policy", "rm", "run/*")
    refused(3, "policy", "test", "nope*")


@pytest.mark.parametrize("rules", [[""], ["--keep-lst", "3"], ["--run", "x"], ["--keep-last"], ["hello"]])
def test_a_policy_that_makes_no_sense(run, rules):
    refused(2, "policy", "set", "run/*", *rules)


def test_pins_hold_and_end(run):
    assert done("pin", "run/a:1", "--why", "paper") == "run/a:1  pinned: paper\n"
    done("pin", "run/a:1", "--why", "audit", "--until", "2250-01-31")
    assert [pin["why"] for pin in document("show", "run/a:1")["pins"]] == ["paper", "audit"]
    plan = document("gc", "--older", "58d", "-n")
    assert plan["items"][0]["reasons"] == ["pinned: paper", "pinned: audit"]
    assert done("unpin", "run/a:1", "--why", "paper") == "run/a:1  1 pin removed\n"
    assert document("unpin", "run/a:1")["removed"] == 1
    refused(3, "unpin", "run/a:1")
    refused(3, "pin", "run/a:99", "--why", "x")
    refused(2, "pin", "run/a:1", "--why", "x", "--until", "2001-01-01")
    refused(2, "pin", "run/a:1", "--why", "x", "--until", "soon")
    refused(2, "pin", "run/a:1", "--why", "")


def test_undo_of_an_alias_and_of_what_cannot_be_undone(run):
    done("alias", "set", "run/a", "prod", "run/a:1")
    done("alias", "set", "run/a", "prod", "run/a:2")
    assert "back at run/a:1" in done("undo")
    assert document("show", "run/a@prod")["number"] == 1
    assert "cannot be taken back" in refused(5, "undo", "1")
    assert "no record" in refused(3, "undo", "999").lower()
    assert "has moved on" in refused(5, "undo", "13")


def test_du_says_what_goes(run):
    assert "frees 60.0 kB of 60.0 kB" in done("du", "run/a:1", "run/a:2")
    assert document("du", "run/a:1")["frees_bytes"] == 30_000
    done("policy", "set", "*", "--keep-last", "10")
    more = document("du", "--by", "kind", "--reclaimable")
    assert [group["key"] for group in more["groups"]] == ["checkpoint"]
    assert more["reclaimable"] == {"due_bytes": 0, "waiting_bytes": 0, "policy_bytes": 60_000, "policy_versions": 2}
    assert "by stored policies" in done("du", "--reclaimable", "--by", "format")
