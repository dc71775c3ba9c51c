"""Version rows: aliases and metrics filled in bulk"""

import sqlalchemy as sa

from artifactstore.catalog.batches import CHUNK
from artifactstore.catalog.tables import artifact, metric, version
from tests.contract.catalog import LATEST, manifest_of, save


def fill(catalog, count):
    """Versions as rows alone, each with a metric"""
    made = [
        {
            "digest": number.to_bytes(32, "big"),
            "artifact_id": 1,
            "number": number,
            "created": number,
            "taken": number,
            "nbytes": 1,
            "file_count": 1,
            "tensor_count": 0,
            "formats": "raw",
            "dtypes": "",
            "metadata": "{}",
            "state": "active",
        }
        for number in range(1, count + 1)
    ]

    def work(connection):
        connection.execute(sa.insert(artifact), {"name": "org/m"})
        connection.execute(sa.insert(version), made)
        ids = connection.execute(sa.select(version.c.id)).scalars().all()
        connection.execute(
            sa.insert(metric), [{"version_id": one, "name": "loss", "value": one, "at": 1} for one in ids]
        )

    catalog.database.write(work)


def statements(catalog, work):
    seen = []

    def note(connection, cursor, statement, *rest):
        seen.append(statement)

    engine = catalog.database.engines.engine()
    sa.event.listen(engine, "before_cursor_execute", note)
    work()
    sa.event.remove(engine, "before_cursor_execute", note)
    return [one for one in seen if one.startswith("SELECT")]


def test_many_versions_take_as_few_questions_as_one(catalog):
    fill(catalog, CHUNK + 100)
    one = statements(catalog, lambda: catalog.versions.list(limit=1))
    many = statements(catalog, catalog.versions.list)
    assert len(one) == len(many) == 3
    found = catalog.versions.list(sort="number")
    assert [info.metrics["loss"] for info in found] == [float(number) for number in range(1, CHUNK + 101)]


def test_notes_of_others_are_left_aside(catalog):
    fill(catalog, CHUNK + 1)
    save(catalog, manifest_of(b"1", name="other"), aliases=(LATEST,))
    found = catalog.versions.list(glob="org/*")
    assert len(found) == CHUNK + 1
    assert all(one.aliases == () and len(one.metrics) == 1 for one in found)
