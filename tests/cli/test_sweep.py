"""artstore merge-sweep"""

import pytest

from tests.cli.calling import contents, document, done, refused
from tests.cli.test_merge import SLERP, model

RECIPE = SLERP.replace("[{filter: norm, value: 0}, {value: 0.5}]", "0.5")


@pytest.fixture
def recipe(place, store):
    """half.yml, half of org/a and org/b"""
    for seed, name in enumerate("ab"):
        done("add", model(place / name, seed), "--as", f"org/{name}")
    (place / "half.yml").write_text(RECIPE)
    return "half.yml"


def test_each_value_is_a_version(recipe):
    rows = [line.split() for line in done("merge-sweep", recipe, "--set", "t=0.3,0.7").splitlines()]
    assert rows == [["VERSION", "VALUES"], ["half:1", "t=0.3"], ["half:2", "t=0.7"]]
    found = document("merge-sweep", recipe, "--set", "t=0.3,0.7")
    assert [(one["ref"], one["values"]) for one in found["versions"]] == [
        ("half:1", {"t": 0.3}),
        ("half:2", {"t": 0.7}),
    ]
    assert found["best"] is None


def test_a_plan_changes_nothing(recipe, place):
    before = contents(place)
    lines = done("merge-sweep", recipe, "--set", "t=0.3,0.7", "-n").splitlines()
    assert lines[0].split() == ["VALUES", "SIZE", "TO", "CALCULATE"]
    assert lines[-1] == "Nothing changed (dry run)"
    assert contents(place) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "t=0.3,nan"], "--set is like t=0.3,0.5,0.7"),
        (["--set", "t"], "--set is like t=0.3,0.5,0.7"),
        (["--set", "t=0.3,0.3"], "with different numbers"),
        (["--set", "t=2"], "t should be from 0 to 1"),
        (["--set", "tt=0.5"], "tt"),
        (["--set", "t=0.5", "--task", "nosuch"], "Unknown task 'nosuch'"),
        (["--set", "t=0.5", "--as", ""], "Not an artifact name: ''"),
        ([], "--set"),
    ],
)
def test_what_is_wrong_is_one_line(recipe, place, arguments, message):
    before = contents(place)
    assert message in refused(2, "merge-sweep", recipe, *arguments)
    assert contents(place) == before
