"""What a parser of model files takes and gives"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol


class ByteSource(Protocol):
    """A file's bytes at rest, wherever they lie"""

    @property
    def size(self) -> int:
        """Bytes in all"""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`, which lie inside the file"""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a file: bytes [begin, end) counted from the start of the file

    dtype is the format's own name (`BF16` in safetensors, `Q4_K` in GGUF), shape outermost dimension first.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Region:
    """A named run of bytes [begin, end) that other files may hold too; where a file is cut"""

    name: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What a parser found: tensors it can name, regions to cut at in file order, and the file's own metadata"""

    format: str
    tensors: tuple[TensorInfo, ...] = ()
    regions: tuple[Region, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
