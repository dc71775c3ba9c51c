"""Disks whose power can be cut: ext4 and XFS in a file, and one that keeps no more than POSIX promises"""

import fcntl
import importlib.util
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

# FS_IOC_SHUTDOWN of linux/fs.h, and its way to stop without writing the journal out.
_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2
# mkfs.xfs makes none below 300 MB.
_IMAGE = 320 << 20


class Disk(Protocol):
    """A mounted file system. point: where"""

    point: Path

    def settle(self) -> None:
        """Make durable what is there"""

    def lose_power(self, seed: int) -> None:
        """Forget what need not be durable, and come back as after a restart; nobody may have files open"""


class LoopDisk:
    """A file system of Linux in a file"""

    def __init__(self, image: Path, point: Path) -> None:
        self._image, self.point = image, point

    def mount(self) -> None:
        """Mount it; a journal is replayed by that"""
        _run("mount", "-o", "loop", self._image, self.point)

    def settle(self) -> None:
        """As `Disk`"""
        _run("sync", "--file-system", self.point)

    def lose_power(self, seed: int) -> None:
        """As `Disk`; what a real file system forgets is its own affair"""
        fd = os.open(self.point, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(fd)
        _run("umount", self.point)
        self.mount()


class StrictDisk:
    """The model of tests/faults/posix.py, in a process of its own"""

    def __init__(self, server: subprocess.Popen[str], point: Path) -> None:
        self._server, self.point = server, point

    def settle(self) -> None:
        """As `Disk`"""
        self._restart("keep")

    def lose_power(self, seed: int) -> None:
        """As `Disk`; an even seed keeps only what was synced, an odd one also a part of the rest, at random"""
        self._restart(f"cut {seed if seed % 2 else 0}")

    def _restart(self, order: str) -> None:
        _run("umount", self.point)
        assert self._server.stdin is not None
        self._server.stdin.write(f"{order}\n")
        self._server.stdin.flush()
        self.await_mount()

    def await_mount(self) -> None:
        """Return when files can be reached"""
        assert self._server.stdout is not None
        if self._server.stdout.readline() != "mounted\n":
            raise RuntimeError("The strict file system did not come up")


@contextmanager
def loop_disk(kind: str, folder: Path) -> Iterator[LoopDisk]:
    """A new file system of this kind, gone with the block"""
    image, point = folder / f"{kind}.image", folder / kind
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(_IMAGE)
    _run(f"mkfs.{kind}", "-q", image)
    disk = LoopDisk(image, point)
    disk.mount()
    try:
        yield disk
    finally:
        _run("umount", "--lazy", point)


@contextmanager
def strict_disk(folder: Path) -> Iterator[StrictDisk]:
    """A new strict file system, gone with the block"""
    point = folder / "strict"
    point.mkdir()
    command = [sys.executable, "-m", "tests.faults.posix", str(point)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        disk = StrictDisk(server, point)
        disk.await_mount()
        try:
            yield disk
        finally:
            server.kill()
            _run("umount", "--lazy", point)


DISKS: dict[str, Callable[[Path], AbstractContextManager[Disk]]] = {
    "ext4": lambda folder: loop_disk("ext4", folder),
    "xfs": lambda folder: loop_disk("xfs", folder),
    "strict": strict_disk,
}


def unsupported(kind: str, folder: Path) -> str | None:
    """Why there can be no such disk here, None when there can"""
    if kind == "strict":
        if importlib.util.find_spec("mfusepy") is None:
            return "the package mfusepy is not installed"
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            return "there is no /dev/fuse to be opened"
    elif os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        return "loop devices need root and the loop driver"
    elif shutil.which(f"mkfs.{kind}", path=_PATH) is None:
        return f"mkfs.{kind} is not installed"
    try:
        with DISKS[kind](folder):
            return None
    except (subprocess.CalledProcessError, RuntimeError) as e:
        return f"no {kind} can be mounted: {e}"


# Where mkfs lies for root, also where the shell that runs the tests does not look.
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


def _run(*command: str | Path) -> None:
    program = shutil.which(str(command[0]), path=_PATH)
    subprocess.run([program or command[0], *command[1:]], check=True, capture_output=True)
