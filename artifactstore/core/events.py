"""Events: what a running verb tells its caller, and nothing else reports"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Step:
    """A named point of a protocol was reached; tests stop or kill the process here

    Names are `verb.step.before` and `verb.step.after`, see docs/protocol.md.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` bytes of one phase"""

    phase: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Warn:
    """Something a person should know although the verb goes on"""

    message: str


Event = Step | Progress | Warn


class Monitor(Protocol):
    """Receives events, from any thread"""

    def __call__(self, event: Event, /) -> None:
        """Take one event"""


def silent(event: Event, /) -> None:
    """A monitor that listens to nothing"""
