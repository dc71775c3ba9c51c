"""Upload: bytes of a piece through a buffer into tensors of a device, hashed there or on the way

Reading, hashing and copying overlap: what is read goes on its way while the next bytes are read, and other threads are
at other pieces meanwhile.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from blake3 import blake3

from artifactstore.core.digest import Digest
from artifactstore.core.reading import Run, near
from artifactstore.tensors.direct import ALIGNED, past_cache, read_pages
from artifactstore.tensors.engine import Engine, Lane
from artifactstore.tensors.fill import GAP, Done, Job, read, sure

# Read at a time, large enough for a disk and for the bus.
_STEP = 16 << 20
# More runs than this are copied together into one tensor and put in their places on the device.
_FEW = 4
_LOG = logging.getLogger(__name__)


def upload(job: Job, flats: Mapping[int, torch.Tensor], engine: Engine) -> Done:
    """Do one job; flats: the memory of each tensor as uint8, by number. Raise Corrupt"""
    # tensors made in inference mode are written in it, others too
    with torch.inference_mode(), engine.lane() as lane:
        done = _straight(job, flats, engine, lane)
        if done is not None:
            return done
        buffer = engine.pool.take()
        try:
            return _Upload(job, flats, engine, lane, buffer.view).run()
        finally:
            # also after a failure: the buffer is another's next
            lane.settle()
            buffer.drop()


def _straight(job: Job, flats: Mapping[int, torch.Tensor], engine: Engine, lane: Lane) -> Done | None:
    """Without the CPU's memory, where the device reads and hashes itself and the bytes are those of one tensor"""
    [run, *more] = job.runs
    if engine.reader is None or job.file is None or more:
        return None
    if job.check and (run.length < job.piece.size or engine.hash is None):
        return None
    flat = flats[run.tensor][run.at : run.at + run.length]
    lane.settle()
    # open, so that the path is still that of the file that was looked at
    with job.file.open() as fd:
        try:
            count = engine.reader(job.file.path, flat, run.start)
        except (OSError, RuntimeError) as e:
            _LOG.warning("%s could not be read straight into %s: %s", job.file.path, engine.device, e)
            return None
        if count < run.length:
            raise job.piece.damaged()
        checked = sure(job.file, fd, engine.hash(flat)) if job.check and engine.hash else None
    return Done(1, run.length, checked)


class _Upload:
    def __init__(
        self, job: Job, flats: Mapping[int, torch.Tensor], engine: Engine, lane: Lane, view: memoryview
    ) -> None:
        self._job, self._flats, self._engine, self._lane = job, flats, engine, lane
        self._view, self._host = view, torch.frombuffer(view, dtype=torch.uint8)
        self._used = 0
        self._reads = 0

    def run(self) -> Done:
        job, whole = self._job, (0, self._job.piece.size)
        if job.file is None:
            job.piece.whole(self._view[: job.piece.size])
            self._send(job.runs, whole, [whole])
            return Done(1, job.piece.size)
        with job.file.open() as fd, past_cache(job.file, wanted=self._engine.direct) as direct:
            files = _Files(fd, direct)
            if job.check:
                return Done(self._reads, job.piece.size, sure(job.file, fd, self._hash_all(files, whole)))
            nbytes = 0
            for runs in near(job.runs, gap=GAP, most=len(self._view), count=len(job.runs)):
                window = runs[0].start, runs[-1].start + runs[-1].length
                self._send(runs, window, self._read(files, window))
                nbytes += window[1] - window[0]
            return Done(self._reads, nbytes)

    def _hash_all(self, files: "_Files", whole: tuple[int, int]) -> Digest:
        """Send what is wanted of a piece and hash all of it, on the device where that can be"""
        if self._engine.hash is not None:
            return self._engine.hash(self._send(self._job.runs, whole, self._read(files, whole), as_one=True))
        hasher = blake3()
        self._send(self._job.runs, whole, self._hashed(files, whole, hasher))
        return Digest(hasher.digest())

    def _hashed(self, files: "_Files", whole: tuple[int, int], hasher: "blake3") -> Iterator[tuple[int, int]]:
        for low, high in self._read(files, whole):
            # first what is done without the processor
            yield low, high
            hasher.update(self._view[low:high])

    def _read(self, files: "_Files", window: tuple[int, int]) -> Iterator[tuple[int, int]]:
        """Read [begin, end) of the piece into the buffer; each step once it is there"""
        begin, end = window
        for low in range(begin, end, _STEP):
            high = min(low + _STEP, end)
            at = self._used + low - begin
            if files.direct is not None and begin % ALIGNED == 0:
                self._reads += read_pages(self._job.piece, files.direct, self._view[at:], low, high)
            else:
                self._reads += read(self._job.piece, files.fd, [self._view[at : at + high - low]], low)
            yield low, high

    def _send(
        self,
        runs: Sequence[Run],
        window: tuple[int, int],
        steps: Iterable[tuple[int, int]],
        *,
        as_one: bool = False,
    ) -> torch.Tensor:
        """Copy what steps bring of a window of the piece into the tensors

        as_one: all of it in one piece of device memory, which comes back.
        """
        begin, end = window
        if self._used + end - begin > len(self._view):
            # what is still on its way must not be overwritten
            self._lane.settle()
            self._used = 0
        alone = len(runs) == 1 and (runs[0].start, runs[0].start + runs[0].length) == window
        together = not alone and (as_one or len(runs) > _FEW)
        if together:
            targets = [(begin, torch.empty(end - begin, dtype=torch.uint8, device=self._engine.device))]
        else:
            targets = [(run.start, self._place(run)) for run in runs]
        for low, high in steps:
            for start, flat in targets:
                first, last = max(low, start), min(high, start + flat.numel())
                if first < last:
                    at = self._used + first - begin
                    self._lane.copy(flat[first - start : last - start], self._host[at : at + last - first])
        if together:
            self._put(runs, targets[0][1], begin)
        self._used = -(-(self._used + end - begin) // ALIGNED) * ALIGNED
        return targets[0][1]

    def _put(self, runs: Sequence[Run], flat: torch.Tensor, begin: int) -> None:
        """Bytes of one piece of device memory to their places"""
        self._lane.put(
            [self._place(run) for run in runs],
            [flat[run.start - begin : run.start - begin + run.length] for run in runs],
        )

    def _place(self, run: Run) -> torch.Tensor:
        return self._flats[run.tensor][run.at : run.at + run.length]


class _Files(NamedTuple):
    """Descriptors of one file: through the page cache, and past it where that can be"""

    fd: int
    direct: int | None
