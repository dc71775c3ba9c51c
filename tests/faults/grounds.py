"""A prepared store and what lies beside it, copied for each time that it is to be broken"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults.operations import Operation

STORE = "store"


@dataclass(frozen=True, slots=True)
class Ground:
    """What an operation starts from, made once: the folders and files below `root`"""

    operation: Operation
    root: Path
    folders: tuple[str, ...]
    files: tuple[str, ...]

    @contextmanager
    def copied(self, folder: Path | None = None) -> Iterator[Path]:
        """The folder of a store like the prepared one, beside that or in `folder`, gone with the block if all is well"""
        to = (folder or self.root.parent) / f"{self.root.name}-{secrets.token_hex(4)}"
        os.mkdir(to)
        for folder in self.folders:
            os.mkdir(to / folder)
        for file in self.files:
            shutil.copy2(self.root / file, to / file)
        yield to / STORE
        shutil.rmtree(to)


def prepare(operation: Operation, folder: Path) -> Ground:
    """Prepare an operation below a folder"""
    root = folder / operation.name
    root.mkdir()
    operation.prepare(root / STORE)
    folders, files = [], []
    for path, names, leaves in os.walk(root):
        here = Path(path).relative_to(root)
        folders += [str(here / name) for name in names]
        files += [str(here / leaf) for leaf in leaves]
    return Ground(operation, root, tuple(folders), tuple(files))


def sparse(ground: Ground) -> Ground:
    """The same without the folders for objects that hold none, as a copy may be: what lists it is far faster"""
    full = {str(Path(file).parent) for file in ground.files}
    empty = {folder for folder in ground.folders if Path(folder).parent.name in {"blobs", "manifests"}} - full
    return replace(ground, folders=tuple(folder for folder in ground.folders if folder not in empty))
