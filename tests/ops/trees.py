"""Comparing folders"""

from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """Path → bytes of every file below"""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
