"""Loader: tensors of a version, or of plain safetensors files, in memory of the CPU

Whole tensors are views of mapped files where that can be, and are read when they are used; into tensors that exist,
bytes are read straight from the disk. What is read is checked against its digest, by default once for each file of a
machine.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from blake3 import blake3

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid, Unavailable
from artifactstore.core.reading import Cut, Stored, choose, narrow, runs
from artifactstore.ops.transfer.attested import Attestations
from artifactstore.ops.transfer.source import Stamp
from artifactstore.ops.transfer.threads import start_pool
from artifactstore.tensors import mapping
from artifactstore.tensors.dtypes import TORCH, allocate, check_tensor, counted, view_bytes
from artifactstore.tensors.fill import Job, Ready, fill, ignore, sure
from artifactstore.tensors.pieces import Opened, Source, opened
from artifactstore.tensors.report import LoadReport, Tally

Verify = Literal["once", "always", "never"]
_VERIFY = ("once", "always", "never")
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Loading:
    """How to load. attestations: what this machine knows of files that were read before; threads: that read"""

    verify: Verify = "once"
    attestations: Attestations | None = None
    threads: int = 4

    def __post_init__(self) -> None:
        if self.verify not in _VERIFY:
            raise Invalid(f"verify is one of {', '.join(_VERIFY)}, not {self.verify!r:.40}", code="verify")


class Loaded(dict[str, torch.Tensor]):
    """Tensors by name, the caller's own; `report` says how they came"""

    def __init__(self, tensors: Mapping[str, torch.Tensor], report: LoadReport) -> None:
        super().__init__(tensors)
        self.report = report


def load(
    source: Source,
    loading: Loading,
    names: Iterable[str] | None = None,
    plan: Mapping[str, Cut] | None = None,
) -> Loaded:
    """Those of the names, or what a plan says of each, else all

    Raise Invalid for names that are not there, Corrupt naming the blob that is damaged.
    """
    tally = Tally()
    wanted = [narrow(one, (plan or {}).get(one.name)) for one in choose(source.tensors, plan or names)]
    with pieces_of(source, wanted, loading, tally) as pieces:
        found = pieces.mapped()
        rest = [one for one in wanted if one.name not in found]
        found |= {one.name: allocate(one.dtype, one.shape, one.nbytes, _CPU) for one in rest}
        pieces.fill(rest, [found[one.name] for one in rest])
    return Loaded({one.name: found[one.name] for one in wanted}, tally.report(source.name, wanted))


def read_into(source: Source, targets: Mapping[str, torch.Tensor], loading: Loading) -> LoadReport:
    """Fill contiguous CPU tensors of the stored dtype and shape, by name"""
    wanted = choose(source.tensors, targets)
    return read_parts(source, wanted, [targets[one.name] for one in wanted], loading)


def read_parts(source: Source, wanted: Sequence[Stored], into: Sequence[torch.Tensor], loading: Loading) -> LoadReport:
    """Fill contiguous CPU tensors, each with the tensor or part of one that stands at its place"""
    tally = Tally()
    with pieces_of(source, wanted, loading, tally) as pieces:
        pieces.fill(wanted, into)
    return tally.report(source.name, wanted)


@contextmanager
def pieces_of(source: Source, wanted: Sequence[Stored], loading: Loading, tally: Tally) -> Iterator["Pieces"]:
    """What the tensors lie in, opened; what was found to be right is noted at the end"""
    needed = {extent.blob: source.pieces[extent.blob] for one in wanted for extent in one.extents}
    with opened(needed) as files:
        pieces = Pieces(source, wanted, files, loading, tally)
        yield pieces
    if loading.attestations is not None:
        loading.attestations.note(pieces.checked)


