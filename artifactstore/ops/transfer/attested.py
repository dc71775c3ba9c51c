"""Attested: which files of this machine were read whole and found to be what their digest says

A file is known again by its device, inode, size and times. All processes of a user share what is known, in one SQLite
file; it only saves work: where it cannot be read or written, files are hashed once more.
"""

import sqlite3
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Self

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid
from artifactstore.core.settings import Settings
from artifactstore.ops.transfer.source import Stamp

# A file written again within one tick of its clock keeps its times; so fresh ones are not vouched for.
_SETTLED = 2_000_000_000
_TABLE = """CREATE TABLE IF NOT EXISTS attested (
    place BLOB PRIMARY KEY, stamp BLOB NOT NULL, digest BLOB NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID"""
_CHUNK = 500


class Attestations:
    """What is known in a file, which is made with its folder when something is noted first"""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those that settings name"""
        return cls(Path(settings.attested).expanduser())

    def known(self, stamps: Sequence[Stamp]) -> dict[Stamp, Digest]:
        """The digests of those files that are as they were when they were read"""
        found: dict[Stamp, Digest] = {}
        with suppress(sqlite3.Error), self._opened(create=False) as rows:
            by_place = {_place(stamp): stamp for stamp in stamps}
            places = list(by_place)
            for begin in range(0, len(places), _CHUNK):
                some = places[begin : begin + _CHUNK]
                query = f"SELECT place, stamp, digest FROM attested WHERE place IN ({','.join('?' * len(some))})"  # noqa: S608  # marks only
                for place, seen, digest in rows.execute(query, some):
                    stamp = by_place[place]
                    if seen == _times(stamp):
                        # a damaged row is one that nobody wrote
                        with suppress(Invalid, TypeError):
                            found[stamp] = Digest(digest)
        return found

    def note(self, read: Mapping[Stamp, Digest]) -> None:
        """Files that were read whole, with their digests; those changed a moment ago are left out"""
        now = time.time_ns()
        settled = {stamp: digest for stamp, digest in read.items() if stamp.ctime_ns < now - _SETTLED}
        rows = [(_place(stamp), _times(stamp), digest, now) for stamp, digest in settled.items()]
        if not rows:
            return
        with suppress(sqlite3.Error, OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._opened(create=True) as file:
                file.execute(_TABLE)
                file.executemany("INSERT OR REPLACE INTO attested VALUES (?, ?, ?, ?)", rows)

    @contextmanager
    def _opened(self, *, create: bool) -> Iterator[sqlite3.Connection]:
        uri = f"{self._path.absolute().as_uri()}?mode={'rwc' if create else 'ro'}"
        with closing(sqlite3.connect(uri, uri=True, timeout=5)) as connection, connection:
            yield connection


def _place(stamp: Stamp) -> bytes:
    return struct.pack("<2Q", stamp.device % (1 << 64), stamp.inode % (1 << 64))


def _times(stamp: Stamp) -> bytes:
    return struct.pack("<Q2q", stamp.size, stamp.mtime_ns, stamp.ctime_ns)
