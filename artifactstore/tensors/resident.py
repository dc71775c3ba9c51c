"""Resident: versions loaded so that what is on a device already is not brought there again, but shared"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path

import torch

from artifactstore.core.reading import Stored, choose, content
from artifactstore.tensors.host import Server
from artifactstore.tensors.loader import Loaded, load
from artifactstore.tensors.options import Loading
from artifactstore.tensors.pieces import Source
from artifactstore.tensors.shelf import Key, shelf_of

Elsewhere = Callable[[Sequence[Key]], Mapping[Key, torch.Tensor]]
Opening = Callable[[str], Source]


class Resident:
    """Loads versions to one device so that equal tensors of them are one

    Whoever writes to one of them writes to all that share it: this is for serving, not for training. elsewhere: who
    may have tensors that are not in the table.
    """

    def __init__(self, opening: Opening, loading: Loading, elsewhere: Elsewhere | None = None) -> None:
        self._opening, self._loading, self._elsewhere = opening, loading, elsewhere
        self._shelf = shelf_of(loading.device)

    def load(self, ref: str, names: Iterable[str] | None = None) -> Loaded:
        """Tensors by name, all or those of the names; the report tells what was read, and skipped

        Raise NotFound, Invalid, Corrupt, Unavailable as any load.
        """
        source = self._opening(ref)
        wanted = choose(source.tensors, names)
        keys = {one.name: key for one in wanted if (key := self._key(source, one))}
        with source.held():
            found = self._there(keys)
            rest = [one.name for one in wanted if one.name not in found]
            loaded = load(source, self._loading, rest)
        for name, tensor in loaded.items():
            if name in keys:
                self._shelf.note(keys[name], tensor)
        return Loaded({one.name: (found | loaded)[one.name] for one in wanted}, loaded.report.of(wanted))

    def serve(self, folder: str | PathLike[str]) -> Server:
        """Let others of the machine have what is here, until the block ends; raise Denied where it cannot"""
        return Server(self._shelf, Path(folder))

    def _key(self, source: Source, one: Stored) -> Key | None:
        known = content(one, source.digests)
        return None if known is None else Key(known, str(self._loading.dtype))

    def _there(self, keys: Mapping[str, Key]) -> dict[str, torch.Tensor]:
        found = {name: tensor for name, key in keys.items() if (tensor := self._shelf.find(key)) is not None}
        missing = {name: key for name, key in keys.items() if name not in found}
        if self._elsewhere is not None and missing:
            given = self._elsewhere(list(missing.values()))
            for key, tensor in given.items():
                self._shelf.note(key, tensor)
            found |= {name: given[key] for name, key in missing.items() if key in given}
        return found
