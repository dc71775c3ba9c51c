"""Cutter: one source after another becomes blobs and extents, in one pass"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.formats.cutting import (
    BLOB_LIMIT,
    GATHER_BELOW,
    Gather,
    Role,
    Segment,
    content_cuts,
    cut,
)
from artifactstore.core.manifest import BlobInfo, Extent, FileEntry
from artifactstore.ops.transfer.buffers import Buffer
from artifactstore.ops.transfer.source import Reading, Source
from artifactstore.ops.transfer.upload import BlobRef, KnownHash, OrderedHash, Upload


class _Rule(Protocol):
    """Where the next run of bytes goes in a shared blob"""

    length: int
    closed: bool

    most: int

    def fits(self, nbytes: int) -> bool: ...

    def place(self, name: str, nbytes: int) -> int: ...


@dataclass(slots=True)
class _Concatenate:
    """Bytes outside regions follow each other without gaps; most: how many there are at most in one blob"""

    most: int = BLOB_LIMIT
    length: int = 0
    closed: bool = False

    def fits(self, nbytes: int) -> bool:
        return self.length + nbytes <= BLOB_LIMIT

    def place(self, name: str, nbytes: int) -> int:  # noqa: ARG002  # the same shape as Gather
        start, self.length = self.length, self.length + nbytes
        return start


@dataclass(eq=False, slots=True)
class _Shared:
    """A blob still being gathered; `ref` is known once it is sent"""

    buffer: Buffer
    rule: _Rule
    ref: BlobRef | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    blob: BlobRef | _Shared
    start: int
    length: int

    @property
    def ref(self) -> BlobRef:
        ref = self.blob.ref if isinstance(self.blob, _Shared) else self.blob
        assert ref is not None
        return ref


@dataclass(eq=False, slots=True)
class FileDraft:
    """A file whose blobs are on their way"""

    source: Source
    runs: list[_Run] = field(default_factory=list)
    sha256: Sha256 | None = None

    def sent(self) -> Iterator[tuple[int, BlobInfo | None, int]]:
        """(length, blob, start in it) in file order; a blob is None until it is gathered and hashed"""
        for run in self.runs:
            ref = run.blob.ref if isinstance(run.blob, _Shared) else run.blob
            yield run.length, None if ref is None or ref.digest is None else ref.info, run.start


class _Gatherer:
    """Runs of bytes put into shared blobs by a rule"""

    def __init__(self, upload: Upload, rule: Callable[[], _Rule]) -> None:
        self._upload, self._rule = upload, rule
        self._open: _Shared | None = None

    def add(self, name: str, length: int, fill: Callable[[memoryview], None]) -> tuple[_Run, Buffer, memoryview]:
        """Place one run; the buffer comes back held once more, for whoever still reads the bytes"""
        if self._open is not None and not self._open.rule.fits(length):
            self.close()
        if self._open is None:
            rule = self._rule()
            self._open = _Shared(self._upload.pool.take(rule.most, kept=True), rule)
        shared = self._open
        before = shared.rule.length
        start = shared.rule.place(name, length)
        whole = shared.buffer.view
        whole[before:start] = bytes(start - before)
        data = whole[start : start + length]
        fill(data)
        shared.buffer.hold()
        if shared.rule.closed:
            self.close()
        return _Run(shared, start, length), shared.buffer, data

    def close(self) -> None:
        """Send what was gathered"""
        if self._open is not None:
            shared, self._open = self._open, None
            shared.ref = self._upload.blob(shared.buffer.view[: shared.rule.length], shared.buffer.drop)


class _FileCutter:
    """One source read from start to end"""

    def __init__(self, upload: Upload, draft: FileDraft, reading: Reading) -> None:
        self._upload, self._draft, self._reading = upload, draft, reading
        known = draft.source.sha256
        self._sha256 = OrderedHash(hashlib.sha256()) if known is None else KnownHash(known)

    def run(self) -> None:
        """Cut at the format's regions, or by content where there are none"""
        try:
            if self._draft.source.info.regions:
                self._by_region(cut(self._draft.source.size, self._draft.source.info.regions))
            else:
                self._by_content(self._draft.source.size)
        finally:
            digest = self._sha256.digest()
        self._draft.sha256 = Sha256(digest)

    def _by_region(self, segments: Iterable[Segment]) -> None:
        source = self._draft.source
        outside = source.size - sum(region.end - region.begin for region in source.info.regions)
        rest = partial(_Concatenate, min(outside, BLOB_LIMIT))
        gathers = {Role.GATHER: _Gatherer(self._upload, Gather), Role.REST: _Gatherer(self._upload, rest)}
        for segment in segments:
            if segment.role is Role.SOLO:
                self._solo(segment)
            else:
                self._gather(gathers[segment.role], segment)
        for gather in gathers.values():
            gather.close()

    def _gather(self, gather: _Gatherer, segment: Segment) -> None:
        fill = partial(self._reading.fill, segment.begin)
        run, buffer, data = gather.add(segment.name, segment.end - segment.begin, fill)
        self._sha256.feed(data, buffer.drop)
        self._note(run)

    def _solo(self, segment: Segment) -> None:
        # Also what is in memory already is copied: one copy is hashed twice and written, whatever its owner does to it.
        length = segment.end - segment.begin
        buffer = self._upload.pool.take(length)
        data = buffer.view[:length]
        self._reading.fill(segment.begin, data)
        buffer.hold()
        self._sha256.feed(data, buffer.drop)
        self._note(_Run(self._upload.blob(data, buffer.drop), 0, length))

    def _by_content(self, size: int) -> None:
        offset, kept = 0, b""
        while offset < size:
            buffer = self._upload.pool.take()
            fresh = min(BLOB_LIMIT - len(kept), size - offset)
            window = buffer.view[: len(kept) + fresh]
            window[: len(kept)] = kept
            self._reading.fill(offset, window[len(kept) :])
            buffer.hold()
            self._sha256.feed(window[len(kept) :], buffer.drop)
            offset += fresh
            kept = self._content_pieces(window, buffer, at_end=offset == size)

    def _content_pieces(self, window: memoryview, buffer: Buffer, *, at_end: bool) -> bytes:
        start = 0
        for length in content_cuts(window, at_end):
            buffer.hold()
            self._note(_Run(self._upload.blob(window[start : start + length], buffer.drop), 0, length))
            start += length
        kept = bytes(window[start:])
        buffer.drop()
        return kept

    def _note(self, run: _Run) -> None:
        self._draft.runs.append(run)
        self._upload.progress(run.length)


