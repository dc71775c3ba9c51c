"""Patience: how long an upstream is waited for, and how often it is asked again"""

import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from artifactstore.core.errors import Invalid

# https://www.ietf.org/archive/id/draft-ietf-httpapi-ratelimit-headers-09.html, as the hub writes it: "api";r=0;t=55
_RATE_LIMIT = re.compile(r'"[^"]*"\s*;\s*r\s*=\s*0\s*;\s*t\s*=\s*([0-9]{1,9})')


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds, and how many times in a row an upstream may fail before it is given up

    connect: until a connection stands. read: of silence on it. first, longest: the bounds of the pause before the next
    attempt, which doubles. told: the longest that is waited because a server said so (Retry-After).
    """

    connect: float = 10.0
    read: float = 60.0
    retries: int = 5
    first: float = 0.5
    longest: float = 30.0
    told: float = 300.0

    def __post_init__(self) -> None:
        if min(self.connect, self.read) <= 0 or min(self.retries, self.first, self.longest, self.told) < 0:
            raise Invalid("Timeouts must be above zero, retries and pauses not negative", code="patience")

    def pause(self, failures: int, retry_after: float | None = None) -> float:
        """Seconds before the attempt that follows so many failures in a row; between half and all of the bound"""
        if retry_after is not None:
            return min(max(retry_after, 0.0), self.told)
        bound = min(self.longest, self.first * 2.0 ** min(failures - 1, 60))
        return bound * (0.5 + random.random() / 2)  # noqa: S311  # spreads load, no secret


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to be left alone: RFC 9110 Retry-After, or a spent rate limit"""
    if limit := _RATE_LIMIT.search(headers.get("RateLimit", "")):
        return float(limit[1])
    said = headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdigit():
        return float(said[:9])
    try:
        moment = parsedate_to_datetime(said)
    except ValueError:
        return None
    return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time())
