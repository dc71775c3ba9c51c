"""Known: what vouches for the pieces of a load, and how tensors are had from them: mapped, or read into memory"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from ctypes import Array, c_uint8
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch.autograd.graph import increment_version

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt, Unavailable
from artifactstore.core.manifest import MAX_BLOB
from artifactstore.core.reading import Stored, portions, runs
from artifactstore.ops.transfer.garbage import uncollected
from artifactstore.ops.transfer.source import Stamp
from artifactstore.ops.transfer.threads import start_pool
from artifactstore.tensors import mapping, mounts
from artifactstore.tensors.dtypes import TORCH, allocate, as_bytes, check_tensor, counted, view_bytes
from artifactstore.tensors.engine import CPU
from artifactstore.tensors.fill import Done, Job, Work, fill, look_through, work_all
from artifactstore.tensors.options import Loading
from artifactstore.tensors.pieces import Source, look
from artifactstore.tensors.report import Tally
from artifactstore.tensors.upload import upload


def _always() -> None:
    """Nothing stops it"""


class Watcher(NamedTuple):
    """Who waits for single tensors. ready: called with each by the thread that ends it; go_on: raises to stop"""

    ready: Callable[[Stored], None]
    go_on: Callable[[], None] = _always


@dataclass(frozen=True, slots=True)
class Memory:
    """What the loads of one handle have found out. far: devices that are not of this machine, and others"""

    digests: dict[Stamp, Digest] = field(default_factory=dict)
    far: dict[int, bool] = field(default_factory=dict)


class Pieces:
    """The pieces that tensors lie in, and what vouches for them, for one load"""

    def __init__(
        self, source: Source, wanted: Sequence[Stored], loading: Loading, tally: Tally, memory: Memory
    ) -> None:
        self._source, self._wanted = source, wanted
        self._loading, self._tally, self._memory = loading, tally, memory
        self.checked: dict[Stamp, Digest] = {}
        numbers = {extent.blob for one in wanted for extent in one.extents}
        self._files = look({number: source.pieces[number] for number in numbers})
        known = self._known()
        self._unsure: set[int] = set()
        for number in numbers:
            piece, file = source.pieces[number], self._files.get(number)
            hashed = piece.digest is not None and (file is None or (loading.verify != "never" and number not in known))
            if hashed and file is not None:
                self._unsure.add(number)
            how = "hashed" if hashed else "attested" if number in known else "none"
            tally.verified[how] += piece.size

    def _known(self) -> set[int]:
        if self._loading.verify == "never":
            return set()
        digests = self._memory.digests
        new = [file.stamp for file in self._files.values() if file.piece.digest and file.stamp not in digests]
        if self._loading.verify == "once" and self._loading.attestations is not None and new:
            digests |= self._loading.attestations.known(new)
        return {number for number, file in self._files.items() if digests.get(file.stamp, b"") == file.piece.digest}

    def note(self) -> None:
        """Remember what was found to be right, here and for all loads of the machine"""
        self._memory.digests.update(self.checked)
        if self._loading.attestations is not None and self.checked:
            self._loading.attestations.note(self.checked)

    def fill(self, wanted: Sequence[Stored], into: Sequence[torch.Tensor], watcher: Watcher | None = None) -> None:
        """Read tensors into memory, on whatever device it is; with a watcher, each is held no longer than until told"""
        by_device: dict[torch.device, _Group] = defaultdict(_Group)
        for one, tensor in zip(wanted, into, strict=True):
            group = by_device[tensor.device]
            group.wanted.append(one)
            group.into.append(tensor)
        del into
        for device in list(by_device):
            self._fill(device, by_device.pop(device), watcher)

    def _fill(self, device: torch.device, group: "_Group", watcher: Watcher | None) -> None:
        jobs, work, memory = self._prepared(device, group)
        if watcher is not None:
            work = _watched(work, jobs, memory, group, watcher)
        try:
            for done in work_all(jobs, work, self._loading.threads):
                self._tally.reads += done.reads
                self._tally.read_bytes += done.nbytes
                self.checked.update([done.checked] if done.checked else [])
        finally:
            for tensor in group.into:
                _tell(tensor)

    @uncollected()
    def _prepared(self, device: torch.device, group: "_Group") -> tuple[list[Job], Work, dict[int, Any]]:
        """All that is to be done on a device, how, and the memory of each tensor"""
        engine = self._loading.engine_of(device)
        jobs = list(self._jobs(group.wanted))
        memory: dict[int, Any] = {}
        for number, tensor in enumerate(group.into):
            if group.wanted[number].extents and tensor is not None:
                memory[number] = view_bytes(tensor) if engine is None else as_bytes(tensor)
        if engine is None:
            return jobs, partial(fill, views=memory), memory
        return jobs, partial(upload, flats=memory, engine=engine), memory

    def _jobs(self, wanted: Sequence[Stored]) -> Iterator[Job]:
        """What one thread does at a time: a piece, or a part of one of which nothing is known"""
        for number, of_piece in runs(wanted).items():
            piece, check, file = self._source.pieces[number], number in self._unsure, self._files.get(number)
            whole = check or file is None
            for some in [of_piece] if whole else portions(of_piece, MAX_BLOB):
                yield Job(piece, some, check, file)

    def mapped(self) -> dict[str, torch.Tensor]:
        """Tensors as views of mapped files, those that can be; empty ones too"""
        found = {one.name: allocate(one.dtype, one.shape, 0, CPU) for one in self._wanted if not one.extents}
        near = self._near() if mapping.supported() else set()
        # what turns out to be damaged is read instead, and looked for elsewhere
        self._check(near)
        near &= self._files.keys()
        if near:
            found |= self._views(near)
        return found

    @uncollected()
    def _views(self, near: Collection[int]) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        ranges: dict[tuple[int, ...], Array[c_uint8]] = {}
        ends: dict[tuple[int, ...], int] = {}
        count = 0
        for one in self._wanted:
            chain, begin = self._chain(one, near), one.extents[0].start if one.extents else 0
            # bytes that two tensors share are two tensors' own: the second is read
            if not chain or begin < ends.get(chain, 0):
                continue
            if chain not in ranges:
                count += len(chain)
                if count > mapping.MOST:
                    break
                try:
                    ranges[chain] = mapping.lay([self._files[number] for number in chain])
                except (Unavailable, Corrupt):
                    break
            check_tensor(one.dtype, one.shape, one.nbytes)
            shape, dtype = counted(one.dtype, one.shape), TORCH[one.dtype]
            # each with a storage of its own, so that who saves one does not save them all
            flat = torch.frombuffer(ranges[chain], dtype=dtype, count=one.nbytes // dtype.itemsize, offset=begin)
            found[one.name] = flat if len(shape) == 1 else flat.view(shape)
            ends[chain] = begin + one.nbytes
        return found

    def _near(self) -> set[int]:
        """Files of this machine's disks"""
        far = self._memory.far
        devices = {file.stamp.device for file in self._files.values()}
        if not devices <= far.keys():
            there = mounts.remote(devices)
            far.update({device: device in there for device in devices})
        return {number for number, file in self._files.items() if not far[file.stamp.device]}

    def _chain(self, one: Stored, files: Collection[int]) -> tuple[int, ...]:
        """Those of the files that hold a tensor from end to end when they are laid side by side, none when none do"""
        if not one.extents or one.dtype not in TORCH or one.extents[0].start % TORCH[one.dtype].itemsize:
            return ()
        if len(one.extents) == 1:
            return (one.extents[0].blob,) if one.extents[0].blob in files else ()
        if not all(extent.blob in files for extent in one.extents):
            return ()
        sizes = (self._files[extent.blob].piece.size for extent in one.extents)
        joined = all(
            size == before.start + before.length and size % mapping.PAGE == 0 and after.start == 0
            for size, (before, after) in zip(sizes, pairwise(one.extents), strict=False)
        )
        return tuple(extent.blob for extent in one.extents) if joined else ()

    def _check(self, numbers: Collection[int]) -> None:
        """Hash what nobody vouches for; a process that maps it then finds its pages there"""
        todo = sorted(self._unsure & set(numbers))
        if not todo:
            return
        with start_pool(min(self._loading.threads, len(todo)), "artstore-load") as pool:
            for number, checked in [(number, pool.submit(look_through, self._files[number])) for number in todo]:
                try:
                    self.checked.update([found] if (found := checked.result()) else [])
                except Corrupt:
                    del self._files[number]
        self._tally.read_bytes += sum(self._source.pieces[number].size for number in todo)
        self._unsure.difference_update(todo)


@dataclass(slots=True)
class _Group:
    """Tensors of one device, and what is wanted in each; None where it is there and was told of"""

    wanted: list[Stored] = field(default_factory=list)
    into: list[torch.Tensor | None] = field(default_factory=list)


def _tell(tensor: torch.Tensor | None) -> None:
    """What torch did not do itself it has to be told of"""
    if tensor is not None:
        increment_version(tensor)


def _watched(work: Work, jobs: Sequence[Job], memory: dict[int, Any], group: _Group, watcher: Watcher) -> Work:
    """The same, which tells of each tensor whose last job is done, and holds it no more"""
    left = Counter(number for job in jobs for number in {run.tensor for run in job.runs})
    lock = threading.Lock()

    def watched(job: Job) -> Done:
        watcher.go_on()
        done = work(job)
        with lock:
            numbers = {run.tensor for run in job.runs}
            left.subtract(numbers)
            over = [number for number in numbers if not left[number]]
        for number in over:
            _tell(group.into[number])
            group.into[number] = memory[number] = None
            watcher.ready(group.wanted[number])
        return done

    return watched
