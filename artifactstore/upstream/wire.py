"""The wire: HTTP requests whose redirects are followed one by one, each past the guard, the token never along"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import unquote

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProxyError, SSLError
from urllib3.exceptions import TimeoutError as Urllib3Timeout
from urllib3.util import make_headers, parse_url

from artifactstore.core.errors import Invalid, Unavailable
from artifactstore.upstream.guard import Door, Guard, Place
from artifactstore.upstream.reach import Reach

CHUNK = 1 << 20
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_HOPS = 8
_SMALL = 1 << 16
_KEPT = 16  # connections to one address
_AGENT = "artifactstore"


class Answer:
    """What came back at the end of the redirects; `first` are the headers with which the place that was asked answered

    foreign: whether it comes from another place than that which was asked.
    """

    def __init__(
        self, response: urllib3.BaseHTTPResponse, place: Place, first: Mapping[str, str], *, foreign: bool
    ) -> None:
        self._response = response
        self.place = place
        self.first = first
        self.foreign = foreign
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes, at most a MiB at a time; raise Unavailable when it breaks off"""
        with translated(self.place):
            while data := self._response.read1(CHUNK, decode_content=False):
                yield data

    def body(self, limit: int) -> bytes:
        """All of the body; raise Unavailable when it is over the limit"""
        parts, size = [], 0
        for chunk in self.chunks():
            size += len(chunk)
            if size > limit:
                raise Unavailable(f"{self.place.origin} answers with over {limit} bytes", code="answer")
            parts.append(chunk)
        return b"".join(parts)


class Wire:
    """Reads from one place that a user named, and from where it leads

    token: sent to that place only, and never after a redirect led elsewhere.
    """

    def __init__(self, named: Place, reach: Reach, *, token: str | None = None) -> None:
        if token is not None and not (token.isascii() and token.isprintable() and token and " " not in token):
            raise Invalid(
                "The token holds characters that no token has; check HF_TOKEN or ARTSTORE_HUB_TOKEN", code="token"
            )
        self._named = named
        self._token = token
        self._reach = reach
        self._guard = Guard(named, resolver=reach.resolver, trusted=reach.trusted)
        self._pools: dict[tuple[str, str, str | None], urllib3.HTTPConnectionPool] = {}
        self._lock = threading.Lock()

    @contextmanager
    def ask(self, url: str, headers: Mapping[str, str], *, method: str = "GET") -> Iterator[Answer]:
        """The answer to one request, whatever its status; raise Invalid, Unavailable"""
        place, door, first, foreign = Place.of(url), None, None, False
        for _ in range(_MOST_HOPS):
            foreign = foreign or place.origin != self._named.origin
            proxy = self._reach.proxy(place)
            door = self._guard.enter(place, door, proxied=proxy is not None)
            response = self._send(door, proxy, self._headers(door, headers, foreign=foreign), method)
            first = response.headers if first is None or not foreign else first
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or not target:
                break
            _let_go(response, _SMALL)
            place = Place.of(target, place)
        else:
            raise Unavailable(f"{self._named.origin} redirects over {_MOST_HOPS} times", code="redirects")
        try:
            yield Answer(response, place, first, foreign=foreign)
        finally:
            _let_go(response, 0)

    def _headers(self, door: Door, headers: Mapping[str, str], *, foreign: bool) -> dict[str, str]:
        sent = {"User-Agent": _AGENT, "Accept-Encoding": "identity", **headers, "Host": door.place.authority}
        if self._token is not None and not foreign:
            if door.place.scheme == "http" and not door.inner:
                message = f"A token is not sent to {door.place.origin} unencrypted; use https"
                raise Invalid(message, code="token")
            sent["Authorization"] = f"Bearer {self._token}"
        return sent

    def _send(self, door: Door, proxy: str | None, headers: dict[str, str], method: str) -> urllib3.BaseHTTPResponse:
        place, timeout = door.place, self._timeout(door.place)
        target = place.url if proxy is not None and place.scheme == "http" else place.target
        with translated(place):
            *others, last = [self._pool(place, address, proxy) for address in door.addresses or [""]]
            for pool in others:
                with suppress(NewConnectionError, ConnectTimeoutError):
                    return _asked(pool, method, target, headers, timeout)
            return _asked(last, method, target, headers, timeout)

    def _timeout(self, place: Place) -> urllib3.Timeout:
        left, patience = self._reach.left(place.origin), self._reach.patience
        return urllib3.Timeout(connect=min(patience.connect, left), read=min(patience.read, left))

    def _pool(self, place: Place, address: str, proxy: str | None) -> urllib3.HTTPConnectionPool:
        """Connections to an address that was checked: a name that is asked again may mean another one then"""
        key = (place.origin, address, proxy)
        with self._lock:
            if key not in self._pools:
                self._pools[key] = _direct(place, address) if proxy is None else _through(place, proxy)
            return self._pools[key]


