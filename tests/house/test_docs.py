"""The pages: every command and target is in them, and nothing of the machine they were written on"""

import json
import re
import subprocess
import sys

import pytest
import rfc8785

from artifactstore.core.decode import read_manifest
from artifactstore.core.digest import Digest
from tests.house.tree import ROOT


def make(*arguments):
    done = subprocess.run(["make", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout


def test_make_help_lists_every_target():
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    rules = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = dict(re.findall(r"^  make (\S+) +(.+)$", make("help"), re.MULTILINE))
    assert set(shown) == set(phony.split()) == rules
    assert {"setup", "demo", "test", "check", "bench", "docs", "clean"} <= rules
    assert make() == make("help")


@pytest.fixture(scope="module")
def commands():
    """(words, command) of every command of the tree"""
    import typer
    from artstore.main import app

    def walk(command, words):
        yield " ".join(words), command
        for name, inner in sorted(getattr(command, "commands", {}).items()):
            if not inner.hidden:
                yield from walk(inner, (*words, name))

    return list(walk(typer.main.get_command(app), ("artstore",)))


def test_every_command_has_a_heading_and_a_help_text(commands):
    headings = set(re.findall(r"^#+ `?(artstore[^`\n]*?)`?$", (ROOT / "docs/cli.md").read_text(), re.MULTILINE))
    assert not [words for words, _ in commands if words not in headings]
    assert not [words for words, command in commands if not (command.help or "").strip()]
    assert len(commands) > 15


def test_every_option_has_a_help_text(commands):
    options = [
        (f"{words} {option.opts[0]}", option.help)
        for words, command in commands
        for option in command.params
        if option.param_type_name == "option" and not option.hidden
    ]
    assert len(options) > 30
    assert not [name for name, text in options if not text]


def test_the_page_of_the_command_is_what_the_command_says():
    reference = [sys.executable, "-m", "artstore.reference"]
    said = subprocess.run(reference, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert (ROOT / "docs/cli.md").read_text() == said, "run make docs"


def test_the_example_in_the_format_page_is_a_manifest():
    page = (ROOT / "docs/format.md").read_text()
    (example,) = re.findall(r"<!-- manifest ([0-9a-f]{64}) -->\n```json\n(.*?)```", page, re.DOTALL)
    manifest = read_manifest(rfc8785.dumps(json.loads(example[1])), Digest.parse(example[0]))
    assert sum(blob.size for blob in manifest.blobs) >= manifest.nbytes


MACHINE = re.compile(
    rb"(?:^|[^a-zA-Z0-9_.])/(?:work|farm|opt/(?:pypi|wheels))\b|/tmp/w\b|pythonhosted|\bpypi\.org|download\.pytorch"
)


def test_no_file_names_a_machine_or_a_registry():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name and name != "tests/house/test_docs.py"]
    found = [(path.name, hit) for path in paths if path.is_file() for hit in MACHINE.findall(path.read_bytes())]
    assert len(paths) > 50
    assert not found
