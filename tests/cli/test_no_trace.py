"""Commands that only look leave a store exactly as it was, and tell the truth beside a writer"""

import json
import os
import subprocess
import sys

import pytest

from tests.cli.calling import done, process

LOOKING = [
    ("ls",),
    ("ls", "--where", "step = 10"),
    ("show", "bert"),
    ("search", "bert"),
    ("tree", "bert"),
    ("why", "bert"),
    ("du",),
    ("status",),
    ("log",),
    ("alias", "log", "bert", "prod"),
    ("policy", "ls"),
    ("gc", "-n"),
    ("export", "checksums", "bert"),
    ("catalog", "dump"),
    ("catalog", "rebuild", "-n"),
]


@pytest.fixture
def still(store):
    """The store, with an alias, and after the clock has moved on"""
    done("alias", "set", "bert", "prod", "bert")
    return store


def everything(folder):
    """Every file and folder with its size, its times of change and its number"""
    found = [folder, *folder.rglob("*")]
    stamps = [(path, os.lstat(path)) for path in found]
    return {str(path): (one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for path, one in stamps}


@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_a_look_changes_nothing(still, command):
    before = everything(still)
    done(*command)
    assert everything(still) == before


# commands one after the other, without the time that each would take to start
WRITER = """
import sys
from artstore.main import app
for number, source in enumerate(sys.argv[1:]):
    words = ["add", source, "--as", "bert", "--alias", "prod", "--metric", f"n={number}", "-q"]
    app(words, standalone_mode=False)
"""


def test_beside_a_writer_every_listing_is_whole(still, place):
    """A version, its alias and its metric are committed together, and are seen together"""
    sources = []
    for number in range(12):
        sources.append(place / f"in{number}")
        sources[-1].write_bytes(bytes([number]) * 1000)
    with subprocess.Popen([sys.executable, "-c", WRITER, *sources], stdout=subprocess.DEVNULL) as writer:
        looks = []
        while writer.poll() is None:
            looks.append(json.loads(done("ls", "--sort", "number", "--json"))["versions"])
    assert writer.returncode == 0
    for versions in looks:
        assert [one["number"] for one in versions] == list(range(1, len(versions) + 1))
        assert [one["number"] for one in versions if "prod" in one["aliases"]] == [len(versions)] or len(versions) == 1
        assert all(one["metrics"]["n"] == one["number"] - 2 for one in versions[1:])
    assert len({len(versions) for versions in looks}) > 1
    assert len(json.loads(process("ls", "--json").stdout)["versions"]) == 13
