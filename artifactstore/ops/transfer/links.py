"""Links and small texts beside files that are written out, put in place whole"""

import contextlib
import os
import secrets
from pathlib import Path


def links_work(folder: Path) -> bool:
    """Whether links can be made in a folder: some disks have none, and Windows wants a right for it"""
    probe = folder / f".{secrets.token_hex(8)}.link"
    try:
        probe.symlink_to("nowhere")
        probe.unlink()
    except (OSError, NotImplementedError):
        return False
    return True


def place_link(link: Path, target: Path) -> None:
    """Make `link` lead to `target` by a relative path, in place of what may be there"""
    temp = link.with_name(f".{secrets.token_hex(8)}.link")
    temp.symlink_to(os.path.relpath(target, link.parent))
    _into_place(temp, link)


def place_text(path: Path, text: str) -> None:
    """Write a small file durably, in place of what may be there"""
    temp = path.with_name(f".{secrets.token_hex(8)}.part")
    with temp.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _into_place(temp, path)


def _into_place(temp: Path, path: Path) -> None:
    try:
        temp.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temp.unlink()
        raise
