"""Confirm: consent before anything is removed"""

import sys

from artifactstore.core.errors import Refused


def confirm(question: str, *, yes: bool) -> None:
    """Raise Refused unless `yes`, or a person at a terminal answers so; without a terminal nobody is asked"""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Refused("Nothing changed; this needs consent: say --yes, or look first with -n", code="confirm")
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise Refused("Nothing changed, as you wished", code="confirm")
