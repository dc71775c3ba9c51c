"""artstore build"""

import json

import pytest

from tests.cli.calling import call, contents, document, done, refused
from tests.cli.test_merge import SLERP, model


@pytest.fixture
def recipes(place, store):
    """A folder of recipes: half of org/a and org/b, and one of a model that nobody has"""
    for seed, name in enumerate("ab"):
        done("add", model(place / name, seed), "--as", f"org/{name}", "--license", "MIT")
    (place / "recipes").mkdir()
    (place / "recipes/half.yml").write_text(SLERP)
    return place / "recipes"


def test_a_model_is_made_written_out_and_listed(recipes, place):
    said = done("build", "recipes/half.yml", "--shard-size", "1MB", "--out", "public/half", "--entry", "k")
    first, last = said.splitlines()
    assert first.startswith("half.yml → half:1  public/half  4 files  ")
    assert first.endswith("listed as k")
    assert last.startswith("1 model built  ")
    entry = json.loads((place / "public/models.json").read_bytes())["k"]
    assert entry["metadata"]["fusion"]["created_by"].startswith("artstore ")
    found = document("build", "recipes/half.yml", "--shard-size", "1MB", "--out", "public/half", "--created-by", "me")
    assert (found["failed"], found["models"][0]["product"]["ref"]) == (0, "half:1")
    listed = json.loads((place / "public/models.json").read_bytes())
    assert listed["half"]["metadata"]["fusion"]["created_by"] == "me"
    assert set(listed) == {"k", "half"}


def test_some_that_are_refused_are_told_of(recipes, place):
    (recipes / "none.yml").write_text(SLERP.replace("org/b", "org/none"))
    result = call("build", "--all", "recipes", "--out", "public")
    assert (result.exit_code, result.stderr) == (6, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("half.yml → half:1")
    assert lines[1].startswith("none.yml: org/none is neither in the store nor a folder here")
    assert lines[2].startswith("1 model built  1 refused")
    assert refused(3, "build", "recipes/none.yml").startswith("org/none is neither")


def test_a_plan_changes_nothing(recipes, place):
    (recipes / "after.yml").write_text(SLERP.replace("org/b", "half"))
    before = contents(place)
    rows = [line.split() for line in done("build", "--all", "recipes", "--level", "q4", "-n").splitlines()]
    assert [row[0] for row in rows[1:3]] == ["half.yml", "after.yml"]
    assert rows[1][-1] == "half-q4"
    (first, second) = document("build", "--all", "recipes", "--out", "public", "-n")["steps"]
    assert (first["product"], first["out"], second["takes"]) == ("half", "public/half", ["half"])
    assert contents(place) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give recipes, or --all DIR"),
        (["recipes/half.yml", "--all", "recipes"], "Give recipes, or --all DIR"),
        (["recipes/half.yml", "--level", "q5", "--target", "gpu"], "q5"),
        (["recipes/half.yml", "--target", "moon"], "moon"),
        (["recipes/half.yml", "--shard-size", "much"], "much"),
        (["recipes/half.yml", "recipes/two.yml", "--entry", "k"], "--entry names one model"),
        (["recipes/bad.yml"], "bad.yml: line 1"),
        (["recipes/half.yml", "--out", ""], "A path is empty"),
        (["recipes/half.yml", "--level", ""], "The web holds no "),
        (["--all", ""], "A path is empty"),
        (["recipes/half.yml", "--entry", "k"], "--entry says how a model is written out; give --out DIR too"),
        (["recipes/half.yml", "--shard-size", "1MB"], "--shard-size says how"),
        (["recipes/half.yml", "--out", "recipes/half.yml"], "recipes/half.yml is a file; give a folder"),
        (["recipes/half.yml", "--level", "q4", "--target", "gpu", "--out", "b"], "b is the folder of ./b"),
    ],
)
def test_what_is_wrong_is_one_line(recipes, place, arguments, message):
    (recipes / "bad.yml").write_text("merge_method: linaer")
    (recipes / "half.yml").write_text(SLERP.replace("org/b", "./b"))
    before = contents(place)
    assert message in refused(2, "build", *arguments)
    assert contents(place) == before


def test_a_listing_that_takes_no_entry_is_told_before_the_work(recipes, place):
    (place / "public").mkdir()
    (place / "public/models.json").write_text("{broken")
    before = contents(place)
    assert "models.json is no JSON" in refused(2, "build", "recipes/half.yml", "--out", "public/half")
    assert contents(place) == before


def test_a_folder_that_is_not_there(recipes):
    assert "none" in refused(3, "build", "--all", "none")
    assert "half.yml is not a folder" in refused(2, "build", "--all", "recipes/half.yml")
