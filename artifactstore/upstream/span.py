"""Spans: the bytes of a file from a place on, out of an answer that gives them, or more, or another file"""

import re
from collections.abc import Iterator

from artifactstore.core.errors import Conflict, StoreError, Unavailable
from artifactstore.core.hub import RemoteFile
from artifactstore.upstream.patience import retry_after
from artifactstore.upstream.wire import Answer

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/(\*|[0-9]{1,18})")
_PASSING = frozenset({408, 425, 429})


def asking(start: int) -> dict[str, str]:
    """The headers that ask for the bytes from `start`"""
    return {"Range": f"bytes={start}-"} if start else {}


def moved(file: RemoteFile, what: str) -> Conflict:
    """The error for another file than was listed"""
    message = f"{file.path} changed since it was listed: {what}; list it anew"
    return Conflict(message, code="moved", path=str(file.path))


def passing(status: int) -> bool:
    """Whether a server that answers so may answer otherwise soon"""
    return status >= 500 or status in _PASSING


def refused(answer: Answer, what: str) -> StoreError:
    """Of an answer without what was asked for, by its status alone"""
    status, at = answer.status, answer.place.origin
    if passing(status):
        wait = retry_after(answer.headers)
        message = f"{at} is busy and gives no {what} now (HTTP {status})"
        return Unavailable(message, code="busy", status=status, retryable=True, retry_after=wait)
    # where the hub led to, a refusal is that of an address it signed, which is over soon
    message = f"{at} gives no {what} (HTTP {status})"
    return Unavailable(message, code="refused", status=status, retryable=answer.foreign and status in {401, 403, 404})


def read_span(answer: Answer, file: RemoteFile, start: int) -> Iterator[bytes]:
    """The bytes from `start`; raise Conflict "moved" when the answer tells another size, Unavailable for no answer"""
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Unavailable(f"{answer.place.origin} compresses {file.path} unasked", code="encoding")
    if answer.status == 206:  # partial content
        _check_range(answer, file, start)
        return answer.chunks()
    if answer.status == 416:  # range not satisfiable
        raise moved(file, f"it has no byte {start}")
    if answer.status != 200:  # all of it
        raise refused(answer, f"{file.path}")
    length = answer.headers.get("Content-Length")
    if length is not None and length != str(file.size):
        raise moved(file, f"it has {length:.20} bytes, not {file.size}")
    return _from(answer.chunks(), start)


def _check_range(answer: Answer, file: RemoteFile, start: int) -> None:
    found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != start:
        raise Unavailable(f"{answer.place.origin} gives other bytes of {file.path} than were asked for", code="range")
    if found[3] not in {"*", str(file.size)}:
        raise moved(file, f"it has {found[3]} bytes, not {file.size}")


def _from(chunks: Iterator[bytes], start: int) -> Iterator[bytes]:
    """Without the first bytes, for a server that gives the whole file whatever it is asked for"""
    for chunk in chunks:
        if start < len(chunk):
            yield chunk[start:] if start else chunk
        start = max(0, start - len(chunk))
