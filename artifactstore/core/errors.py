"""The error tree

StoreError
├── NotFound            it is not here                          not-found.*
│   └── NoStore         there is no store at this place         no-store
├── Exists              it is here already                      exists.*
├── Conflict            somebody else was there first           conflict.*
│   ├── LeaseLost       our lease ended; the write restarts     conflict.lease
│   └── Refused         a rule forbids it, or consent is due    refused.*
├── Corrupt             bytes are not what they should be       corrupt.*
├── Invalid             what was handed in is wrong             invalid.*
└── Unavailable         it may work later or elsewhere          unavailable.*
    ├── Busy            another holds it                        unavailable.busy
    ├── Denied          not allowed                             unavailable.denied
    ├── NoSpace         the disk or quota is full               unavailable.space
    └── Offline         a network is needed and forbidden       unavailable.offline
"""

from typing import Any, ClassVar


class StoreError(Exception):
    """Something the caller may handle: a line to read, a stable code, facts as fields"""

    kind: ClassVar[str] = "failed"

    def __init__(self, message: str, *, code: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = f"{self.kind}.{code}" if code else self.kind
        self.facts = facts

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.code, self.facts))


def _rebuild(cls: type[StoreError], message: str, code: str, facts: dict[str, Any]) -> StoreError:
    error = cls(message, **facts)
    error.code = code
    return error


class NotFound(StoreError):  # noqa: N818  # the tree's names say what happened
    """It is not here"""

    kind = "not-found"


class NoStore(NotFound):
    """There is no store at this place"""

    kind = "no-store"


class Exists(StoreError):  # noqa: N818
    """It is here already"""

    kind = "exists"


class Conflict(StoreError):  # noqa: N818
    """Somebody else was there first"""

    kind = "conflict"


class LeaseLost(Conflict):
    """The lease of a write ended before its commit; nothing of it may be reused"""

    kind = "conflict.lease"


class Refused(Conflict):
    """A rule forbids it, or consent is due"""

    kind = "refused"


class Corrupt(StoreError):  # noqa: N818
    """Bytes are not what they should be"""

    kind = "corrupt"


class Invalid(StoreError):  # noqa: N818
    """What was handed in is wrong"""

    kind = "invalid"


class Unavailable(StoreError):  # noqa: N818
    """It may work later or elsewhere"""

    kind = "unavailable"


class Busy(Unavailable):
    """Another holds it"""

    kind = "unavailable.busy"


class Denied(Unavailable):
    """Not allowed here"""

    kind = "unavailable.denied"


class NoSpace(Unavailable):
    """The disk or quota is full"""

    kind = "unavailable.space"


class Offline(Unavailable):
    """A network is needed and forbidden"""

    kind = "unavailable.offline"
