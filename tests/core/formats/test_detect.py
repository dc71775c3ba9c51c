"""Kinds of files told by name and first bytes"""

import io
import pickle
import zipfile

import pytest
import torch

from artifactstore.core.errors import Invalid
from artifactstore.core.formats.base import FileInfo
from artifactstore.core.formats.detect import examine
from artifactstore.core.formats.safetensors import write_header
from tests.core.formats.gguf_files import gguf, tensor
from tests.core.formats.sources import Bytes


def saved(**options):
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(3)}, buffer, **options)
    return buffer.getvalue()


def zipped(name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"1")
    return buffer.getvalue()


SAFETENSORS = write_header([("a", "F32", [1], 4)], None) + bytes(4)
GGUF = gguf([], [tensor("a", [1], 0, 0)], bytes(4))


@pytest.mark.parametrize(
    ("path", "data", "kind"),
    [
        ("model.safetensors", SAFETENSORS, "safetensors"),
        ("dir/MODEL.SafeTensors", SAFETENSORS, "safetensors"),
        ("model.gguf", GGUF, "gguf"),
        ("sha256-0123", GGUF, "gguf"),
        ("model.pt", saved(), "torch"),
        ("pytorch_model.bin", saved(), "torch"),
        ("model.pt", saved(_use_new_zipfile_serialization=False), "pickle"),
        ("optimizer.bin", pickle.dumps({"a": 1}), "pickle"),
        ("old.pkl", pickle.dumps({"a": 1}, protocol=0), "pickle"),
        ("model.gguf", b"not a GGUF", "other"),
        ("model.gguf", GGUF[:-1], "other"),
        ("model.pt", saved()[:-9], "other"),
        ("model.bin", zipped("x"), "other"),
        ("arrays.npz", zipped("x.npy"), "other"),
        ("config.json", b"{}", "other"),
        ("empty", b"", "other"),
        ("model.safetensors.index.json", b"{}", "other"),
        ("safetensors.md", b"text", "other"),
    ],
)
def test_kinds(path, data, kind):
    assert examine(Bytes(data), path).format == kind


def test_only_known_kinds_have_regions():
    assert examine(Bytes(SAFETENSORS), "a.safetensors").regions
    assert examine(Bytes(GGUF), "a.gguf").regions
    assert examine(Bytes(saved()), "a.pt").regions
    assert examine(Bytes(GGUF[:-1]), "a.gguf") == FileInfo("other")


@pytest.mark.parametrize("data", [b"", SAFETENSORS[:-1], saved(), pickle.dumps({}), GGUF])
def test_nothing_else_may_be_named_safetensors(data):
    with pytest.raises(Invalid) as caught:
        examine(Bytes(data), "model.safetensors")
    assert caught.value.code == "invalid.safetensors"


def test_a_pickle_is_not_loaded(tmp_path):
    class Touch:
        def __reduce__(self):
            return (open, (str(tmp_path / "touched"), "w"))

    for data in (pickle.dumps(Touch()), saved()[:0] + pickle.dumps([Touch()])):
        assert examine(Bytes(data), "model.pt").format == "pickle"
    assert not list(tmp_path.iterdir())
