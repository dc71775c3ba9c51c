"""What must hold of a store at every moment, and when nobody is at work on it"""

import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from artifactstore.lease import clear_dead
from artifactstore.store import Store

# Beside the store, where no fault of the store's disk can take it away.
_KNOWN = "acknowledged.json"


def acknowledge(store: Path, *refs: str) -> None:
    """Note that these versions must stay"""
    with Store.open(str(store)) as opened:
        ids = {ref: str(opened.resolve(ref).id) for ref in refs}
    path = store.parent / _KNOWN
    path.write_text(json.dumps({**acknowledged(store), **ids}))


def acknowledged(store: Path) -> dict[str, str]:
    """Reference → version id of what must stay"""
    path = store.parent / _KNOWN
    return json.loads(path.read_text()) if path.exists() else {}


@contextmanager
def sound(store: Path, *, damaged: Collection[str] = ()) -> Iterator[Store]:
    """It opens, what was acknowledged is there, verify finds nothing else than `damaged`, and rows lead somewhere

    A version id names its manifest, which names every blob: what verify reads is all that was acknowledged. The block
    gets the open store, to look at more.
    """
    with Store.open(str(store)) as opened:
        found = {ref: str(opened.resolve(ref).id) for ref in acknowledged(store)}
        assert found == acknowledged(store)
        assert {str(damage.digest) for damage in opened.verify().damaged} <= {*damaged}
        yield opened
    _assert_rows(store)


def _assert_rows(store: Path) -> None:
    catalog = store / "catalog.sqlite"
    if not catalog.exists():  # the store's catalog is elsewhere
        return
    with closing(sqlite3.connect(f"file:{catalog}?mode=ro", uri=True)) as rows:
        assert rows.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert rows.execute("PRAGMA foreign_key_check").fetchall() == []
        assert rows.execute(_ALIASES_TO_NOTHING).fetchall() == []
        assert rows.execute(_VERSIONS_WITHOUT_MANIFEST).fetchall() == []
        assert rows.execute(_VERSIONS_WITHOUT_BLOBS).fetchall() == []


_ALIASES_TO_NOTHING = """
    SELECT alias.name FROM alias JOIN version ON version.id = alias.version_id WHERE version.state <> 'active'"""
_VERSIONS_WITHOUT_MANIFEST = """
    SELECT version.id FROM version LEFT JOIN manifest ON manifest.digest = version.digest
    WHERE version.state = 'active' AND coalesce(manifest.state, 'none') NOT IN ('live', 'condemned', 'damaged')"""
_VERSIONS_WITHOUT_BLOBS = """
    SELECT version.id, blob.id FROM version JOIN version_blob ON version_blob.version_id = version.id
    JOIN blob ON blob.id = version_blob.blob_id
    WHERE version.state = 'active' AND blob.state NOT IN ('live', 'condemned', 'damaged')"""


def assert_settled(store: Path) -> None:
    """Nobody is at work: the next writer clears and exports what was left; all records then lie beside the blobs"""
    with Store.open(str(store)) as opened:
        depot = opened.depot
        clear_dead(depot)
        depot.export_journal()
        assert depot.blobs.owners() == []
        assert depot.catalog.leases.active() == []
        assert depot.catalog.journal.pending(10) == []
        # The records of the catalog before a rebuild lie in a folder of their own.
        exported = {key.rpartition("/")[2][:12] for key in depot.blobs.keys("journal/") if key.endswith(".json")}
        assert {f"{serial + 1:012d}" for serial in range(depot.catalog.journal.head()[0])} <= exported
