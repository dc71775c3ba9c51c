"""Prefetch: tensors, or the parts of them that a rank needs, read by threads while their taker is busy

The shape is that of safetensors 0.9's `PrefetchLoader`: each tensor is taken once, by name or as it is ready.
"""

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self

import torch

from artifactstore.core.errors import Invalid, Unavailable
from artifactstore.core.reading import Cut, Stored, choose, planned
from artifactstore.tensors.known import Watcher
from artifactstore.tensors.loader import converted, pieces_of, report
from artifactstore.tensors.options import Loading
from artifactstore.tensors.pieces import Source
from artifactstore.tensors.report import LoadReport, Tally
from artifactstore.tensors.room import make


class _LeftError(Exception):
    """Nobody wants the rest"""


class Prefetch:
    """Tensors on their way to a device; leaving the block ends what is not done

    Raise Invalid for names that are not there, or parts that leave their tensor; Unavailable without room.
    """

    def __init__(
        self, source: Source, loading: Loading, plan: Mapping[str, Cut] | None = None, threads: int = 8
    ) -> None:
        self._source = source
        self._wanted = choose(source.tensors, None) if plan is None else planned(source.tensors, plan)
        engine = loading.engine_of(loading.device)
        self._tensors = make(self._wanted, loading.device, engine, loading.dtype)
        # for the reader, who holds each until it is there
        self._into = [[self._tensors[one.name] for one in self._wanted]]
        # made here, behind what the caller's stream did with this memory before
        engine = loading.engine_of(loading.device)
        self._loading = replace(loading, threads=threads, engine_of=lambda _: engine)
        self._changed = threading.Condition()
        self._ready: deque[str] = deque(one.name for one in self._wanted if not one.extents)
        self._there = set(self._ready)
        self._left = False
        self._error: BaseException | None = None
        self._report: LoadReport | None = None
        self._reader = threading.Thread(target=self._read, name="artstore-prefetch", daemon=True)
        try:
            self._reader.start()
        except RuntimeError as e:
            raise Unavailable("No more threads can be started here; raise the limit (ulimit -u)", code="threads") from e

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        self._reader.join()
        with self._changed:
            self._tensors.clear()
            self._changed.notify_all()

    def take(self, name: str) -> torch.Tensor:
        """A tensor, once it is there; raise Invalid for one that was taken, left or not asked for, Corrupt"""
        with self._changed:
            self._changed.wait_for(lambda: name not in self._tensors or name in self._there or self._error is not None)
            if name not in self._tensors:
                raise Invalid(f"{name!r:.80} was taken already, or is not in the plan", code="names")
            if name not in self._there and self._error is not None:
                raise self._error
            tensor = self._tensors.pop(name)
        return self._given(tensor)

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Names and tensors that nobody has taken, as they are ready; raise Corrupt"""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ready or not self._tensors or self._error is not None)
                if not self._tensors:
                    return
                if not self._ready and self._error is not None:
                    raise self._error
                name = self._ready.popleft() if self._ready else ""
                tensor = self._tensors.pop(name, None)
            if tensor is not None:
                yield name, self._given(tensor)

    def report(self) -> LoadReport:
        """What was done, once all of it is; raise what went wrong"""
        self._reader.join()
        if self._error is not None:
            raise self._error
        assert self._report is not None
        return self._report

    def _given(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_cuda:
            # the taker's stream may be another than the one it was made on
            tensor.record_stream(torch.cuda.current_stream(tensor.device))
        return converted(tensor, self._loading.dtype)

    def _read(self) -> None:
        tally = Tally()
        try:
            with self._source.held(), pieces_of(self._source, self._wanted, self._loading, tally) as pieces:
                pieces.fill(self._wanted, self._into.pop(), Watcher(self._one, self._go_on))
            self._report = report(self._source, self._wanted, tally)
        except _LeftError:
            pass
        except BaseException as e:  # noqa: BLE001  # whoever waits is told
            with self._changed:
                # its frames hold tensors
                self._error = e.with_traceback(None)
                self._changed.notify_all()

    def _go_on(self) -> None:
        if self._left:
            raise _LeftError

    def _one(self, one: Stored) -> None:
        with self._changed:
            self._ready.append(one.name)
            self._there.add(one.name)
            self._changed.notify_all()
