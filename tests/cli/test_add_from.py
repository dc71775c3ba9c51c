"""artstore add --from"""

import json

import pytest

from tests.cli.calling import call, contents, document, done, refused
from tests.test_intake import COMMIT, hub  # noqa: F401  # a fixture


@pytest.fixture
def cache(hub, store):  # noqa: F811  # the fixture of that name
    return hub


def test_a_dry_run_tells_each_version(cache):
    before = contents(cache.parent / "place")
    said = done("add", "--from", "hf-cache", cache, "-n")
    rows = [line.split() for line in said.splitlines()]
    assert ["org/m", "@main", "3", "files"] in [
        row[:4] for row in rows if row[-1].endswith(f"org--m/snapshots/{COMMIT}")
    ]
    assert "org/m:  finetune of hf://org/base  (as README.md says)" in said
    assert said.endswith("kB\nNothing changed (dry run)\n")
    plan = document("add", "--from", "hf-cache", cache, "-n")
    assert [one["artifact"] for one in plan["versions"]] == ["gpt2", "org/m", "org/m"]
    assert plan["versions"][2]["metadata"] == {"upstream": {"source": "hf://org/m", "commit": COMMIT}}
    assert plan["passed"] == []
    assert contents(cache.parent / "place") == before


def test_each_is_told_once_it_is_in(cache):
    lines = done("add", "--from", "hf-cache", cache).splitlines()
    assert [line.split("  ")[0] for line in lines] == ["gpt2:1", "org/m:1", "org/m:2", ""]
    assert "alias main" in lines[2]
    assert lines[3].strip() == "finetune of hf://org/base  (as README.md says)"
    again = document("add", "--from", "hf-cache", cache)
    assert [one["existed"] for one in again["versions"]] == [True] * 3
    ids = done("add", "--from", "hf-cache", cache, "-q").split()
    assert ids == [one["id"] for one in again["versions"]]


def test_the_folder_of_the_tool_is_the_default(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    assert len(document("add", "--from", "hf-cache", "-n")["versions"]) == 3
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(cache.parent))
    assert document("add", "--from", "hf-cache", "-n")["path"] == str(cache)
    monkeypatch.delenv("HF_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert str(tmp_path / "home/.cache/huggingface/hub") in refused(3, "add", "--from", "hf-cache")
    assert str(tmp_path / "home/.ollama/models") in refused(3, "add", "--from", "ollama")
    assert "Missing PATH: --from dir" in refused(2, "add", "--from", "dir")


def test_what_is_passed_over_is_told_and_ends_with_6(cache):
    (cache / "models--org--m" / "snapshots" / COMMIT / "config.json").resolve().unlink()
    result = call("add", "--from", "hf-cache", cache)
    assert result.exit_code == 6
    place = f"models--org--m/snapshots/{COMMIT}"
    assert f"passed over {place}: config.json is a link to nothing; download it again" in result.stdout
    result = call("add", "--from", "hf-cache", cache, "--json")
    assert result.exit_code == 6
    (passed,) = json.loads(result.stdout)["passed"]
    assert (passed["place"], passed["broken"]) == (place, True)


def test_damage_alone_ends_with_4(cache):
    blob = (cache / "models--gpt2" / "snapshots" / COMMIT / "config.json").resolve()
    blob.write_bytes(b"[]")
    result = call("add", "--from", "hf-cache", cache / "models--gpt2")
    assert result.exit_code == 4
    assert result.stderr.splitlines()[-1].startswith(f"artstore: {blob} is damaged")


def test_names(cache):
    assert "cannot all be mine" in refused(2, "add", "--from", "hf-cache", cache, "--as", "mine")
    found = document("add", "--from", "hf-cache", cache, "--as", "hub/", "-n")["versions"]
    assert {one["artifact"] for one in found} == {"hub/gpt2", "hub/org/m"}
    assert "Not an artifact name" in refused(2, "add", "--from", "hf-cache", cache / "models--gpt2", "--as", "a b")


@pytest.mark.parametrize(
    "options",
    [
        ("--alias", "a"),
        ("--parent", "bert"),
        ("--step", "0"),
        ("--meta", "a=b"),
        ("--license", "MIT"),
        ("--phase", "p"),
    ],
)
def test_labels_of_one_version_are_refused(cache, options):
    line = refused(2, "add", "--from", "hf-cache", cache, *options)
    assert line.startswith(f"{options[0]} is for one version")


def test_one_folder_at_a_time_and_one_that_is_there(cache, place):
    assert "takes one PATH, 2 were given" in refused(2, "add", "--from", "hf-cache", cache, cache)
    assert "No such file or folder: nowhere" in refused(3, "add", "--from", "dir", "nowhere")
    (place / "empty").mkdir()
    assert "empty holds nothing that --from mlflow knows" in refused(3, "add", "--from", "mlflow", "empty")
    assert "--from" in refused(2, "add", "--from", "dvc", "empty")


def test_without_from_a_path_and_a_name_are_needed(store, weights):
    assert refused(2, "add", weights) == "Missing --as NAME; see artstore add --help"
    assert refused(2, "add", "--as", "x") == "Missing PATH; see artstore add --help"
