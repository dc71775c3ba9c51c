"""Subject: what is evaluated, a version of a store or a folder, and its files where libraries can open them"""

import glob
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from artifactstore.catalog.base import VersionInfo
from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.lineage import Relation
from artifactstore.core.manifest import Manifest
from artifactstore.depot import Depot
from artifactstore.derive.evaluate.base import Encoder, LanguageModel
from artifactstore.derive.evaluate.models.files import Chosen, choose
from artifactstore.derive.evaluate.models.opening import look, open_model
from artifactstore.derive.evaluate.models.torch_model import Use
from artifactstore.finding import Finds
from artifactstore.ops import checkout
from artifactstore.ops.transfer.fetch import load_manifest

# The first of these links that leads to something here is what a version is held against.
_ORDER = (
    *(Relation.QUANTIZE, Relation.CONVERT, Relation.RESHARD, Relation.EXTRACT, Relation.PRUNE),
    *(Relation.EMA, Relation.MERGE, Relation.FINETUNE, Relation.RESUME, Relation.DISTILL),
)


@dataclass(frozen=True, slots=True)
class Held:
    """A version in the store that holds it"""

    depot: Depot
    version: VersionInfo
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Subject:
    """ref: as people read it; held: None for a folder of this machine"""

    ref: str
    chosen: Chosen
    held: Held | None
    folder: Path | None

    @property
    def nbytes(self) -> int:
        """Of the files with weights"""
        if self.held is None:
            return sum((self._home / path).stat().st_size for path in self.chosen.weights)
        return sum(file.size for file in self.held.manifest.files if file.path in self.chosen.weights)

    @property
    def _home(self) -> Path:
        assert self.folder is not None
        return self.folder

    @contextmanager
    def laid(self) -> Iterator[Path]:
        """A folder with the files of the model, gone afterwards unless it was there before; raise NoSpace, Corrupt"""
        if self.held is None:
            yield self._home
            return
        with TemporaryDirectory(prefix="artstore-") as folder:
            only = [glob.escape(path) for path in self.chosen.paths]
            checkout.run(self.held.depot, checkout.plan(self.held.depot, self.held.version, Path(folder), only=only))
            yield Path(folder)


def find(store: Finds, ref: str, path: str | None = None) -> Subject:
    """By a reference, or a folder where it is written as one or no version has the name

    path: which of several models. Raise NotFound; Invalid for what has no weights, or several models.
    """
    if ref.startswith((".", "/", "~")):
        return _of_folder(ref, path)
    try:
        depot, version = store.find(ref)
    except (NotFound, Invalid):
        if Path(ref).is_dir():
            return _of_folder(ref, path)
        raise
    return _of_version(depot, version, path)


@contextmanager
def opened(subject: Subject, use: Use | None = None) -> Iterator[tuple[Path, LanguageModel | Encoder]]:
    """A model and the folder in which its files lie meanwhile; raise as `laid`, and Invalid for files that are wrong"""
    with subject.laid() as folder:
        with _named(subject.ref):
            model = open_model(folder, subject.chosen, use)
        yield folder, model


def source_of(subject: Subject) -> tuple[Subject, Relation] | None:
    """What a version was made of, as far as it is held beside it and can be opened; of several the first"""
    if subject.held is None:
        return None
    depot = subject.held.depot
    links = [one for one in depot.catalog.versions.parents(subject.held.version.id) if one.parent is not None]
    links = [one for one in links if one.relation in set(_ORDER)]
    for one in sorted(links, key=lambda one: (_ORDER.index(Relation(one.relation)), one.position)):
        assert one.parent is not None
        # retired, or of files that nothing here opens
        with suppress(NotFound, Invalid):
            return _of_version(depot, depot.catalog.versions.get(one.parent)), Relation(one.relation)
    return None


def _of_folder(ref: str, path: str | None) -> Subject:
    folder = Path(ref).expanduser()
    if not folder.is_dir():
        raise NotFound(f"No such folder: {ref}", code="file", path=ref)
    with _named(ref):
        return Subject(ref, look(folder, path), None, folder)


def _of_version(depot: Depot, version: VersionInfo, path: str | None = None) -> Subject:
    manifest = load_manifest(depot, version.id)
    with _named(version.ref):
        chosen = choose([str(file.path) for file in manifest.files], path)
    return Subject(version.ref, chosen, Held(depot, version, manifest), None)


@contextmanager
def _named(ref: str) -> Iterator[None]:
    """Errors say whose files they are about"""
    try:
        yield
    except Invalid as e:
        raise Invalid(f"{ref}: {e.message}", code=e.code.removeprefix("invalid."), ref=ref, **e.facts) from e
