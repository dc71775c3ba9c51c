"""What tests of other libraries' trainers share: a store, what is in it, and no hub"""

import os
import subprocess
import sys

import pytest

from artifactstore import CheckpointManager, Settings, Store
from artifactstore.core.events import Warn

# read once, when the libraries are imported
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture
def place(tmp_path):
    return str(tmp_path / "store")


@pytest.fixture
def managed(place, tmp_path):
    """Make managers of one store, as processes that come one after the other would"""
    made = []
    warned = []

    def make(**options):
        settings = Settings(attested=str(tmp_path / "attested"))
        options = {"background": "thread", **options}
        manager = CheckpointManager(
            store=place,
            run="job",
            settings=settings,
            monitor=lambda e: isinstance(e, Warn) and warned.append(e),
            **options,
        )
        made.append(manager)
        return manager

    make.warned = warned
    yield make
    for manager in made:
        manager.close()


@pytest.fixture
def versions(place, tmp_path):
    """(number, step, metrics, aliases, parents) of what is there, oldest first"""

    def read():
        with Store.open(place, settings=Settings(attested=str(tmp_path / "attested"))) as store:
            return [
                (
                    found.number,
                    found.step,
                    {name: round(value, 4) for name, value in found.metrics.items()},
                    sorted(map(str, found.aliases)),
                    [(str(link.relation), link.ref) for link in store.depot.catalog.versions.parents(found.id)],
                )
                for found in sorted(store.ls("job"), key=lambda found: found.number)
            ]

    return read


@pytest.fixture
def told_too_old(tmp_path):
    """What is said when a module of ours meets an old release of its library"""

    def run(module, library, files=()):
        for path in (f"{library}/__init__.py", *files):
            file = tmp_path / "old" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("__version__ = '0.9'\ndef __getattr__(name): return object\n")
        done = subprocess.run(
            [sys.executable, "-c", f"import {module}"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "old"), *filter(None, sys.path)])},
            capture_output=True,
            text=True,
        )
        assert done.returncode
        return done.stderr.splitlines()[-1]

    return run
