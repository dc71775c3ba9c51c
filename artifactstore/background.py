"""Background: a staged checkpoint is hashed and written while training goes on, one at a time

The writer is a process of its own that maps the staging memory, so that it takes no turns of the trainer's
interpreter; where there can be none, a thread.
"""

import atexit
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import ForkingPickler
from types import MappingProxyType
from typing import Any, Protocol

from artifactstore import gc
from artifactstore.context import SavedCheckpoint
from artifactstore.core.errors import StoreError, Unavailable
from artifactstore.core.events import Event, Monitor, Warn
from artifactstore.core.lineage import Link
from artifactstore.core.names import ArtifactName
from artifactstore.core.selection import Rules
from artifactstore.core.settings import Settings
from artifactstore.depot import Depot, open_depot
from artifactstore.ops import ingest
from artifactstore.ops.transfer.source import StagedFile
from artifactstore.session import Tags

_NICE = 10
_ENDING_S = 60.0
_TOLD_S = 0.05


def _read_only(values: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(values)


# What a manager hands to its writer holds read-only mappings, which pickle does not take.
ForkingPickler.register(MappingProxyType, lambda view: (_read_only, (dict(view),)))


@dataclass(frozen=True, slots=True)
class Target:
    """Where checkpoints go, and what is kept there after each"""

    url: str
    catalog: str | None
    settings: Settings
    rules: Rules | None
    grace: timedelta


@dataclass(frozen=True, slots=True)
class Job:
    """One checkpoint, its files in staging memory"""

    artifact: ArtifactName
    files: tuple[StagedFile, ...]
    labels: ingest.Labels
    links: tuple[Link, ...]
    tags: Tags

    def plan(self, memory: memoryview) -> ingest.IngestPlan:
        """To be run where that memory is mapped"""
        return ingest.IngestPlan(
            self.artifact, tuple(file.over(memory) for file in self.files), self.labels, self.links, self.tags
        )


class Ticket:
    """A checkpoint under way. staged: done once the state may change; durable: the SavedCheckpoint, or what went wrong

    Both are futures: `ticket.durable.done()`, `.result(timeout)`, `.add_done_callback(…)`.
    """

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.staged: Future[None] = Future()
        self.durable: Future[SavedCheckpoint] = Future()

    @property
    def id(self) -> str:
        """The version id, once it is durable; raise what went wrong"""
        return self.durable.result().id

    def __repr__(self) -> str:
        return f"Ticket({self.request_id}, {'durable' if self.durable.done() else 'staged'})"


def save(depot: Depot, plan: ingest.IngestPlan, rules: Rules | None, grace: timedelta) -> SavedCheckpoint:
    """Take a checkpoint in, and let go what its run need not keep"""
    report = ingest.run(depot, plan)
    if rules is not None:
        gc.after_save(depot, plan.artifact, rules, grace)
    version = report.committed.version
    return SavedCheckpoint(
        id=str(version.id),
        ref=version.ref,
        number=version.number,
        request_id=version.request_id or "",
        nbytes=version.nbytes,
        new_bytes=report.new_bytes,
        aliases=tuple(str(alias) for alias in version.aliases),
    )


class Writer(Protocol):
    """Writes staged checkpoints"""

    def start(self) -> None:
        """Be ready, so that the first save takes no longer than others"""

    def save(self, job: Job) -> SavedCheckpoint:
        """Make one durable"""

    def close(self) -> None:
        """End, after what is under way"""


class ThreadWriter:
    """Writes in the thread that asks"""

    def __init__(self, depot: Depot, memory: memoryview, rules: Rules | None, grace: timedelta) -> None:
        self._depot, self._memory, self._rules, self._grace = depot, memory, rules, grace

    def start(self) -> None:
        """Nothing to start"""

    def save(self, job: Job) -> SavedCheckpoint:
        """Make one durable; raise what a save raises"""
        return save(self._depot, job.plan(self._memory), self._rules, self._grace)

    def close(self) -> None:
        """Nothing to end"""


class ProcessWriter:
    """Writes in a process that maps the staging memory; its warnings come to the monitor

    It is started when first needed, ends with the process that made it, and finishes what it has begun then.
    """

    def __init__(self, target: Target, fd: int, size: int, monitor: Monitor) -> None:
        self._target, self._fd, self._size, self._monitor = target, fd, size, monitor
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    def start(self) -> None:
        """Start the process, unless it runs, and wait until it is ready; raise Unavailable when it never is"""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        here, there = Pipe()
        with there:
            arguments = f"{there.fileno()}, {self._fd}, {self._size}"
            code = f"import os; os.nice({_NICE}); from artifactstore.background import serve; serve({arguments})"
            path = os.pathsep.join(filter(None, sys.path))
            self._process = subprocess.Popen(  # noqa: S603  # this interpreter
                [sys.executable, "-c", code],
                pass_fds=(there.fileno(), self._fd),
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
            )
        self._pipe = here
        with self._told():
            here.send(self._target)
            here.recv()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as e:
            code = None if self._process is None else self._process.wait()
            raise Unavailable(f"The process that writes checkpoints ended (exit status {code})", code="writer") from e

    def save(self, job: Job) -> SavedCheckpoint:
        """Make one durable; raise what a save raises, Unavailable when the process ended over it"""
        self.start()
        with self._told():
            assert self._pipe is not None
            self._pipe.send(job)
            while True:
                told = self._pipe.recv()
                if isinstance(told, SavedCheckpoint):
                    return told
                if isinstance(told, BaseException):
                    raise told
                self._monitor(told)

    def close(self) -> None:
        """Wait for the process to end"""
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.wait(_ENDING_S)
        self._pipe = self._process = None


def serve(pipe_fd: int, memory_fd: int, size: int) -> None:
    """The process of a ProcessWriter: one job after the other, until the pipe is closed"""
    for number in (signal.SIGINT, signal.SIGTERM):
        # They are meant for the trainer, who may want its last checkpoint.
        signal.signal(number, signal.SIG_IGN)
    memory = memoryview(mmap.mmap(memory_fd, size, mmap.MAP_SHARED, mmap.PROT_READ))
    with suppress(EOFError, BrokenPipeError), Connection(pipe_fd) as pipe:
        target: Target = pipe.recv()
        pipe.send(os.getpid())
        lock = threading.Lock()

        def forward(event: Event, /) -> None:
            if isinstance(event, Warn):
                with lock, suppress(BrokenPipeError):
                    pipe.send(event)

        while True:
            job: Job = pipe.recv()
            pipe.send(_result(target, job, memory, forward))


def _result(target: Target, job: Job, memory: memoryview, monitor: Monitor) -> SavedCheckpoint | StoreError:
    try:
        with open_depot(target.url, target.catalog, settings=target.settings, monitor=monitor) as depot:
            return save(depot, job.plan(memory), target.rules, target.grace)
    except StoreError as e:
        return e
    except Exception as e:  # noqa: BLE001  # told in the process that asked
        return Unavailable(f"The process that writes checkpoints failed: {type(e).__name__}: {e!s:.200}", code="writer")


class Background:
    """At most one save in flight; what went wrong with it is raised by the next call"""

    def __init__(self, writer: Writer, monitor: Monitor) -> None:
        self._writer, self._monitor = writer, monitor
        self._last: Ticket | None = None
        self.pid = os.getpid()
        _before_exit(self)

    def prepare(self) -> None:
        """Have the writer ready before the first save"""
        self._writer.start()

    def start(self, job: Job, request_id: str, then: Callable[[], None]) -> Ticket:
        """Write a job, then do `then`; nothing may be in flight"""
        assert self._last is None
        ticket = Ticket(request_id)
        ticket.staged.set_result(None)
        try:
            threading.Thread(target=self._run, args=(job, ticket, then), name="artstore-save").start()
        except RuntimeError as e:
            message = "No more threads can be started here; raise the limit (ulimit -u)"
            raise Unavailable(message, code="threads") from e
        self._last = ticket
        return ticket

    def _run(self, job: Job, ticket: Ticket, then: Callable[[], None]) -> None:
        try:
            saved = self._writer.save(job)
            then()
        except BaseException as e:  # noqa: BLE001  # handed to who holds the ticket, and to the next call
            ticket.durable.set_exception(_named(e, ticket.request_id))
        else:
            ticket.durable.set_result(saved)

    def wait(self) -> None:
        """Wait until nothing is in flight, whatever came of it"""
        if self._last is not None:
            self._last.durable.exception()

    def settle(self) -> None:
        """Wait until nothing is in flight, and tell who waited; raise what went wrong"""
        began, last = time.monotonic(), self._last
        try:
            self.flush()
        finally:
            waited = time.monotonic() - began
            if last is not None and waited > _TOLD_S:
                self._monitor(
                    Warn(f"Waited {waited:.1f} s for checkpoint {last.request_id} to be written; save less often")
                )

    def flush(self, timeout: float | None = None) -> None:
        """Wait until what was saved is durable; raise what went wrong, Unavailable after `timeout` seconds"""
        last = self._last
        if last is None:
            return
        try:
            last.durable.result(timeout)
        except FutureTimeoutError as e:
            if not last.durable.done():
                message = f"Checkpoint {last.request_id} is still being written after {timeout} s; wait again"
                raise Unavailable(message, code="flush", retryable=True) from e
            raise
        finally:
            # who waited may have been interrupted, and what is in flight still reads the memory
            if last.durable.done():
                self._last = None

    def close(self) -> None:
        """Wait for what is in flight and end the writer; raise what went wrong"""
        try:
            self.flush()
        finally:
            self._writer.close()


def _named(error: BaseException, request_id: str) -> BaseException:
    """The error as one that says which checkpoint is missing, as it is raised far from its save"""
    if isinstance(error, StoreError):
        error.message = f"Checkpoint {request_id} was not stored: {error.message}"
        error.args = (error.message,)
    return error


def _before_exit(background: Background) -> None:
    """Have an interpreter that exits wait for what is in flight, and say what was lost"""
    known = weakref.ref(background)

    def finish() -> None:
        there = known()
        if there is None or there.pid != os.getpid():
            return
        try:
            there.flush()
        except BaseException as e:  # noqa: BLE001  # nobody is left to catch it
            sys.stderr.write(f"artifactstore: {e}\n")

    # Thread pools refuse work before `atexit` has its turn; what is registered here goes before them.
    register: Callable[[Callable[[], None]], object] = getattr(threading, "_register_atexit", atexit.register)
    register(finish)
