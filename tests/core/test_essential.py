"""Essential files: what whole models of each layout have, and what is told to be missing of broken ones"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.essential import is_weights, missing, readable

SPEAKING = {"model_type": "llama", "vocab_size": 32}
INDEX = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
SHARDS = {"model-00001-of-00002.safetensors": b"", "model-00002-of-00002.safetensors": b""}
PIPELINE = {
    "_class_name": "FluxPipeline",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "vae": ["diffusers", "AutoencoderKL"],
    "safety_checker": [None, None],
    "force_zeros": True,
}
PIPED = {
    "model_index.json": PIPELINE,
    "scheduler/scheduler_config.json": {},
    "text_encoder/config.json": SPEAKING,
    "text_encoder/model.safetensors": b"",
    "tokenizer/vocab.json": {},
    "vae/config.json": {"_class_name": "AutoencoderKL"},
    "vae/diffusion_pytorch_model.safetensors": b"",
}
WHOLE = {
    "transformers": {"config.json": SPEAKING, "tokenizer.json": {}, "model.safetensors": b""},
    "sharded": {"config.json": SPEAKING, "tokenizer.model": b"", "model.safetensors.index.json": INDEX, **SHARDS},
    "one of two kinds": {
        "config.json": SPEAKING,
        "vocab.txt": b"",
        "model.safetensors.index.json": INDEX,
        **SHARDS,
        "pytorch_model.bin.index.json": {"weight_map": {"a": "pytorch_model-00001-of-00001.bin"}},
    },
    "in parts": {
        "config.json": {"text_config": {"vocab_size": 3}},
        "preprocessor_config.json": {},
        "pytorch_model.bin": b"",
    },
    "no words": {"config.json": {"model_type": "vae"}, "model.safetensors": b""},
    "an autoencoder": {
        "config.json": {"_class_name": "AutoencoderKL"},
        "diffusion_pytorch_model.fp16.safetensors": b"",
    },
    "gguf": {"README.md": b"", "model-q4.gguf": b""},
    "numbered gguf": {"m-00001-of-00002.gguf": b"", "m-00002-of-00002.gguf": b""},
    "an adapter": {"adapter_config.json": {}, "adapter_model.safetensors": b""},
    "plain weights": {"ltx-19b-fp8.safetensors": b""},
    "a pipeline": PIPED,
}


def lacks(files):
    def read(path):
        assert readable(path)
        found = files[path]
        return found if isinstance(found, bytes) else json.dumps(found).encode()

    return missing(list(files), read)


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_model_lacks_nothing(name):
    assert lacks(WHOLE[name]) == ()


@pytest.mark.parametrize(
    ("name", "without", "lost"),
    [
        ("transformers", "config.json", "config.json"),
        ("transformers", "tokenizer.json", "a tokenizer (tokenizer.json"),
        ("transformers", "model.safetensors", "weights (none of"),
        ("sharded", "model-00002-of-00002.safetensors", "model-00002-of-00002.safetensors"),
        ("sharded", "config.json", "config.json"),
        ("in parts", "preprocessor_config.json", "a tokenizer"),
        ("no words", "model.safetensors", "weights"),
        ("gguf", "model-q4.gguf", "weights"),
        ("numbered gguf", "m-00001-of-00002.gguf", "m-00001-of-00002.gguf"),
        ("an adapter", "adapter_model.safetensors", "weights"),
        ("a pipeline", "vae/diffusion_pytorch_model.safetensors", "vae/weights"),
        ("a pipeline", "scheduler/scheduler_config.json", "scheduler/"),
        ("a pipeline", "tokenizer/vocab.json", "tokenizer/"),
    ],
)
def test_what_is_taken_away_is_what_is_missing(name, without, lost):
    (said,) = lacks({path: data for path, data in WHOLE[name].items() if path != without})
    assert said.startswith(lost)


def test_one_whole_kind_of_weights_is_enough_and_none_is_not():
    files = dict(WHOLE["one of two kinds"])
    del files["model-00001-of-00002.safetensors"]
    assert lacks(files) == ("model-00001-of-00002.safetensors", "pytorch_model-00001-of-00001.bin")


def test_no_files_are_no_model():
    assert [one[:7] for one in lacks({})] == ["weights"]
    assert [one[:7] for one in lacks({"README.md": b"", "optimizer.pt": b"", "training_args.bin": b""})] == ["weights"]
    assert not is_weights("sub/optimizer.pt")
    assert is_weights("sub/a.gguf")


@pytest.mark.parametrize("raw", [b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_config_that_is_no_object_is_told(raw):
    with pytest.raises(Invalid, match=r"config\.json is not"):
        lacks({"config.json": raw, "model.safetensors": b""})


def test_an_index_of_another_kind_is_no_index():
    assert lacks({"config.json": {}, "model.safetensors": b"", "vocab.index.json": {}}) == ()


@given(st.sets(st.sampled_from(sorted(WHOLE["sharded"]))))
def test_nothing_but_the_whole_is_whole(kept):
    files = {path: WHOLE["sharded"][path] for path in kept}
    whole = set(files) >= set(WHOLE["sharded"])
    if set(SHARDS) <= kept and "config.json" in kept and "tokenizer.model" in kept:
        whole = True  # two numbered parts say by themselves that they are all
    assert (lacks(files) == ()) == whole
