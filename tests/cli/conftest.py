"""A home, a folder and a store of their own for each test of the command"""

import os
import shutil

import pytest

from tests.cli.calling import done


def alone(folder, patch):
    """The current folder in this one, which no store above it reaches, with a home beside it"""
    for name in [name for name in os.environ if name.startswith("ARTSTORE_")]:
        patch.delenv(name)
    (folder / "home").mkdir()
    (folder / "place").mkdir()
    patch.setenv("HOME", str(folder / "home"))
    patch.chdir(folder / "place")
    return folder / "place"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """The current folder"""
    return alone(tmp_path, monkeypatch)


def write_weights(folder):
    path = folder / "weights.bin"
    path.write_bytes(bytes(range(256)) * 40)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


@pytest.fixture
def weights(place):
    """A small file"""
    return write_weights(place)


@pytest.fixture(scope="session")
def first_store(tmp_path_factory):
    """A store with bert:1, made once"""
    with pytest.MonkeyPatch.context() as patch:
        folder = alone(tmp_path_factory.mktemp("first"), patch)
        done("init")
        weights = write_weights(folder)
        done("add", weights, "--as", "bert", "--license", "MIT", "--metric", "loss=0.5", "--step", "10")
    return folder / ".artstore"


@pytest.fixture
def store(place, weights, first_store):
    """The store of this folder, with bert:1"""
    return shutil.copytree(first_store, place / ".artstore")
