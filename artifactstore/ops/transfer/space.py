"""Space: whether what is to be written fits"""

import shutil
from pathlib import Path

from artifactstore.core.errors import NoSpace
from artifactstore.core.units import format_size


def check_space(need: int, folder: Path) -> None:
    """Raise NoSpace when a folder's disk has fewer bytes free"""
    free = shutil.disk_usage(folder).free
    if need > free:
        raise NoSpace(
            f"{format_size(need)} to write, {format_size(free)} free at {folder}; make room or go elsewhere",
            need=need,
            free=free,
        )
