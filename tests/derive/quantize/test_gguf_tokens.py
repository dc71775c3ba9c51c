"""Tokenizers in GGUF: texts come to the same tokens when transformers reads them back"""

import json

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.derive.quantize.gguf_tokens import read_tokens
from tests.derive.quantize.tokens import files, trained

QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
LLAMA3 = QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|")


def test_bytes_as_letters():
    tokenizer = trained()
    found = read_tokens(files(tokenizer, chat_template="{{ messages }}", add_bos_token=False), {}, 384)
    assert (found.model, found.pre, found.notes, len(found.tokens)) == ("gpt2", "gpt-2", (), 384)
    known = tokenizer.get_vocab()
    assert [found.tokens[number] for number in known.values()] == list(known)
    end, tool = known["<|end|>"], known["<tool>"]
    assert (found.types[end], found.types[tool], found.types[0], found.types[383]) == (3, 4, 1, 5)
    assert (found.tokens[383], dict(found.ids)) == ("[PAD383]", {"eos": end})
    assert dict(found.flags) == {"add_bos_token": False}
    assert found.template == "{{ messages }}"
    assert " ".join(json.loads(tokenizer.to_str())["model"]["merges"][0]) == found.merges[0]


@pytest.mark.parametrize(("pattern", "name"), [(QWEN2, "qwen2"), (LLAMA3, "llama-bpe")])
def test_how_texts_are_split_has_a_name(pattern, name):
    assert read_tokens(files(trained(pattern)), {}, 384).pre == name


def test_a_way_of_splitting_without_a_name_is_told():
    found = read_tokens(files(trained(r"\w+|\W")), {}, 384)
    assert found.pre == "default"
    assert "way of splitting texts is not known" in found.notes[0]


def test_pieces_have_scores_that_merge_in_order():
    merges = [["h", "e"], ["l", "l"], ["he", "ll"], ["▁", "he"]]
    tokens = ["<unk>", "<s>", "</s>", "<0x00>", "<0x01>", "h", "e", "l", "▁", "he", "ll", "hell", "▁he"]
    document = {
        "model": {
            "type": "BPE",
            "byte_fallback": True,
            "unk_token": "<unk>",
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": merges,
        },
        "added_tokens": [{"id": number, "content": tokens[number], "special": True} for number in range(3)],
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
        },
    }
    settings = {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "unk_token": "<unk>"}
    raw = {"tokenizer.json": json.dumps(document).encode(), "tokenizer_config.json": json.dumps(settings).encode()}
    found = read_tokens(raw, {"pad_token_id": [2]}, 13)
    assert (found.model, found.pre) == ("llama", None)
    assert list(found.types) == [2, 3, 3, 6, 6, *[1] * 8]
    scores = dict(zip(found.tokens, found.scores, strict=True))
    assert scores["he"] > scores["ll"] > scores["hell"] > scores["▁he"] > scores["h"]
    assert dict(found.ids) == {"bos": 1, "eos": 2, "unknown": 0, "padding": 2}
    assert dict(found.flags) == {"add_bos_token": True, "add_eos_token": False}


def test_without_a_tokenizer_it_says_so():
    found = read_tokens({}, {}, 10)
    assert (found.model, found.tokens) == ("no_vocab", ())
    assert "token ids only" in found.notes[0]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"{", "tokenizer.json is no JSON"),
        (b"[]", "tokenizer.json must hold an object"),
        (b'{"model": {"type": "Unigram"}}', "of kind 'Unigram' has no form here"),
        (b'{"model": {"type": "BPE", "vocab": {"a": 12}}}', "token 'a' with id 12, but the model has 10 rows"),
    ],
)
def test_bad_tokenizers(raw, said):
    with pytest.raises(Invalid, match=said):
        read_tokens({"tokenizer.json": raw}, {}, 10)


def test_a_template_beside_and_one_of_several():
    tokenizer = trained()
    many = [{"name": "tool_use", "template": "B"}, {"name": "default", "template": "A"}]
    assert read_tokens(files(tokenizer, chat_template=many), {}, 384).template == "A"
    beside = files(tokenizer) | {"chat_template.jinja": b"C"}
    assert read_tokens(beside, {}, 384).template == "C"
