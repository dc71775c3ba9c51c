"""artstore add"""

import json
import os
from pathlib import Path

import pytest

from tests.cli.calling import call, contents, document, done, refused


def test_the_first_add_makes_the_store_in_the_home(weights):
    refused(10, "ls")
    assert done("add", weights, "--as", "bert").startswith("bert:1  10.2 kB  (10.2 kB new)  ")
    assert (Path.home() / ".artstore" / "artstore.json").exists()


def test_what_is_wrong_makes_no_store(weights):
    refused(3, "add", "nope", "--as", "bert")
    refused(2, "add", weights, "--as", "a b")
    refused(2, "add", weights, "--as", "bert", "--relation", "cousin", "--parent", "x")
    assert not (Path.home() / ".artstore").exists()


def test_a_store_that_was_named_is_not_made(weights):
    refused(10, "add", weights, "--as", "bert", "--store", "models")
    assert not Path("models").exists()


def test_every_label_arrives(store, weights):
    given = ["--alias", "prod", "--alias", "best", "--phase", "t2v", "--step", 90, "--metric", "loss=0.25"]
    given += ["--license", "Apache-2.0", "--meta", "note=a=b", "--meta", "created=2026-01-31"]
    given += ["--parent", "bert:1", "--relation", "merge", "--weight", "0.5"]
    given += ["--parent", "hf://org/base", "--relation", "adapter", "--weight", "2"]
    added = document("add", weights, "--as", "run/x", *given)
    shown = document("show", added["id"])
    assert (added["ref"], added["existed"], added["new_bytes"]) == ("run/x:1", False, 0)
    assert {"prod", "best"} <= set(shown["aliases"])
    labels = ("phase", "step", "license", "created", "metrics", "metadata")
    assert [shown[label] for label in labels] == [
        "t2v",
        90,
        "Apache-2.0",
        "2026-01-31T00:00:00Z",
        {"loss": 0.25},
        {"note": "a=b"},
    ]
    links = [(link["relation"], link["ref"], link["weight"], link["position"]) for link in shown["parents"]]
    assert links == [("merge", "bert:1", 0.5, 0), ("adapter", "hf://org/base", 2.0, 1)]
    assert [link["id"] is None for link in shown["parents"]] == [False, True]


def test_the_same_again_is_there_already(store, weights):
    given = ("add", weights, "--as", "bert", "--license", "MIT", "--metric", "loss=0.5", "--step", "10")
    assert done(*given).startswith("already stored as bert:1  10.2 kB")
    assert document(*given)["existed"] is True
    assert len(document("ls")["versions"]) == 1


def test_quiet_is_the_id(store, weights):
    assert done("add", weights, "--as", "other", "-q").strip() == document("show", "other")["id"]


def test_jsonl_ends_with_the_result(store, weights):
    events = [json.loads(line) for line in done("add", weights, "--as", "other", "--jsonl").splitlines()]
    assert events[-1]["event"] == "result"
    assert events[-1]["ref"] == "other:1"
    assert {event["event"] for event in events[:-1]} == {"progress"}


def test_a_dry_run_shows_the_files_and_changes_nothing(store, weights):
    before = contents(store)
    shown = done("add", weights, "--as", "other", "-n")
    assert shown.splitlines()[0] == "other  1 file  10.2 kB"
    assert shown.endswith("Nothing changed (dry run)\n")
    assert document("add", weights, "--as", "other", "-n")["logical_bytes"] == weights.stat().st_size
    assert contents(store) == before


@pytest.fixture
def phases(place):
    folder = place / "checkpoints"
    for number in (0, 1, 10):
        (folder / f"phase_{number}").mkdir(parents=True)
        (folder / f"phase_{number}" / "model.bin").write_bytes(os.urandom(100))
    (folder / "latest.pt").write_bytes(b"latest")
    return folder


def test_phases_become_versions_in_their_order(store, phases):
    lines = done("add", phases, "--as", "run").splitlines()
    assert [line.split("  ")[0] for line in lines] == ["run:1", "run:2", "run:3", "run:4"]
    versions = document("ls", "run", "--sort", "number:asc")["versions"]
    assert [version["phase"] for version in versions] == ["phase_0", "phase_1", "phase_10", None]
    assert document("show", "run@latest")["number"] == 4
    assert len(done("add", phases, "--as", "run", "-q").splitlines()) == 4


def test_a_dry_run_of_phases_lists_each(store, phases):
    plans = document("add", phases, "--as", "run", "-n")["versions"]
    assert [plan["phase"] for plan in plans] == ["phase_0", "phase_1", "phase_10", None]
    assert document("ls", "run")["versions"] == []


def test_with_a_phase_the_folder_is_one_version(store, phases):
    done("add", phases, "--as", "run", "--phase", "all", "--alias", "x")
    assert len(document("show", "run:1")["files"]) == 4


@pytest.mark.parametrize(
    "option",
    [
        ("--alias", "x"),
        ("--metric", "a=1"),
        ("--step", "1"),
        ("--meta", "a=b"),
        ("--meta", "created=2026-01-01"),
        ("--parent", "bert"),
    ],
)
def test_what_is_for_one_version_is_refused_for_phases(store, phases, option):
    assert f"becomes 4 versions, but {option[0]} is for one" in refused(2, "add", phases, "--as", "run", *option)


def test_all_of_json_goes_to_stdout(store, weights):
    result = call("add", weights, "--as", "other", "--json")
    assert json.loads(result.stdout)["ref"] == "other:1"
    assert result.stderr == ""


def test_a_dry_run_tells_the_parents_and_who_names_them(store, weights):
    (weights.parent / "README.md").write_text("---\nbase_model: org/base\nlicense: mit\n---\n")
    given = ("add", weights, weights.parent / "README.md", "--as", "other", "--parent", "bert:1", "-n")
    lines = done(*given).splitlines()
    assert "  finetune of bert:1" in lines
    assert "  finetune of hf://org/base  (as README.md says)" in lines
    plan = document(*given)
    assert ([one["ref"] for one in plan["parents"]], plan["license"]) == (["bert:1", "hf://org/base"], "mit")
    lines = done(*given[:-1]).splitlines()
    assert lines[1:] == ["  finetune of hf://org/base  (as README.md says)"]
    assert len(done(*given[:-1]).splitlines()) == 1
