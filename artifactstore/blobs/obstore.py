"""Obstore: S3 buckets reached by the Rust client of that name, with the verbs of fsspec that `RemoteBlobs` uses

https://developmentseed.org/obstore/. It is chosen by `transport=obstore` in the URL of a store.
"""

import os
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from artifactstore.core.errors import Unavailable

T = TypeVar("T")

_STATUS = re.compile(r"status code: (\d{3})")
_CLIENT = {"connect_timeout": "5s", "timeout": "60s"}


# The process in which the client's threads run: they do not survive a fork, and it would wait for them for ever.
_at_home: list[int] = []


class ObstoreError(OSError):
    """What the client said. status: of HTTP, 0 where it told none"""

    def __init__(self, error: Exception) -> None:
        super().__init__(" ".join(str(error).split())[:300])
        found = _STATUS.search(str(error))
        self.status = int(found[1]) if found else 0


class Obstore:
    """Objects by paths `bucket/key`. config: of obstore's S3Store; credentials come from the environment"""

    storage_args = ()

    def __init__(self, *, config: dict[str, Any], skip_instance_cache: bool = True) -> None:  # noqa: ARG002  # fsspec's
        try:
            self._verbs, self._kinds = import_module("obstore"), import_module("obstore.store")
        except ImportError as e:
            message = 'transport=obstore needs a package that is not installed: pip install "artifactstore[obstore]"'
            raise Unavailable(message, code="extra") from e
        self.storage_options = {"config": config}
        self._buckets: dict[str, Any] = {}

    def _strip_protocol(self, path: str) -> str:
        return path.removeprefix("s3://").strip("/")

    def cat_file(self, path: str, start: int, end: int) -> bytes:
        """The bytes [start, end)"""
        data: bytes = self._do(
            path, lambda store, key: self._verbs.get_range(store, key, start=start, end=end)
        ).to_bytes()
        return data

    def pipe_file(self, path: str, data: bytes) -> None:
        """Put an object in one request, so that its ETag is its MD5"""
        self._do(path, lambda store, key: self._verbs.put(store, key, data, use_multipart=False))

    def info(self, path: str) -> dict[str, Any]:
        """Size and ETag"""
        head = self._do(path, self._verbs.head)
        return {"name": path, "type": "file", "size": head["size"], "ETag": head["e_tag"]}

    def find(self, path: str, prefix: str, *, detail: bool) -> dict[str, dict[str, Any]]:  # noqa: ARG002  # fsspec's
        """Objects below a folder whose names in it begin with `prefix`"""
        bucket, _, folder = path.partition("/")
        begins = f"{folder}/{prefix}".lstrip("/")
        pages = self._do(path, lambda store, key: list(self._verbs.list(store, key or None)))
        return {
            f"{bucket}/{one['path']}": {"size": one["size"], "type": "file"}
            for page in pages
            for one in page
            if one["path"].startswith(begins)
        }

    def cp_file(self, path: str, to: str) -> None:
        """Copy within a bucket"""
        self._do(path, lambda store, key: self._verbs.copy(store, key, to.partition("/")[2]))

    def rm_file(self, path: str) -> None:
        """Remove an object; one that is gone is no error"""
        self._do(path, self._verbs.delete)

    def _do(self, path: str, verb: Callable[[Any, str], T]) -> T:
        bucket, _, key = path.partition("/")
        _check_home()
        try:
            if bucket not in self._buckets:
                config = self.storage_options["config"]
                client = {**_CLIENT, "allow_http": str(config.get("endpoint", "")).startswith("http:")}
                self._buckets[bucket] = self._kinds.S3Store(
                    bucket, config=config, client_options=client, retry_config={"max_retries": 0}
                )
            return verb(self._buckets[bucket], key)
        except self._verbs.exceptions.BaseError as e:
            kind = type(e).__name__
            if kind in {"PermissionDeniedError", "UnauthenticatedError"}:
                raise PermissionError(str(ObstoreError(e))) from e
            if "non-partial" in str(e):
                message = "This server answers a range of an object as it were all of it; leave out transport=obstore"
                raise Unavailable(message, code="transport") from e
            raise ObstoreError(e) from e


def _check_home() -> None:
    if not _at_home:
        _at_home.append(os.getpid())
    if _at_home[0] != os.getpid():
        message = "transport=obstore does not work in a process that was forked; start it by spawn, or leave it out"
        raise Unavailable(message, code="forked")
