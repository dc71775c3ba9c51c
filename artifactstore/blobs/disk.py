"""What a disk can do for a store: make folders and files durable, and say in the store's words what went wrong"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from artifactstore.core.errors import Corrupt, Denied, Exists, NoSpace, NotFound, StoreError, Unavailable

# Not every system has every flag: Windows opens no folders and has no links to follow here.
NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
NONBLOCK = getattr(os, "O_NONBLOCK", 0)
BINARY = getattr(os, "O_BINARY", 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
# a write of more takes the kernel (6.18, ext4) two to five times as long for each byte
_WRITE = 1 << 20

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_ABSENT = {errno.ENOENT, errno.ENOTDIR}
_HANDLES = {errno.EMFILE, errno.ENFILE}
_SPECIAL = {errno.ELOOP, errno.ENXIO, errno.EISDIR}
# Some file systems (FUSE, CIFS) cannot sync a folder at all, which is no sign of lost bytes.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}


def translate(error: OSError, action: str, root: Path, **facts: str) -> StoreError:
    """What an operating system error means to a store at `root`; `action` says what was tried, as in `Cannot read x`"""
    number = error.errno or 0
    facts["errno"] = errno.errorcode.get(number, str(number))
    if number in _FULL:
        return _no_space(action, root, number, facts)
    if number in _FORBIDDEN:
        return Denied(f"{action}: {os.strerror(number)}; check the owner and the mount of {root}", **facts)
    if number in _ABSENT:
        return NotFound(f"{action}: it is not in {root}", **facts)
    if number in _SPECIAL:
        return Corrupt(f"{action}: it is not a regular file", code="special", kind="special", **facts)
    return _unavailable(error, action, number, facts)


def _unavailable(error: OSError, action: str, number: int, facts: dict[str, str]) -> Unavailable:
    if number in _HANDLES:
        message = f"{action}: too many files are open; raise the limit (ulimit -n)"
        return Unavailable(message, code="files", retryable=True, **facts)
    if number == errno.EIO:
        return Unavailable(f"{action}: the disk reported an error; check it", code="io", retryable=False, **facts)
    # ESTALE: the server of a network file system forgot the handle, a new one works.
    return Unavailable(f"{action}: {error.strerror or error}", code="os", retryable=number == errno.ESTALE, **facts)


def _no_space(action: str, root: Path, number: int, facts: dict[str, str]) -> NoSpace:
    if number == errno.EFBIG:
        return NoSpace(f"{action}: the file is larger than the limit here (ulimit -f)", code="limit", **facts)
    if number == errno.EDQUOT:
        return NoSpace(f"{action}: the quota is used up", code="quota", **facts)
    if _out_of_inodes(root):
        return NoSpace(f"{action}: no free inodes on {root}; remove small files there", code="inodes", **facts)
    return NoSpace(f"{action}: no space left on {root}; free some, or collect garbage", **facts)


def _out_of_inodes(root: Path) -> bool:
    try:
        facts = os.statvfs(root)
    except (AttributeError, OSError):
        return False
    return facts.f_files > 0 and facts.f_favail == 0 and facts.f_bavail > 0


@contextlib.contextmanager
def translated(verb: str, key: str, root: Path) -> Iterator[None]:
    """Raise what `translate` makes of an operating system error in the block"""
    try:
        yield
    except OSError as e:
        raise translate(e, f"Cannot {verb} {key}", root, key=key) from e


def make_folder(base: Path, folder: Path) -> list[Path]:
    """Make `folder` below `base`, which must exist; return the folders to sync for the new names"""
    touched = []
    for path in reversed([folder, *folder.parents]):
        if base in path.parents and not path.is_dir():
            path.mkdir(exist_ok=True)
            touched.append(path.parent)
    return touched


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, where the system can"""
    if not _DIRECTORY:
        return
    fd = os.open(path, os.O_RDONLY | _DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as e:
        if e.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(fd)


def write_durably(fd: int, view: memoryview) -> None:
    """Write, sync and close a new file; after an error it may hold anything, also after a later sync that succeeds"""
    try:
        done = 0
        while done < len(view):
            done += os.write(fd, view[done : done + _WRITE])
        if hasattr(os, "fchmod"):
            os.fchmod(fd, 0o444)
        os.fsync(fd)
        if os.fstat(fd).st_size != len(view):
            raise OSError(errno.EIO, "The file has another size than was written")
    finally:
        os.close(fd)


def refuse_existing(path: Path, key: str) -> None:
    """Raise Exists when something lies at `path`"""
    if os.path.lexists(path):
        raise already_there(key)


def claim(source: Path, target: Path, key: str) -> None:
    """Give a file the name `target`, as the first and only one; raise Exists when another was first

    Where the file system has no links, two that do it at the same moment may both believe to be the first.
    """
    try:
        os.link(source, target)
    except FileExistsError as e:
        raise already_there(key) from e
    except OSError as e:
        if e.errno not in _NO_LINKS:
            raise
        refuse_existing(target, key)
        source.rename(target)
    else:
        source.unlink()


def already_there(key: str) -> Exists:
    """The error for a second object under one key"""
    return Exists(f"{key} exists already; a key is written once", key=key)


def check_regular(key: str, facts: os.stat_result) -> os.stat_result:
    """`facts` if they are those of a regular file, else raise Corrupt"""
    if not stat.S_ISREG(facts.st_mode):
        message = f"{key} is not a regular file; move it away and repair the store"
        raise Corrupt(message, code="special", kind="special", key=key)
    return facts


def remove_empty(folder: Path) -> None:
    """Remove a folder if nothing is in it"""
    with contextlib.suppress(OSError):
        folder.rmdir()
