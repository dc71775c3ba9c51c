"""The web: one file at an http or https URL, known by its sha256"""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from artifactstore.core.digest import Sha256
from artifactstore.core.errors import Denied, Invalid, NotFound, StoreError, Unavailable
from artifactstore.core.hub import Listing, RemoteFile
from artifactstore.core.names import SafePath
from artifactstore.upstream.guard import Place
from artifactstore.upstream.reach import Reach
from artifactstore.upstream.span import asking, moved, read_span, refused
from artifactstore.upstream.wire import Answer, Wire


class WebUpstream:
    """One file at a URL; `path` is its name in the listing, without it the last part of the URL"""

    def __init__(
        self,
        url: str,
        sha256: Sha256,
        *,
        path: SafePath | None = None,
        token: str | None = None,
        reach: Reach = Reach(),  # noqa: B008  # frozen
    ) -> None:
        named = Place.of(url)
        self._named = named
        self._url = named.url
        self._sha256 = sha256
        self._path = path if path is not None else _last_part(named)
        self._wire = Wire(named, reach, token=token)
        self._reach = reach
        self._tag: str | None = None

    @property
    def source(self) -> str:
        """Its URL without what may be a secret in it"""
        return self._url.partition("?")[0]

    def list(self) -> Listing:
        """The one file and its size; tries again as told; raise NotFound, Denied, Invalid, Unavailable"""
        return self._reach.persist(self._listed)

    @contextmanager
    def open(self, file: RemoteFile, start: int) -> Iterator[Iterator[bytes]]:
        """The bytes of the file from `start`"""
        condition = {"If-Range": self._tag} if start and self._tag is not None else {}
        with self._wire.ask(self._url, asking(start) | condition) as answer:
            if self._tag is not None and answer.status in {200, 206} and _strong(answer) != self._tag:
                raise moved(file, "the server names another ETag")
            if answer.status >= 400 and answer.status != 416:
                raise self._refusal(answer)
            yield read_span(answer, file, start)

    def _listed(self) -> Listing:
        with self._wire.ask(self._url, {}, method="HEAD") as answer:
            length = answer.headers.get("Content-Length", "") if answer.status == 200 else ""
            self._tag = _strong(answer)
        if not (length.isascii() and length.isdigit()):
            length = self._length_by_range()
        return Listing(self.source, None, (RemoteFile(self._path, int(length), sha256=self._sha256),))

    def _length_by_range(self) -> str:
        """For servers that know no HEAD, or tell no length then"""
        with self._wire.ask(self._url, {"Range": "bytes=0-0"}) as answer:
            if answer.status >= 400:
                raise self._refusal(answer)
            self._tag = _strong(answer)
            whole = answer.headers.get("Content-Range", "").rpartition("/")[2]
            length = whole if answer.status == 206 else answer.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise Unavailable(f"{self._named.origin} does not tell the size of {self._path}", code="size")
        return length

    def _refusal(self, answer: Answer) -> StoreError:
        at = answer.place.origin
        if answer.status in {404, 410}:
            return NotFound(f"{at} has no {self._path}; check the URL", code="file", status=answer.status)
        if answer.status in {401, 403}:
            return Denied(f"{at} does not give {self._path} away; check the token", code="token", status=answer.status)
        return refused(answer, str(self._path))


def _strong(answer: Answer) -> str | None:
    """The ETag that stands for the very bytes, RFC 9110 8.8.1"""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') and tag.endswith('"') and len(tag) > 1 else None


def _last_part(place: Place) -> SafePath:
    name = unquote(urlsplit(place.url).path.rpartition("/")[2])
    try:
        return SafePath(name)
    except Invalid as e:
        raise Invalid(f"The URL ends in no name for a file: {e.message}", code="url") from e
