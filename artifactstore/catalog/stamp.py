"""Stamp: how an SQLite file is known to be as it was, by readers who leave nothing beside it

Opened as immutable, SQLite makes neither log nor shared memory, takes no lock and notices no change. So the file is
looked at before and after: a commit that reached it in between has changed its times, one that has not is in its log.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

# a second write within one tick of the clock of a file system leaves the time as it was
_TICK = 20_000_000
_COARSE, _COARSE_TICK = 1_000_000_000, 2_000_000_000


@dataclass(frozen=True, slots=True)
class Stamp:
    """A database file at a moment. settled: all commits are in it, and one more would show"""

    facts: tuple[int, ...]
    settled: bool

    @classmethod
    def take(cls, file: Path) -> Self:
        """Look; a file that was written this instant is waited for, some milliseconds at most"""
        # the log before the file, and after it once more: whoever writes has one all the while
        busy = _has_log(file)
        try:
            facts = file.stat()
            while (age := abs(time.time_ns() - facts.st_mtime_ns)) < _TICK:
                time.sleep((_TICK - age) / 1e9)
                facts = file.stat()
        except FileNotFoundError:
            return cls((), settled=False)
        coarse = facts.st_mtime_ns % _COARSE == 0 and age < _COARSE_TICK
        settled = not (busy or coarse or _has_log(file))
        return cls((facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns), settled)


def _has_log(file: Path) -> bool:
    return any(_size(file.with_name(f"{file.name}{suffix}")) for suffix in ("-wal", "-journal"))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
