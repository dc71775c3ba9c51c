"""A home, a folder and a store of their own for each test of the command"""

import os

import pytest

from tests.cli.calling import done


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """The current folder, which no store above it reaches, with a home beside it"""
    for name in [name for name in os.environ if name.startswith("ARTSTORE_")]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    (tmp_path / "place").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


@pytest.fixture
def weights(place):
    """A small file"""
    path = place / "weights.bin"
    path.write_bytes(bytes(range(256)) * 40)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


@pytest.fixture
def store(place, weights):
    """The store of this folder, with bert:1"""
    done("init")
    done("add", weights, "--as", "bert", "--license", "MIT", "--metric", "loss=0.5", "--step", "10")
    return place / ".artstore"
