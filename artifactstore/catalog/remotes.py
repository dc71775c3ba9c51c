"""Remotes: other stores by name, what was last seen of each, and which of our versions they hold"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.base import CopyInfo, RemoteInfo, Seen
from artifactstore.catalog.batches import chunks, select_in, upsert
from artifactstore.catalog.journal import Action, record
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import copy, remote, version
from artifactstore.core.digest import Digest
from artifactstore.core.errors import NotFound

# the method `list` would hide the type inside the class
RemoteInfos = list[RemoteInfo]
CopyInfos = list[CopyInfo]


class Remotes:
    """They are journaled: a catalog that was rebuilt knows what it has where"""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, info: RemoteInfo) -> None:
        """Remember a store under a name, in place of one that had it; nothing of it was seen yet"""

        def work(connection: Connection, _at: int) -> tuple[None, list[Action]]:
            action = {
                "do": "remote",
                "name": info.name,
                "url": info.url,
                "catalog": info.catalog,
                "store": info.store_id,
                "mirror": info.mirror,
                "origin": info.origin,
            }
            write_remote(connection, action)
            return None, [action]

        record(self._database, work)

    def remove(self, name: str) -> None:
        """Forget it, and what it holds; raise NotFound"""

        def work(connection: Connection, _at: int) -> tuple[None, list[Action]]:
            _known(connection, name)
            action = {"do": "remote", "name": name, "url": None}
            write_remote(connection, action)
            return None, [action]

        record(self._database, work)

    def get(self, name: str) -> RemoteInfo:
        """By its name; raise NotFound with those there are"""
        return self._database.read(lambda connection: _known(connection, name))

    def list(self) -> RemoteInfos:
        """All of them, by name"""
        return [_info(row) for row in self._database.rows(sa.select(remote).order_by(remote.c.name))]

    def origin(self) -> RemoteInfo | None:
        """The one that is read for what is not held here"""
        rows = self._database.rows(sa.select(remote).where(remote.c.origin))
        return _info(rows[0]) if rows else None

    def note(self, name: str, seen: Seen, held: Iterable[Digest] = (), gone: Iterable[Digest] = ()) -> None:
        """What was seen of a remote: how far its journal goes, versions it holds now, versions it no longer holds

        Nothing is written down when it says nothing new. Raise NotFound.
        """
        held_ids, gone_ids = list(held), list(gone)

        def work(connection: Connection, at: int) -> tuple[None, list[Action]]:
            known = _known(connection, name).seen
            there = _held(connection, name)
            new = [one for one in held_ids if one not in there]
            old = [one for one in gone_ids if one in there]
            moved = known is None or (known.catalog, known.serial, known.txid) != (seen.catalog, seen.serial, seen.txid)
            if not (new or old or moved):
                return None, []
            action = {
                "do": "seen",
                "remote": name,
                "catalog": seen.catalog,
                "serial": seen.serial,
                "txid": seen.txid,
                "held": list(map(str, new)),
                "gone": list(map(str, old)),
            }
            write_seen(connection, action, at)
            return None, [action]

        record(self._database, work)

    def held(self, name: str) -> frozenset[Digest]:
        """Versions that a remote held when it was last seen"""
        return self._database.read(lambda connection: frozenset(_held(connection, name)))

    def copies(self, versions: Sequence[Digest] | None = None) -> dict[Digest, CopyInfos]:
        """Where else each version was when that was last looked at; one that is nowhere else is left out"""
        query = sa.select(version.c.digest, copy.c.remote, copy.c.at).join_from(copy, version)

        def work(connection: Connection) -> dict[Digest, CopyInfos]:
            found: dict[Digest, CopyInfos] = defaultdict(list)
            rows = (
                connection.execute(query)
                if versions is None
                else select_in(connection, query, version.c.digest, versions)
            )
            for row in rows:
                found[Digest(row.digest)].append(CopyInfo(row.remote, row.at))
            return {one: sorted(copies, key=lambda each: each.remote) for one, copies in found.items()}

        return self._database.read(work)


def write_remote(connection: Connection, action: Action) -> None:
    """Do what a `remote` action says"""
    name = str(action["name"])
    connection.execute(sa.delete(copy).where(copy.c.remote == name))
    connection.execute(sa.delete(remote).where(remote.c.name == name))
    if action["url"] is None:
        return
    if action["origin"]:
        connection.execute(sa.update(remote).values(origin=False))
    row = {"name": name, "url": str(action["url"]), "catalog": action["catalog"], "store_id": str(action["store"])}
    connection.execute(sa.insert(remote), row | {key: bool(action[key]) for key in ("mirror", "origin")})


def write_seen(connection: Connection, action: Action, at: int) -> None:
    """Do what a `seen` action says"""
    name = str(action["remote"])
    values = {"seen_catalog": str(action["catalog"]), "seen_serial": int(action["serial"])}
    values |= {"seen_txid": action["txid"], "seen_at": at}
    connection.execute(sa.update(remote).where(remote.c.name == name).values(values))
    held = _rows(connection, action["held"])
    upsert(connection, copy, [{"version_id": row, "remote": name, "at": at} for row in held])
    for chunk in chunks(_rows(connection, action["gone"])):
        connection.execute(sa.delete(copy).where(copy.c.remote == name, copy.c.version_id.in_(chunk)))


def _rows(connection: Connection, ids: Iterable[str]) -> list[int]:
    query = sa.select(version.c.id)
    digests = [Digest.parse(one) for one in ids]
    return sorted(row.id for row in select_in(connection, query, version.c.digest, digests))


def _held(connection: Connection, name: str) -> set[Digest]:
    query = sa.select(version.c.digest).join_from(copy, version).where(copy.c.remote == name)
    return {Digest(row.digest) for row in connection.execute(query)}


def _known(connection: Connection, name: str) -> RemoteInfo:
    row = connection.execute(sa.select(remote).where(remote.c.name == name)).first()
    if row is None:
        names = connection.execute(sa.select(remote.c.name).order_by(remote.c.name)).scalars().all()
        there = f"there are {', '.join(names)}" if names else "there is none yet"
        message = f"No remote {name!r:.80}; {there}; artstore remote add NAME URL makes one known"
        raise NotFound(message, code="remote", remote=name)
    return _info(row)


def _info(row: sa.Row[Any]) -> RemoteInfo:
    seen = None
    if row.seen_catalog is not None:
        seen = Seen(row.seen_catalog, row.seen_serial, row.seen_txid, row.seen_at)
    return RemoteInfo(row.name, row.url, row.store_id, row.catalog, bool(row.mirror), bool(row.origin), seen)
