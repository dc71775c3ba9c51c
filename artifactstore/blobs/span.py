"""Which bytes of an object a read means, and what it says when they are not there"""

from artifactstore.blobs.layout import parse_object
from artifactstore.core.errors import Corrupt, Invalid


def check_span(key: str, size: int, start: int, length: int | None) -> int:
    """How many bytes to read of an object of `size`; raise Invalid for negative numbers, Corrupt past the end"""
    wanted = size - start if length is None else length
    check_start(key, start, length)
    if wanted < 0 or start + wanted > size:
        raise truncated(key, expected=start + max(wanted, 0), size=size)
    return wanted


def check_start(key: str, start: int, length: int | None) -> None:
    """Raise Invalid for negative numbers"""
    if start < 0 or (length is not None and length < 0):
        raise Invalid(
            f"A read starts at 0 or later and takes 0 bytes or more, asked for {start} and {length} of {key}",
            code="span",
        )


def truncated(key: str, *, expected: int, size: int) -> Corrupt:
    """The error for an object that ends too early"""
    name = parse_object(key)
    digest = {"digest": str(name.digest)} if name else {}
    message = f"{key} ends after {size} bytes, at least {expected} were expected; verify the store and repair it"
    return Corrupt(message, code="truncated", kind="truncated", key=key, expected=expected, size=size, **digest)
