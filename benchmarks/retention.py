"""Retention: gc's plan and collection over very many versions and blobs, on SQLite and on Postgres

As a child, `retention.py plan|collect STORE CATALOG KEPT` does one of them and prints its seconds.
"""

import json
import sys
import time
from datetime import timedelta
from pathlib import Path

from artifactstore.catalog.open import open_catalog
from artifactstore.core.selection import Rules
from artifactstore.core.settings import Settings
from artifactstore.store import Store

ARTIFACTS, SHARED, OWN = 100, 900, 100
SIZES = (1_000, 10_000)


def run(folder: Path, rounds: int) -> dict[str, object]:
    """Seconds and peak memory by database and number of versions; each version has 1,000 blobs, 100 of its own"""
    from benchmarks import measure
    from tests.servers import postgres_database, start_postgres

    found: dict[str, object] = {}
    with start_postgres() as server:
        for versions in SIZES:
            for kind in ("sqlite", "postgres"):
                where = folder / f"{kind}-{versions}"
                with postgres_database(server) if kind == "postgres" else _sqlite(where) as catalog:
                    fill(where, catalog, versions)
                    # a tenth of each artifact goes
                    given = (where, catalog, str(versions // ARTIFACTS * 9 // 10))
                    plans = {"plan": lambda g=given: measure.inside("retention", "plan", *g)}
                    samples = measure.interleaved(plans, rounds)
                    samples["collect"] = measure.inside("retention", "collect", *given)
                    found[f"{kind}, {versions:,} versions"] = measure.as_json(samples)
                    print(f"  {kind} {versions}: {json.dumps(found[f'{kind}, {versions:,} versions'])}", flush=True)
    return found


class _sqlite:  # noqa: N801  # a context like that of the server
    def __init__(self, where: Path) -> None:
        self._url = f"sqlite:///{where}.sqlite"

    def __enter__(self) -> str:
        return self._url

    def __exit__(self, *_: object) -> None:
        """Nothing to close"""


def fill(where: Path, catalog: str, versions: int) -> None:
    """Rows written straight into the tables; the objects that will go exist as small files"""
    Store.init(str(where), catalog).close()
    rows = open_catalog(catalog, store_id=None, catalog_id=None, settings=Settings())
    postgres = rows.database.is_postgres
    rows.database.write(lambda connection: _fill(connection.exec_driver_sql, versions, postgres=postgres))
    if postgres:
        with rows.database.engines.engine().connect() as connection:
            connection.exec_driver_sql("ANALYZE")
    per = versions // ARTIFACTS
    gone = f"SELECT id FROM version WHERE number <= {per // 10}"
    keys = f"""
        SELECT key FROM blob WHERE id IN (
          SELECT b.blob_id FROM version_blob b GROUP BY b.blob_id
          HAVING max(CASE WHEN b.version_id IN ({gone}) THEN 0 ELSE 1 END) = 0
        ) UNION ALL SELECT m.key FROM manifest m JOIN version v ON v.digest = m.digest WHERE v.id IN ({gone})"""
    found = rows.database.read(lambda connection: [key for (key,) in connection.exec_driver_sql(keys)])
    rows.close()
    for key in found:
        (where / key).write_bytes(b"1")


def _fill(execute, versions: int, *, postgres: bool) -> None:
    per = versions // ARTIFACTS

    def series(count: int) -> str:
        if postgres:
            return f"generate_series(0, {count - 1}) AS g(i)"
        return (
            f"(WITH RECURSIVE g(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM g WHERE i < {count - 1}) SELECT i FROM g) g"
        )

    name = "decode(md5({0}) || md5({0} || 'x'), 'hex')" if postgres else "randomblob(32)"
    hexed = "encode(digest, 'hex')" if postgres else "lower(hex(digest))"
    digest = name.format("'{0}' || i::text")
    own = versions * OWN
    step = f"i - i / {per} * {per}"  # both databases have no sign for the rest that both clients let through
    execute(f"INSERT INTO artifact (id, name) SELECT i + 1, 'run/' || i FROM {series(ARTIFACTS)}")
    execute(
        "INSERT INTO version (id, digest, artifact_id, number, created, taken, step, nbytes, file_count, tensor_count, "
        f"formats, dtypes, metadata, state) SELECT i + 1, {digest.format('v')}, i / {per} + 1, {step} + 1, "
        f"1700000000000000 + i, 1700000000000000 + i, {step}, 1000000, 3, 10, 'safetensors', 'BF16', '{{}}', "
        "'active' "
        f"FROM {series(versions)}"
    )
    columns = "(id, digest, inc, size, stored_size, key, start, state)"
    execute(
        f"INSERT INTO blob {columns} SELECT i + 1, {digest.format('b')}, '0123456789abcdef', 1, 1, '', 0, 'live' "
        f"FROM {series(own + ARTIFACTS * SHARED)}"
    )
    execute(f"INSERT INTO manifest {columns} SELECT id, digest, '0123456789abcdef', 1, 1, '', 0, 'live' FROM version")
    execute(f"UPDATE blob SET key = 'blobs/' || substr({hexed}, 1, 2) || '/' || {hexed} || '.' || inc")
    execute(
        f"UPDATE manifest SET key = 'manifests/' || substr({hexed}, 1, 2) || '/' || {hexed} || '.' || inc || '.json'"
    )
    execute(
        f"INSERT INTO version_blob (version_id, blob_id) SELECT v.id, (v.id - 1) * {OWN} + g.i + 1 "
        f"FROM version v, {series(OWN)}"
    )
    execute(
        f"INSERT INTO version_blob (version_id, blob_id) SELECT v.id, {own} + (v.artifact_id - 1) * {SHARED} + g.i + 1 "
        f"FROM version v, {series(SHARED)}"
    )


def main(verb: str, url: str, catalog: str, kept: str) -> None:
    """One of them, timed inside its process"""
    with Store.open(url, catalog) as store:
        began = time.perf_counter()
        plan = store.plan_gc(Rules.parse(f"--keep-last {kept}"), grace=timedelta(0))
        seconds = time.perf_counter() - began
        if verb == "collect":
            began = time.perf_counter()
            report = store.gc(plan, force=True)
            seconds = time.perf_counter() - began
            if report.swept.removed.count != len(plan.retire.going) * OWN:
                raise RuntimeError(f"{report.swept.removed.count} blobs went, not {OWN} of each version")
        print(seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
