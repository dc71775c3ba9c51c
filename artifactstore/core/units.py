"""Durations and sizes as people write them"""

import re
from datetime import timedelta

from artifactstore.core.errors import Invalid

_DAYS = {"y": 365.0, "mo": 30.0, "w": 7.0, "d": 1.0, "h": 1 / 24, "min": 1 / 1440, "s": 1 / 86400}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(y|mo|w|d|h|min|s)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_ISO = re.compile(
    r"P(?=.)(?:([0-9]+)Y)?(?:([0-9]+)M)?(?:([0-9]+)W)?(?:([0-9]+)D)?(?:T(?=.)(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)S)?)?"
)
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kKMGTP]?i?)B?")
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
LONGEST = timedelta(days=365 * 1000)


def parse_duration(text: str) -> timedelta:
    """`30d`, `2w`, `12h`, `90min`, `6mo` (30 days each), `1y` (365 days), compounds `1y6mo`, ISO 8601 `P30D`"""
    iso = _ISO.fullmatch(text)
    if iso:
        parts = zip(iso.groups(default="0"), _DAYS.values(), strict=True)
        return _bounded(sum(int(n) * days for n, days in parts), text)
    if re.fullmatch(r"[0-9.]+m?", text):
        raise Invalid(
            f"Duration {text!r} has no clear unit: write 30min, 30d or 30mo (minutes, days or months?)", code="duration"
        )
    if not _DURATION.fullmatch(text):
        raise Invalid(f"Not a duration: {text[:40]!r}; write 30d, 2w, 12h, 90min, 6mo, 1y or 1y6mo", code="duration")
    found = _PART.findall(text)
    units = [unit for _, unit in found]
    if units != sorted(set(units), key=list(_DAYS).index):
        raise Invalid(
            f"Duration {text!r} repeats or mixes up its units; write the largest first, each once", code="duration"
        )
    return _bounded(sum(float(number) * _DAYS[unit] for number, unit in found), text)


def _bounded(days: float, text: str) -> timedelta:
    if days > LONGEST.days:
        raise Invalid(f"Duration {text[:40]!r} is over 1000 years", code="duration")
    return timedelta(seconds=round(days * 86400, 6))


def parse_size(text: str) -> int:
    """Bytes from `100MB` (10^8), `100MiB` (2^20·100), `1.5G` (10^9·1.5) or `4096`"""
    found = _SIZE.fullmatch(text)
    if not found or found[2] == "i":
        raise Invalid(f"Not a size: {text[:40]!r}; write 100MB (10^8 bytes) or 100MiB (2^20·100)", code="size")
    prefix = found[2].upper()
    base = 1024 if prefix.endswith("I") else 1000
    nbytes = int(float(found[1]) * base ** _POWERS[prefix.removesuffix("I")] + 0.5)
    if nbytes >= 1 << 63:
        raise Invalid(f"Size {text[:40]!r} is over 8 EiB", code="size")
    return nbytes


def format_size(nbytes: int) -> str:
    """`19.8 GB`, in powers of 1000 as disks are sold and files are listed"""
    value = float(nbytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 999.95 or unit == "TB":
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def format_duration(span: timedelta) -> str:
    """The two largest units, `47d`, `3h20min`, `12s`"""
    seconds = int(span.total_seconds())
    days, rest = divmod(abs(seconds), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds_left = divmod(rest, 60)
    if days:
        return f"{days}d"
    if hours:
        return f"{hours}h{minutes}min" if minutes else f"{hours}h"
    return f"{minutes}min" if minutes else f"{seconds_left}s"
