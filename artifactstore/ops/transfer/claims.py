"""Claims: what a manifest from elsewhere says of its tensors must be what the headers of its files say"""

from collections.abc import Callable

from artifactstore.core.errors import Corrupt, Invalid
from artifactstore.core.formats.base import FileInfo
from artifactstore.core.formats.detect import examine
from artifactstore.core.manifest import BlobInfo, FileEntry, Manifest

Read = Callable[[BlobInfo, memoryview], None]


def check_claims(read: Read, manifest: Manifest) -> None:
    """Raise Corrupt for a file whose tensor table is not that of its own header; only headers are read

    read: fills memory with the checked bytes of a blob.
    """
    for file in manifest.files:
        if not file.tensors and file.format != "safetensors":
            continue
        found = _examined(read, manifest, file)
        if (found.format, found.tensors) != (file.format, file.tensors):
            raise Corrupt(
                f"{file.path} of {manifest.id.hex()[:12]} has other tensors than its manifest says; nothing of it was "
                "taken",
                code="claims",
                file=str(file.path),
                version=str(manifest.id),
            )


def _examined(read: Read, manifest: Manifest, file: FileEntry) -> FileInfo:
    try:
        return examine(_Reading(read, manifest, file), str(file.path))
    except Invalid as e:
        raise Corrupt(
            f"{file.path} of {manifest.id.hex()[:12]} is no {file.format} file: {e.message}", code="claims"
        ) from e


class _Reading:
    """A stored file as the parsers read it; the blob read last is kept"""

    def __init__(self, read: Read, manifest: Manifest, file: FileEntry) -> None:
        self._read, self._file = read, file
        self._runs = list(manifest.runs(file))
        self._last: tuple[BlobInfo, memoryview] | None = None

    @property
    def size(self) -> int:
        """Bytes in all"""
        return self._file.size

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`"""
        parts = []
        for begin, blob, extent in self._runs:
            first, last = max(offset, begin), min(offset + length, begin + extent.length)
            if first < last:
                start = extent.start + first - begin
                parts.append(self._blob(blob)[start : start + last - first])
        return b"".join(parts)

    def _blob(self, blob: BlobInfo) -> memoryview:
        if self._last is None or self._last[0] != blob:
            data = memoryview(bytearray(blob.size))
            self._read(blob, data)
            self._last = blob, data
        return self._last[1]
