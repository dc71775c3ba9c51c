"""Versions in memory for the tests of provenance: files with their bytes, and what is told about them"""

from dataclasses import dataclass, field

from artifactstore.core.formats.base import FileInfo, TensorInfo
from artifactstore.core.formats.detect import examine
from artifactstore.core.names import SafePath
from artifactstore.core.provenance.gather import gather
from tests.core.formats.sources import Bytes


@dataclass(frozen=True)
class Held:
    """A file in memory"""

    path: SafePath
    data: bytes
    info: FileInfo

    @property
    def size(self):
        return len(self.data)


@dataclass
class Told:
    """Warnings, in order"""

    lines: list[str] = field(default_factory=list)

    def __call__(self, line):
        assert line.isprintable()
        assert len(line) < 500
        self.lines.append(line)


def held(path, data):
    data = data.encode() if isinstance(data, str) else data
    return Held(SafePath(path), data, examine(Bytes(data), path))


def weights(path="model.safetensors", **metadata):
    """A safetensors file as the parser gives it, without its bytes"""
    tensor = TensorInfo("w", "F32", (1,), 100, 104)
    return Held(SafePath(path), b"", FileInfo("safetensors", (tensor,), metadata=metadata))


def gathered(*files):
    """(provenance, warnings) of a version made of these"""
    told = Told()
    return gather(sorted(files, key=lambda file: file.path), lambda file, length: file.data[:length], told), told.lines


def brief(links):
    """(relation, reference) of each"""
    return [(str(link.relation), link.ref) for link in links]
