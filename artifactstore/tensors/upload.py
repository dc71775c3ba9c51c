"""Upload: bytes of a piece through a buffer into tensors of a device, hashed there or on the way

Reading, hashing and copying overlap: what is read goes on its way while the next bytes are read, and other threads are
at other pieces meanwhile.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from blake3 import blake3

from artifactstore.core.digest import Digest
from artifactstore.core.reading import Run, near
from artifactstore.ops.transfer.buffers import Buffer
from artifactstore.tensors.direct import ALIGNED, open_direct
from artifactstore.tensors.engine import Engine
from artifactstore.tensors.fill import GAP, Done, Job, read, sure

# Read at a time, large enough for a disk and for the bus.
_STEP = 16 << 20
# More runs than this are copied together into one tensor and put in their places on the device.
_FEW = 4


def upload(job: Job, flats: Mapping[int, torch.Tensor], engine: Engine) -> Done:
    """Do one job; flats: the memory of each tensor as uint8, by number. Raise Corrupt"""
    done = _straight(job, flats, engine)
    if done is not None:
        return done
    buffer = engine.pool.take()
    fd = open_direct(job.file.piece.path) if engine.direct and job.file and job.file.piece.path else None
    try:
        with engine.lane():
            return _Upload(job, flats, engine, buffer, fd).run()
    finally:
        buffer.drop()
        if fd is not None:
            os.close(fd)


def _straight(job: Job, flats: Mapping[int, torch.Tensor], engine: Engine) -> Done | None:
    """Without the CPU's memory, where the device reads and hashes itself and the bytes are those of one tensor"""
    [run, *more] = job.runs
    if engine.reader is None or job.file is None or job.file.piece.path is None or more:
        return None
    if job.check and (engine.hash is None or run.length < job.piece.size):
        return None
    flat = flats[run.tensor][run.at : run.at + run.length]
    with engine.lane():
        if engine.reader(job.file.piece.path, flat, run.start) < run.length:
            raise job.piece.damaged()
        checked = sure(job.file, engine.hash(flat)) if job.check and engine.hash else None
    return Done(1, run.length, checked)


class _Upload:
    def __init__(
        self, job: Job, flats: Mapping[int, torch.Tensor], engine: Engine, buffer: Buffer, direct: int | None
    ) -> None:
        self._job, self._flats, self._engine, self._direct = job, flats, engine, direct
        self._view = buffer.view
        self._host = torch.frombuffer(buffer.view, dtype=torch.uint8)
        self._reads = 0

    def run(self) -> Done:
        job, whole = self._job, (0, self._job.piece.size)
        if job.file is None:
            job.piece.whole(self._view[: job.piece.size])
            self._send(job.runs, whole, [whole])
            return Done(1, job.piece.size)
        if job.check:
            checked = sure(job.file, self._hash_all(whole))
            return Done(self._reads, job.piece.size, checked)
        nbytes = 0
        for runs in near(job.runs, gap=GAP, most=len(self._view), count=len(job.runs)):
            window = runs[0].start, runs[-1].start + runs[-1].length
            self._send(runs, window, self._read(window))
            nbytes += window[1] - window[0]
        return Done(self._reads, nbytes)

    def _hash_all(self, whole: tuple[int, int]) -> Digest:
        """Send what is wanted of a piece and hash all of it, on the device where that can be"""
        if self._engine.hash is not None:
            return self._engine.hash(self._send(self._job.runs, whole, self._read(whole), as_one=True))
        hasher = blake3()
        self._send(self._job.runs, whole, self._hashed(whole, hasher))
        return Digest(hasher.digest())

    def _hashed(self, whole: tuple[int, int], hasher: "blake3") -> Iterator[tuple[int, int]]:
        for low, high in self._read(whole):
            # first what is done without the processor
            yield low, high
            hasher.update(self._view[low:high])

    def _read(self, window: tuple[int, int]) -> Iterator[tuple[int, int]]:
        """Read [begin, end) of the piece to the start of the buffer; each step once it is there"""
        begin, end = window
        for low in range(begin, end, _STEP):
            high = min(low + _STEP, end)
            if self._direct is not None and begin % ALIGNED == 0:
                self._read_direct(low, high, begin)
            else:
                self._reads += read(self._job, [self._view[low - begin : high - begin]], low)
            yield low, high

    def _read_direct(self, low: int, high: int, begin: int) -> None:
        """Whole pages, also of the last step, of which the file has only a part"""
        assert self._direct is not None
        end = -(-high // ALIGNED) * ALIGNED
        while low < high:
            count = os.preadv(self._direct, [self._view[low - begin : end - begin]], low)
            self._reads += 1
            if count < min(ALIGNED, high - low):
                raise self._job.piece.damaged()
            # what ends inside a page is read again from its start
            low += count if low + count >= high else count // ALIGNED * ALIGNED

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
                    source = self._host[first - begin : last - begin]
                    flat[first - start : last - start].copy_(source, non_blocking=True)
        if together:
            flat = targets[0][1]
            parts = [flat[run.start - begin : run.start - begin + run.length] for run in runs]
            torch._foreach_copy_([self._place(run) for run in runs], parts)  # as optimizers do
        return targets[0][1]

    def _place(self, run: Run) -> torch.Tensor:
        return self._flats[run.tensor][run.at : run.at + run.length]
