"""Upstreams: places elsewhere that a model can be fetched from"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from artifactstore.core.hub import Listing, RemoteFile


class Upstream(Protocol):
    """One model elsewhere; its calls may come from several threads"""

    @property
    def source(self) -> str:
        """What it is, without secrets: `hf://org/repo`, or a URL"""

    def list(self) -> Listing:
        """What it has now; `open` reads what the last listing told

        Raise NotFound, Denied, Invalid, Unavailable; an Unavailable that may pass has the fact `retryable`.
        """

    def open(self, file: RemoteFile, start: int) -> AbstractContextManager[Iterator[bytes]]:
        """The bytes of `file` from `start`, as they come, unchecked

        Raise as `list` does, also while they are read; Conflict "moved" when it is not the file that was listed.
        """
