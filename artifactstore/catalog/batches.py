"""Statements about many rows: keys asked for 500 at a time, rows inserted where they are new"""

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import CTE, ColumnElement, Connection, Row, Select, Table

T = TypeVar("T")
CHUNK = 500


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Runs of at most 500"""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


def select_in(
    connection: Connection, query: Select[Any], column: ColumnElement[Any], values: Sequence[Any]
) -> Iterator[Row[Any]]:
    """The rows of `query` whose `column` is one of `values`, in no order"""
    for chunk in chunks(values):
        yield from connection.execute(query.where(column.in_(chunk)))


def pairs(connection: Connection, values: Mapping[int, int]) -> CTE:
    """A table `key, value` of very many integers, sent as one value"""
    text = sa.literal(json.dumps(values), sa.Text())
    if connection.dialect.name == "sqlite":
        rows = sa.func.json_each(text).table_valued("key", "value")
    else:
        rows = sa.func.json_each_text(sa.cast(text, sa.JSON())).table_valued("key", "value")
    key, value = (sa.cast(column, sa.BigInteger()) for column in (rows.c.key, rows.c.value))
    return sa.select(key.label("key"), value.label("value")).cte("pairs")


def keys(connection: Connection, values: Sequence[int]) -> CTE:
    """A table `key` of very many integers, sent as one value"""
    text = sa.literal(json.dumps(values), sa.Text())
    if connection.dialect.name == "sqlite":
        rows = sa.func.json_each(text).table_valued("value")
    else:
        rows = sa.func.json_array_elements_text(sa.cast(text, sa.JSON())).table_valued("value")
    return sa.select(sa.cast(rows.c.value, sa.BigInteger()).label("key")).cte("keys")


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose unique columns are not taken"""
    if rows:
        connection.execute(_insert(connection, table).on_conflict_do_nothing(), rows)


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, replacing those with the same primary key"""
    if rows:
        insert = _insert(connection, table)
        new = {column.name: insert.excluded[column.name] for column in table.c if not column.primary_key}
        keys = [column.name for column in table.primary_key]
        connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=new), rows)


def _insert(connection: Connection, table: Table) -> Any:
    # the dialect in use is loaded; naming both here would load the other one too
    return importlib.import_module(f"sqlalchemy.dialects.{connection.dialect.name}").insert(table)
