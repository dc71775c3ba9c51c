"""Names: artifacts, aliases, references, and the one type for paths inside a version"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from artifactstore.core.errors import Invalid

_SEGMENT = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?"
_ARTIFACT = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_ID_PREFIX = re.compile(r"[0-9a-f]{8,64}")
_NUMBER = re.compile(r"[1-9][0-9]{0,9}")
_WINDOWS_DEVICES = frozenset(
    [
        "con",
        "prn",
        "aux",
        "nul",
        "conin$",
        "conout$",
        *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"),
    ]
)
_WINDOWS_FORBIDDEN = frozenset('<>:"|?*\\')


def _shown(text: str) -> str:
    shown = ascii(text[:81])
    return shown if len(shown) <= 82 else shown[:79] + "..."


class ArtifactName(str):
    """`name` or `org/name`: segments of letters, digits, `.`, `_`, `-`, at most 200 characters"""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Raise Invalid unless `text` is a name"""
        if not isinstance(text, str) or len(text) > 200 or not _ARTIFACT.fullmatch(text) or ".." in text:
            raise Invalid(
                f"Not an artifact name: {_shown(str(text))}; use letters, digits, '.', '_', '-' in parts joined "
                "by '/', each starting with a letter or digit",
                code="name",
            )
        for segment in text.split("/"):
            _refuse_device(segment, text, "name")
        return super().__new__(cls, text)


class AliasName(str):
    """`latest`, `prod`, or `remote/prod` for the alias of another store"""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Raise Invalid unless `text` is an alias"""
        if not isinstance(text, str) or len(text) > 100 or not _ARTIFACT.fullmatch(text) or text.isdigit():
            raise Invalid(
                f"Not an alias: {_shown(str(text))}; use letters, digits, '.', '_', '-', not digits alone", code="alias"
            )
        return super().__new__(cls, text)


class SafePath(str):
    """A path inside a version: relative, POSIX, NFC, and harmless on Linux, macOS and Windows"""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Raise Invalid unless `text` is such a path"""
        if not isinstance(text, str) or not text or len(text.encode("utf-8", "surrogatepass")) > 1024:
            raise Invalid(
                f"Not a path inside a version: {_shown(str(text))}; it is empty or over 1024 bytes", code="path"
            )
        if text.startswith("/"):
            raise Invalid(f"Path {_shown(text)} is absolute; give it relative to the version", code="path", path=text)
        for char in text:
            _refuse_character(char, text)
        if not unicodedata.is_normalized("NFC", text):
            raise Invalid(f"Path {_shown(text)} is not in Unicode form NFC", code="path", path=text)
        for segment in text.split("/"):
            _refuse_segment(segment, text)
        return super().__new__(cls, text)

    @classmethod
    def from_local(cls, text: str) -> Self:
        """From a path of the local disk, whatever Unicode form its file system gives"""
        return cls(unicodedata.normalize("NFC", text))


def _refuse_character(char: str, text: str) -> None:
    if char in _WINDOWS_FORBIDDEN:
        raise Invalid(
            f"Path {_shown(text)} holds {char!r}, which Windows forbids; rename the file", code="path", path=text
        )
    if char.isascii() and char.isprintable():
        return
    if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        raise Invalid(
            f"Path {_shown(text)} holds an invisible or control character; rename the file", code="path", path=text
        )


def _refuse_segment(segment: str, text: str) -> None:
    if segment in {"", ".", ".."}:
        raise Invalid(f"Path {_shown(text)} has an empty, '.' or '..' part", code="path", path=text)
    if segment[-1] in ". ":
        raise Invalid(f"Path {_shown(text)} has a part that ends in a dot or space; rename it", code="path", path=text)
    if len(segment.encode()) > 255:
        raise Invalid(f"Path {_shown(text)} has a part over 255 bytes; shorten it", code="path", path=text)
    _refuse_device(segment, text, "path")


def _refuse_device(segment: str, text: str, code: str) -> None:
    if segment.split(".", 1)[0].rstrip(" ").lower() in _WINDOWS_DEVICES:
        raise Invalid(f"{_shown(text)} holds the Windows device name {segment!r}; rename it", code=code, path=text)


def refuse_collisions(paths: Iterable[SafePath]) -> None:
    """Raise Invalid when two paths fall together on a disk that ignores case, or one is a folder of another"""
    seen: dict[str, str] = {}
    for path in paths:
        # canonical caseless matching, Unicode 3.13 D145
        folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())
        if folded in seen:
            raise Invalid(
                f"Paths {_shown(seen[folded])} and {_shown(path)} are one on a disk that ignores case; rename one",
                code="collision",
                paths=[seen[folded], str(path)],
            )
        seen[folded] = path
    for folded, shown in seen.items():
        parent = folded
        while "/" in parent:
            parent = parent.rsplit("/", 1)[0]
            if parent in seen:
                raise Invalid(f"Path {_shown(seen[parent])} is a file and a folder ({_shown(shown)})", code="collision")


def check_label(text: str, what: str) -> str:
    """`text` if it is fit for a request id, phase or metric name: printable, 1 to 200 characters; else raise Invalid"""
    if not isinstance(text, str) or not 0 < len(text) <= 200 or not text.isprintable() or text != text.strip():
        raise Invalid(f"Not a {what}: {_shown(str(text))}; use 1 to 200 printable characters", code="label")
    return text


@dataclass(frozen=True, slots=True)
class Reference:
    """What a person typed to mean one version, and the ways it may be read

    `artifact`, `artifact@alias`, `artifact:number`, an id prefix of at least 8 hex digits, or a request id.
    """

    text: str
    artifact: ArtifactName | None = None
    alias: AliasName | None = None
    number: int | None = None
    prefix: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raise Invalid when it can be none of them"""
        check_label(text, "reference")
        name, at, alias = text.partition("@")
        if at:
            return cls(text, artifact=ArtifactName(name), alias=AliasName(alias))
        name, colon, number = text.rpartition(":")
        if colon and _ARTIFACT.fullmatch(name) and _NUMBER.fullmatch(number):
            return cls(text, artifact=ArtifactName(name), number=int(number))
        prefix = text if _ID_PREFIX.fullmatch(text) else None
        artifact = ArtifactName(text) if _ARTIFACT.fullmatch(text) and ".." not in text else None
        return cls(text, artifact=artifact, prefix=prefix)
