"""Catalog URLs: what they may say, and how to show them without their secrets"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote

from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from artifactstore.core.errors import Invalid

EXAMPLES = "sqlite:////folder/catalog.sqlite or postgresql://user@host/database"
_SECRET_KEYS = frozenset({"password", "sslpassword"})


@dataclass(frozen=True, slots=True)
class CatalogUrl:
    """Where a catalog is: an SQLite `file`, or a Postgres server. network: it may lie on a network file system"""

    shown: str
    url: URL = field(repr=False)
    file: Path | None = None
    network: bool = False

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every spelling of the passwords, longest first"""
        plain = [self.url.password, *(self.url.query.get(key) for key in _SECRET_KEYS)]
        found = {spelling for one in plain if isinstance(one, str) for spelling in (one, quote(one, safe=""))}
        return tuple(sorted(found - {""}, key=len, reverse=True))

    def clean(self, text: str) -> str:
        """`text` with every secret replaced"""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def sqlite_url(file: Path) -> str:
    """The URL of an SQLite catalog at an absolute path"""
    return "sqlite:///" + str(file).replace("%", "%25").replace("?", "%3F")


def parse_url(text: str) -> CatalogUrl:
    """Raise Invalid, never echoing more than the scheme, since the rest may hold a password"""
    scheme, separator, rest = text.strip().partition("://")
    if not scheme:
        raise _invalid(f"The catalog URL is empty; write {EXAMPLES}")
    if not separator:
        raise _invalid(f"The catalog URL has no '://'; write {EXAMPLES}")
    if scheme in {"sqlite", "sqlite+pysqlite"}:
        return _sqlite(rest)
    if scheme in {"postgresql", "postgresql+psycopg"}:
        return _postgres(f"postgresql+psycopg://{rest}")
    if scheme in {"postgres", "postgresql+psycopg2", "postgresql+asyncpg"}:
        raise _invalid(f"Catalog URLs of Postgres start with postgresql://, found {scheme}://")
    raise _invalid(f"A catalog cannot be kept in {scheme[:40]!a}; write {EXAMPLES}")


def _invalid(message: str) -> Invalid:
    return Invalid(message, code="catalog-url")


def _sqlite(rest: str) -> CatalogUrl:
    place, _, query = rest.partition("?")
    if not place.startswith("/") and place:
        raise _invalid(f"sqlite:// names a file, not a host; write {EXAMPLES}")
    name = unquote(place[1:])
    if not name or name == ":memory:":
        raise _invalid("sqlite:// without a path would keep the catalog in memory and lose it; name a file")
    if "\0" in name or name.startswith("file:"):
        raise _invalid("The path of a sqlite:// URL holds a NUL or is itself a URL; name a file")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if options not in ({}, {"network": "allow"}):
        raise _invalid("sqlite:// knows one option, ?network=allow for a file system that one host alone writes")
    file = Path(os.path.abspath(name))  # noqa: PTH100  # Path.resolve would follow links
    return CatalogUrl(
        shown=sqlite_url(file), url=URL.create("sqlite", database=str(file)), file=file, network=bool(options)
    )


def _postgres(text: str) -> CatalogUrl:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # the parser quotes what it choked on, which is often half a password
        raise _invalid(
            "Not a Postgres URL: the port is no number, or a password holds '/', ':' or '@' that must be written "
            "%2F, %3A, %40"
        ) from None
    if url.host and "@" in url.host:
        raise _invalid("The Postgres URL holds more than one '@'; write the one inside the password as %40")
    if url.port is not None and not 0 < url.port < 65536:
        raise _invalid("The port of the Postgres URL is not between 1 and 65535")
    if not url.database:
        raise _invalid("The Postgres URL names no database; write postgresql://user@host/database")
    return CatalogUrl(shown=_shown(url), url=url)


def _shown(url: URL) -> str:
    hidden: Mapping[str, str] = dict.fromkeys(_SECRET_KEYS & url.query.keys(), "***")
    shown = url.set(drivername="postgresql").update_query_dict(hidden)
    return shown.render_as_string(hide_password=True)
