"""Where stores are broken, and how the broken ones are counted aloud"""

import functools
import shutil
import tempfile
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.faults.operations", "tests.faults.soundness", "tests.faults.attempts")

from tests.faults import seccomp  # noqa: E402  # what is imported before is not rewritten
from tests.faults.grounds import prepare, sparse  # noqa: E402  # as above
from tests.faults.scale import SEED, SOAK  # noqa: E402  # as above


@pytest.fixture(scope="session", autouse=True)
def held_calls():
    if reason := seccomp.unsupported():
        pytest.skip(reason)


@pytest.fixture
def workplace():
    """A folder, gone with the test"""
    folder = Path(tempfile.mkdtemp(prefix="artstore-faults-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def ground_of(tmp_path_factory):
    """What an operation starts from, made once for all faults"""
    folder = tmp_path_factory.mktemp("grounds")
    return functools.cache(lambda operation: sparse(prepare(operation, folder)))


@pytest.fixture
def say(capsys):
    """Print a line that is seen also when all is well"""

    def line(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}{f' (seed {SEED})' if SOAK else ''}", end="")

    return line
