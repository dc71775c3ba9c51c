"""Stores that crash tests run on: a local folder with SQLite, and the same with a real Postgres"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from artifactstore.core.events import Event, silent
from artifactstore.depot import Depot, init, open_depot


@dataclass(frozen=True)
class Place:
    """A store's folder and catalog, opened anew by every process"""

    folder: Path
    catalog: str | None

    def make(self) -> None:
        init(str(self.folder), self.catalog).close()

    def open(self, monitor: Callable[[Event], None] = silent) -> Depot:
        return open_depot(str(self.folder), self.catalog, monitor=monitor)
