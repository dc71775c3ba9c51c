"""Pairing: the tensors of two versions matched by name, and told apart by digest as far as that goes"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from artifactstore.core.digest import Digest
from artifactstore.core.formats.base import TensorInfo
from artifactstore.core.manifest import Extent, FileEntry, Manifest

# model-00002-of-00005.safetensors, diffusion_pytorch_model.fp16-00001-of-00002.safetensors
_SHARD = re.compile(r"[-_.][0-9]+-of-[0-9]+$")
_Key = tuple[str | None, str | None, str]


@dataclass(frozen=True, slots=True)
class Placed:
    """A tensor of a version, and the parts of the version's blobs that hold its bytes"""

    name: str
    file: FileEntry
    info: TensorInfo
    extents: tuple[Extent, ...]

    @property
    def nbytes(self) -> int:
        """Its bytes in the file"""
        return self.info.end - self.info.begin


@dataclass(frozen=True, slots=True)
class Pair:
    """A tensor of two versions. same: whether its bytes are, None where only reading tells"""

    old: Placed
    new: Placed
    same: bool | None

    @property
    def name(self) -> str:
        """As it is called in both"""
        return self.new.name

    @property
    def like(self) -> bool:
        """Whether dtype and shape are the same"""
        return (self.old.info.dtype, self.old.info.shape) == (self.new.info.dtype, self.new.info.shape)


@dataclass(frozen=True, slots=True)
class Pairing:
    """Tensors of one version only, and those of both; by name"""

    added: tuple[Placed, ...]
    removed: tuple[Placed, ...]
    pairs: tuple[Pair, ...]


def match(old: Manifest, new: Manifest) -> Pairing:
    """Match the tensors of two versions across all their files

    A name that occurs in several files of a version is told with its file, in both versions: `optimizer/w`.
    """
    befores, afters = _by_name(_tensors(old), _tensors(new))
    pairs = (
        Pair(befores[key], afters[key], _is_same(old, befores[key], new, afters[key]))
        for key in befores.keys() & afters
    )
    return Pairing(
        added=tuple(sorted((afters[key] for key in afters.keys() - befores), key=_name)),
        removed=tuple(sorted((befores[key] for key in befores.keys() - afters), key=_name)),
        pairs=tuple(sorted(pairs, key=_name)),
    )


def named(manifest: Manifest) -> list[Placed]:
    """The tensors of one version; a name that occurs in several files is told with its file"""
    tensors = _tensors(manifest)
    return list(_by_name(tensors, tensors)[0].values())


def _name(one: Placed | Pair) -> str:
    return one.name


def _tensors(manifest: Manifest) -> list[Placed]:
    return [
        Placed(info.name, file, info, tuple(_parts(file, starts, info.begin, info.end)))
        for file in manifest.files
        for starts in [list(accumulate((extent.length for extent in file.extents), initial=0))]
        for info in file.tensors
    ]


def _parts(file: FileEntry, starts: Sequence[int], begin: int, end: int) -> Iterator[Extent]:
    at = bisect_right(starts, begin) - 1
    while begin < end:
        extent = file.extents[at]
        stop = min(end, starts[at + 1])
        yield Extent(extent.blob, extent.start + begin - starts[at], stop - begin)
        begin = stop
        at += 1


def _by_name(old: Sequence[Placed], new: Sequence[Placed]) -> list[dict[_Key, Placed]]:
    """Each tensor by the shortest name that is its own in either version"""
    names = _repeated([(one.info.name for one in tensors) for tensors in (old, new)])
    if not names:
        return [{(None, None, one.info.name): one for one in tensors} for tensors in (old, new)]
    twice = [[one for one in tensors if one.info.name in names] for tensors in (old, new)]
    stems = _repeated([((unsharded_path(one.file), one.info.name) for one in tensors) for tensors in twice])
    versions: list[dict[_Key, Placed]] = [{}, {}]
    for tensors, found in zip((old, new), versions, strict=True):
        for one in tensors:
            name = one.info.name
            stem = unsharded_path(one.file) if name in names else None
            path = str(one.file.path) if (stem, name) in stems else None
            shown = name if stem is None else f"{path or stem}/{name}"
            found[None if path else stem, path, name] = Placed(shown, one.file, one.info, one.extents)
    return versions


def _repeated(versions: Iterable[Iterable[object]]) -> set[object]:
    return {name for names in versions for name, count in Counter(names).items() if count > 1}


def unsharded_path(file: FileEntry) -> str:
    """The path without suffix and number of the shard, so that it stays when a model is sharded anew"""
    folder, slash, name = file.path.rpartition("/")
    return folder + slash + _SHARD.sub("", name.rpartition(".")[0] or name)


_Run = tuple[Digest, int, int, bool]


def _is_same(old: Manifest, before: Placed, new: Manifest, after: Placed) -> bool | None:
    if before.nbytes != after.nbytes or before.info.dtype != after.info.dtype:
        return False
    place, place_after = ((one.file.sha256, one.info.begin) for one in (before, after))
    runs, runs_after = _runs(old, before), _runs(new, after)
    if place == place_after or runs == runs_after:
        return True
    lengths, lengths_after = ([length for _, _, length, _ in each] for each in (runs, runs_after))
    if lengths == lengths_after and any(map(_is_other, runs, runs_after)):
        return False
    return None


def _runs(manifest: Manifest, tensor: Placed) -> list[_Run]:
    blobs = ((manifest.blobs[extent.blob], extent) for extent in tensor.extents)
    return [(blob.digest, extent.start, extent.length, extent.length == blob.size) for blob, extent in blobs]


def _is_other(run: _Run, run_after: _Run) -> bool:
    """Whole blobs of two digests differ; parts of them need not"""
    return run[3] and run_after[3] and run[0] != run_after[0]
