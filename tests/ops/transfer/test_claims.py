"""Claims: a tensor table must be what the header of its file says"""

import dataclasses

import numpy as np
import pytest
from safetensors.numpy import save

from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.errors import Corrupt
from artifactstore.core.formats.base import TensorInfo
from artifactstore.core.manifest import BlobInfo, Extent, FileEntry, Manifest
from artifactstore.core.names import ArtifactName, SafePath
from artifactstore.ops.transfer.claims import check_claims

RAW = save({"a": np.arange(10, dtype=np.uint8), "b": np.zeros((2, 3), dtype=np.float32)})
HEADER = 8 + int.from_bytes(RAW[:8], "little")


def tensors():
    """As the header says it, in the order of the data"""
    from artifactstore.core.formats.detect import examine

    class Whole:
        size = len(RAW)

        def read(self, offset, length):
            return RAW[offset : offset + length]

    return examine(Whole(), "m.safetensors").tensors


def made(raw=RAW, cut=HEADER, *, said=None, kind="safetensors", path="m.safetensors"):
    """A manifest of a file cut in two, and what its blobs hold"""
    parts = [part for part in (raw[:cut], raw[cut:]) if part]
    blobs = tuple(BlobInfo(Digest.of(part), len(part)) for part in parts)
    extents = tuple(Extent(n, 0, len(part)) for n, part in enumerate(parts))
    entry = FileEntry(SafePath(path), len(raw), Sha256.of(raw), kind, extents, tensors() if said is None else said)
    return Manifest(ArtifactName("m"), 1, (entry,), blobs), dict(zip([b.digest for b in blobs], parts, strict=True))


class Reads:
    """Fills memory from a dict, and remembers what was asked for"""

    def __init__(self, contents):
        self.contents, self.asked = contents, []

    def __call__(self, info, into):
        self.asked.append(info.digest)
        into[:] = self.contents[info.digest]


@pytest.mark.parametrize("cut", [4, 8, 30, HEADER, HEADER + 5])
def test_the_truth_passes_however_it_is_cut(cut):
    manifest, contents = made(cut=cut)
    check_claims(Reads(contents), manifest)


def test_only_the_header_is_read_and_once():
    manifest, contents = made()
    reads = Reads(contents)
    check_claims(reads, manifest)
    assert reads.asked == [manifest.blobs[0].digest]


def lie(change):
    return tuple(change(list(tensors())))


LIES = {
    "none": lambda t: [],
    "fewer": lambda t: t[:1],
    "more": lambda t: [*t, TensorInfo("c", "U8", (1,), HEADER, HEADER + 1)],
    "another name": lambda t: [dataclasses.replace(t[0], name="z"), t[1]],
    "another dtype": lambda t: [dataclasses.replace(t[0], dtype="I8"), *t[1:]],
    "another shape": lambda t: [dataclasses.replace(t[0], shape=tuple(reversed(t[0].shape))), *t[1:]],
    "another place": lambda t: [dataclasses.replace(t[0], begin=t[0].begin - 1), *t[1:]],
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_named(name):
    said = lie(LIES[name])
    if said == tensors():
        said = lie(lambda t: [dataclasses.replace(t[0], shape=(1, *t[0].shape)), *t[1:]])
    manifest, contents = made(said=said)
    with pytest.raises(Corrupt, match=f"m.safetensors of {manifest.id.hex()[:12]} has other tensors") as caught:
        check_claims(Reads(contents), manifest)
    assert caught.value.facts["version"] == str(manifest.id)


@pytest.mark.parametrize("raw", [b"", b"hello", b"\xff" * 200, RAW[:HEADER], RAW[: HEADER - 3]])
def test_what_is_no_such_file_is_told(raw):
    manifest, contents = made(raw, cut=3, said=())
    with pytest.raises(Corrupt, match=r"tensors|no safetensors"):
        check_claims(Reads(contents), manifest)


def test_another_format_than_it_is():
    manifest, contents = made(kind="gguf")
    with pytest.raises(Corrupt, match="other tensors"):
        check_claims(Reads(contents), manifest)


def test_files_without_tensors_are_not_read():
    manifest, contents = made(b"hello" * 10, cut=7, said=(), kind="other", path="x.bin")
    reads = Reads(contents)
    check_claims(reads, manifest)
    assert reads.asked == []