def _asked(
    pool: urllib3.HTTPConnectionPool, method: str, target: str, headers: dict[str, str], timeout: urllib3.Timeout
) -> urllib3.BaseHTTPResponse:
    return pool.urlopen(
        method,
        target,
        headers=headers,
        timeout=timeout,
        retries=False,
        redirect=False,
        assert_same_host=False,
        preload_content=False,
        decode_content=False,
    )


def _direct(place: Place, address: str) -> urllib3.HTTPConnectionPool:
    host = f"[{address}]" if ":" in address else address
    if place.scheme == "http":
        return urllib3.HTTPConnectionPool(host, place.port, maxsize=_KEPT)
    name = None if place.address is not None else place.host
    return urllib3.HTTPSConnectionPool(host, place.port, maxsize=_KEPT, server_hostname=name, assert_hostname=name)


def _through(place: Place, proxy: str) -> urllib3.HTTPConnectionPool:
    try:
        parsed = parse_url(proxy if "://" in proxy else f"http://{proxy}")
        headers = make_headers(proxy_basic_auth=unquote(parsed.auth)) if parsed.auth else None
        manager = urllib3.ProxyManager(parsed._replace(auth=None).url, proxy_headers=headers, maxsize=_KEPT)
    except (HTTPError, ValueError) as e:
        raise Invalid("The proxy that the environment names is not one of http or https", code="proxy") from e
    return manager.connection_from_host(place.host, place.port, place.scheme)


def _let_go(response: urllib3.BaseHTTPResponse, most: int) -> None:
    """Give the connection back when at most so many bytes are left on it, else close it"""
    left = getattr(response, "length_remaining", None)
    if left is not None and left <= most:
        response.drain_conn()
    else:
        response.close()
    response.release_conn()


@contextmanager
def translated(place: Place) -> Iterator[None]:
    """Raise Unavailable for what urllib3 says in the block, without what stands in the URL"""
    try:
        yield
    except HTTPError as e:
        raise _meant(e, place) from e


def _meant(error: HTTPError, place: Place) -> Unavailable:
    at = place.origin
    if isinstance(error, SSLError):
        message = f"{at} shows no certificate that is trusted here; SSL_CERT_FILE names other authorities"
        return Unavailable(message, code="tls", host=place.host, retryable=False)
    if isinstance(error, Urllib3Timeout) and not isinstance(error, NewConnectionError):
        return Unavailable(f"{at} was silent for too long", code="timeout", host=place.host, retryable=True)
    if isinstance(error, ProxyError):
        return Unavailable(f"The proxy before {at} cannot be reached", code="proxy", host=place.host, retryable=True)
    if isinstance(error, NewConnectionError):
        return Unavailable(f"{at} cannot be reached", code="network", host=place.host, retryable=True)
    return Unavailable(f"The connection to {at} broke off", code="cut", host=place.host, retryable=True)
