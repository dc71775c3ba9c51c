"""File system calls of a child on one folder, and what is done to each: passed, failed, cut short, or its last"""

import os
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from artifactstore.core.events import Monitor
from tests.crash import harness
from tests.faults import seccomp

_NAMES = {number: (name, where) for name, (number, where) in seccomp.CALLS.items()}
_AT_FDCWD = (1 << 32) - 100
_LONGEST_PATH = 4096
_FLAGS = {"open": 1, "openat": 2}
_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_WRITES = {"write", "pwrite64"}
_OPENS = {"open", "openat", "openat2", "creat"}
_LOOKS = {
    *("read", "pread64", "readv", "preadv", "lseek", "getdents64", "close", "fcntl", "flock", "access", "faccessat"),
    *("faccessat2", "stat", "fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "readlink", "readlinkat"),
}
SYNCS = frozenset({"fsync", "fdatasync"})
# Calls after which a process that is killed may leave other bytes than before.
CHANGING = frozenset(seccomp.CALLS) - SYNCS - _LOOKS


@dataclass(frozen=True, slots=True)
class Call:
    """One call on the folder; number: its place among those held from 1, over all threads. nbytes: of a write"""

    number: int
    name: str
    path: str
    opens: bool = False
    changes: bool = False
    nbytes: int = 0


@dataclass(frozen=True, slots=True)
class Fail:
    """The call does not happen and returns this error"""

    errno: int


class Die:
    """The process is killed before the call happens"""


class DieHalfway:
    """Half of what the call writes is written, then the process is killed"""


class Shorten:
    """Half of what the call writes is written, and it says so"""


Verdict = Fail | Die | DieHalfway | Shorten | None
Judge = Callable[[Call], Verdict]


@dataclass
class Watch:
    """What a watched child did: its calls on the folder, and those that were not just passed"""

    outcome: harness.Outcome | None = None
    calls: list[Call] = field(default_factory=list)
    hit: list[Call] = field(default_factory=list)
    broken: list[BaseException] = field(default_factory=list)


def passing(call: Call) -> Verdict:
    """Nothing is done to any call"""


def watched(
    action: harness.Action,
    folder: Path,
    judge: Judge = passing,
    *,
    names: Collection[str] = seccomp.CALLS,
    die_at: harness.Point | None = None,
) -> Watch:
    """Run the action in a forked child whose calls on the folder, those so named, are judged one by one"""
    watch = Watch()
    ours, theirs = socket.socketpair()

    def held(monitor: Monitor) -> str:
        ours.close()
        listener = seccomp.install(names)
        socket.send_fds(theirs, [os.getpid().to_bytes(4, "little")], [listener])
        os.close(listener)
        theirs.close()
        return action(monitor)

    with ours, _watching(ours, folder, judge, watch), theirs:
        watch.outcome = harness.run(held, die_at=die_at)
    if watch.broken:
        raise watch.broken[0]
    return watch


@contextmanager
def _watching(ours: socket.socket, folder: Path, judge: Judge, watch: Watch) -> Iterator[None]:
    thread = threading.Thread(target=_watch, args=(ours, str(folder), judge, watch))
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _watch(ours: socket.socket, folder: str, judge: Judge, watch: Watch) -> None:
    message, descriptors, _, _ = socket.recv_fds(ours, 4, 1)
    if not descriptors:  # it died before it was held
        return
    pid, listener = int.from_bytes(message, "little"), descriptors[0]
    try:
        for notice in seccomp.notices(listener):
            call = _seen(pid, notice, folder, len(watch.calls) + 1)
            verdict = None
            if call is not None:
                watch.calls.append(call)
                verdict = judge(call)
            if verdict is None or call is None or not _done(listener, pid, notice, call, verdict):
                seccomp.go_on(listener, notice)
            else:
                watch.hit.append(call)
    except BaseException as e:  # it must not leave the child waiting for ever
        watch.broken.append(e)
        os.kill(pid, signal.SIGKILL)
    finally:
        os.close(listener)


def _done(listener: int, pid: int, notice: seccomp.Notice, call: Call, verdict: Verdict) -> bool:
    """Whether the verdict could be carried out: only writes of two bytes or more can be cut short"""
    if isinstance(verdict, Die):
        os.kill(pid, signal.SIGKILL)
        return True
    if isinstance(verdict, Fail):
        seccomp.answer(listener, notice, error=verdict.errno)
        return True
    if call.nbytes < 2:
        return False
    written = _write_half(pid, notice, call)
    if isinstance(verdict, DieHalfway):
        os.kill(pid, signal.SIGKILL)
    else:
        seccomp.answer(listener, notice, value=written)
    return True


def _write_half(pid: int, notice: seccomp.Notice, call: Call) -> int:
    half = _memory(pid, notice.args[1], call.nbytes // 2)
    fd = seccomp.borrowed(pid, notice.args[0])
    try:
        return os.write(fd, half) if call.name == "write" else os.pwrite(fd, half, notice.args[3])
    finally:
        os.close(fd)


def _seen(pid: int, notice: seccomp.Notice, folder: str, number: int) -> Call | None:
    """The call, if it is one on the folder or on what lies in it"""
    name, where = _NAMES[notice.number]
    path = _path(pid, where, notice.args)
    if path != folder and not path.startswith(f"{folder}/"):
        return None
    writes = name in _WRITES
    opens = name in _OPENS
    changes = name in CHANGING and (not opens or bool(notice.args[_FLAGS.get(name, 1)] & _TO_WRITE))
    return Call(number, name, path[len(folder) + 1 :], opens, changes, notice.args[2] if writes else 0)


def _path(pid: int, where: str, args: tuple[int, ...]) -> str:
    if where == seccomp.FD:
        return _descriptor(pid, args[0])
    path = _text(pid, args[1 if where == seccomp.AT else 0])
    if path.startswith("/"):
        return path
    base = _descriptor(pid, args[0]) if where == seccomp.AT and args[0] & 0xFFFFFFFF != _AT_FDCWD else _cwd(pid)
    return f"{base}/{path}" if path else base


def _descriptor(pid: int, fd: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{fd & 0xFFFFFFFF}").removesuffix(" (deleted)")
    except OSError:
        return ""


def _cwd(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def _text(pid: int, address: int) -> str:
    # A string may end at the end of what is mapped.
    for length in (_LONGEST_PATH - address % _LONGEST_PATH, _LONGEST_PATH):
        raw, end, _ = _memory(pid, address, length).partition(b"\0")
        if end:
            return os.fsdecode(raw)
    return ""


def _memory(pid: int, address: int, length: int) -> bytes:
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            return os.pread(memory.fileno(), length, address)
    except (OSError, OverflowError):
        return b""
