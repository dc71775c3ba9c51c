"""Facts: what headers and configurations say of a model"""

import pytest

from artifactstore.core.recipe.facts import ModelFacts, is_buffer, is_by_token, is_head
from tests.core.recipe.shelf import bert, llama


def test_a_class_names_the_architecture_else_the_family():
    assert llama("a").architecture == "LlamaForCausalLM"
    assert llama("a", architectures=[]).architecture == "llama"
    assert llama("a", architectures="odd", model_type=None).architecture is None


def test_values_are_found_under_the_names_that_models_give_them():
    gpt = ModelFacts("g", {}, {"n_embd": 8, "n_layer": 2, "n_head": 2})
    assert [gpt.value(what) for what in ("hidden_size", "layers", "attention heads", "key/value heads")] == [8, 2, 2, 2]
    assert (gpt.value("head_dim"), gpt.key("layers"), gpt.key("vocab_size")) == (4, "n_layer", None)
    assert ModelFacts("x", {}).value("head_dim") is None
    inner = ModelFacts("v", {}, {"text_config": {"num_hidden_layers": 3, "rope_parameters": {"rope_theta": 5.0}}})
    assert (inner.value("layers"), inner.key("layers"), inner.value("rope_theta")) == (
        3,
        "text_config.num_hidden_layers",
        5.0,
    )
    assert llama("a", rope_theta=None, rope_parameters={"rope_theta": 7.0}).value("rope_theta") == 7.0
    assert llama("a", rope_theta=None).value("rope_theta") is None


def test_quantized_models_say_by_what():
    assert llama("a").quantization is None
    assert llama("a", quantization_config={"quant_method": "awq"}).quantization == "awq"
    assert llama("a", compression_config={"format": "pack-quantized"}).quantization == "pack-quantized"
    assert llama("a", quantization_config={"bits": 4}).quantization == "some method"


@pytest.mark.parametrize(
    ("said", "tied", "expected"),
    [(None, True, True), (None, False, False), (True, True, True), (True, False, True), (False, False, False)],
)
def test_whether_a_head_is_the_embeddings(said, tied, expected):
    assert llama("a", tied=tied, tie_word_embeddings=said).tied is expected


def test_a_head_that_is_not_there_is_the_embeddings_whatever_is_said():
    assert llama("a", tied=True, tie_word_embeddings=False).tied
    assert not ModelFacts("x", {"w": ("F32", (1,))}).tied
    assert (bert("a").embedding, ModelFacts("x", {}).embedding) == ("embeddings.word_embeddings.weight", None)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("model.embed_tokens.weight", (True, False, False)),
        ("transformer.wte.weight", (True, False, False)),
        ("lm_head.weight", (True, True, False)),
        ("cls.predictions.decoder.weight", (True, True, False)),
        ("cls.predictions.bias", (True, False, False)),
        ("lm_head.bias", (True, False, False)),
        ("lm_head.dense.weight", (False, False, False)),
        ("embeddings.position_embeddings.weight", (False, False, False)),
        ("bert.embeddings.position_ids", (False, False, True)),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", (False, False, True)),
        ("transformer.h.0.attn.bias", (False, False, True)),
        ("transformer.h.0.attn.c_attn.bias", (False, False, False)),
    ],
)
def test_tensors_are_known_by_their_names(name, kinds):
    assert (is_by_token(name), is_head(name), is_buffer(name)) == kinds
