"""Models: which files of a version are one model that can be divided, and what becomes of them"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from artifactstore.core.formats import gguf, index
from artifactstore.core.formats.detect import examine
from artifactstore.core.manifest import FileEntry, Manifest
from artifactstore.core.names import SafePath
from artifactstore.depot import Depot
from artifactstore.derive.shard import gguf_split, onnx_split, safetensors_split
from artifactstore.derive.shard.layout import LaidFile, Part, Split, beside
from artifactstore.derive.shard.proto import Message
from artifactstore.derive.web.config import with_chunks
from artifactstore.derive.web.levels import FOLDER
from artifactstore.ops.transfer.fetch import fetch_file
from artifactstore.ops.transfer.held import HeldReading

_CONFIG = "config.json"


@dataclass(slots=True)
class Division:
    """Files of a version as they come to be divided. left: those of no model that is; files, split: what became"""

    depot: Depot
    manifest: Manifest
    left: dict[SafePath, FileEntry]
    ceiling: int
    files: list[LaidFile] = field(default_factory=list)
    split: list[SafePath] = field(default_factory=list)

    def all(self) -> None:
        """Divide every model that is in several files, or in one over the ceiling; raise Invalid for what is larger"""
        for one in (*self._safetensors(), *self._gguf()):
            self.files.extend(one.files)
            self.split.extend(one.whole)
        chunks: dict[SafePath, dict[str, int]] = defaultdict(dict)
        is_over = any(entry.size > self.ceiling for entry in self.left.values())
        for graph in [path for path in self.left if is_over and path.endswith(".onnx")]:
            count = self._onnx(graph)
            if count is not None:
                chunks[self._config_of(graph)][graph.rpartition("/")[2]] = count
        for config, counts in chunks.items():
            self._tell(config, counts)

    def _safetensors(self) -> Iterator[Split]:
        for path in [path for path in self.left if index.is_index(path)]:
            shards = index.parse(fetch_file(self.depot, self.manifest, self.left[path]), path)
            named = sorted({SafePath(shard) for shard in shards.weight_map.values()}) if shards else []
            if named and all(shard in self.left and self.left[shard].format == "safetensors" for shard in named):
                parts = [self._part(self.left.pop(shard)) for shard in named]
                del self.left[path]
                yield safetensors_split.split(parts, path, self.ceiling)
        for path, entry in list(self.left.items()):
            if entry.format == "safetensors" and entry.size > self.ceiling:
                yield safetensors_split.split([self._part(self.left.pop(path))], None, self.ceiling)

    def _gguf(self) -> Iterator[Split]:
        groups: dict[str, list[FileEntry]] = defaultdict(list)
        for path, entry in self.left.items():
            if entry.format == "gguf":
                groups[gguf_split.stem_of(path) or path].append(entry)
        for group in groups.values():
            if len(group) > 1 or group[0].size > self.ceiling:
                first, *others = sorted(group, key=lambda entry: entry.path)
                spans = gguf.metadata_spans(self._reading(first), first.path)
                parts = [self._part(self.left.pop(entry.path)) for entry in (first, *others)]
                yield gguf_split.split(parts, spans, self.ceiling)

    def _onnx(self, path: SafePath) -> int | None:
        """How many files of weights a graph has once it is divided; None when it stays as it is"""
        entry = self.left[path]
        message = Message(self._reading(entry), path)
        head = onnx_split.read(message, path, self._size)
        over = [one for one in (path, *head.beside) if self.left[one].size > self.ceiling]
        if not over:
            return None
        files = onnx_split.split(head, self.ceiling)
        for one in (path, *sorted(head.beside)):
            del self.left[one]
            self.split.append(one)
        self.files.extend(files)
        return len(files) - 1

    def _size(self, path: SafePath) -> int | None:
        return self.left[path].size if path in self.left else None

    def _config_of(self, graph: SafePath) -> SafePath:
        """The configuration that tells of a graph: that of the folder above `onnx`, or beside it"""
        folder, _, _ = graph.rpartition("/")
        return beside(SafePath(folder), _CONFIG) if folder.rpartition("/")[2] == FOLDER else beside(graph, _CONFIG)

    def _tell(self, config: SafePath, chunks: Mapping[str, int]) -> None:
        entry = self.left.pop(config, None)
        if entry is None:
            return
        raw = fetch_file(self.depot, self.manifest, entry)
        self.files.append(LaidFile(config, (with_chunks(raw, chunks),), last=True))

    def _part(self, entry: FileEntry) -> Part:
        return Part(entry.path, entry.size, examine(self._reading(entry), entry.path))

    def _reading(self, entry: FileEntry) -> HeldReading:
        return HeldReading(self.depot, self.manifest, entry)
