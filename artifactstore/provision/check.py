"""Check: which models are here whole and stand in their folders; without a network"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifactstore.catalog.base import StoredFile, VersionInfo
from artifactstore.core.registry import Model
from artifactstore.depot import Depot
from artifactstore.ops import checkout, fetch
from artifactstore.ops.transfer.source import looking_at


@dataclass(frozen=True, slots=True)
class Standing:
    """What is here of one model. lacking: of its version; away: of its folder, None when nobody asked for that"""

    model: Model
    version: VersionInfo | None = None
    lacking: tuple[str, ...] = ()
    folder: Path | None = None
    away: tuple[str, ...] | None = None

    @property
    def state(self) -> str:
        """`held`, `incomplete` or `missing`: of the store"""
        return "missing" if self.version is None else "incomplete" if self.lacking else "held"

    @property
    def is_ready(self) -> bool:
        """Whether it is here whole, and stands in its folder as far as that was asked"""
        return self.state == "held" and not self.away

    def to_json(self) -> dict[str, Any]:
        """With stable keys"""
        return {
            "name": self.model.name,
            "source": str(self.model.origin),
            "state": self.state,
            "id": None if self.version is None else str(self.version.id),
            "ref": None if self.version is None else self.version.ref,
            "lacking": list(self.lacking),
            "folder": None if self.folder is None else str(self.folder),
            "away": None if self.away is None else list(self.away),
        }


def check(depot: Depot, models: Sequence[Model], root: Path | None = None, *, hashed: bool = False) -> list[Standing]:
    """What is here of each model; root: look into the destinations below it too; hashed: by content, not by size"""
    return [_standing(depot, model, root, hashed=hashed) for model in models]


def _standing(depot: Depot, model: Model, root: Path | None, *, hashed: bool) -> Standing:
    folder = None if root is None else root / model.destination
    version = fetch.find_version(depot, model)
    if version is None:
        return Standing(model, folder=folder)
    lost = fetch.lacking(depot, model, version)
    if folder is None:
        return Standing(model, version, lost)
    files = [file for file in depot.catalog.versions.files(version.id) if model.wants(file.path)]
    away = tuple(str(file.path) for file in files if not _stands(file, folder / file.path, hashed=hashed))
    return Standing(model, version, lost, folder, away)


def _stands(file: StoredFile, path: Path, *, hashed: bool) -> bool:
    with looking_at(path):
        if not path.is_file() or path.stat().st_size != file.size:
            return False
        return not hashed or checkout.sha256_of(path) == file.sha256
