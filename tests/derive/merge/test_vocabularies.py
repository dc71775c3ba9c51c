"""Models with different vocabularies, merged by their tokens"""

import json

import pytest
import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from artifactstore.core.errors import Invalid
from tests.derive.merge.mergekit import loaded, merged

WORDS = [f"w{number}" for number in range(40)]


def tokenizer(words):
    """A tokenizer of whole words, in the library's own format"""
    vocabulary = {"<unk>": 0} | {word: number for number, word in enumerate(words, 1)}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"}
    split = {"type": "Whitespace"}
    fields = dict.fromkeys(("truncation", "padding", "normalizer", "post_processor", "decoder"))
    return json.dumps({"version": "1.0", **fields, "added_tokens": [], "pre_tokenizer": split, "model": model})


def make(folder, seed, words):
    torch.manual_seed(seed)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(**small, vocab_size=len(words) + 1)).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer(words))
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>"}'
    )
    return folder


@pytest.fixture
def models(tmp_path):
    """The other knows some words that the first does not, and has them in another order"""
    return make(tmp_path / "a", 0, WORDS[:30]), make(tmp_path / "b", 1, WORDS[:5:-1])


def recipe_of(models, **more):
    return {
        "merge_method": "linear",
        "models": [
            {"model": str(models[0]), "parameters": {"weight": 0.4}},
            {"model": str(models[1]), "parameters": {"weight": 0.6}},
        ],
        "base_model": str(models[0]),
        "dtype": "float32",
        **more,
    }


@pytest.mark.parametrize("source", ["base", "union"])
def test_it_is_what_mergekit_makes(store, tmp_path, models, source):
    recipe = recipe_of(models, tokenizer={"source": source})
    theirs = merged(recipe, tmp_path / "theirs")
    (tmp_path / "r.yml").write_text(yaml.safe_dump(recipe))
    store.merge(tmp_path / "r.yml", name="merged")
    store.checkout("merged", tmp_path / "ours")
    ours = loaded(tmp_path / "ours")
    assert ours.keys() == theirs.keys()
    rows = len(ours["model.embed_tokens.weight"])
    assert rows == {"base": 31, "union": 41}[source]
    assert json.loads((tmp_path / "ours" / "config.json").read_bytes())["vocab_size"] == rows
    layers = [key for key in ours if "embed" not in key and "head" not in key]
    assert all(torch.equal(ours[key], theirs[key]) for key in layers)
    if source == "base":
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_tokenizer_of_a_union_knows_all_words(store, tmp_path, models):
    (tmp_path / "r.yml").write_text(yaml.safe_dump(recipe_of(models, tokenizer={"source": "union"})))
    store.merge(tmp_path / "r.yml", name="merged")
    store.checkout("merged", tmp_path / "ours")
    from transformers import AutoTokenizer  # it takes seconds

    known = AutoTokenizer.from_pretrained(tmp_path / "ours")
    ids = known(" ".join(WORDS), add_special_tokens=False)["input_ids"]
    assert len(set(ids)) == len(WORDS)
    embedding = loaded(tmp_path / "ours")["model.embed_tokens.weight"]
    theirs = loaded(models[1])["model.embed_tokens.weight"]
    # a word that only the other knows: its row there, in both
    assert torch.allclose(embedding[ids[35]], theirs[1 + WORDS[:5:-1].index("w35")], atol=1e-6)


def test_without_a_tokenizer_it_is_refused_with_the_remedy(store, tmp_path, models):
    (tmp_path / "r.yml").write_text(yaml.safe_dump(recipe_of(models)))
    with pytest.raises(Invalid, match=r"tokenizer: \{source: base\}"):
        store.plan_merge(tmp_path / "r.yml", name="merged")
