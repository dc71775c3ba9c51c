"""Where stores are broken, and how the broken ones are counted aloud"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.faults.operations", "tests.faults.soundness", "tests.faults.attempts")

from tests.faults import seccomp  # noqa: E402  # what is imported before is not rewritten
from tests.faults.scale import SEED, SOAK  # noqa: E402  # as above

_MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session", autouse=True)
def held_calls():
    if reason := seccomp.unsupported():
        pytest.skip(reason)


@pytest.fixture
def workplace():
    """A folder, in memory where there is one: a killed process leaves the same bytes there, three times as fast"""
    folder = Path(tempfile.mkdtemp(prefix="artstore-faults-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def say(capsys):
    """Print a line that is seen also when all is well"""

    def line(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}{f' (seed {SEED})' if SOAK else ''}", end="")

    return line
