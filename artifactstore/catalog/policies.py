"""Policies: rules of retention kept for the artifacts whose name a pattern matches"""

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.base import PolicyInfo
from artifactstore.catalog.batches import upsert
from artifactstore.catalog.journal import Action, record
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import policy
from artifactstore.core.errors import NotFound
from artifactstore.core.names import check_label

# the method `list` would hide the type inside the class
PolicyInfos = list[PolicyInfo]


class Policies:
    """One text of rules for each pattern; what the text means is for core/selection.py to say"""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, pattern: str, rules: str) -> PolicyInfo:
        """Keep rules for a pattern, in place of those it had"""
        check_label(pattern, "name pattern")

        def work(connection: Connection, at: int) -> tuple[PolicyInfo, list[Action]]:
            upsert(connection, policy, [{"pattern": pattern, "rules": rules, "at": at}])
            return PolicyInfo(pattern, rules, at), [{"do": "policy", "pattern": pattern, "rules": rules}]

        return record(self._database, work)[0]

    def remove(self, pattern: str) -> None:
        """Take them away; raise NotFound"""

        def work(connection: Connection, _at: int) -> tuple[None, list[Action]]:
            if connection.execute(sa.delete(policy).where(policy.c.pattern == pattern)).rowcount != 1:
                raise NotFound(f"No policy for {pattern!r:.80}; see artstore policy ls", code="policy", pattern=pattern)
            return None, [{"do": "policy", "pattern": pattern, "rules": None}]

        record(self._database, work)

    def list(self) -> PolicyInfos:
        """All of them, by pattern"""
        rows = self._database.rows(sa.select(policy).order_by(policy.c.pattern))
        return [PolicyInfo(row.pattern, row.rules, row.at) for row in rows]
