"""The command's root"""

import subprocess
import sys

import pytest
from artstore.main import app
from typer.main import get_command

import artifactstore
from tests.cli.calling import call, done, refused


def walk(command, words=()):
    yield words
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, (*words, name))


COMMANDS = sorted(words for words in walk(get_command(app)) if words)
GROUPS = {"alias", "bundle", "cache", "catalog", "import", "policy", "remote"}
TREE = {
    *["add", "checkout", "diff", "doctor", "du", "export", "gc", "init", "log", "ls", "metric", "pin", "repair"],
    *["search", "show", "status", "tree", "undo", "unpin", "verify", "why"],
    *["benchmark", "build", "evaluate", "merge", "merge-sweep", "quantize", "run", "shard"],
    *["clone", "fetch", "pull", "push", "sync", "whereis"],
    *("alias log", "alias rm", "alias set", "cache clear", "cache ls", "import checksums"),
    *("catalog dump", "catalog rebuild", "catalog upgrade"),
    *("policy ls", "policy rm", "policy set", "policy test"),
    *("bundle apply", "bundle create", "bundle have", "bundle inspect", "remote add", "remote ls", "remote rm"),
}


def test_the_tree_is_the_one_promised():
    assert {" ".join(words) for words in COMMANDS} == TREE | GROUPS


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_of_each_command(words):
    shown = done(*words, "--help")
    assert shown == done(*words, "-h")
    assert "Usage: " in shown
    if " ".join(words) not in GROUPS:
        assert all(
            option in shown for option in ("--store", "--catalog", "--offline", "--json", "--jsonl", "-q", "--debug")
        )


def test_help_has_every_command_under_a_heading():
    words = done("--help").split("In and out:", 1)[1].splitlines()
    listed = [line.split()[0] for line in words if line.startswith("  ") and not line.startswith("   ")]
    assert sorted(listed) == sorted({first for first, *_ in COMMANDS})
    assert listed.index("add") < listed.index("ls") < listed.index("alias") < listed.index("gc") < listed.index("init")
    headings = ["New from old:", "Look:", "Label:", "Make room:", "Other stores:", "The store:"]
    assert [line for line in words if line and line[0] != " "] == headings


def test_version():
    assert done("--version") == f"artstore {artifactstore.__version__}\n"


def test_without_a_command_it_shows_the_help():
    result = call()
    assert (result.exit_code, result.stderr) == (2, "")
    assert result.stdout.startswith("Usage: artstore")


@pytest.mark.parametrize(
    "words", [("lss",), ("--bogus",), ("ls", "--bogus"), ("show",), ("show", "a", "b"), ("add", "--as")]
)
def test_wrong_usage_is_one_line(words):
    assert refused(2, *words).endswith("--help")


def test_a_choice_that_is_none_names_those_there_are(store):
    line = refused(2, "du", "--by", "foo")
    assert line.startswith("Invalid value for '--by': 'foo' is not one of 'artifact', 'phase', 'kind', 'format'")


def test_wrong_usage_with_json_is_json():
    assert call("ls", "--bogus", "--json").stderr.startswith('{"error": "invalid.usage"')
    assert call("show", "--", "--json").stderr.startswith("artstore: ")


def test_debug_shows_where_it_came_from():
    stderr = call("show", "nobody", "--debug").stderr
    assert stderr.startswith("Traceback")
    assert stderr.splitlines()[-1].startswith("artstore: No store at")


def test_standalone_or_not():
    command = get_command(app)
    assert command.main(["show", "a\n", "--store", "x"], standalone_mode=False) == 10
    assert command.main(["--version"], standalone_mode=False) in {0, None}


def test_help_imports_nothing_heavy():
    program = (
        "import sys; from artstore.main import app\ntry: app(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    names = {name.partition(".")[0] for name in said.splitlines()[-1].split()}
    assert "artstore" in names
    assert not names & {"sqlalchemy", "rich", "torch", "numpy", "fsspec", "alembic"}
    assert "artifactstore.store" not in said.split()
