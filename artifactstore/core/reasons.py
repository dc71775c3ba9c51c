"""Reasons: why a version stays or goes, in words that know what kind of reason they are"""

from enum import StrEnum
from typing import Self


class Ground(StrEnum):
    """What a reason rests on"""

    PIN = "pin"
    USE = "use"
    ALIAS = "alias"
    RESUMABLE = "resumable"
    LAST = "last"
    NEEDED = "needed"
    RULE = "rule"
    # nobody asks for it to go
    IDLE = "idle"


class Reason(str):
    """A reason, which is a text like any other to who only reads it"""

    __slots__ = ("ground",)
    ground: Ground

    def __new__(cls, ground: Ground, text: str) -> Self:
        """In words"""
        reason = super().__new__(cls, text)
        reason.ground = ground
        return reason

    def __getnewargs__(self) -> tuple[Ground, str]:  # type: ignore[override]  # str takes one, this takes two
        return self.ground, str(self)
