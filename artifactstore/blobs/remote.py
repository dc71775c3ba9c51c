"""Blobs in an object store, reached through fsspec: put under a private name, then checked

Nothing here rests on conditional writes, on listings, or on a server that checks what it receives (R9).
"""

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import fsspec
from fsspec import AbstractFileSystem

from artifactstore.blobs.base import Buffer
from artifactstore.blobs.layout import check_key, check_owner, check_prefix, is_listed, parse_object, quarantine_key
from artifactstore.blobs.span import check_span, check_start
from artifactstore.core.errors import Conflict, Corrupt, Denied, NoSpace, NoStore, NotFound, StoreError, Unavailable

T = TypeVar("T")

_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_FULL = {errno.ENOSPC, errno.EDQUOT}
_PASSING = {408, 409, 425, 429}
# Roots of the packages whose exceptions mean that a server could not be reached or made no sense.
_CLIENTS = {"aiobotocore", "aiohttp", "azure", "botocore", "fsspec", "gcsfs", "google", "http", "requests", "urllib3"}


def open_filesystem(scheme: str, options: dict[str, Any]) -> AbstractFileSystem:
    """The fsspec filesystem for a scheme, shared with nobody; raise Unavailable when its package is missing"""
    if "transport" in options:
        from artifactstore.blobs.obstore import Obstore  # noqa: PLC0415  # only who asks for it pays for it

        return Obstore(config=options["transport"])
    if scheme == "s3":
        # Whole objects go in one request: their ETag is then the MD5 that `put` checks.
        options = {**options, "max_concurrency": 1}
    try:
        return fsspec.filesystem(scheme, **options, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as e:
        what = 'pip install "artifactstore[s3]"' if scheme == "s3" else f"install what fsspec needs for {scheme}://"
        raise Unavailable(f"{scheme}:// needs a package that is not installed: {what}", code="extra") from e


def translate(error: Exception, action: str, url: str, **facts: Any) -> StoreError | None:
    """What an exception of fsspec or of a client below it means; None for one that is neither, so a mistake of ours"""
    status = _status(error)
    said = f"{action}: {' '.join(str(error).split())[:200] or type(error).__name__}"
    if status == 507 or getattr(error, "errno", None) in _FULL:
        return NoSpace(f"{action}: {url} has no space left", **facts)
    if isinstance(error, PermissionError) or "Credential" in type(error).__name__:
        return Denied(f"{said}; check the credentials (AWS_ACCESS_KEY_ID …) and what they may do in {url}", **facts)
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{action}: it is not in {url}", **facts)
    if status:
        return Unavailable(said, code="server", retryable=status >= 500 or status in _PASSING, status=status, **facts)
    if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _CLIENTS:
        return Unavailable(said, code="network", retryable=True, **facts)
    return None


def _status(error: Exception) -> int:
    """The HTTP status behind an exception of obstore, or one that s3fs made of botocore's; 0 when there is none"""
    if hasattr(error, "status"):
        return int(error.status)
    response = getattr(error.__cause__, "response", None)
    metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    return int(metadata.get("HTTPStatusCode", 0))


class RemoteBlobs:
    """A prefix of an object store; `root` is its path in `fs`, `url` what people call it, without secrets"""

    def __init__(self, fs: AbstractFileSystem, root: str, url: str) -> None:
        self._fs = _without_retries(fs)
        self._pid = os.getpid()
        self._before_fork: list[AbstractFileSystem] = []
        self._root = str(fs._strip_protocol(root)).rstrip("/")  # noqa: SLF001  # what every fsspec call does to a path
        self._url = url

    @property
    def url(self) -> str:
        """Where it is, without secrets"""
        return self._url

    def prepare(self) -> None:
        """Object stores have no folders to make"""

    def free(self) -> None:
        """Object stores do not tell"""

    def size(self, key: str) -> int:
        """Bytes under `key`; raise NotFound"""
        return int(self._info(key)["size"])

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """`length` bytes from `start`, to the end without a length; raise NotFound, Corrupt when it ends too early"""
        check_start(check_key(key), start, length)
        if not length:
            # Without knowing the size before, a short answer could not be told from a short object.
            length = check_span(key, self.size(key), start, length)
            if not length:
                return b""
        try:
            data: bytes = self._call("read", key, lambda fs, path: fs.cat_file(path, start=start, end=start + length))
        except Unavailable as e:
            if not e.facts.get("retryable"):
                # Servers have many ways to say that a range lies behind the end.
                check_span(key, self.size(key), start, length)
            raise
        if len(data) != length:
            check_span(key, self.size(key), start, length)
            message = f"{self._url} sent {len(data)} bytes of {key} instead of {length}"
            raise Unavailable(message, code="short", retryable=True, key=key)
        return data

    def read_into(self, key: str, buffer: memoryview, start: int = 0) -> None:
        """Fill the whole buffer from `start`; raise NotFound, Corrupt when it ends too early"""
        view = buffer.cast("B")
        view[:] = self.read(key, start, len(view))

    def batch(self, owner: str) -> "RemoteBatch":
        """A new batch; its objects go straight to their private names, so that owners leave nothing behind"""
        check_owner(owner)
        return RemoteBatch(self)

    def replace(self, key: str, data: Buffer) -> None:
        """Put these bytes under `key`, durable and checked, in place of what may be there

        Raise Conflict when other bytes are found there instead, which may be another writer's.
        """
        try:
            self.put(check_key(key), bytes(data))
        except Corrupt as e:
            message = f"{key} of {self._url} was replaced by another writer at this moment; look and try again"
            raise Conflict(message, code="replaced", key=key) from e

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys of published objects that start with `prefix`, in order"""
        return (key for key, _ in self.sizes(prefix))

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """The same with the bytes of each, as the listing tells them"""
        folder, _, leaf = check_prefix(prefix).rpartition("/")
        try:
            found: dict[str, dict[str, Any]] = self._call(
                "list", folder, lambda fs, path: fs.find(path.rstrip("/"), prefix=leaf, detail=True)
            )
        except NotFound:
            return iter(())
        sizes = ((name.removeprefix(f"{self._root}/"), int(info["size"])) for name, info in found.items())
        return iter(sorted((key, size) for key, size in sizes if is_listed(key, prefix)))

    def quarantine(self, key: str) -> None:
        """Move the object aside to `quarantine/`, keeping its bytes; nothing happens when it is gone"""
        target = quarantine_key(key)
        try:
            size = self.size(key)
        except NotFound:
            return
        self._call("quarantine", key, lambda fs, path: fs.cp_file(path, f"{self._root}/{target}"))
        if self.size(target) != size:
            message = f"{self._url} did not copy {key} whole to {target}; it stays where it is"
            raise Unavailable(message, code="copy", retryable=True, key=key)
        self.delete(key)

    def delete(self, key: str) -> None:
        """Remove exactly this object; nothing happens when it is gone"""
        try:
            self._call("delete", check_key(key), lambda fs, path: fs.rm_file(path))
        except NotFound:
            return

    def trash(self, key: str) -> None:
        """Remove exactly this object: a copy aside would cost as much again; nothing happens when it is gone"""
        self.delete(key)

    def purge(self) -> int:
        """Nothing waits here"""
        return 0

    def owners(self) -> list[str]:
        """Nobody: nothing is ever unpublished here"""
        return []

    def drop(self, owner: str) -> None:
        """Nothing to remove"""
        check_owner(owner)

    def put(self, key: str, data: bytes) -> None:
        """Write one object and see that it is there, else write it once more; raise Corrupt when it never is"""
        for _ in range(2):
            try:
                self._call("write", key, lambda fs, path: fs.pipe_file(path, data))
            except NotFound as e:
                raise NoStore(f"Cannot write {key}: the bucket of {self._url} does not exist; make it", key=key) from e
            if self._holds(key, data):
                return
        message = f"{self._url} does not keep what is written to {key}; do not trust this server"
        raise Corrupt(message, code="stored", kind="corrupt", key=key)

    def _holds(self, key: str, data: bytes) -> bool:
        """Whether the object is what was written, by its MD5 where the server tells it and else by reading it back"""
        try:
            info = self._info(key)
            if info["size"] != len(data):
                return False
            tag = _MD5.fullmatch(str(info.get("ETag")))
            # Another tag may still be a sound object's: those of SSE-KMS look like an MD5 and are none.
            if tag and tag[1] == hashlib.md5(data, usedforsecurity=False).hexdigest():
                return True
            return self.read(key, 0, len(data)) == data
        except (Corrupt, NotFound):
            return False

    def _info(self, key: str) -> dict[str, Any]:
        info: dict[str, Any] = self._call("find", check_key(key), lambda fs, path: fs.info(path))
        if info["type"] != "file":
            raise NotFound(f"Cannot find {key}: it is not in {self._url}", key=key)
        return info

    def _call(self, verb: str, key: str, call: Callable[[AbstractFileSystem, str], T]) -> T:
        try:
            return call(self._filesystem(), f"{self._root}/{key}")
        except Exception as e:
            error = translate(e, f"Cannot {verb} {key}", self._url, key=key)
            if error is None:
                raise
            raise error from e

    def _filesystem(self) -> AbstractFileSystem:
        if self._pid != os.getpid():
            # The event loop of an async filesystem runs in a thread, and threads do not survive a fork. The old one is
            # kept: to finalize it here would unregister the sockets that the parent waits for.
            old = self._fs
            self._before_fork.append(old)
            self._fs = _without_retries(type(old)(*old.storage_args, **old.storage_options, skip_instance_cache=True))
            self._pid = os.getpid()
        return self._fs


class RemoteBatch:
    """Objects under private names, which nobody reads before the catalog names them"""

    def __init__(self, blobs: RemoteBlobs) -> None:
        self._blobs = blobs
        self._keys: list[str] = []

    def write(self, key: str, data: Buffer) -> None:
        """Take one object, from any thread; it is durable and checked on return"""
        self._keys.append(check_key(key))
        self._blobs.put(key, bytes(data))

    def publish(self) -> None:
        """Everything written is visible already"""
        self._keys = []

    def discard(self) -> None:
        """Remove what was written and not published; safe to call twice

        Only names that nobody else can have written are removed: a journal record may be another exporter's.
        """
        while self._keys:
            if parse_object(self._keys[-1]) is not None:
                self._blobs.delete(self._keys[-1])
            self._keys.pop()


def _without_retries(fs: AbstractFileSystem) -> AbstractFileSystem:
    if hasattr(fs, "retries"):
        # `Retrying` decides how often; two of them would multiply.
        fs.retries = 1
    return fs
