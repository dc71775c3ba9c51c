"""Checksums: CHECKSUMS.sha256 as sha256sum writes and reads it, and one from elsewhere held against a version"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from artifactstore.core.digest import Sha256
from artifactstore.core.errors import Invalid
from artifactstore.core.exports.base import FileFacts, Subject
from artifactstore.core.names import SafePath

_GNU = re.compile(r"(?P<escaped>\\?)(?P<hash>[0-9A-Fa-f]{8,}) (?:[ *](?=.)|(?![ *]))(?P<path>.+)")
_BSD = re.compile(r"(?P<escaped>\\?)(?P<name>[A-Za-z0-9/-]+) ?\((?P<path>.+)\) ?= ?(?P<hash>[0-9A-Fa-f]+)")
_SHA256 = {"sha256", "sha2-256"}
_LENGTHS = {32: "MD5", 40: "SHA-1", 56: "SHA-224", 64: "SHA-256", 96: "SHA-384", 128: "SHA-512"}
_ESCAPE = re.compile(r"\\(.?)")
_ESCAPED = {"\\": "\\", "n": "\n", "r": "\r"}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A file whose listed sha256 is not the recorded one"""

    path: str
    listed: Sha256
    recorded: Sha256


@dataclass(frozen=True, slots=True)
class ChecksumReport:
    """A list of checksums against a version: missing paths are listed and not in it, unlisted ones the reverse"""

    matched: int
    mismatched: tuple[Mismatch, ...]
    missing: tuple[str, ...]
    unlisted: tuple[SafePath, ...]

    @property
    def fine(self) -> bool:
        """Whether every listed file is here and is what the list says"""
        return not self.mismatched and not self.missing


def text(subject: Subject) -> str:
    """One line a file, `sha256sum -c` accepts it in the folder of a checkout

    No path inside a version needs GNU's escapes: backslashes and line breaks are refused there.
    """
    return "".join(f"{file.sha256}  {file.path}\n" for file in subject.version.files)


def compare(listed: Mapping[str, Sha256], files: Sequence[FileFacts]) -> ChecksumReport:
    """Hold a list against what is recorded, without reading bytes"""
    recorded = {str(file.path): file.sha256 for file in files}
    here = {path: digest for path, digest in listed.items() if path in recorded}
    wrong = [Mismatch(path, digest, recorded[path]) for path, digest in here.items() if digest != recorded[path]]
    return ChecksumReport(
        matched=len(here) - len(wrong),
        mismatched=tuple(wrong),
        missing=tuple(path for path in listed if path not in recorded),
        unlisted=tuple(file.path for file in files if file.path not in listed),
    )


def parse(content: str) -> dict[str, Sha256]:
    """sha256 by path of lines `hash  path`, `hash *path`, their escaped forms, and `SHA256 (path) = hash`

    As coreutils does, empty lines and those that begin with # are passed over. Raise Invalid, with the line's number,
    for anything else.
    """
    found: dict[str, Sha256] = {}
    for number, path, digest in _lines(content):
        if found.setdefault(path, digest) != digest:
            raise _refusal(number, f"{path!r:.80} was listed before with another hash; keep one")
    if not found:
        raise Invalid("The list of checksums names no file; write one with sha256sum", code="checksums")
    return found


def _lines(content: str) -> Iterator[tuple[int, str, Sha256]]:
    for number, raw in enumerate(content.removeprefix("\ufeff").split("\n"), 1):
        line = raw.removesuffix("\r")
        if line.strip() and not line.startswith("#"):
            yield number, *_line(line, number)


def _line(line: str, number: int) -> tuple[str, Sha256]:
    bsd = _BSD.fullmatch(line)
    found = bsd or _GNU.fullmatch(line)
    if found is None:
        raise _refusal(number, f"{line!r:.80} is no checksum; a line is <sha256>  <path>")
    if bsd and bsd["name"].lower() not in _SHA256:
        raise _refusal(number, f"{bsd['name']:.20} is not supported; use SHA256")
    path = _unescape(found["path"], number) if found["escaped"] else found["path"]
    return _inside(path, number), _digest(found["hash"], number)


def _digest(digits: str, number: int) -> Sha256:
    if len(digits) != 64:
        kind = _LENGTHS.get(len(digits), "no hash")
        raise _refusal(number, f"a hash of {len(digits)} digits is {kind}; a SHA-256 has 64")
    return Sha256.parse(digits.lower())


def _unescape(path: str, number: int) -> str:
    def plain(found: re.Match[str]) -> str:
        if found[1] not in _ESCAPED:
            raise _refusal(number, rf"{found[0]!r} is no escape; GNU writes \\, \n and \r")
        return _ESCAPED[found[1]]

    return _ESCAPE.sub(plain, path)


def _inside(path: str, number: int) -> str:
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if path.startswith("/") or ".." in parts or not parts:
        raise _refusal(number, f"{path!r:.80} leads out of the folder; use paths relative to it")
    # as paths inside a version are, whatever form the disk it was written on gave
    return unicodedata.normalize("NFC", "/".join(parts))


def _refusal(number: int, what: str) -> Invalid:
    return Invalid(f"Line {number}: {what}", code="checksums", line=number)
