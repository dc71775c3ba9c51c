"""One run of an operation in a child, with a fault on its way, and what a user would be told"""

import json
import os
import traceback
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artstore.failure import report

from artifactstore.core.errors import StoreError
from artifactstore.core.events import Monitor
from tests.crash import harness
from tests.faults import seccomp
from tests.faults.calls import Judge, Watch, passing, watched
from tests.faults.operations import Operation


@dataclass(frozen=True, slots=True)
class Attempt:
    """answer: what was acknowledged. kinds: the classes of the error it ended with, closest first; told: stderr"""

    watch: Watch
    answer: str | None = None
    kinds: tuple[str, ...] = ()
    code: str = ""
    exit_code: int = 0
    told: str = ""

    @property
    def steps(self) -> list[str]:
        """The named steps it went through"""
        assert self.watch.outcome is not None
        return self.watch.outcome.steps


def attempt(
    operation: Operation,
    store: Path,
    judge: Judge = passing,
    *,
    names: Collection[str] = seccomp.CALLS,
    die_at: harness.Point | None = None,
) -> Attempt:
    """Run the operation in a child whose calls on the store, and on what lies beside it, are judged

    Raise AssertionError when it ends with anything but an error of our tree, or writes a traceback.
    """
    stderr = os.memfd_create("stderr")
    try:
        watch = watched(
            lambda monitor: _told(operation, store, monitor, stderr), store.parent, judge, names=names, die_at=die_at
        )
        told = os.pread(stderr, 1 << 16, 0).decode()
    finally:
        os.close(stderr)
    assert watch.outcome is not None
    said: dict[str, Any] = json.loads(watch.outcome.answer or "{}")
    assert "traceback" not in said, said["traceback"]
    assert "Traceback" not in told, told
    return Attempt(
        watch, said.get("answer"), tuple(said.get("kinds", ())), said.get("code", ""), said.get("exit", 0), told
    )


def _told(operation: Operation, store: Path, monitor: Monitor, stderr: int) -> str:
    os.dup2(stderr, 2)
    try:
        return json.dumps({"answer": operation.act(store, monitor)})
    except StoreError as e:
        with suppress(OSError):
            code = report(e, as_json=True, debug=False)
        kinds = [kind.__name__ for kind in type(e).__mro__]
        return json.dumps({"kinds": kinds, "code": e.code, "exit": code})
    except BaseException:
        return json.dumps({"traceback": traceback.format_exc()})
