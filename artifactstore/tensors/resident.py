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
from artifactstore.tensors.shared import share
from artifactstore.tensors.shelf import SHELF, Key, place_of
from artifactstore.tensors.switch import is_right

Elsewhere = Callable[[Sequence[Key]], Mapping[Key, torch.Tensor]]
Opening = Callable[[str], Source]


class Resident:
    """Loads versions to one device so that equal tensors of them are one

    Whoever writes to one of them writes to all that share it: this is for serving, not for training. elsewhere: who
    may have tensors that are not in the table. With verify `always` what is there is hashed where it is, and read
    again where it is not what it should be, or shares a blob with others.
    """

    def __init__(self, opening: Opening, loading: Loading, elsewhere: Elsewhere | None = None) -> None:
        self._opening, self._loading, self._elsewhere = opening, loading, elsewhere
        self._place = place_of(loading.device)

    def load(self, ref: str, names: Iterable[str] | None = None, *, shared: bool = False) -> Loaded:
        """Tensors by name, all or those of the names; the report tells what was read, and skipped

        shared: on the CPU, copy what was read to memory that `serve` can give to others. Raise NotFound, Invalid,
        Corrupt, Unavailable as any load.
        """
        source = self._opening(ref)
        wanted = choose(source.tensors, names)
        keys = {one.name: self._key(source, one) for one in wanted}
        # one for each content; what nobody knows is equal to nothing else
        firsts = {keys[one.name] or one.name: one for one in reversed(wanted)}
        with source.held():
            found = self._there(source, {key: one for key, one in firsts.items() if isinstance(key, Key)})
            loaded = load(source, self._loading, [one.name for key, one in firsts.items() if key not in found])
        if shared:
            share(loaded.values())
        for name, tensor in loaded.items():
            if key := keys[name]:
                SHELF.note(key, tensor)
                found[key] = tensor
        tensors = {name: loaded[name] if key is None else found[key] for name, key in keys.items()}
        return Loaded(tensors, loaded.report.of(wanted))

    def serve(self, folder: str | PathLike[str]) -> Server:
        """Let others of the machine have what is here, until the block ends; raise Denied where it cannot

        Of the CPU that is what was loaded as `shared`; the system shares mapped files between processes as it is.
        Nobody may write to what is shared: the next one would have it as sound.
        """
        return Server(SHELF, Path(folder))

    def _key(self, source: Source, one: Stored) -> Key | None:
        known = content(one, source.digests)
        return None if known is None else Key(known, str(self._loading.dtype), self._place)

    def _there(self, source: Source, wanted: Mapping[Key, Stored]) -> dict[Key, torch.Tensor]:
        found = {key: tensor for key in wanted if (tensor := SHELF.find(key)) is not None}
        missing = [key for key in wanted if key not in found]
        given = self._elsewhere(missing) if self._elsewhere is not None and missing else {}
        found |= {key: tensor for key, tensor in given.items() if tensor.device == self._loading.device}
        if self._loading.verify == "always":
            found = {key: tensor for key, tensor in found.items() if is_right(tensor, source, wanted[key])}
        for key in found.keys() & given.keys():
            SHELF.note(key, found[key])
        return found
