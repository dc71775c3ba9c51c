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
    shown = re.findall(r"^(?:KEEP|RETIRE) +run/a:(\d+)", text, re.MULTILINE)
    assert shown == ["12", "3", "2", "1"]
    assert "more than 20%" in text
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
    done("gc", "--older", "58d", "--yes")
    assert "No rules are given" not in done("gc", "--now", "-n")
    done("undo")
    report = document("gc", "--older", "58d", "--now", "--yes")
    assert report["done"]["freed_bytes"] == report["frees_bytes"] == 60_000
    line = refused(5, "undo", report["done"]["serial"])
    assert "swept" in line
    assert serial < report["done"]["serial"]
    assert done("verify").split()[0] == "10"


def test_bare_gc_keeps_everything(run):
    before = document("ls")["versions"]
    text = done("gc", "--yes")
    assert "No version is to be retired" in text
    assert "No rules are given and none are stored" in text
    assert "Nothing was due to be removed" in text
    assert document("ls")["versions"] == before


def test_a_fifth_is_guarded_and_force_lifts_it_but_no_pin(run):
    done("pin", "run/a:1", "--why", "paper")
    for consent in ([], ["--yes"]):
        line = refused_after_plan(5, "gc", "--older", "50d", *consent)
        assert "more than 20%" in line
    assert "more than 20%" in done("gc", "--older", "50d", "-n")
    assert "more than 20%" not in done("gc", "--older", "50d", "-n", "--force")
    assert "more than 20%" not in done("gc", "--older", "58d", "-n")
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
    assert refused(2, "gc", "--apply", "p.json", "--yes").startswith("p.json: ")


def test_a_plan_of_another_store_and_beside_rules(run):
    done("gc", "--older", "58d", "--plan", "p.json")
    other = run / "other"
    done("init", other)
    assert "another store" in refused(5, "gc", "--apply", "p.json", "--yes", "--store", other)
    for more in (["--older", "58d"], ["--now"], ["--grace", "1d"], ["--plan", "q.json"], ["--until-free", "1GB"]):
        refused(2, "gc", "--apply", "p.json", "--yes", *more)
    assert "nowhere.json" in refused(3, "gc", "--apply", "nowhere.json", "--yes")


def test_until_free_stops_when_enough_is_free(run):
    free = document("status")["free_bytes"]
    plan = document("gc", "--older", "40d", "--until-free", f"{free // 1000 * 2}kB", "-n")
    assert set(list(actions(plan).values())[:11]) == {"retire"}
    plan = document("gc", "--older", "40d", "--until-free", "1kB", "-n")
    assert set(actions(plan).values()) == {"keep"}
    assert plan["items"][0]["reasons"] == ["enough is free without it"]
    assert "short of --until-free" not in done("gc", "--older", "40d", "--until-free", "1kB", "-n")
    assert "short of --until-free; these rules let no more go" in done("gc", "--until-free", "1EB", "-n")


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
    assert refused(3, "policy", "test", "nope*") == "No artifact matches 'nope*'; see artstore ls"


def test_a_policy_test_tells_of_all_that_match_and_of_nothing_else(run, weights):
    done("add", weights, "--as", "bert")
    assert "No stored policy is for any of these" in done("policy", "test", "bert")
    done("policy", "set", "run/*", "--keep-every", "6")
    text = done("policy", "test", "*")
    assert text.startswith("Policy run/*: --keep-every 6\n")
    assert "bert  keep 1, retire 0\n" in text
    assert re.search(r"^KEEP +run/a:6 .* step 6 is a multiple of 6$", text, re.MULTILINE)
    done("policy", "set", "*", "--keep-last", "12")
    text = done("policy", "test", "b*")
    assert text.startswith("Policy *: --keep-last 12\n")
    assert "run/a" not in text
    assert list(actions(document("policy", "test", "b*"))) == ["bert:1"]


def test_what_going_frees_is_a_column_where_the_sizes_do_not_say_it(run, weights):
    assert "FREES" not in done("gc", "--older", "58d", "-n")
    (run / "w.bin").write_bytes(os.urandom(30_000))
    for artifact in ("run/a", "run/b"):
        done("add", "w.bin", "--as", artifact, "--step", "13")
    done("add", "weights.bin", "--as", "run/b", "--step", "14")
    text = done("gc", "--where", "step = 13 or number = 1", "-n")
    assert re.search(r"^RETIRE +run/b:1 +13 +30.0 kB +0 B +where", text, re.MULTILINE)


@pytest.mark.parametrize(
    "rules", [[""], ["--keep-lst", "3"], ["--where", "size >"], ["--run", "x"], ["--keep-last"], ["hello"]]
)
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
    assert refused(3, "unpin", "run/a:1") == "run/a:1 has no pin"
    done("pin", "run/a:2", "--why", "demo")
    assert refused(3, "unpin", "run/a:2", "--why", "paper") == "run/a:2 has no pin 'paper'; it has 'demo'"
    done("unpin", "run/a:2")
    assert done("undo").splitlines()[0] == "pin 'demo' is back"
    refused(3, "pin", "run/a:99", "--why", "x")
    refused(2, "pin", "run/a:1", "--why", "x", "--until", "2001-01-01")
    assert "write --until 2030-01-31" in refused(2, "pin", "run/a:1", "--why", "x", "--until", "soon")
    done("pin", "run/a:3", "--why", "demo", "--until", "2250-01-31")
    assert re.search(r"^pinned +demo until 2250-01-31$", done("show", "run/a:3"), re.MULTILINE)
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
    assert done("du", "run/a:1", "run/a:2").endswith("frees 60.0 kB of 60.0 kB\n")
    assert document("du", "run/a:1")["frees_bytes"] == 30_000
    done("policy", "set", "*", "--keep-last", "10")
    more = document("du", "--by", "kind", "--reclaimable")
    assert [group["key"] for group in more["groups"]] == ["checkpoint"]
    assert more["reclaimable"] == {"due_bytes": 0, "waiting_bytes": 0, "policy_bytes": 60_000, "policy_versions": 2}
    assert "by stored policies" in done("du", "--reclaimable", "--by", "format")
