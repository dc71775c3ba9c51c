"""The ladder: the first level that works, and what is said of those before it"""

import json

import pytest
import torch

from artifactstore.core.errors import Invalid, NotFound
from artifactstore.derive.ladder import Int8Linear, load_quantized, parse_levels
from artifactstore.derive.quantize.levels import Level, Target
from artifactstore.derive.quantize.plan import plan
from artifactstore.derive.quantize.run import run

transformers = pytest.importorskip("transformers")
SIZES = {
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": None,
    "eos_token_id": None,
}
TOKENIZER = {
    "version": "1.0",
    "added_tokens": [],
    "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1}, "unk_token": "a"},
}


def saved(folder, grown=1.0, tied=False):
    """A small Llama whose states grow so much on their way"""
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, tie_word_embeddings=tied))
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight *= grown
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    return str(folder)


def like(one, other):
    ids = torch.arange(20)[None]
    with torch.no_grad():
        first, second = (model(input_ids=ids).logits.float().flatten() for model in (one, other))
    return float(torch.nn.functional.cosine_similarity(first, second, dim=0))


@pytest.mark.parametrize(("level", "dtype"), [("float16", torch.float16), ("bfloat16", torch.bfloat16)])
def test_the_first_that_works_is_taken(store, tmp_path, level, dtype):
    store.add([saved(tmp_path / "m")], name="m")
    loaded = load_quantized(store, "m", f"{level}|int8")
    assert (loaded.level, dict(loaded.failed), loaded.module.dtype) == (level, {}, dtype)


def test_what_overflows_in_halves_goes_on_in_bfloat16(store, tmp_path):
    loaded = load_quantized(store, saved(tmp_path / "m", grown=1e9), "float16")
    assert loaded.level == "bfloat16"
    assert dict(loaded.failed) == {"float16": "what it gives is infinite or not a number"}


@pytest.mark.parametrize("tied", [False, True])
def test_eight_bits_are_half_the_memory_and_nearly_the_same(store, tmp_path, tied):
    folder = saved(tmp_path / "m", tied=tied)
    whole, small = load_quantized(store, folder, "bfloat16"), load_quantized(store, folder, "int8")
    assert small.level == "int8"
    assert isinstance(small.module.model.layers[0].mlp.up_proj, Int8Linear)
    assert isinstance(small.module.lm_head, Int8Linear) == (not tied)
    assert small.nbytes < 0.65 * whole.nbytes
    assert like(whole.module, small.module) > 0.999


def test_what_works_nowhere_says_why(store, tmp_path):
    with pytest.raises(Invalid, match=r"works at no level \(int8: .*not a number.*; float32: .*not a number\)"):
        load_quantized(store, saved(tmp_path / "m", grown=float("nan")), "int8")


def test_the_order_in_which_they_are_tried():
    assert parse_levels("float16|int8") == ["float16", "int8", "bfloat16", "float32"]
    assert parse_levels(" Int8 ") == ["int8", "float32"]
    with pytest.raises(Invalid, match=r"'int9'.*did you mean int8"):
        parse_levels("float16|int9")


def test_models_that_it_is_not_for(store, tmp_path):
    folder = saved(tmp_path / "m")
    with pytest.raises(NotFound):
        load_quantized(store, "nobody")
    run(store.depot, plan(store, folder, Level.Q4, Target.GPU, "small"))
    with pytest.raises(Invalid, match="quantized already"):
        load_quantized(store, "small")
