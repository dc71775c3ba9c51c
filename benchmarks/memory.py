"""Memory: the most that a process had, from a moment on that it chooses

proc(5): clear_refs, and VmHWM of status. Where the system has no such thing, from its start on.
"""

import resource
from contextlib import suppress
from pathlib import Path


def forget_peak() -> None:
    """Begin anew"""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Resident bytes at most since then"""
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident() -> int:
    """Resident bytes now; 0 where nobody tells"""
    return _status("VmRSS")


def _status(key: str) -> int:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    return 0
