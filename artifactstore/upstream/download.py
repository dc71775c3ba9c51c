"""Downloads: a file of an upstream becomes a whole and verified partial file, from wherever it was left"""

from dataclasses import dataclass
from pathlib import Path

from artifactstore.core.errors import Corrupt, Unavailable
from artifactstore.core.events import Progress
from artifactstore.core.hub import RemoteFile
from artifactstore.upstream.base import Upstream
from artifactstore.upstream.hashing import Hashing
from artifactstore.upstream.partial import Partial, PartialKey, Partials
from artifactstore.upstream.reach import Reach

# an attempt that brought so much makes up for the failures before it
_ENOUGH = 1 << 20


def download(
    upstream: Upstream,
    file: RemoteFile,
    partials: Partials,
    *,
    reach: Reach = Reach(),  # noqa: B008  # frozen
    phase: str = "fetch",
) -> Path:
    """The partial file of `file`, whole and verified; nobody holds it any more

    Raises what `fill` raises, and Busy when another process is at it.
    """
    with partials.claim(PartialKey.of(upstream.source, file)) as partial:
        return fill(upstream, file, partial, reach=reach, phase=phase)


def fill(
    upstream: Upstream,
    file: RemoteFile,
    partial: Partial,
    *,
    reach: Reach = Reach(),  # noqa: B008  # frozen
    phase: str = "fetch",
) -> Path:
    """Read what is missing of a partial file and verify all of it; its path

    What came stays there whatever is raised, but for Corrupt: then bytes with another digest came twice. Raise
    Conflict "moved" when it is not the file that was listed, NoSpace, and what the upstream raises when trying again
    does not help. The monitor of `reach` is told the bytes of this file under `phase`.
    """
    for _ in range(2):
        if partial.size > file.size:
            partial.restart()
        with Hashing(file) as hashing:
            done = 0
            for piece in partial.pieces():
                reach.left(str(file.path))
                hashing.feed(piece)
                done += len(piece)
                reach.monitor(Progress(phase, done, file.size))
            _Reading(upstream, file, partial, hashing, reach, phase).missing()
            if partial.size == file.size and hashing.fits():
                return partial.path
        partial.restart()
    partial.discard()
    raise Corrupt(
        f"{upstream.source} sent bytes of {file.path} that do not have its digest, twice; they were thrown away",
        code="digest",
        path=str(file.path),
        expected=file.digest,
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    upstream: Upstream
    file: RemoteFile
    partial: Partial
    hashing: Hashing
    reach: Reach
    phase: str

    def missing(self) -> None:
        """Append what is missing, again and again while that helps; ends early when more came than there should be"""
        failures = 0
        self._tell()
        while self.partial.size < self.file.size:
            before = self.partial.size
            error = self._attempt()
            if error is not None:
                failures = 1 if self.partial.size - before >= _ENOUGH else failures + 1
                self.reach.wait(error, failures)

    def _attempt(self) -> Unavailable | None:
        """Append what comes in one answer; why that was not all of the file, None when it was"""
        try:
            with self.upstream.open(self.file, self.partial.size) as chunks:
                for chunk in chunks:
                    self._append(chunk)
                    if self.partial.size > self.file.size:
                        return None
        except Unavailable as e:
            return e if self.partial.size < self.file.size else None
        if self.partial.size == self.file.size:
            return None
        message = f"{self.upstream.source} ended {self.file.path} after {self.partial.size} of {self.file.size} bytes"
        return Unavailable(message, code="cut", retryable=True)

    def _append(self, chunk: bytes) -> None:
        self.reach.left(str(self.file.path))
        self.partial.write(chunk)
        self.hashing.feed(chunk)
        self._tell()

    def _tell(self) -> None:
        self.reach.monitor(Progress(self.phase, self.partial.size, self.file.size))
