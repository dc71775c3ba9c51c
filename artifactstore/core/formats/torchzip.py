"""Torch zip files (`.pt .pth .bin .ckpt`), read as the zip they are and never unpickled

torch.save writes storages uncompressed, as `<archive>/data/<key>`, so their bytes lie in the file as they are.
Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT and caffe2/serialize/inline_container.h of PyTorch.
"""

import io
import struct
import zipfile
from collections.abc import Iterator

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import ByteSource, FileInfo, Region
from artifactstore.core.names import SafePath

MAGIC = b"PK\x03\x04"
DIRECTORY_LIMIT = 32 << 20
REGION_FROM = 1 << 20  # other stored members are cut out from this size on

_LOCAL_HEADER = struct.Struct("<4s2x2H16x2H")  # magic, flags, method, lengths of name and extra
_ENCRYPTED = 0x1 | 0x40
_UTF8 = 0x800


def parse(source: ByteSource, path: str) -> FileInfo:
    """Regions of the stored storages, named as in the archive (`data/0`); Invalid names file, byte and rule"""
    members, directory = _read_directory(source, path)
    top = _top_folder(members, path)
    names: set[str] = set()
    spans: list[tuple[int, int, int, zipfile.ZipInfo]] = []
    for member in members:
        _check_member(member, names, path)
        begin = _data_begin(source, member, path)
        spans.append((member.header_offset, begin, begin + member.compress_size, member))
    spans.sort(key=lambda span: span[:3])
    _check_spans(spans, directory, path)
    return FileInfo(format="torch", regions=tuple(_regions(spans, top)))


def _read_directory(source: ByteSource, path: str) -> tuple[list[zipfile.ZipInfo], int]:
    """Members, and where the directory itself begins"""
    try:
        with zipfile.ZipFile(_Seekable(source)) as archive:
            return archive.infolist(), archive.start_dir
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, EOFError, struct.error) as e:
        raise _invalid(path, source.size, "zip", f"not a zip file that can be read ({e!s:.80})") from e


def _top_folder(members: list[zipfile.ZipInfo], path: str) -> str:
    tops = {member.filename.partition("/")[0] + "/" for member in members}
    top = min(tops, default="")
    if len(tops) != 1 or not any(member.filename == f"{top}data.pkl" for member in members):
        raise _invalid(path, 0, "torch", "a zip, but not as torch.save writes it: one folder with data.pkl")
    return top


def _check_member(member: zipfile.ZipInfo, names: set[str], path: str) -> None:
    name = member.orig_filename
    if name in names:
        raise _invalid(path, member.header_offset, "duplicate-name", f"duplicate member {name!r:.80}")
    names.add(name)
    try:
        SafePath(name.removesuffix("/"))
    except Invalid as e:
        raise _invalid(path, member.header_offset, "name", e.message) from e
    if member.flag_bits & _ENCRYPTED:
        raise _invalid(path, member.header_offset, "encrypted", f"member {name!r:.80} is encrypted")
    if member.compress_type == zipfile.ZIP_STORED and member.compress_size != member.file_size:
        raise _invalid(path, member.header_offset, "size", f"stored member {name!r:.80} has two sizes")


def _data_begin(source: ByteSource, member: zipfile.ZipInfo, path: str) -> int:
    """Where a member's data begin, by its local header, which may be longer than the directory says"""
    at = member.header_offset
    if not 0 <= at <= source.size - _LOCAL_HEADER.size:
        raise _invalid(path, at, "local-header", f"member {member.filename!r:.80} lies outside the file")
    header = source.read(at, _LOCAL_HEADER.size)
    magic, flags, method, name_nbytes, extra_nbytes = _LOCAL_HEADER.unpack(header)
    begin: int = at + _LOCAL_HEADER.size + name_nbytes + extra_nbytes
    expected = member.orig_filename.encode("utf-8" if member.flag_bits & _UTF8 else "cp437")
    if (
        magic != MAGIC
        or flags & _ENCRYPTED
        or method != member.compress_type
        or begin > source.size
        or source.read(at + _LOCAL_HEADER.size, name_nbytes) != expected
    ):
        raise _invalid(path, at, "local-header", f"local header and directory differ for {member.filename!r:.80}")
    return begin


def _check_spans(spans: list[tuple[int, int, int, zipfile.ZipInfo]], directory: int, path: str) -> None:
    position = 0
    for at, _, end, member in spans:
        if at < position:
            raise _invalid(path, at, "overlap", f"member {member.filename!r:.80} overlaps the one before it")
        if end > directory:
            raise _invalid(path, at, "short", f"member {member.filename!r:.80} runs into the directory")
        position = end


def _regions(spans: list[tuple[int, int, int, zipfile.ZipInfo]], top: str) -> Iterator[Region]:
    for _, begin, end, member in spans:
        name = member.filename.removeprefix(top)
        wanted = name.startswith("data/") or end - begin >= REGION_FROM
        if member.compress_type == zipfile.ZIP_STORED and wanted and begin < end:
            yield Region(name, begin, end)


def _invalid(path: str, offset: int, rule: str, what: str) -> Invalid:
    return Invalid(f"{path}: byte {offset}: {what}", code="torch", file=path, offset=offset, rule=rule)


class _Seekable(io.RawIOBase):
    """A byte source as the file that zipfile wants"""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._position = 0

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.size}[whence]
        if start + offset < 0:
            # As files do: zipfile looks for end records where short files have none, and expects an OSError
            raise OSError("a seek before the start") if whence == io.SEEK_END else ValueError("a negative place")
        self._position = start + offset
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        left = max(0, self._source.size - self._position)
        nbytes = left if size < 0 else min(size, left)
        if nbytes > DIRECTORY_LIMIT:
            raise ValueError(f"a directory of {nbytes} bytes")
        data = self._source.read(self._position, nbytes) if nbytes else b""
        self._position += nbytes
        return data
