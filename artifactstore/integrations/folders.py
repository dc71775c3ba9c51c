"""Folders: small files as arrays of bytes, so that those that stay the same are kept once"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

Files = Mapping[str, "np.ndarray[Any, Any]"]


def take(folder: str | Path) -> "dict[str, np.ndarray[Any, Any]]":
    """The files of a folder, by their path in it"""
    paths = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): np.frombuffer(path.read_bytes(), np.uint8) for path in paths}


def give(files: Files, folder: str | Path) -> None:
    """Write those that are not there"""
    for name, content in files.items():
        path = Path(folder, name)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.tobytes())
