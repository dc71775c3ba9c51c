"""Safetensors in shards, read by the library and by transformers"""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load, save

from artifactstore.core.errors import Invalid
from artifactstore.core.formats import index, safetensors
from artifactstore.core.formats.detect import examine
from artifactstore.core.names import SafePath
from artifactstore.derive.shard.layout import Part, Range
from artifactstore.derive.shard.plan import plan
from artifactstore.derive.shard.run import run
from artifactstore.derive.shard.safetensors_split import split


class InMemory:
    """Bytes as a parser reads them"""

    def __init__(self, raw):
        self.raw, self.size = raw, len(raw)

    def read(self, offset, length):
        return self.raw[offset : offset + length]


def divided(raw, ceiling):
    source = InMemory(raw)
    part = Part(SafePath("model.safetensors"), source.size, safetensors.parse(source, "model.safetensors"))
    found = split([part], None, ceiling)
    return {
        str(file.path): b"".join(raw[p.begin : p.end] if isinstance(p, Range) else p for p in file.pieces)
        for file in found.files
    }


DTYPES = st.sampled_from([np.float16, np.float32, np.uint8, np.int64, np.bool_])
NAMES = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=12).filter(lambda n: n != "__metadata__")


@given(
    st.dictionaries(NAMES, st.tuples(DTYPES, st.lists(st.integers(0, 6), max_size=3)), min_size=1, max_size=12),
    st.integers(300, 900),
)
def test_shards_hold_every_tensor_and_no_more_than_the_ceiling(shapes, ceiling):
    tensors = {
        name: np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(t) for name, (t, shape) in shapes.items()
    }
    try:
        files = divided(save(tensors), ceiling)
    except Invalid as e:
        assert e.facts["least"] > ceiling
        return
    found = {}
    for name, raw in files.items():
        if name.endswith(".json"):
            continue
        assert len(raw) <= ceiling
        examine(InMemory(raw), name)
        found |= load(raw)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert np.array_equal(found[name], tensor)


def test_the_index_says_where_all_is(store, model, tmp_path):
    version = store.resolve("model")
    run(store.depot, plan(store.depot, version, tmp_path / "out", 20_000))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    count = len(names) - 2
    assert names == [
        "config.json",
        *(f"model-{n:05d}-of-{count:05d}.safetensors" for n in range(1, count + 1)),
        "model.safetensors.index.json",
    ]
    raw = (tmp_path / "out" / "model.safetensors.index.json").read_bytes()
    where = index.parse(raw, "model.safetensors.index.json").weight_map
    assert where["model.embed_tokens.weight"].startswith("model-00001")
    assert where["lm_head.weight"].startswith(f"model-{count:05d}")
    layers = [where[f"model.layers.{layer}.mlp.weight"] for layer in range(12)]
    assert layers == sorted(layers)
    for name in names[1:-1]:
        with safe_open(tmp_path / "out" / name, "np") as file:
            assert file.metadata() == {"format": "pt"}


def test_what_was_in_shards_is_divided_anew(store, model, tensors, tmp_path):
    run(store.depot, plan(store.depot, store.resolve("model"), tmp_path / "fine", 20_000))
    store.add([tmp_path / "fine"], name="fine")
    run(store.depot, plan(store.depot, store.resolve("fine"), tmp_path / "one", 10**9))
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["config.json", "model.safetensors"]
    run(store.depot, plan(store.depot, store.resolve("fine"), tmp_path / "coarse", 60_000))
    total = json.loads((tmp_path / "coarse" / "model.safetensors.index.json").read_text())["metadata"]["total_size"]
    assert total == sum(tensor.nbytes for tensor in tensors.values())
    found = {}
    for path in (tmp_path / "coarse").glob("model-*-of-00002.safetensors"):
        found |= load(path.read_bytes())
    assert all(np.array_equal(found[name], tensor) for name, tensor in tensors.items())


def test_what_fits_is_copied_as_it_is(store, model, tmp_path):
    found = plan(store.depot, store.resolve("model"), tmp_path / "out", 10**9)
    assert found.split == ()
    run(store.depot, found)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()


def test_transformers_loads_it(store, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=80, hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2
    )
    model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(tmp_path / "llama")
    store.add([tmp_path / "llama"], name="llama")
    report = run(store.depot, plan(store.depot, store.resolve("llama"), tmp_path / "out", 9_000))
    assert sum(file.path.endswith(".safetensors") for file in report.files) > 2
    assert report.reassembled == 1
    again = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "out")
    ids = torch.arange(12)[None]
    assert torch.equal(again(ids).logits, model.eval()(ids).logits)