def cut_sources(upload: Upload, sources: Iterable[Source], drafts: list[FileDraft] | None = None) -> list[FileDraft]:
    """Read all sources into the upload; small files share blobs, larger ones are cut by their format

    drafts: a list that grows meanwhile, for who looks on. Raise Invalid when a source changed while it was read.
    """
    small = _Gatherer(upload, Gather)
    drafts = [] if drafts is None else drafts
    for source in sources:
        draft = FileDraft(source)
        drafts.append(draft)
        reading = source.open()
        try:
            if source.size == 0:
                draft.sha256 = Sha256.of(b"")
            elif source.size < GATHER_BELOW and not source.info.regions:
                _cut_small(upload, small, draft, reading)
            else:
                _FileCutter(upload, draft, reading).run()
        except BaseException:
            reading.abandon()
            raise
        reading.close()
    small.close()
    return drafts


def _cut_small(upload: Upload, small: _Gatherer, draft: FileDraft, reading: Reading) -> None:
    run, buffer, data = small.add(draft.source.path, draft.source.size, partial(reading.fill, 0))
    draft.sha256 = Sha256.of(data)
    buffer.drop()
    draft.runs.append(run)
    upload.progress(run.length)


def entries(drafts: Sequence[FileDraft]) -> tuple[tuple[FileEntry, ...], tuple[BlobInfo, ...]]:
    """Files and blobs of a manifest, after the upload has finished; blobs in order of first use"""
    numbers: dict[Digest, int] = {}
    blobs: list[BlobInfo] = []

    def extent(run: _Run) -> Extent:
        info = run.ref.info
        if info.digest not in numbers:
            numbers[info.digest] = len(blobs)
            blobs.append(info)
        return Extent(numbers[info.digest], run.start, run.length)

    files = []
    for draft in drafts:
        assert draft.sha256 is not None
        extents = _joined([extent(run) for run in draft.runs])
        source = draft.source
        files.append(
            FileEntry(source.path, source.size, draft.sha256, source.info.format, tuple(extents), source.info.tensors)
        )
    return tuple(files), tuple(blobs)


def _joined(extents: Sequence[Extent]) -> list[Extent]:
    joined: list[Extent] = []
    for extent in extents:
        last = joined[-1] if joined else None
        if last is not None and last.blob == extent.blob and last.start + last.length == extent.start:
            joined[-1] = Extent(last.blob, last.start, last.length + extent.length)
        else:
            joined.append(extent)
    return joined
