"""Manifests for tests: one small example, and all that Hypothesis can think of"""

from hypothesis import strategies as st

from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import TensorInfo
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.manifest import MAX_BLOB, BlobInfo, Extent, FileEntry, Manifest
from artifactstore.core.names import ArtifactName, SafePath, refuse_collisions
from artifactstore.core.numbers import MAX_INTEGER


def example(**changes) -> Manifest:
    """A header, a tensor and a file beside it; any field may be given another value"""
    data, card = b"\x01" * 24, b"# Hero\n"
    blobs = (BlobInfo(Digest.of(data), len(data)), BlobInfo(Digest.of(card), len(card)))
    files = (
        FileEntry(SafePath("README.md"), 7, Sha256.of(card), "file", (Extent(1, 0, 7),)),
        FileEntry(
            SafePath("model.safetensors"),
            24,
            Sha256.of(data),
            "safetensors",
            (Extent(0, 0, 8), Extent(0, 8, 16)),
            (TensorInfo("w", "F32", (2, 2), 8, 24),),
        ),
    )
    return Manifest(
        **{"artifact": ArtifactName("hero"), "created": 1_700_000_000_000_000, "files": files, "blobs": blobs} | changes
    )


text = st.text(st.characters(codec="utf-8"), max_size=20)
integers = st.integers(-MAX_INTEGER, MAX_INTEGER)
numbers = integers | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
labels = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20)
digests = st.binary(min_size=32, max_size=32).map(Digest)
blobs = st.lists(
    st.builds(BlobInfo, digests, st.integers(1, MAX_BLOB)), min_size=1, max_size=4, unique_by=lambda blob: blob.digest
).map(tuple)
links = st.builds(
    Link,
    st.sampled_from(Relation),
    labels,
    st.none() | digests,
    st.none() | numbers,
    st.dictionaries(text, json_values, max_size=2),
)


@st.composite
def paths(draw) -> list[SafePath]:
    """One or more paths that stand together"""
    found: list[SafePath] = []
    for candidate in draw(st.lists(st.lists(labels, min_size=1, max_size=3).map("/".join), max_size=4)):
        try:
            path = SafePath.from_local(candidate)
            refuse_collisions([*found, path])
        except Invalid:
            continue
        found.append(path)
    return found or [SafePath("model.bin")]


@st.composite
def extents(draw, held: tuple[BlobInfo, ...]) -> tuple[Extent, ...]:
    """Runs inside the blobs that are held"""
    found = []
    for number in draw(st.lists(st.integers(0, len(held) - 1), max_size=4)):
        start = draw(st.integers(0, held[number].size - 1))
        found.append(Extent(number, start, draw(st.integers(1, held[number].size - start))))
    return tuple(found)


@st.composite
def tensors(draw, size: int) -> tuple[TensorInfo, ...]:
    """Ranges inside a file of `size` bytes"""
    found = []
    for name in draw(st.lists(text, max_size=3)):
        begin = draw(st.integers(0, size))
        shape = draw(st.lists(st.integers(0, MAX_INTEGER), max_size=3).map(tuple))
        found.append(TensorInfo(name, draw(text), shape, begin, draw(st.integers(begin, size))))
    return tuple(found)


@st.composite
def manifests(draw) -> Manifest:
    """Any manifest that may stand on disk"""
    held = draw(blobs)
    files = []
    for path in draw(paths()):
        runs = draw(extents(held))
        size = sum(run.length for run in runs)
        sha256 = Sha256(draw(st.binary(min_size=32, max_size=32)))
        files.append(FileEntry(path, size, sha256, draw(text), runs, draw(tensors(size))))
    return Manifest(
        artifact=ArtifactName(draw(st.sampled_from(["hero", "org/hero", "run_1/a.b-c"]))),
        created=draw(integers),
        files=tuple(files),
        blobs=held,
        parents=tuple(draw(st.lists(links, max_size=3))),
        phase=draw(st.none() | labels),
        step=draw(st.none() | integers),
        epoch=draw(st.none() | numbers),
        request_id=draw(st.none() | labels),
        license=draw(st.none() | labels),
        metadata=draw(st.dictionaries(text, json_values, max_size=3)),
    )
