"""Memos: what was calculated before, by what it follows from; only time is lost with them

They are in no journal, as a rebuild can do without: whoever asks finds out by itself whether the bytes are still there.
"""

from collections.abc import Iterable, Mapping

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.batches import chunks, select_in, upsert
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import memo
from artifactstore.core.digest import Digest


class Memos:
    """Short values by the digest of what they follow from"""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, keys: Iterable[Digest]) -> dict[Digest, bytes]:
        """Those that are known"""
        wanted = list(keys)
        query = sa.select(memo.c.key, memo.c.value)

        def work(connection: Connection) -> dict[Digest, bytes]:
            return {Digest(row.key): bytes(row.value) for row in select_in(connection, query, memo.c.key, wanted)}

        return self._database.read(work)

    def put(self, values: Mapping[Digest, bytes]) -> None:
        """Note them, in place of what was known before"""

        def work(connection: Connection) -> None:
            at = self._database.now(connection)
            rows = [{"key": key, "value": value, "at": at} for key, value in values.items()]
            for part in chunks(rows):
                upsert(connection, memo, part)

        if values:
            self._database.write(work)

    def first(self, key: Digest, value: bytes) -> bytes:
        """What is known, and from now on `value` where nothing was"""
        known = self.get([key])
        if key not in known:
            self.put({key: value})
        return known.get(key, value)
