"""Command: how fast the command answers, with a large catalog behind it"""

import sqlite3
import sys
import time
from pathlib import Path

from benchmarks import measure
from benchmarks.measure import Sample

ARTSTORE = Path(sys.executable).with_name("artstore")
VERSIONS, BLOBS = 10_000, 1_000_000
_BATCH = 50_000


def fill(store: Path) -> None:
    """10,000 versions over 1,000,000 blob rows, written straight into the tables"""
    measure.run([ARTSTORE, "init", store])
    rows = sqlite3.connect(store / "catalog.sqlite")
    rows.execute("PRAGMA synchronous=OFF")
    now = time.time_ns() // 1000
    _insert(rows, "artifact", [{"id": n + 1, "name": f"team/model-{n}"} for n in range(100)])
    for first in range(0, BLOBS, _BATCH):
        _insert(rows, "blob", [_object(n) for n in range(first, first + _BATCH)])
    _insert(rows, "manifest", [_object(n) for n in range(VERSIONS)])
    _insert(rows, "version", [_version(n, now) for n in range(VERSIONS)])
    for first in range(0, VERSIONS, 500):
        links = [
            {"version_id": v + 1, "blob_id": (v * 100 + b) % BLOBS + 1}
            for v in range(first, first + 500)
            for b in range(100)
        ]
        _insert(rows, "version_blob", links)
    rows.commit()
    rows.execute("ANALYZE")
    rows.close()


def _object(number: int) -> dict[str, object]:
    digest = number.to_bytes(32, "little")
    return {
        "id": number + 1, "digest": digest, "inc": f"{number:016x}", "size": 4096, "stored_size": 4096,
        "key": f"blobs/{digest.hex()[:2]}/{digest.hex()}.{number:016x}", "start": 0, "state": "live",
    }  # fmt: skip


def _version(number: int, now: int) -> dict[str, object]:
    return {
        "id": number + 1, "digest": number.to_bytes(32, "little"), "artifact_id": number % 100 + 1,
        "number": number // 100 + 1, "created": now - number * 1_000_000, "taken": now, "phase": "train",
        "step": number, "nbytes": 409_600, "file_count": 1, "tensor_count": 0, "formats": "other", "dtypes": "",
        "metadata": "{}", "state": "active",
    }  # fmt: skip


def _insert(rows: sqlite3.Connection, table: str, values: list[dict[str, object]]) -> None:
    known = {column[1] for column in rows.execute(f"PRAGMA table_info({table})")}
    names = [name for name in values[0] if name in known]
    sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # our own names
    rows.executemany(sql, ([value[name] for name in names] for value in values))


def run(root: Path, rounds: int) -> dict[str, object]:
    """Seconds and peak memory of each screen"""
    store = root / "large"
    fill(store)
    contenders: dict[str, object] = {
        "python -c pass": lambda: measure.run([sys.executable, "-c", "pass"]),
        "artstore --help": lambda: measure.run([ARTSTORE, "--help"]),
        "artstore ls, 10,000 versions": lambda: _ls(store),
        "artstore ls --limit 20": lambda: _ls(store, "--limit", "20"),
    }
    return {"samples": measure.as_json(measure.interleaved(contenders, rounds))}


def _ls(store: Path, *more: str) -> Sample:
    return measure.run([ARTSTORE, "ls", "--store", store, *more])
