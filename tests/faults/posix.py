"""A file system that keeps what POSIX promises: bytes after fsync of a file, names after fsync of a folder

A process of its own: python -m tests.faults.posix FOLDER. After each unmount it reads one line: `keep` makes all durable,
`cut SEED` loses what was not synced, but with a seed other than 0 a random part of it stays; then it mounts again.
"""

import errno
import itertools
import os
import random
import stat
import sys
import time
from dataclasses import dataclass, field

import mfusepy

_BLOCK = 4096


@dataclass(eq=False)
class Node:
    """A file's bytes or a folder's names, as they are and as they would be after a cut"""

    mode: int
    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    names: dict[str, "Node"] = field(default_factory=dict)
    durable_names: dict[str, "Node"] = field(default_factory=dict)
    changed: float = field(default_factory=time.time)

    def sync(self) -> None:
        """What fsync promises"""
        self.durable = bytes(self.data)
        self.durable_names = dict(self.names)

    def keep(self) -> None:
        """Make all below durable"""
        self.sync()
        for node in self.names.values():
            node.keep()

    def cut(self, chance: random.Random | None) -> None:
        """Become what is left without power, all below too"""
        if chance is None:
            self.data, self.names = bytearray(self.durable), dict(self.durable_names)
        else:
            self.data, self.names = _torn(self.data, self.durable, chance), self._some_names(chance)
        self.sync()
        for node in self.names.values():
            node.cut(chance)

    def _some_names(self, chance: random.Random) -> dict[str, "Node"]:
        """Each change of a name happened or not"""
        found = {name: chance.choice((self.names, self.durable_names)).get(name) for name in self._all_names()}
        return {name: node for name, node in found.items() if node is not None}

    def _all_names(self) -> list[str]:
        return sorted({*self.names, *self.durable_names})


def _torn(live: bytearray, durable: bytes, chance: random.Random) -> bytearray:
    """Each block of what was written after the last sync is there or not"""
    size = len(chance.choice((live, durable)))
    old, new = durable[:size].ljust(size, b"\0"), bytes(live[:size]).ljust(size, b"\0")
    blocks = (chance.choice((old, new))[at : at + _BLOCK] for at in range(0, size, _BLOCK))
    return bytearray(b"".join(blocks))


class Strict(mfusepy.Operations):
    """The calls of FUSE on a tree of nodes"""

    use_ns = True

    def __init__(self, root: Node) -> None:
        self._root = root
        self._handles: dict[int, Node] = {}
        self._numbers = itertools.count(1)

    def init(self, path):
        print("mounted", flush=True)

    def getattr(self, path, fh=None):
        node = self._node(path, fh)
        at = int(node.changed * 1e9)
        times = {"st_atime": at, "st_mtime": at, "st_ctime": at}
        return {"st_mode": node.mode, "st_nlink": 1, "st_size": len(node.data), **times}

    def readdir(self, path, fh):
        return [".", "..", *self._node(path).names]

    def mkdir(self, path, mode):
        self._new(path, stat.S_IFDIR | mode)
        return 0

    def create(self, path, mode, fi=None):
        return self._handle(self._new(path, stat.S_IFREG | mode))

    def open(self, path, flags):
        node = self._node(path)
        if flags & os.O_TRUNC:
            node.data.clear()
        return self._handle(node)

    def read(self, path, size, offset, fh):
        return bytes(self._handles[fh].data[offset : offset + size])

    def write(self, path, data, offset, fh):
        node = self._handles[fh]
        node.data.extend(bytes(max(0, offset - len(node.data))))
        node.data[offset : offset + len(data)] = data
        node.changed = time.time()
        return len(data)

    def truncate(self, path, length, fh=None):
        node = self._node(path, fh)
        del node.data[length:]
        node.data.extend(bytes(length - len(node.data)))
        return 0

    def release(self, path, fh):
        del self._handles[fh]
        return 0

    def fsync(self, path, datasync, fh):
        self._handles[fh].sync()
        return 0

    def fsyncdir(self, path, datasync, fh):
        self._node(path).sync()
        return 0

    def chmod(self, path, mode):
        node = self._node(path)
        node.mode = stat.S_IFMT(node.mode) | mode
        return 0

    def chown(self, path, uid, gid):
        return 0

    def utimens(self, path, times=None):
        self._node(path).changed = times[1] / 1e9 if times else time.time()
        return 0

    def rename(self, old, new):
        names, name = self._parent(old)
        target, as_name = self._parent(new)
        target[as_name] = names.pop(name)
        return 0

    def unlink(self, path):
        names, name = self._parent(path)
        del names[name]
        return 0

    def rmdir(self, path):
        if self._node(path).names:
            raise mfusepy.FuseOSError(errno.ENOTEMPTY)
        return self.unlink(path)

    def statfs(self, path):
        return {"f_bsize": _BLOCK, "f_frsize": _BLOCK, "f_blocks": 1 << 20, "f_bfree": 1 << 20, "f_bavail": 1 << 20}

    def _handle(self, node):
        number = next(self._numbers)
        self._handles[number] = node
        return number

    def _new(self, path, mode):
        names, name = self._parent(path)
        if name in names:
            raise mfusepy.FuseOSError(errno.EEXIST)
        names[name] = Node(mode)
        return names[name]

    def _node(self, path, fh=None):
        if fh in self._handles:
            return self._handles[fh]
        node = self._root
        for name in path.strip("/").split("/") if path != "/" else ():
            if name not in node.names:
                raise mfusepy.FuseOSError(errno.ENOENT)
            node = node.names[name]
        return node

    def _parent(self, path):
        folder, _, name = path.rpartition("/")
        return self._node(folder or "/").names, name


def serve(point: str) -> None:
    """Mount until there are no orders any more"""
    root = Node(stat.S_IFDIR | 0o755)
    while True:
        mfusepy.FUSE(Strict(root), point, foreground=True, nothreads=True, use_ino=False)
        order = sys.stdin.readline().split()
        if not order:
            return
        if order[0] == "keep":
            root.keep()
        else:
            root.cut(random.Random(order[1]) if order[1] != "0" else None)


if __name__ == "__main__":
    serve(sys.argv[1])
