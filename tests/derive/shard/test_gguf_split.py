"""GGUF in several files, read by llama.cpp's own library"""

import numpy as np
import pytest

from artifactstore.core.errors import Invalid
from artifactstore.derive.shard.plan import plan
from artifactstore.derive.shard.run import run

gguf = pytest.importorskip("gguf")


@pytest.fixture(params=[None, 64])
def tensors(store, tmp_path, request):
    """A model as model:1, with 32 or 64 bytes of alignment"""
    random = np.random.default_rng(0)
    found = {"output.weight": random.standard_normal((33, 64)).astype(np.float32)}
    for layer in (11, 2, 0):
        found[f"blk.{layer}.ffn_up.weight"] = random.standard_normal((64, 32)).astype(np.float16)
        found[f"blk.{layer}.attn_norm.weight"] = random.standard_normal(33).astype(np.float32)
    found["token_embd.weight"] = random.standard_normal((33, 64)).astype(np.float32)
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    if request.param:
        writer.add_custom_alignment(request.param)
    writer.add_token_list([f"token {number}" for number in range(33)])
    writer.add_description("a model")
    for name, tensor in found.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    store.add([tmp_path / "model.gguf"], name="model")
    return found


def value(reader, key):
    return reader.fields[key].contents()


def divided(store, ref, dest, ceiling):
    report = run(store.depot, plan(store.depot, store.resolve(ref), dest, ceiling))
    return [dest / file.path for file in report.files], report


def test_each_file_is_a_gguf_of_its_own(store, tensors, tmp_path):
    paths, report = divided(store, "model", tmp_path / "out", 11_000)
    assert [path.name for path in paths] == [f"model-0000{n}-of-00004.gguf" for n in (1, 2, 3, 4)]
    assert report.reassembled == 1
    found, order = {}, []
    for number, path in enumerate(paths):
        assert path.stat().st_size <= 11_000
        reader = gguf.GGUFReader(path)
        assert (value(reader, "split.no"), value(reader, "split.count")) == (number, 4)
        assert value(reader, "split.tensors.count") == len(tensors)
        assert ("tokenizer.ggml.tokens" in reader.fields) == (number == 0)
        for tensor in reader.tensors:
            found[tensor.name] = tensor.data
            order.append(tensor.name)
    assert all(np.array_equal(found[name].reshape(tensor.shape), tensor) for name, tensor in tensors.items())
    assert (order[0], order[1], order[-1]) == ("token_embd.weight", "blk.0.attn_norm.weight", "output.weight")


def test_what_is_divided_is_divided_anew_or_made_whole(store, tensors, tmp_path):
    divided(store, "model", tmp_path / "fine", 11_000)
    store.add([tmp_path / "fine"], name="fine")
    coarse, report = divided(store, "fine", tmp_path / "coarse", 20_000)
    assert (len(coarse), report.reassembled) == (2, 4)
    (whole,), _ = divided(store, "fine", tmp_path / "whole", 10**6)
    assert whole.name == "model.gguf"
    reader = gguf.GGUFReader(whole)
    assert not [key for key in reader.fields if key.startswith("split.")]
    assert value(reader, "general.description") == "a model"
    found = {tensor.name: tensor.data for tensor in reader.tensors}
    assert all(np.array_equal(found[name].reshape(tensor.shape), tensor) for name, tensor in tensors.items())


def test_too_small_a_ceiling_is_refused(store, tensors, tmp_path):
    with pytest.raises(Invalid, match=r"Tensor 'token_embd.weight' alone takes|Tensor 'output.weight' alone takes"):
        divided(store, "model", tmp_path / "out", 5_000)
    assert not (tmp_path / "out").exists()
