"""The guard: which addresses on a network may be reached, from what a person named and from where it leads"""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from artifactstore.core.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from urllib3.util import Url

Resolver = Callable[[str, int], Sequence[str]]
Ip = IPv4Address | IPv6Address

_PORTS = {"http": 80, "https": 443}
# RFC 6761, 6762, 8375 and the names that ICANN keeps free for private use
_INNER_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test")
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052


class Scope(Enum):
    """Who can be reached at an address"""

    PUBLIC = "public"
    INNER = "private or loopback"
    LINK = "link-local"  # where clouds hand out their secrets
    NEVER = "multicast or reserved"


def scope(address: str) -> Scope:
    """Of an IP address; an IPv4 address inside an IPv6 one decides"""
    ip = _unwrapped(ip_address(address))
    if ip.is_link_local:
        return Scope.LINK
    if ip.is_loopback:
        return Scope.INNER
    if ip.is_multicast or ip.is_unspecified or (ip.version == 4 and ip.is_reserved):
        return Scope.NEVER
    return Scope.PUBLIC if ip.is_global else Scope.INNER


def _unwrapped(ip: Ip) -> Ip:
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else ip)


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, as this machine is told; raise OSError"""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]).partition("%")[0] for one in found))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL leads: a scheme, a host, a port, and what is asked for there"""

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def of(cls, url: str, base: "Place | None" = None) -> "Place":
        """Raise Invalid for a scheme but http and https, for credentials in it, and for what is no URL"""
        parsed = _parsed(urljoin(base.url, url) if base is not None else url)
        if parsed.scheme not in _PORTS:
            said = f"{parsed.scheme}:" if parsed.scheme else "no scheme"
            raise Invalid(f"Only http and https are read, found {said:.20}", code="url")
        if parsed.auth is not None:
            raise Invalid("A URL must not hold a name or password; give a token beside it", code="url")
        host = (parsed.host or "").strip("[]").lower().rstrip(".")
        if not host or "%" in host:
            raise Invalid("The URL names no host", code="url")
        return cls(parsed.scheme, host, parsed.port or _PORTS[parsed.scheme], parsed.request_uri)

    @property
    def origin(self) -> str:
        """`https://host`, with its port where it is not the usual one"""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """`host` or `host:port`, as the Host header has it"""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """In full; what stands after a `?` may be a secret"""
        return self.origin + self.target

    @property
    def address(self) -> Ip | None:
        """Its host, when that is an address and no name"""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def inner(self) -> bool:
        """Whether it is named as a place in the house: a private address, a name without a dot, `hub.internal`"""
        if self.address is not None:
            return scope(self.host) in {Scope.INNER, Scope.LINK}
        return "." not in self.host or self.host.endswith(_INNER_SUFFIXES)


def _parsed(url: str) -> "Url":
    # urllib3 opens a socket when it is imported, to see whether there is IPv6
    from urllib3.exceptions import LocationParseError  # noqa: PLC0415
    from urllib3.util import parse_url  # noqa: PLC0415

    if not url.isprintable() or " " in url or "\\" in url:
        raise Invalid("The URL holds a space, a backslash or a control character", code="url")
    try:
        return parse_url(url)
    except LocationParseError as e:
        raise Invalid("This is no URL that can be read", code="url") from e


@dataclass(frozen=True, slots=True)
class Door:
    """A place that may be entered: at these addresses, or (without any) through the proxy that looks them up

    inner: whether places in the house may be reached from there.
    """

    place: Place
    addresses: tuple[str, ...]
    inner: bool


class Guard:
    """Lets nobody be led from a public place to one in the house

    named: what the user named. A redirect from a public place leads to public places only; one from a place in the
    house may stay in the house. A link-local address is entered only when it was named. trusted: names that look
    public and yet are in the house.
    """

    def __init__(self, named: Place, *, resolver: Resolver = resolve, trusted: frozenset[str] = frozenset()) -> None:
        self._named = named
        self._resolver = resolver
        self._trusted = trusted

    def enter(self, place: Place, source: Door | None = None, *, proxied: bool = False) -> Door:
        """The door to a place, from where a redirect came from; raise Invalid when it must not be entered

        proxied: a proxy will look the name up, so only what stands in the URL is checked. Raise Unavailable for a name
        that has no address.
        """
        if source is not None and source.place.scheme == "https" and place.scheme == "http":
            raise Invalid(f"{source.place.origin} redirects from https to {place.origin}", code="redirect")
        trusted = place.host in self._trusted
        may = (place.inner or trusted) if source is None else source.inner
        if proxied and place.address is None:
            if place.inner and not may:
                raise self._refused(place, place.host, Scope.INNER, source)
            return Door(place, (), may and (place.inner or trusted))
        addresses = self._addresses(place)
        scopes = [scope(address) for address in addresses]
        for address, found in zip(addresses, scopes, strict=True):
            if not self._allowed(place, found, may=may):
                raise self._refused(place, address, found, source)
        return Door(place, () if proxied else addresses, may and Scope.INNER in scopes)

    def _allowed(self, place: Place, found: Scope, *, may: bool) -> bool:
        if found is Scope.LINK:
            return place.address is not None and place.host == self._named.host
        return found is Scope.PUBLIC or (found is Scope.INNER and may)

    def _addresses(self, place: Place) -> tuple[str, ...]:
        if place.address is not None:
            return (place.host,)
        try:
            found = tuple(self._resolver(place.host, place.port))
        except (OSError, UnicodeError) as e:
            retryable = getattr(e, "errno", None) == socket.EAI_AGAIN
            message = f"No address is known for {place.host}; check the name and the network"
            raise Unavailable(message, code="dns", host=place.host, retryable=retryable) from e
        if not found:
            raise Unavailable(f"No address is known for {place.host}", code="dns", host=place.host)
        return found

    @staticmethod
    def _refused(place: Place, address: str, found: Scope, source: Door | None) -> Invalid:
        led = f"{source.place.origin} redirects to {place.origin}" if source is not None else place.origin
        at = "" if address == place.host else f" ({address})"
        advice = "" if source is not None else "; a mirror in the house is named by its address or as trusted"
        message = f"{led}, which is a {found.value} address{at}; it is not entered from there{advice}"
        return Invalid(message, code="address", host=place.host, address=address)
