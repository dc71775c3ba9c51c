"""Comparing folders, and changing parts of a store"""

from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """Path → bytes of every file below"""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Changed:
    """An object with some attributes replaced, to make one part of a store fail"""

    def __init__(self, inner, **attributes):
        self._inner = inner
        self.__dict__.update(attributes)

    def __getattr__(self, name):
        return getattr(self._inner, name)
