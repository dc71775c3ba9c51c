"""Failures: one line that says what was found and what to do, and the exit code that goes with it"""

import errno
import json
import sys
import traceback

import typer

from artifactstore.core.errors import Denied, Invalid, NoSpace, StoreError, Unavailable
from artifactstore.core.exits import DAMAGED, FAILED, INTERRUPTED, MISSING, PARTLY, USAGE, exit_code

__all__ = ["DAMAGED", "DIFFERENT", "FAILED", "INTERRUPTED", "MISSING", "PARTLY", "USAGE", "one_line", "report"]

DIFFERENT = DAMAGED
_LONGEST = 1000  # characters of a message that are shown; what was handed in may be a page
# What the parser of options raises; typer exports only its most common subclass.
USAGE_ERROR: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")


def report(error: Exception, *, as_json: bool, debug: bool) -> int:
    """Say on stderr what happened; the exit code"""
    if debug:
        traceback.print_exception(error)
    known = _known(error, debug=debug)
    if as_json:
        document = {"error": known.code, "message": known.message, "facts": known.facts}
        line = json.dumps(document, default=str)
    else:
        line = f"artstore: {one_line(known.message[:_LONGEST])}"
    print(line, file=sys.stderr)  # noqa: T201  # the command speaks on stderr
    return exit_code(known)


def one_line(text: str) -> str:
    """`text` with whatever would break the line, or steer the terminal, written as an escape"""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text.replace("\t", " "))


def _known(error: Exception, *, debug: bool) -> StoreError:
    if isinstance(error, StoreError):
        return error
    if isinstance(error, USAGE_ERROR):
        return _usage(error)
    if isinstance(error, OSError) and error.errno is not None:
        return _system(error)
    advice = "" if debug else "; run again with --debug for the details"
    return StoreError(f"Unexpected {type(error).__name__}: {str(error) or 'no message'}{advice}", code="unexpected")


def _usage(error: Exception) -> Invalid:
    format_message = getattr(error, "format_message", error.__str__)
    context = getattr(error, "ctx", None)
    # typer tells in which way it was checked
    message = format_message().strip().removesuffix(".").replace(": Value error, ", ": ")
    pause = "" if message.endswith("?") else ";"
    return Invalid(f"{message}{pause} see {context.command_path if context else 'artstore'} --help", code="usage")


def _system(error: OSError) -> StoreError:
    where = f"{error.filename!s:.200}: " if error.filename is not None else ""
    message = f"{where}{error.strerror or error}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return NoSpace(f"{message}; make room and run it again")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return Denied(f"{message}; check the permissions")
    if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}:
        return Invalid(message, code="path")
    return Unavailable(message, code="io")
