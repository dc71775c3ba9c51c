"""What kind of file this is, by its name and first bytes"""

import re

from artifactstore.core.errors import Invalid
from artifactstore.core.formats import gguf, safetensors, torchzip
from artifactstore.core.formats.base import ByteSource, FileInfo

_PICKLE = re.compile(rb"\x80[\x02-\x05]")


def examine(source: ByteSource, path: str) -> FileInfo:
    """Tensors, regions and metadata of a file

    A broken `.safetensors` file raises Invalid: nothing else may carry that name. A broken GGUF or torch file is
    "other", stored as opaque bytes. A legacy pickle is "pickle", and is never loaded.
    """
    suffix = path.lower().rpartition(".")[2]
    if suffix == "safetensors":
        return safetensors.parse(source, path)
    head = source.read(0, min(source.size, 4))
    try:
        if head == gguf.MAGIC:
            return gguf.parse(source, path)
        if head == torchzip.MAGIC:
            return torchzip.parse(source, path)
    except Invalid:
        return FileInfo(format="other")
    if suffix in {"pkl", "pickle"} or _PICKLE.match(head):
        return FileInfo(format="pickle")
    return FileInfo(format="other")
