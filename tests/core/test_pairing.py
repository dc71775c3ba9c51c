"""Pairing: tensors found again in whatever file, and never called the same when they are not"""

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.formats.base import TensorInfo
from artifactstore.core.manifest import BlobInfo, Extent, FileEntry, Manifest
from artifactstore.core.names import ArtifactName, SafePath
from artifactstore.core.pairing import match
from tests.core.manifests import manifests

# Few different bytes, so that equal tensors and equal blobs are common.
contents = st.binary(max_size=6).map(lambda raw: bytes(byte % 2 for byte in raw))
versions = st.dictionaries(st.sampled_from("abcdef"), contents, max_size=5)


def manifest(files, seed=0):
    """Of {path: {tensor: bytes}}: each file after a header, cut anywhere, its pieces alone or inside larger blobs"""
    draw, blobs, entries = random.Random(seed), {}, []
    for path, tensors in files.items():
        raw, infos = b"head", []
        for name, data in tensors.items():
            infos.append(TensorInfo(name, "U8", (len(data),), len(raw), len(raw) + len(data)))
            raw += data
        cuts = sorted({0, len(raw), *(draw.randrange(len(raw)) for _ in range(draw.randrange(6)))})
        extents = []
        for begin, end in pairwise(cuts):
            before = bytes(draw.randrange(2) for _ in range(draw.randrange(3)))
            data = before + raw[begin:end] + b"\0" * draw.randrange(2)
            number = blobs.setdefault(data, len(blobs))
            extents.append(Extent(number, len(before), end - begin))
        sha256 = Sha256.of(raw)
        entries.append(FileEntry(SafePath(path), len(raw), sha256, "safetensors", tuple(extents), tuple(infos)))
    held = tuple(BlobInfo(Digest.of(data), len(data)) for data in blobs)
    return Manifest(ArtifactName("m"), 0, tuple(entries), held), list(blobs)


def read(blobs, placed):
    return b"".join(blobs[extent.blob][extent.start : extent.start + extent.length] for extent in placed.extents)


def names(found):
    return [one.name for one in found]


@given(versions, versions, st.integers(0, 99), st.integers(0, 99))
def test_digests_never_lie(old, new, seed, other):
    (one, blobs), (two, others) = manifest({"m.safetensors": old}, seed), manifest({"n.safetensors": new}, other)
    found = match(one, two)
    assert names(found.added) == sorted(new.keys() - old)
    assert names(found.removed) == sorted(old.keys() - new)
    assert names(found.pairs) == sorted(old.keys() & new)
    for pair in found.pairs:
        assert (read(blobs, pair.old), read(others, pair.new)) == (old[pair.name], new[pair.name])
        assert pair.like == (len(old[pair.name]) == len(new[pair.name]))
        assert pair.same in {None, old[pair.name] == new[pair.name]}


@given(versions, st.integers(0, 99))
def test_a_version_is_the_same_as_itself_and_cut_otherwise_too(tensors, seed):
    files = {"m.safetensors": tensors}
    assert all(pair.same for pair in match(manifest(files, 0)[0], manifest(files, seed)[0]).pairs)


@given(manifests(), manifests())
def test_any_two_manifests_can_be_matched(old, new):
    found = match(old, new)
    assert all(pair.old.nbytes == sum(extent.length for extent in pair.old.extents) for pair in found.pairs)


def told(old, new):
    """What is same, changed or unknown, added and removed, by name"""
    found = match(manifest(old)[0], manifest(new)[0])
    return ({pair.name: read_apart(old, new, pair) for pair in found.pairs}, names(found.added), names(found.removed))


def read_apart(old, new, pair):
    return old[pair.old.file.path][pair.old.info.name] == new[pair.new.file.path][pair.new.info.name]


def test_a_model_sharded_anew_is_the_same_model():
    whole = {"model.safetensors": {"a": b"1", "b": b"22", "c": b"333"}}
    parts = {
        "model-00001-of-00002.safetensors": {"b": b"22"},
        "model-00002-of-00002.safetensors": {"c": b"333", "a": b"1"},
    }
    assert told(whole, parts) == ({"a": True, "b": True, "c": True}, [], [])


def test_a_name_in_two_files_is_told_with_its_file_in_both_versions():
    old = {"model.safetensors": {"w": b"1", "x": b"2"}}
    new = {"model.safetensors": {"w": b"1", "x": b"2"}, "sub/optimizer.safetensors": {"w": b"3"}}
    assert told(old, new) == ({"model/w": True, "x": True}, ["sub/optimizer/w"], [])
    assert told(new, old) == ({"model/w": True, "x": True}, [], ["sub/optimizer/w"])


def test_parts_of_a_pipeline_stay_apart_when_one_is_sharded():
    old = {"unet/model.safetensors": {"w": b"1", "v": b"2"}, "vae/model.safetensors": {"w": b"3", "v": b"4"}}
    new = {
        "unet/model-00001-of-00002.safetensors": {"w": b"1"},
        "unet/model-00002-of-00002.safetensors": {"v": b"9"},
        "vae/model.safetensors": {"w": b"3", "v": b"4"},
    }
    same = {"unet/model/w": True, "unet/model/v": False, "vae/model/w": True, "vae/model/v": True}
    assert told(old, new) == (same, [], [])


def test_where_a_stem_does_not_tell_the_whole_path_does():
    both = {"m.safetensors": {"w": b"1"}, "m.gguf": {"w": b"2"}, "noted": {"w": b"3"}}
    assert told(both, both) == ({"m.gguf/w": True, "m.safetensors/w": True, "noted/w": True}, [], [])


def test_a_blob_of_its_own_tells_without_reading_and_a_shared_one_does_not():
    def version(data, before):
        raw = before + data
        entry = FileEntry(
            SafePath("m.gguf"),
            len(data),
            Sha256.of(raw),
            "gguf",
            (Extent(0, len(before), len(data)),),
            (TensorInfo("w", "Q4_0", (len(data),), 0, len(data)),),
        )
        return Manifest(ArtifactName("m"), 0, (entry,), (BlobInfo(Digest.of(raw), len(raw)),))

    def same(old, new):
        (pair,) = match(old, new).pairs
        return pair.same

    assert same(version(b"1234", b""), version(b"1235", b"")) is False
    assert same(version(b"1234", b""), version(b"1234", b"0")) is None
    assert same(version(b"1234", b"1"), version(b"1235", b"2")) is None
    assert same(version(b"1234", b"1"), version(b"1234", b"1")) is True
