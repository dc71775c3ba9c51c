"""Durations, sizes and moments as people write them"""

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from artifactstore.core.errors import Invalid

_DAYS = {"y": 365.0, "mo": 30.0, "w": 7.0, "d": 1.0, "h": 1 / 24, "min": 1 / 1440, "s": 1 / 86400}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(y|mo|w|d|h|min|s)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_ISO = re.compile(
    r"P(?=.)(?:([0-9]+)Y)?(?:([0-9]+)M)?(?:([0-9]+)W)?(?:([0-9]+)D)?(?:T(?=.)(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)S)?)?"
)
_UNCLEAR = re.compile(r"(?:[0-9.]+[a-z]+)*[0-9.]+m?")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?: ?([kKMGTPE]i?B?|B))?")
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
LONGEST = timedelta(days=365 * 1000)


def parse_duration(text: str) -> timedelta:
    """`30d`, `2w`, `12h`, `90min`, `6mo` (30 days each), `1y` (365 days), compounds `1y6mo`, ISO 8601 `P30D`"""
    iso = _ISO.fullmatch(text)
    if iso:
        parts = zip(iso.groups(default="0"), _DAYS.values(), strict=True)
        return _bounded(sum(float(n) * days for n, days in parts), text)
    if _UNCLEAR.fullmatch(text):
        raise Invalid(
            f"Duration {text[:40]!r} has no clear unit: write 30min, 30d or 30mo (minutes, days or months?)",
            code="duration",
        )
    if not _DURATION.fullmatch(text):
        raise Invalid(f"Not a duration: {text[:40]!r}; write 30d, 2w, 12h, 90min, 6mo, 1y or 1y6mo", code="duration")
    found = _PART.findall(text)
    units = [unit for _, unit in found]
    if units != sorted(set(units), key=list(_DAYS).index):
        raise Invalid(
            f"Duration {text[:40]!r} repeats or mixes up its units; write the largest first, each once", code="duration"
        )
    return _bounded(sum(float(number) * _DAYS[unit] for number, unit in found), text)


def _bounded(days: float, text: str) -> timedelta:
    if days > LONGEST.days:
        raise Invalid(f"Duration {text[:40]!r} is over 1000 years", code="duration")
    return timedelta(seconds=round(days * 86400, 6))


def parse_size(text: str) -> int:
    """Bytes from `100MB` (10^8), `100MiB` (2^20·100), `1.5G` (10^9·1.5) or `4096`"""
    found = _SIZE.fullmatch(text)
    if not found:
        raise Invalid(f"Not a size: {text[:40]!r}; write 100MB (10^8 bytes) or 100MiB (2^20·100)", code="size")
    prefix = (found[2] or "").upper().removesuffix("B")
    base = 1024 if prefix.endswith("I") else 1000
    nbytes = Decimal(found[1]) * base ** _POWERS[prefix.removesuffix("I")]
    if nbytes >= 1 << 63:
        raise Invalid(f"Size {text[:40]!r} is not under 8 EiB", code="size")
    return int(nbytes.to_integral_value(ROUND_HALF_UP))


def format_size(nbytes: int) -> str:
    """`19.8 GB`, in powers of 1000 as disks are sold and files are listed"""
    value = float(nbytes)
    if abs(nbytes) < 1000:
        return f"{nbytes} B"
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if abs(value) < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def format_duration(span: timedelta) -> str:
    """In whole days, hours and minutes, or seconds: `47d`, `3h20min`, `12s`; the sign is dropped"""
    days, rest = divmod(int(abs(span).total_seconds()), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds_left = divmod(rest, 60)
    if days:
        return f"{days}d"
    if hours:
        return f"{hours}h{minutes}min" if minutes else f"{hours}h"
    return f"{minutes}min" if minutes else f"{seconds_left}s"


def format_moment(microseconds: int) -> str:
    """ISO 8601 in UTC, to the second, of microseconds since 1970 UTC"""
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
