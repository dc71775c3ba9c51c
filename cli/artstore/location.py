"""Location: which store and catalog a command works on"""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from artifactstore.core.errors import Invalid

FILE, FOLDER, MARK = "artstore.toml", ".artstore", "artstore.json"


@dataclass(frozen=True, slots=True)
class Location:
    """A store's URL and its catalog's, None for the catalog beside it. default: nobody named it"""

    store: str
    catalog: str | None = None
    default: bool = False

    @classmethod
    def find(cls, store: str | None, catalog: str | None) -> Self:
        """What was given, else the nearest artstore.toml or .artstore up the tree, else ~/.artstore"""
        if store is not None:
            return cls(_inner(store), catalog)
        named = cls.named(Path.cwd(), catalog)
        if named is not None:
            return named
        return cls(str(Path("~", FOLDER).expanduser()), catalog, default=True)

    @classmethod
    def named(cls, start: Path, catalog: str | None = None) -> Self | None:
        """What artstore.toml, or a store in .artstore, of `start` or the folders above it names"""
        for folder in (start, *start.parents):
            if (folder / FILE).is_file():
                return cls._read(folder / FILE, catalog)
            if (folder / FOLDER / MARK).is_file():
                return cls(str(folder / FOLDER), catalog)
        return None

    @classmethod
    def _read(cls, file: Path, catalog: str | None) -> Self:
        found = _table(file)
        unknown = sorted(found.keys() - {"store", "catalog"})
        if unknown:
            raise Invalid(f"{file} has the unknown key {unknown[0]!r}; it takes store and catalog", code="toml")
        for key, value in found.items():
            if not isinstance(value, str) or not value:
                raise Invalid(f"{file} needs a text for {key}", code="toml")
        if "store" not in found:
            raise Invalid(f'{file} names no store; write store = "…" into it', code="toml")
        return cls(_from_file(found["store"], file.parent), catalog or found.get("catalog"))


def _table(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise Invalid(f"{file} is not TOML: {e}", code="toml", path=str(file)) from e


def _from_file(store: str, folder: Path) -> str:
    """A path in a file counts from the file"""
    return store if "://" in store else _inner(str(folder / Path(store).expanduser()))


def _inner(store: str) -> str:
    """The store that stands beside foreign files, in their .artstore, where `store` is their folder"""
    if "://" in store or _exists(Path(store) / MARK) or not _exists(Path(store) / FOLDER / MARK):
        return store
    return str(Path(store) / FOLDER)


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110  # Path.exists raises for a name that is too long
