"""Journals made by hand, so that anything can be wrong with them"""

import rfc8785

from artifactstore.blobs.layout import journal_key


def txid(serial: int, line: str = "a") -> str:
    """That of the record with a serial"""
    return f"{line}{serial:015d}"


def body(catalog: str, serial: int, /, *actions: dict, line: str = "a", **changes) -> dict:
    """A record that follows the one before it"""
    previous = txid(serial - 1, line) if serial > 1 else None
    said = {"format": 1, "catalog": catalog, "serial": serial, "txid": txid(serial, line), "previous": previous}
    return {**said, "at": serial, "actions": list(actions), **changes}


def put(blobs, record: dict, *, name: tuple | None = None) -> str:
    """Lay a record down under its name, or another (catalog, serial, txid); its key"""
    key = journal_key(*(name or (record["catalog"], record["serial"], record["txid"])))
    blobs.replace(key, rfc8785.dumps(record))
    return key


def fill(blobs, catalog: str, first: int, last: int, *, line: str = "a") -> list[str]:
    """Records that say nothing, and their keys"""
    return [put(blobs, body(catalog, serial, line=line)) for serial in range(first, last + 1)]


def rebuilt(blobs, catalog: str, origin: str, serial: int, /, *, line: str = "a", **changes) -> str:
    """The first record of a catalog that goes on after a record of another"""
    last = txid(serial, line) if serial else None
    action = {"do": "rebuilt", "from": origin, "serial": serial, "txid": last} | changes
    return put(blobs, body(catalog, serial + 1, action, line=line))
