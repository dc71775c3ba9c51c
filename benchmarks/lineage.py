"""Lineage: ancestors and descendants among 100,000 links, on SQLite and on Postgres

Three lines of 10,000 resumed steps, two bases with 10,000 adapters each, and 100 layers of 250 merges of two.
"""

import json
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import sqlalchemy as sa

from artifactstore.catalog.open import Catalog, create_catalog
from artifactstore.catalog.tables import artifact, link, version
from artifactstore.catalog.url import sqlite_url
from artifactstore.core.digest import Digest
from artifactstore.core.settings import Settings

LINES, STEPS, BASES, ADAPTERS, LAYERS, WIDTH = 3, 10_000, 2, 10_000, 100, 250
LEAST = 7  # calls a median is of; one takes less than the noise of a machine at work
_BATCH = 10_000
_Links = list[tuple[int, int, str, int]]


def run(folder: Path, rounds: int) -> dict[str, object]:
    """By database and question: versions and links found, and the median seconds of a call in a process that is up"""
    from tests.servers import postgres_database, start_postgres  # the server takes its time to be found

    with start_postgres() as server:
        databases: dict[str, AbstractContextManager[str]] = {
            "sqlite": _sqlite(folder),
            "postgres": postgres_database(server),
        }
        return {kind: _measured(kind, opened, max(rounds, LEAST)) for kind, opened in databases.items()}


@contextmanager
def _sqlite(folder: Path) -> Iterator[str]:
    yield sqlite_url(folder / "lineage.sqlite")


def _measured(kind: str, opened: AbstractContextManager[str], rounds: int) -> dict[str, object]:
    with opened as url:
        catalog = create_catalog(url, store_id="store", catalog_id="catalog", settings=Settings())
        links, questions = shapes()
        fill(catalog, links)
        found = {name: _ask(catalog, root, rounds, up=up) for name, (root, up) in questions.items()}
        catalog.close()
    for name, answer in found.items():
        print(f"  {kind:8} {name:38} {json.dumps(answer)}", flush=True)
    return {"links": len(links), "answers": found}


def _ask(catalog: Catalog, root: int, rounds: int, *, up: bool) -> dict[str, object]:
    def once() -> float:
        began = time.perf_counter()
        catalog.versions.graph(_digest(root), up=up, down=not up)
        return time.perf_counter() - began

    graph = catalog.versions.graph(_digest(root), up=up, down=not up)
    seconds = [once() for _ in range(rounds)]
    return {
        "versions": len(graph.nodes),
        "links": len(graph.edges),
        "seconds": statistics.median(seconds),
        "fastest": min(seconds),
    }


def shapes() -> tuple[_Links, dict[str, tuple[int, bool]]]:
    """(child, position, relation, parent) of every link, and where to ask upwards or downwards"""
    links: _Links = []
    last = 0
    for _ in range(LINES):
        links += [(last + step + 1, 0, "resume", last + step) for step in range(1, STEPS + 1)]
        last += STEPS + 1
    for _ in range(BASES):
        links += [(last + 1 + number, 0, "adapter", last + 1) for number in range(1, ADAPTERS + 1)]
        last += ADAPTERS + 1
    base, adapter = last - ADAPTERS, last
    chosen = random.Random(1)
    above = range(last + 1, last + WIDTH + 1)
    oldest = above[0]
    for _ in range(LAYERS):
        layer = range(above[-1] + 1, above[-1] + WIDTH + 1)
        links += [
            (child, place, "merge", parent)
            for child in layer
            for place, parent in enumerate(sorted(chosen.sample(above, 2)))
        ]
        above = layer
    return links, {
        "ancestors of the last of 10,000 steps": (STEPS + 1, True),
        "descendants of the first of them": (1, False),
        "ancestors of an adapter": (adapter, True),
        "descendants of a base of 10,000": (base, False),
        "ancestors in 100 layers of merges": (above[-1], True),
        "descendants in 100 layers of merges": (oldest, False),
    }


def fill(catalog: Catalog, links: _Links) -> None:
    """Rows written straight into the tables"""
    count = max(child for child, *_ in links)
    rows: list[tuple[sa.Table, Sequence[dict[str, object]]]] = [
        (artifact, [{"id": number + 1, "name": f"team/model-{number}"} for number in range(1000)]),
        (version, [_version(number) for number in range(1, count + 1)]),
        (link, [_link(*one) for one in links]),
    ]
    for table, values in rows:
        for first in range(0, len(values), _BATCH):
            some = values[first : first + _BATCH]
            catalog.database.write(lambda connection, t=table, v=some: connection.execute(sa.insert(t), v))
    if catalog.database.is_postgres:
        # which it does by itself from time to time
        catalog.database.write(lambda connection: connection.exec_driver_sql("ANALYZE"))


def _digest(number: int) -> Digest:
    return Digest(number.to_bytes(32, "little"))


def _version(number: int) -> dict[str, object]:
    return {
        "id": number, "digest": _digest(number), "artifact_id": number % 1000 + 1, "number": number // 1000 + 1,
        "created": number, "taken": number, "phase": "train", "step": number, "nbytes": 4096, "file_count": 1,
        "tensor_count": 1, "formats": "safetensors", "dtypes": "BF16", "metadata": "{}", "state": "active",
    }  # fmt: skip


def _link(child: int, position: int, relation: str, parent: int) -> dict[str, object]:
    return {
        "child_id": child, "position": position, "relation": relation, "ref": f"team/model:{parent}",
        "parent_id": parent, "parent_digest": _digest(parent), "weight": 0.5, "params": "{}", "evidence": "hash",
    }  # fmt: skip
