"""Known: opened pieces, what vouches for them, and how tensors are had from them: mapped, or read into memory"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from ctypes import Array, c_uint8
from functools import partial
from itertools import pairwise

import torch
from blake3 import blake3

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
from artifactstore.tensors.fill import Done, Job, Work, fill, sure, work_all
from artifactstore.tensors.options import Loading
from artifactstore.tensors.pieces import Opened, Source
from artifactstore.tensors.report import Tally
from artifactstore.tensors.upload import upload

Ready = Callable[[Stored], None]


class Pieces:
    """Opened pieces, and what is known of them"""

    def __init__(
        self, source: Source, wanted: Sequence[Stored], files: Mapping[int, Opened], loading: Loading, tally: Tally
    ) -> None:
        self._source, self._wanted, self._files = source, wanted, dict(files)
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

    def fill(self, wanted: Sequence[Stored], into: Sequence[torch.Tensor], ready: Ready | None = None) -> None:
        """Read tensors into memory, on whatever device it is; ready: called with each by the thread that ends it"""
        by_device: dict[torch.device, list[int]] = defaultdict(list)
        for number, tensor in enumerate(into):
            by_device[tensor.device].append(number)
        for device, numbers in by_device.items():
            self._fill(device, [wanted[number] for number in numbers], [into[number] for number in numbers], ready)

    def _fill(
        self, device: torch.device, wanted: Sequence[Stored], into: Sequence[torch.Tensor], ready: Ready | None
    ) -> None:
        jobs, work = self._prepared(device, wanted, into)
        if ready is not None:
            work = _telling(work, jobs, lambda number: ready(wanted[number]))
        for done in work_all(jobs, work, self._loading.threads):
            self._tally.reads += done.reads
            self._tally.read_bytes += done.nbytes
            self.checked.update([done.checked] if done.checked else [])

    @uncollected()
    def _prepared(
        self, device: torch.device, wanted: Sequence[Stored], into: Sequence[torch.Tensor]
    ) -> tuple[list[Job], Work]:
        """All that is to be done on a device, and how"""
        engine = self._loading.engine_of(device)
        jobs = list(self._jobs(wanted))
        if engine is None:
            views = {number: view_bytes(tensor) for number, tensor in enumerate(into) if wanted[number].extents}
            return jobs, partial(fill, views=views)
        flats = {number: as_bytes(tensor) for number, tensor in enumerate(into) if wanted[number].extents}
        return jobs, partial(upload, flats=flats, engine=engine)

    def _jobs(self, wanted: Sequence[Stored]) -> Iterator[Job]:
        """What one thread does at a time: a piece, or a part of one of which nothing is known"""
        for number, of_piece in runs(wanted).items():
            piece, check, file = self._source.pieces[number], number in self._unsure, self._files.get(number)
            whole = check or file is None
            for some in [of_piece] if whole else portions(of_piece, MAX_BLOB):
                yield Job(piece, some, check, file)

    @uncollected()
    def mapped(self) -> dict[str, torch.Tensor]:
        """Tensors as views of mapped files, those that can be; empty ones too"""
        found = {one.name: allocate(one.dtype, one.shape, 0, CPU) for one in self._wanted if not one.extents}
        if not mapping.supported():
            return found
        far = mounts.remote({file.stamp.device for file in self._files.values()})
        near = {number for number, file in self._files.items() if file.stamp.device not in far}
        chains = {one.name: chain for one in self._wanted if (chain := self._chain(one, near))}
        if not chains or sum(map(len, set(chains.values()))) > mapping.MOST:
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
            chain = chains.get(one.name, ())
            # what is not right is read, and looked for elsewhere
            if chain and all(number in self._files for number in chain):
                check_tensor(one.dtype, one.shape, one.nbytes)
                begin, shape, dtype = (
                    places[chain] + one.extents[0].start,
                    counted(one.dtype, one.shape),
                    TORCH[one.dtype],
                )
                # each with a storage of its own, so that who saves one does not save them all
                flat = torch.frombuffer(memory, dtype=dtype, count=one.nbytes // dtype.itemsize, offset=begin)
                found[one.name] = flat if len(shape) == 1 else flat.view(shape)
        return found

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

    def _check(self, memory: "Array[c_uint8]", laid: Mapping[int, mapping.Laid]) -> None:
        """Hash what nobody vouches for; a process that uses it finds its pages there"""
        numbers = sorted(self._unsure & laid.keys())
        todo = [(self._files[number], laid[number]) for number in numbers]
        if not todo:
            return
        view = memoryview(memory).cast("B")

        def check(each: tuple[Opened, mapping.Laid]) -> tuple[Stamp, Digest] | None:
            file, place = each
            return sure(file, Digest(blake3(view[place.at : place.at + place.size]).digest()))

        with start_pool(min(self._loading.threads, len(todo)), "artstore-load") as pool:
            for number, checked in zip(numbers, [pool.submit(check, each) for each in todo], strict=True):
                try:
                    self.checked.update([found] if (found := checked.result()) else [])
                except Corrupt:
                    del self._files[number]
        self._tally.read_bytes += sum(place.size for _, place in todo)
        self._unsure.difference_update(numbers)


def _telling(work: Work, jobs: Sequence[Job], ready: Callable[[int], None]) -> Work:
    """The same, which tells of each tensor whose last job is done"""
    left = Counter(number for job in jobs for number in {run.tensor for run in job.runs})
    lock = threading.Lock()

    def telling(job: Job) -> Done:
        done = work(job)
        with lock:
            numbers = {run.tensor for run in job.runs}
            left.subtract(numbers)
            over = [number for number in numbers if not left[number]]
        for number in over:
            ready(number)
        return done

    return telling
