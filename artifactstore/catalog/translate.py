"""What SQLite, psycopg and SQLAlchemy raise, in the words of our error tree and without passwords"""

import sqlite3
from collections.abc import Sequence

from sqlalchemy.exc import DBAPIError, IntegrityError

from artifactstore.catalog.place import MAKE_ANEW
from artifactstore.catalog.url import CatalogUrl
from artifactstore.core.errors import (
    Busy,
    Conflict,
    Corrupt,
    Denied,
    Invalid,
    NoSpace,
    NotFound,
    StoreError,
    Unavailable,
)

_DAMAGED = f"is damaged; {MAKE_ANEW}"
_SQLITE: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_PERM: (Denied, "may not be opened by this user"),
    sqlite3.SQLITE_AUTH: (Denied, "may not be opened by this user"),
    sqlite3.SQLITE_READONLY: (Denied, "may not be written by this user, or its disk is read-only"),
    sqlite3.SQLITE_FULL: (NoSpace, "has no space left on its disk; nothing was changed"),
    sqlite3.SQLITE_CORRUPT: (Corrupt, _DAMAGED),
    sqlite3.SQLITE_NOTADB: (Invalid, "is no SQLite database"),
    sqlite3.SQLITE_CANTOPEN: (Unavailable, "cannot be opened: no right to its folder, or too many open files"),
    sqlite3.SQLITE_IOERR: (Unavailable, "cannot be read or written: its disk reports an error"),
}
_POSTGRES: dict[str, tuple[type[StoreError], str]] = {
    "28": (Denied, "refuses this user or password"),
    "3D": (NotFound, "does not exist on its server"),
    "40": (Busy, "was too busy with other transactions; try again"),
    "42P01": (Invalid, "is no artifactstore catalog"),
    "42P07": (Invalid, "holds tables of something else under the names a catalog needs; name another database"),
    "42501": (Denied, "gives this user no right to do that"),
    "25006": (Denied, "is a read-only standby; name its primary"),
    "53100": (NoSpace, "has no space left on its server"),
    "53": (Busy, "has no resources left on its server; try again"),
    "55P03": (Busy, "is locked by another transaction; try again"),
    "57": (Unavailable, "is being shut down or started; try again"),
}
# libpq gives no SQLSTATE when a connection cannot be made, SQLite no code of its own for a missing table
_TEXTS: tuple[tuple[str, type[StoreError], str], ...] = (
    ("no such table", Invalid, "is no artifactstore catalog"),
    ("FATAL:  password authentication failed", Denied, "refuses this user or password"),
    ("no password supplied", Denied, "wants a password"),
    ("FATAL:  no pg_hba.conf entry", Denied, "does not let this host or user in"),
    ("FATAL:  role ", Denied, "does not know this user"),
    ("FATAL:  database ", NotFound, "does not exist on its server"),
)


def sqlite_code(error: BaseException | None) -> int | None:
    """The primary result code, https://sqlite.org/rescode.html"""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def sqlstate(error: BaseException | None) -> str:
    """The SQLSTATE of a server's answer, else nothing"""
    return getattr(error, "sqlstate", None) or ""


def is_locked(error: DBAPIError) -> bool:
    """Another connection of an SQLite file is writing"""
    return sqlite_code(error.orig) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def is_shut(error: DBAPIError) -> bool:
    """SQLite may not make the files beside its own that even reading needs"""
    return sqlite_code(error.orig) in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}


def is_transient(error: DBAPIError) -> bool:
    """The transaction did not happen through no fault of its own; it may run again from its start"""
    return error.connection_invalidated or sqlstate(error.orig) in {"40001", "40P01"}


def is_in_doubt(error: DBAPIError) -> bool:
    """A COMMIT that raised this may have committed"""
    return error.connection_invalidated or sqlite_code(error.orig) == sqlite3.SQLITE_IOERR


def translate(error: DBAPIError, url: CatalogUrl, holders: Sequence[str] = ()) -> StoreError:
    """The error of our tree that says what `error` means; `holders` are those at work on a locked catalog"""
    name, facts = f"Catalog {url.shown}", {"catalog": url.shown}
    if is_locked(error):
        who = f" by {', '.join(holders)}" if holders else ""
        return Busy(f"{name} is locked{who}; try again", holders=list(holders), **facts)
    found = _SQLITE.get(sqlite_code(error.orig) or 0) or _by_sqlstate(sqlstate(error.orig)) or _by_text(error)
    if found:
        return found[0](f"{name} {found[1]}", code=_code(found[0]), **facts)
    kind = Conflict if isinstance(error, IntegrityError) else Unavailable
    reason = url.clean(str(error.orig).strip().replace("\n", " "))
    return kind(f"{name} failed: {reason:.300}", code="catalog", **facts)


def damaged(url: CatalogUrl) -> Corrupt:
    """The error of a file whose texts are no text any more"""
    return Corrupt(f"Catalog {url.shown} {_DAMAGED}", code="catalog", catalog=url.shown)


def _code(kind: type[StoreError]) -> str:
    return "" if issubclass(kind, Unavailable) and kind is not Unavailable else "catalog"


def _by_sqlstate(state: str) -> tuple[type[StoreError], str] | None:
    return _POSTGRES.get(state) or _POSTGRES.get(state[:2])


def _by_text(error: DBAPIError) -> tuple[type[StoreError], str] | None:
    text = str(error.orig)
    return next(((kind, meaning) for part, kind, meaning in _TEXTS if part in text), None)
