"""Blobs on a local disk: written aside, made durable, then renamed into place (docs/protocol.md, save B)"""

import contextlib
import io
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from artifactstore.blobs.base import Buffer
from artifactstore.blobs.disk import (
    BINARY,
    NOFOLLOW,
    NONBLOCK,
    already_there,
    check_regular,
    claim,
    make_folder,
    refuse_existing,
    remove_empty,
    sync_folder,
    translated,
    write_durably,
)
from artifactstore.blobs.layout import (
    BLOBS,
    JOURNAL,
    MANIFESTS,
    SETTINGS_KEY,
    TMP,
    TRASH,
    check_key,
    check_owner,
    check_prefix,
    is_listed,
    is_trash,
    quarantine_key,
    shard_folders,
    trash_key,
)
from artifactstore.blobs.span import check_span, truncated
from artifactstore.core.errors import Invalid, LeaseLost, NoStore, NotFound, StoreError, Unavailable

_REPLACE_ATTEMPTS = 3


class LocalBlobs:
    """A folder of a local disk"""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def url(self) -> str:
        """The folder"""
        return str(self.root)

    def prepare(self) -> None:
        """Make the folders a new store needs, durably"""
        if self.root.exists() and not self.root.is_dir():
            raise Invalid(f"{self.root} is not a folder; name a folder for the store", code="folder")
        with translated("make a store at", self.url, self.root):
            anchor = Path(self.root.anchor)
            touched = make_folder(anchor, self.root)
            for folder in (BLOBS, MANIFESTS, JOURNAL, TMP, *shard_folders()):
                (self.root / folder).mkdir(exist_ok=True)
            for path in (self.root / BLOBS, self.root / MANIFESTS, self.root, *reversed(touched)):
                sync_folder(path)

    def free(self) -> int:
        """Free bytes for new objects"""
        with translated("ask for the free space of", self.url, self.root):
            return shutil.disk_usage(self.root).free

    def size(self, key: str) -> int:
        """Bytes under `key`; raise NotFound"""
        with translated("find", key, self.root):
            facts = os.lstat(self._path(key))
        return check_regular(key, facts).st_size

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """`length` bytes from `start`, to the end without a length; raise NotFound, Corrupt when it ends too early"""
        with translated("read", key, self.root), self._open(key) as file:
            wanted = check_span(key, check_regular(key, os.fstat(file.fileno())).st_size, start, length)
            file.seek(start)
            parts = [file.read(wanted)]
            while missing := wanted - sum(map(len, parts)):
                parts.append(file.read(missing))
                if not parts[-1]:
                    raise truncated(key, expected=start + wanted, size=start + wanted - missing)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_into(self, key: str, buffer: memoryview, start: int = 0) -> None:
        """Fill the whole buffer from `start`; raise NotFound, Corrupt when it ends too early"""
        view = buffer.cast("B")
        with translated("read", key, self.root), self._open(key) as file:
            wanted = check_span(key, check_regular(key, os.fstat(file.fileno())).st_size, start, len(view))
            file.seek(start)
            done = 0
            while done < wanted:
                count = file.readinto(view[done:])
                if not count:
                    raise truncated(key, expected=start + wanted, size=start + done)
                done += count

    def batch(self, owner: str) -> "LocalBatch":
        """A new batch; what `owner` leaves behind unpublished is found and dropped by its name"""
        return LocalBatch(self.root, check_owner(owner))

    def replace(self, key: str, data: Buffer) -> None:
        """Put these bytes under `key`, whole and durable, in place of what may be there"""
        for attempt in range(_REPLACE_ATTEMPTS):
            batch = LocalBatch(self.root, f"replace-{secrets.token_hex(8)}", over=True)
            try:
                batch.write(key, data)
                batch.publish()
            except LeaseLost:
                # a writer that clears what belongs to no lease was faster than the rename
                if attempt + 1 == _REPLACE_ATTEMPTS:
                    raise
            else:
                return
            finally:
                batch.discard()

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys of published objects that start with `prefix`, in order"""
        check_prefix(prefix)
        return self._walk(prefix[: prefix.rfind("/") + 1], prefix)

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """The same with the bytes of each, without those that go away meanwhile"""
        for key in self.keys(prefix):
            with contextlib.suppress(NotFound):
                yield key, self.size(key)

    def quarantine(self, key: str) -> None:
        """Move the object aside to `quarantine/`, keeping its bytes; nothing happens when it is gone"""
        source, target = self._path(key), self._path(quarantine_key(key))
        with translated("quarantine", key, self.root):
            if not os.path.lexists(source):
                return
            touched = make_folder(self.root, target.parent)
            refuse_existing(target, quarantine_key(key))
            with contextlib.suppress(FileNotFoundError):
                source.rename(target)
            for path in (target.parent, source.parent, *touched):
                sync_folder(path)

    def delete(self, key: str) -> None:
        """Remove exactly this object; nothing happens when it is gone"""
        with translated("delete", key, self.root):
            self._path(key).unlink(missing_ok=True)

    def trash(self, key: str) -> None:
        """Take the object away from its key for good, into `trash/`; nothing happens when it is gone"""
        source, target = self._path(key), self.root / trash_key(key)
        with translated("remove", key, self.root):
            # neither name has to outlast a power cut: what comes back has no row and goes the next time
            try:
                source.rename(target)
            except FileNotFoundError:
                make_folder(self.root, target.parent)
                with contextlib.suppress(FileNotFoundError):
                    source.rename(target)

    def purge(self) -> int:
        """Remove what lies in `trash/`; how many objects"""
        count = 0
        folder = self.root / TRASH
        with translated("empty", TRASH, self.root), contextlib.suppress(FileNotFoundError):
            for path in list(folder.iterdir()):
                if is_trash(path.name):
                    path.unlink(missing_ok=True)
                    count += 1
        return count

    def owners(self) -> list[str]:
        """Owners with unpublished leftovers"""
        with translated("list", TMP, self.root), contextlib.suppress(FileNotFoundError):
            return sorted(path.name for path in (self.root / TMP).iterdir() if path.is_dir())
        return []

    def drop(self, owner: str) -> None:
        """Remove the unpublished leftovers of an owner"""
        folder = self.root / TMP / check_owner(owner)
        with translated("drop", f"{TMP}{owner}", self.root), contextlib.suppress(FileNotFoundError):
            for path in folder.iterdir():
                path.unlink(missing_ok=True)
            remove_empty(folder)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _open(self, key: str) -> io.FileIO:
        # O_NONBLOCK: opening a FIFO that somebody put here must not wait for its writer.
        flags = os.O_RDONLY | NOFOLLOW | NONBLOCK | BINARY
        return io.FileIO(self._path(key), opener=lambda path, _: os.open(path, flags))

    def _walk(self, folder: str, prefix: str) -> Iterator[str]:
        for name in self._entries(folder, prefix[len(folder) :]):
            if name.endswith("/"):
                yield from self._walk(name, prefix)
            elif is_listed(name, prefix):
                yield name

    def _entries(self, folder: str, start: str) -> list[str]:
        """Files and, ending in a slash so that they sort like their keys, folders whose names have this start"""
        names = []
        with (
            translated("list", folder or self.url, self.root),
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(self.root / folder) as found,
        ):
            for entry in found:
                if not entry.name.startswith(start):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    names.append(f"{folder}{entry.name}/")
                elif entry.is_file(follow_symlinks=False):
                    names.append(f"{folder}{entry.name}")
        return sorted(names)


class LocalBatch:
    """Files in `tmp/<owner>/` that become visible together"""

    def __init__(self, root: Path, owner: str, *, over: bool = False) -> None:
        self._root = root
        self._over = over
        self._folder = root / TMP / owner
        self._owner = owner
        self._lock = threading.Lock()
        self._pending: dict[str, Path] = {}
        self._touched: set[Path] = set()
        self._failed: StoreError | None = None

    def write(self, key: str, data: Buffer) -> None:
        """Take one object, from any thread; its bytes are durable on return, visible after `publish`"""
        # One folder holds keys of many folders; "+" is in no key.
        path = self._folder / check_key(key).replace("/", "+")
        with translated("write", key, self._root):
            fd = self._create(path, key)
            try:
                write_durably(fd, memoryview(data).cast("B"))
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        with self._lock:
            self._pending[key] = path

    def publish(self) -> None:
        """Make everything written visible under its key, whole and durable; raise LeaseLost when it was dropped"""
        with self._lock:
            if self._failed is not None:
                raise self._failed
            try:
                with translated("publish", f"{TMP}{self._owner}", self._root):
                    self._rename()
                    self._sync()
            except Unavailable as e:
                # Only what failed before any sync may be tried again: a sync that failed once proves nothing later.
                self._failed = None if e.facts.get("retryable") else e
                raise

    def discard(self) -> None:
        """Drop what was written and not published; safe to call twice"""
        with self._lock, translated("drop", f"{TMP}{self._owner}", self._root):
            for path in self._pending.values():
                path.unlink(missing_ok=True)
            self._pending.clear()
            remove_empty(self._folder)

    def _create(self, path: Path, key: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOFOLLOW | BINARY
        while True:
            # A batch of the same owner may remove the folder, empty at that moment, between these two calls.
            try:
                return os.open(path, flags, 0o600)
            except FileExistsError as e:
                raise already_there(key) from e
            except FileNotFoundError:
                self._make_own_folder()

    def _make_own_folder(self) -> None:
        try:
            self._folder.mkdir(exist_ok=True)
        except FileNotFoundError as e:
            # Making more than this one folder could fill the mount point of a disk that is not there.
            raise NoStore(f"{self._root} has no {TMP} folder; mount its disk, or make a store there") from e

    def _rename(self) -> None:
        for key in () if self._over else self._pending:
            refuse_existing(self._root / key, key)
        for folder in {(self._root / key).parent for key in self._pending}:
            self._touched.update(make_folder(self._root, folder))
            # Shard folders are durable since `prepare`; another may have made this one and died before its sync.
            if not folder.is_relative_to(self._root / BLOBS) and not folder.is_relative_to(self._root / MANIFESTS):
                self._touched.update(path for path in folder.parents if path.is_relative_to(self._root))
        for key, path in list(self._pending.items()):
            target = self._root / key
            try:
                self._move(path, target, key)
            except FileNotFoundError as e:
                message = f"What {self._owner} wrote was dropped before it was published; start the write again"
                raise LeaseLost(message, key=key) from e
            self._touched.add(target.parent)
            del self._pending[key]
        remove_empty(self._folder)

    def _move(self, path: Path, target: Path, key: str) -> None:
        if self._over:
            path.replace(target)
        elif key == SETTINGS_KEY:
            # the one name that several writers may want for different bytes
            claim(path, target, key)
        else:
            path.rename(target)

    def _sync(self) -> None:
        while self._touched:
            folder = next(iter(self._touched))
            sync_folder(folder)
            self._touched.remove(folder)
