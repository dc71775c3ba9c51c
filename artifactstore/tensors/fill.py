"""Fill: bytes of pieces read straight into memory that exists, by several threads, hashed on the way where asked

Fresh memory costs a page fault for every 4 KiB, which takes longer than the bytes; so nothing is read aside except what
is hashed and not wanted.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path

from blake3 import blake3

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt
from artifactstore.core.reading import Run, near
from artifactstore.ops.transfer.source import Stamp, looking_at
from artifactstore.ops.transfer.threads import start_pool
from artifactstore.tensors.pieces import Piece, Seen

# Read at a time: what is hashed is still in the processor's cache.
_STEP = 4 << 20
_SMALL_STEP = 1 << 20
# Bytes between two runs that are read along with them, as one read is cheaper than two.
GAP = 64 << 10
# Memory areas that preadv takes (IOV_MAX).
_AREAS = 1024


@dataclass(frozen=True, slots=True)
class Job:
    """A piece, what is wanted of it, whether it is to be hashed, and its file where it has one"""

    piece: Piece
    runs: Sequence[Run]
    check: bool
    file: Seen | None


@dataclass(frozen=True, slots=True)
class Done:
    """reads: calls; nbytes: read, with what was not wanted. checked: a file that was read whole, and its digest"""

    reads: int
    nbytes: int
    checked: tuple[Stamp, Digest] | None = None


Work = Callable[[Job], Done]


def work_all(jobs: Sequence[Job], work: Work, threads: int) -> Iterator[Done]:
    """Do all of it, in the order of the jobs; raise Corrupt naming a piece that is damaged

    What a file turns out not to have is looked for once more, as it may have moved or lie elsewhere too.
    """

    def surely(job: Job) -> Done:
        try:
            return work(job)
        except Corrupt:
            if job.file is None or job.piece.digest is None:
                raise
        return work(replace(job, file=None))

    if threads < 2 or len(jobs) < 2:
        yield from map(surely, jobs)
        return
    with start_pool(min(threads, len(jobs)), "artstore-load") as pool:
        try:
            yield from pool.map(surely, jobs)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def fill(job: Job, views: Mapping[int, memoryview]) -> Done:
    """Do one job; views: the memory of each tensor by number. Raise Corrupt"""
    if job.file is None:
        return _aside(job, views)
    with job.file.open() as fd:
        return _hashed(job, job.file, fd, views) if job.check else _unhashed(job, fd, views)


def _unhashed(job: Job, fd: int, views: Mapping[int, memoryview]) -> Done:
    reads = nbytes = 0
    for group in near(job.runs, gap=GAP, most=_STEP, count=_AREAS // 2):
        begin, end = group[0].start, group[-1].start + group[-1].length
        reads += read(job.piece, fd, list(_areas(group, views, begin, end)), begin)
        nbytes += end - begin
    return Done(reads, nbytes)


def _hashed(job: Job, file: Seen, fd: int, views: Mapping[int, memoryview]) -> Done:
    aside = _overlaps(job.runs)
    memory = [memoryview(bytearray(job.piece.size))] if aside else list(_areas(job.runs, views, 0, job.piece.size))
    hasher = blake3()
    reads = 0
    for start, areas in _steps(memory):
        reads += read(job.piece, fd, areas, start)
        for area in areas:
            hasher.update(area)
    if aside:
        _copy(job.runs, memory[0], views)
    return Done(reads, job.piece.size, sure(file, fd, Digest(hasher.digest())))


def look_through(file: Seen) -> tuple[Stamp, Digest] | None:
    """Hash a file, so that its pages are there for who maps it; raise Corrupt when it is not what it should be"""
    hasher, memory = blake3(), memoryview(bytearray(min(_SMALL_STEP, file.piece.size)))
    with file.open() as fd:
        for start in range(0, file.piece.size, _SMALL_STEP):
            area = memory[: min(_SMALL_STEP, file.piece.size - start)]
            read(file.piece, fd, [area], start)
            hasher.update(area)
        return sure(file, fd, Digest(hasher.digest()))


def sure(file: Seen, fd: int, found: Digest) -> tuple[Stamp, Digest] | None:
    """A file whose bytes have this digest, unless it changed meanwhile; raise Corrupt when it should have another"""
    if found != file.piece.digest:
        raise file.piece.damaged()
    return (file.stamp, found) if file.is_same(fd) else None


def _aside(job: Job, views: Mapping[int, memoryview]) -> Done:
    """Where there is no file: the piece whole and checked, straight into its tensor where it is all of one"""
    if len(job.runs) == 1 and job.runs[0].length == job.piece.size:
        [run] = job.runs
        job.piece.whole(views[run.tensor][run.at : run.at + run.length])
        return Done(1, job.piece.size)
    memory = memoryview(bytearray(job.piece.size))
    job.piece.whole(memory)
    _copy(job.runs, memory, views)
    return Done(1, job.piece.size)


def _copy(runs: Sequence[Run], memory: memoryview, views: Mapping[int, memoryview]) -> None:
    for run in runs:
        views[run.tensor][run.at : run.at + run.length] = memory[run.start : run.start + run.length]


def _areas(runs: Sequence[Run], views: Mapping[int, memoryview], begin: int, end: int) -> Iterator[memoryview]:
    """Memory for all bytes of a piece from `begin` to `end`: that of the runs, and some for what lies between them"""
    at = begin
    for run in runs:
        if run.start > at:
            yield memoryview(bytearray(run.start - at))
        yield views[run.tensor][run.at : run.at + run.length]
        at = run.start + run.length
    if at < end:
        yield memoryview(bytearray(end - at))


def _overlaps(runs: Sequence[Run]) -> bool:
    """Whether two want the same bytes"""
    return any(one.start + one.length > other.start for one, other in pairwise(runs))


def _steps(areas: Sequence[memoryview]) -> Iterator[tuple[int, list[memoryview]]]:
    """The same areas in portions that are read and hashed at once, with where each begins"""
    start = 0
    portion: list[memoryview] = []
    room = _STEP
    for area in areas:
        rest = area
        while rest:
            part, rest = rest[:room], rest[room:]
            portion.append(part)
            room -= len(part)
            if not room or len(portion) == _AREAS:
                yield start, portion
                start, portion, room = start + sum(map(len, portion)), [], _STEP
    if portion:
        yield start, portion


def read(piece: Piece, fd: int, areas: Sequence[memoryview], start: int) -> int:
    """Fill the areas one after the other from `start`; how many calls it took"""
    left, calls = deque(area for area in areas if len(area)), 0
    while left:
        with looking_at(Path(piece.name)):
            count = _READ(fd, list(islice(left, _AREAS)), start)
        calls += 1
        if not count:
            raise piece.damaged()
        start += count
        while left and count >= len(left[0]):
            count -= len(left.popleft())
        if count:
            left[0] = left[0][count:]
    return calls


def _read_one(fd: int, areas: Sequence[memoryview], start: int) -> int:
    os.lseek(fd, start, os.SEEK_SET)
    data = os.read(fd, len(areas[0]))
    areas[0][: len(data)] = data
    return len(data)


# Windows has no preadv(2); a descriptor belongs to one job, so its place may be moved.
_READ = getattr(os, "preadv", _read_one)
