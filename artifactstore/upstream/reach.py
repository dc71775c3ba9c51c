"""Reach: how what is outside is read, the same for a listing and for bytes"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.request import getproxies, proxy_bypass

from artifactstore.core.errors import Unavailable
from artifactstore.core.events import Monitor, Warn, silent
from artifactstore.upstream.guard import Place, Resolver, resolve
from artifactstore.upstream.patience import Patience

T = TypeVar("T")
ProxyFinder = Callable[[Place], str | None]


def ambient_proxy(place: Place) -> str | None:
    """The proxy that the environment names for a place: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY"""
    if proxy_bypass(place.authority):
        return None
    proxies = getproxies()
    return proxies.get(place.scheme) or proxies.get("all")


@dataclass(frozen=True, slots=True)
class Reach:
    """How long is waited, who is told, and how addresses are found

    until: a moment of time.monotonic() after which nothing is waited for. pause: waits so many seconds.
    monitor: hears of each attempt that failed and of each byte that came; what it raises ends the reading.
    trusted: hosts that have public names and private addresses.
    """

    patience: Patience = field(default_factory=Patience)
    until: float | None = None
    monitor: Monitor = silent
    pause: Callable[[float], object] = time.sleep
    resolver: Resolver = resolve
    proxy: ProxyFinder = ambient_proxy
    trusted: frozenset[str] = frozenset()

    def left(self, what: str) -> float:
        """Seconds left, infinite without a bound; raise Unavailable when there are none"""
        if self.until is None:
            return float("inf")
        left = self.until - time.monotonic()
        if left <= 0:
            raise Unavailable(f"The time is over before {what} was read; what came is kept", code="deadline")
        return left

    def persist(self, call: Callable[[], T]) -> T:
        """What the call returns, made again while it raises what may pass"""
        failures = 0
        while True:
            try:
                return call()
            except Unavailable as e:
                failures += 1
                self.wait(e, failures)

    def wait(self, error: Unavailable, failures: int) -> None:
        """Pause after so many failures in a row; raise the error when it will not pass, or there were too many"""
        if not error.facts.get("retryable") or failures > self.patience.retries:
            raise error
        seconds = self.patience.pause(failures, error.facts.get("retry_after"))
        if self.until is not None and time.monotonic() + seconds >= self.until:
            raise error
        self.monitor(Warn(f"{error.message}; trying again in {seconds:.0f} s"))
        self.pause(seconds)
