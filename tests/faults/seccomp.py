"""Hold each file system call of a process until its watcher has answered, by Linux's seccomp user notification

https://docs.kernel.org/userspace-api/seccomp_filter.html. The numbers are those of x86-64. strace was tried: its path
filter knows single files only, it counts for each thread on its own, and a short write is one it invents.
"""

import ctypes
import errno
import fcntl
import os
import platform
import select
import struct
from collections.abc import Collection, Iterator
from typing import NamedTuple

# Where a call names its object: in a descriptor, a path, or a descriptor and a path.
FD, PATH, AT = "fd", "path", "at"
CALLS: dict[str, tuple[int, str]] = {
    "read": (0, FD),
    "write": (1, FD),
    "open": (2, PATH),
    "close": (3, FD),
    "stat": (4, PATH),
    "fstat": (5, FD),
    "lstat": (6, PATH),
    "lseek": (8, FD),
    "pread64": (17, FD),
    "pwrite64": (18, FD),
    "readv": (19, FD),
    "writev": (20, FD),
    "access": (21, PATH),
    "sendfile": (40, FD),
    "fcntl": (72, FD),
    "flock": (73, FD),
    "fsync": (74, FD),
    "fdatasync": (75, FD),
    "truncate": (76, PATH),
    "ftruncate": (77, FD),
    "rename": (82, PATH),
    "mkdir": (83, PATH),
    "rmdir": (84, PATH),
    "creat": (85, PATH),
    "link": (86, PATH),
    "unlink": (87, PATH),
    "readlink": (89, PATH),
    "chmod": (90, PATH),
    "fchmod": (91, FD),
    "fchown": (93, FD),
    "statfs": (137, PATH),
    "fstatfs": (138, FD),
    "getdents64": (217, FD),
    "openat": (257, AT),
    "mkdirat": (258, AT),
    "newfstatat": (262, AT),
    "unlinkat": (263, AT),
    "renameat": (264, AT),
    "linkat": (265, AT),
    "readlinkat": (267, AT),
    "fchmodat": (268, AT),
    "faccessat": (269, AT),
    "utimensat": (280, AT),
    "fallocate": (285, FD),
    "preadv": (295, FD),
    "pwritev": (296, FD),
    "renameat2": (316, AT),
    "copy_file_range": (326, FD),
    "statx": (332, AT),
    "openat2": (437, AT),
    "faccessat2": (439, AT),
}

_SECCOMP, _PIDFD_GETFD = 317, 438
_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_ARCH_X86_64 = 0xC000003E
_LOAD, _EQUALS, _RETURN = 0x20, 0x15, 0x06
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Notice(NamedTuple):
    """One held call, as the kernel tells it"""

    id: int
    number: int
    args: tuple[int, ...]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def unsupported() -> str | None:
    """Why calls cannot be held here, None when they can"""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "file system calls are held on x86-64 Linux only"
    pid = os.fork()
    if pid == 0:
        try:
            install()
        except OSError as e:
            os._exit(e.errno or 1)
        os._exit(0)
    failed = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return f"seccomp user notification is not permitted here: {os.strerror(failed)}" if failed else None


def install(names: Collection[str] = CALLS) -> int:
    """From now on this process and its threads wait at each call so named; the descriptor to answer them by"""
    numbers = [CALLS[name][0] for name in names]
    lines = [(_LOAD, 0, 0, 4), (_EQUALS, 1, 0, _ARCH_X86_64), (_RETURN, 0, 0, _ALLOW), (_LOAD, 0, 0, 0)]
    lines += [(_EQUALS, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    lines += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _NOTIFY)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = _Program(len(lines), ctypes.addressof(code))
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    return _checked(_libc.syscall(_SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER, ctypes.byref(program)))


def notices(listener: int) -> Iterator[Notice]:
    """Held calls, one after the other, until every process under the filter has ended"""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        ((_, events),) = poll.poll()
        if not events & select.POLLIN:
            return
        buffer = bytearray(80)
        try:
            fcntl.ioctl(listener, _RECEIVE, buffer)
        except OSError as e:
            if e.errno != errno.ENOENT:  # it was killed meanwhile
                raise
            continue
        notice, _, _, number, _, _, *args = struct.unpack("QIIiIQ6Q", buffer)
        yield Notice(notice, number, tuple(args))


def go_on(listener: int, notice: Notice) -> None:
    """Let the call happen"""
    _send(listener, struct.pack("QqiI", notice.id, 0, 0, _CONTINUE))


def answer(listener: int, notice: Notice, value: int = 0, error: int = 0) -> None:
    """The call does not happen, and returns this"""
    _send(listener, struct.pack("QqiI", notice.id, value, -error, 0))


def _send(listener: int, response: bytes) -> None:
    try:
        fcntl.ioctl(listener, _SEND, response)
    except OSError as e:
        if e.errno != errno.ENOENT:
            raise


def borrowed(pid: int, fd: int) -> int:
    """A descriptor of another process, sharing its position"""
    pidfd = os.pidfd_open(pid)
    try:
        return _checked(_libc.syscall(_PIDFD_GETFD, pidfd, fd, 0))
    finally:
        os.close(pidfd)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
