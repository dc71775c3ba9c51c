"""Tokenizers as tests train them, and texts to try them with"""

import json

import pytest

TEXTS = ["hello world", "Hello, wörld! 12345", "  two  spaces\n\nlines\t", "def f(x):\n    return x**2", "<|end|>hi"]
CORPUS = ["hello world, hello wörld", "def f(x): return x", "lines of text and two spaces", "numbers 12345 67890"] * 20


def trained(pre=None):
    """A tokenizer over bytes as letters, as JSON"""
    library = pytest.importorskip("tokenizers")
    tokenizer = library.Tokenizer(library.models.BPE())
    level = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pre is None)
    parts = [] if pre is None else [library.pre_tokenizers.Split(library.Regex(pre), "isolated")]
    tokenizer.pre_tokenizer = library.pre_tokenizers.Sequence([*parts, level]) if parts else level
    tokenizer.decoder = library.decoders.ByteLevel()
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    trainer = library.trainers.BpeTrainer(vocab_size=350, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.add_tokens(["<tool>"])
    return tokenizer


def files(tokenizer, **settings):
    config = {"eos_token": "<|end|>", "tokenizer_class": "PreTrainedTokenizerFast"} | settings
    return {"tokenizer.json": tokenizer.to_str().encode(), "tokenizer_config.json": json.dumps(config).encode()}
