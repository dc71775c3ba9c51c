"""Invocation: the options that every command takes, and what it gets for them"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer

from artifactstore.core.errors import Denied
from artifactstore.core.settings import Settings
from artifactstore.core.units import parse_size
from artstore.location import MARK, Location
from artstore.output import Form, Output
from artstore.progress import Reporter

if TYPE_CHECKING:
    from artifactstore.depot import Depot
    from artifactstore.store import Store

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Invocation:
    """One run of a command: which store it works on, and where it speaks"""

    store: str | None
    catalog: str | None
    settings: Settings
    output: Output
    monitor: Reporter

    def locate(self) -> Location:
        """The store and the catalog that are meant"""
        return Location.find(self.store, self.catalog)

    def open(self, *, make: bool = False, read_only: bool = False) -> "Store":
        """Open it; make: the store in the home folder is made when nobody named another"""
        # SQLAlchemy takes longer to import than all of --help
        from artifactstore.store import Store  # noqa: PLC0415

        where = self.locate()
        if make and where.default and not (Path(where.store) / MARK).exists():
            return Store.init(where.store, where.catalog, settings=self.settings, monitor=self.monitor)
        if read_only and self._is_foreign(where):
            return Store(self._open_foreign(where))
        return Store.open(where.store, where.catalog, settings=self.settings, monitor=self.monitor, read_only=read_only)

    def open_rows(self) -> "Depot":
        """Open its parts to look at rows, without the verbs of Store, which take as long to import as a list to show"""
        from artifactstore.depot import open_depot  # noqa: PLC0415  # as above

        where = self.locate()
        if self._is_foreign(where):
            return self._open_foreign(where)
        return open_depot(where.store, where.catalog, settings=self.settings, monitor=self.monitor, read_only=True)

    def _is_foreign(self, where: Location) -> bool:
        """Whether it is a store elsewhere whose catalog nobody named: it can be read by its journal"""
        return where.catalog is None and "://" in where.store and not where.store.startswith("file:")

    def _open_foreign(self, where: Location) -> "Depot":
        from artifactstore.foreign import open_foreign  # noqa: PLC0415  # as above

        return open_foreign(where.store, settings=self.settings, monitor=self.monitor)

    def open_for_reading(self) -> "Store":
        """Open it to read and to note what was found, or only to read where nothing may be written"""
        if self._is_foreign(self.locate()):
            return self.open(read_only=True)
        try:
            return self.open()
        except Denied:
            return self.open(read_only=True)


_common = functools.partial(typer.Option, rich_help_panel="Common options")


def _invocation(
    *,
    store: Annotated[
        str | None,
        _common(
            "--store",
            envvar="ARTSTORE_STORE",
            metavar="URL",
            help="The store: a folder, or a URL such as s3://bucket/prefix. "
            "Default: the nearest artstore.toml or .artstore up the tree, else ~/.artstore.",
        ),
    ] = None,
    catalog: Annotated[
        str | None,
        _common(
            "--catalog",
            envvar="ARTSTORE_CATALOG",
            metavar="URL",
            help="Its catalog: sqlite:////file or postgresql://user@host/database. "
            "Default: catalog.sqlite in the store.",
        ),
    ] = None,
    cache: Annotated[
        str | None,
        _common(
            "--cache",
            envvar="ARTSTORE_CACHE",
            metavar="FOLDER",
            help="Keep what is read from a remote store in this folder.",
        ),
    ] = None,
    cache_size: Annotated[
        str,
        _common("--cache-size", envvar="ARTSTORE_CACHE_SIZE", metavar="SIZE", help="At most so much, such as 50GB."),
    ] = "10GB",
    offline: Annotated[
        bool,
        _common("--offline", envvar="ARTSTORE_OFFLINE", help="Use no network; what needs one ends with exit code 14."),
    ] = False,
    as_json: Annotated[bool, _common("--json", help="Answer with one JSON document.")] = False,
    as_jsonl: Annotated[bool, _common("--jsonl", help="Answer with one JSON event a line.")] = False,
    quiet: Annotated[bool, _common("--quiet", "-q", help="Answer with ids only.")] = False,
    debug: Annotated[  # noqa: ARG001  # read where errors end up, which may be before any command runs
        bool, _common("--debug", help="Show the traceback of an error.")
    ] = False,
) -> Invocation:
    output = Output(Form.chosen(as_json=as_json, as_jsonl=as_jsonl, ids=quiet))
    settings = Settings(cache=cache, cache_size=parse_size(cache_size), offline=offline)
    return Invocation(store, catalog, settings, output, Reporter(output))


COMMON = inspect.signature(_invocation).parameters


def with_invocation(command: Callable[Concatenate[Invocation, P], None]) -> Callable[..., None]:
    """A command whose signature has the common options in place of its first parameter, the Invocation"""
    own = list(inspect.signature(command).parameters.values())[1:]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        invocation = _invocation(**{name: values.pop(name) for name in COMMON})
        with invocation.monitor:
            command(invocation, **values)  # type: ignore[call-arg]  # what the merged signature asked for

    merged = [*own, *COMMON.values()]
    run.__signature__ = inspect.Signature(merged)  # type: ignore[attr-defined]  # what typer reads, PEP 362
    # typer would break lines on a terminal where the source does
    run.__doc__ = "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(command.__doc__ or "").split("\n\n"))
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in merged}
    return run
