"""Notes people make on versions: metrics, and pins with their reasons"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from artifactstore.catalog.base import PinInfo
from artifactstore.catalog.batches import upsert
from artifactstore.catalog.journal import Action, record
from artifactstore.catalog.sql import Database
from artifactstore.catalog.tables import metric, version, version_pin
from artifactstore.catalog.version_rows import active_row
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.names import check_label

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# canonical JSON holds integers below 2^53
_LAST = datetime(2255, 1, 1, tzinfo=UTC)


class Notes:
    """They change without changing the version, and are journaled"""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set_metrics(self, version_id: Digest, metrics: Mapping[str, float]) -> None:
        """Set or replace them; raise Invalid for a value that is not finite, NotFound without the version"""
        for name, value in metrics.items():
            check_label(name, "metric name")
            if not math.isfinite(value):
                raise Invalid(f"Metric {name} is {value}; give a finite number", code="metric", metric=name)

        def work(connection: Connection, at: int) -> tuple[None, list[Action]]:
            return None, write_metrics(connection, active_row(connection, version_id), version_id, metrics, at)

        record(self._database, work)

    def pin(self, version_id: Digest, why: str, until: datetime | None = None) -> PinInfo:
        """It must stay for a reason, for ever or until an aware moment; the same reason again moves the end"""
        check_label(why, "reason")
        end = None if until is None else _microseconds(until)

        def work(connection: Connection, at: int) -> tuple[PinInfo, list[Action]]:
            row = active_row(connection, version_id)
            here = (version_pin.c.version_id == row, version_pin.c.why == why)
            before = connection.execute(sa.select(version_pin.c.until).where(*here)).first()
            upsert(connection, version_pin, [{"version_id": row, "why": why, "at": at, "until": end}])
            action = {"do": "pin", "id": str(version_id), "why": why, "until": end}
            action |= {} if before is None else {"before": before.until}
            return PinInfo(version_id, why, at, until), [action]

        return record(self._database, work)[0]

    def unpin(self, version_id: Digest, why: str | None = None) -> int:
        """Take away the pin with this reason, or all of the version; how many. Raise NotFound without any"""

        def work(connection: Connection, _at: int) -> tuple[int, list[Action]]:
            row = active_row(connection, version_id)
            gone = sa.delete(version_pin).where(version_pin.c.version_id == row)
            count = connection.execute(gone if why is None else gone.where(version_pin.c.why == why)).rowcount
            if not count:
                raise NotFound(f"Version {str(version_id)[:12]} has no such pin", code="pin", version=str(version_id))
            return count, [{"do": "unpin", "id": str(version_id), "why": why}]

        return record(self._database, work)[0]

    def pins(self, version_id: Digest | None = None) -> list[PinInfo]:
        """All pins, or those of one version, oldest first; those past their end too"""
        query = sa.select(version.c.digest, version_pin.c.why, version_pin.c.at, version_pin.c.until)
        query = query.join_from(version_pin, version).order_by(version_pin.c.at, version_pin.c.why)
        if version_id is not None:
            query = query.where(version.c.digest == version_id)
        rows = self._database.rows(query)
        return [PinInfo(Digest(row.digest), row.why, row.at, to_moment(row.until)) for row in rows]


def _microseconds(moment: datetime) -> int:
    if moment.tzinfo is None or moment > _LAST:
        raise Invalid(f"The end of a pin needs a time zone and lies before {_LAST.year}", code="until")
    return (moment - _EPOCH) // _MICROSECOND


def to_moment(microseconds: int | None) -> datetime | None:
    """The end of a pin as rows and records hold it, microseconds since 1970 UTC; None: it has none"""
    return None if microseconds is None else _EPOCH + microseconds * _MICROSECOND


def write_metrics(
    connection: Connection, row: int, version_id: Digest, metrics: Mapping[str, float], at: int
) -> list[Action]:
    """Set metrics of a version. NaN is NULL in its rows; what JSON has no number for is text in the journal"""
    if not metrics:
        return []
    values = {check_label(name, "metric name"): float(value) for name, value in sorted(metrics.items())}
    upsert(
        connection,
        metric,
        [
            {"version_id": row, "name": name, "value": None if math.isnan(value) else value, "at": at}
            for name, value in values.items()
        ],
    )
    written = {name: value if math.isfinite(value) else str(value) for name, value in values.items()}
    return [{"do": "metric", "id": str(version_id), "metrics": written}]
