"""Making: files whose tensors are calculated while they are stored"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from artifactstore.core.digest import Digest


@dataclass(frozen=True, slots=True)
class Made:
    """One tensor of a product, before its bytes

    dtype: as its format names it; shape: of what is stored. key: what its bytes follow from and nothing else, by which
    they are found again; None: never kept. make: its bytes in order, `nbytes` in all, in parts of at most 64 MiB that
    may be overwritten once the next is asked for; called once, when its turn comes, in the order of the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    key: Digest | None
    make: Callable[[], Iterator[memoryview]] = field(repr=False)