class Pieces:
    """Opened pieces, and what is known of them"""

    def __init__(
        self, source: Source, wanted: Sequence[Stored], files: Mapping[int, Opened], loading: Loading, tally: Tally
    ) -> None:
        self._source, self._wanted, self._files = source, wanted, files
        self._loading, self._tally = loading, tally
        self.checked: dict[Stamp, Digest] = {}
        known = self._attested()
        self._unsure: set[int] = set()
        for number in {extent.blob for one in wanted for extent in one.extents}:
            piece, file = source.pieces[number], files.get(number)
            hashed = piece.digest is not None and (file is None or (loading.verify != "never" and number not in known))
            if hashed and file is not None:
                self._unsure.add(number)
            how = "hashed" if hashed else "attested" if number in known else "none"
            tally.verified[how] += piece.size

    def _attested(self) -> set[int]:
        attestations = self._loading.attestations
        if self._loading.verify != "once" or attestations is None:
            return set()
        digests = attestations.known([file.stamp for file in self._files.values() if file.piece.digest is not None])
        return {number for number, file in self._files.items() if digests.get(file.stamp, b"") == file.piece.digest}

    def fill(self, wanted: Sequence[Stored], into: Sequence[torch.Tensor], ready: Ready = ignore) -> None:
        """Read tensors into memory"""
        views = {number: view_bytes(tensor) for number, tensor in enumerate(into) if wanted[number].extents}
        jobs = [
            Job(self._source.pieces[number], of_piece, number in self._unsure, self._files.get(number))
            for number, of_piece in runs(wanted).items()
        ]
        for done in fill(jobs, views, self._loading.threads, ready):
            self._tally.reads += done.reads
            self._tally.read_bytes += done.nbytes
            self.checked.update([done.checked] if done.checked else [])

    def mapped(self) -> dict[str, torch.Tensor]:
        """Tensors as views of mapped files, those that can be; empty ones too"""
        found = {one.name: allocate(one.dtype, one.shape, 0, _CPU) for one in self._wanted if not one.extents}
        chains = {one.name: chain for one in self._wanted if (chain := self._chain(one))}
        if not chains or not mapping.supported() or sum(map(len, chains.values())) > mapping.MOST:
            return found
        places: dict[tuple[int, ...], int] = {}
        laid: list[tuple[int, mapping.Laid]] = []
        total = 0
        for chain in chains.values():
            if chain in places:
                continue
            places[chain] = total
            for number in chain:
                file = self._files[number]
                laid.append((number, mapping.Laid(file.fd, file.piece.size, total)))
                total += mapping.round_up(file.piece.size)
        try:
            memory = mapping.lay([each for _, each in laid], total)
        except Unavailable:
            # they are read instead
            return found
        self._check(memory, dict(laid))
        for one in self._wanted:
            if one.name in chains:
                check_tensor(one.dtype, one.shape, one.nbytes)
                begin = places[chains[one.name]] + one.extents[0].start
                flat = memory[begin : begin + one.nbytes].view(TORCH[one.dtype])
                found[one.name] = flat.view(counted(one.dtype, one.shape))
        return found

    def _chain(self, one: Stored) -> tuple[int, ...]:
        """The files that hold a tensor from end to end when they are laid side by side, none when they do not"""
        sizes = (self._files[extent.blob].piece.size if extent.blob in self._files else -1 for extent in one.extents)
        joined = all(
            size == before.start + before.length and size % mapping.PAGE == 0 and after.start == 0
            for size, (before, after) in zip(sizes, pairwise(one.extents), strict=False)
        )
        aligned = one.dtype in TORCH and one.extents and one.extents[0].start % TORCH[one.dtype].itemsize == 0
        there = all(extent.blob in self._files for extent in one.extents)
        return tuple(extent.blob for extent in one.extents) if joined and aligned and there else ()

    def _check(self, memory: torch.Tensor, laid: Mapping[int, mapping.Laid]) -> None:
        """Hash what nobody vouches for; a process that uses it finds its pages there"""
        todo = [(self._files[number], laid[number]) for number in sorted(self._unsure & laid.keys())]
        if not todo:
            return
        view = view_bytes(memory)

        def check(each: tuple[Opened, mapping.Laid]) -> tuple[Stamp, Digest] | None:
            file, place = each
            return sure(file, Digest(blake3(view[place.at : place.at + place.size]).digest()))

        with start_pool(min(self._loading.threads, len(todo)), "artstore-load") as pool:
            for checked in pool.map(check, todo):
                self.checked.update([checked] if checked else [])
        self._tally.read_bytes += sum(place.size for _, place in todo)
        self._unsure -= laid.keys()
