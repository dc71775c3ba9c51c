"""Small models of transformers and their graphs, each made once for all processes of a run"""

import pytest

from artifactstore.derive.web.export import export
from tests.once import once

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("onnxruntime_genai")
pytest.importorskip("onnxscript")

VOCABULARY = 264
_SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def _qwen():
    """A language model whose table of embeddings is its last matrix"""
    sizes = _SIZES | {"intermediate_size": 128, "num_key_value_heads": 2, "max_position_embeddings": 128}
    config = transformers.Qwen2Config(
        vocab_size=VOCABULARY, tie_word_embeddings=True, bos_token_id=0, eos_token_id=1, **sizes
    )
    return transformers.Qwen2ForCausalLM(config)


def _llama():
    """A language model with a table of its own, large enough to be made smaller"""
    sizes = _SIZES | {"intermediate_size": 96}
    config = transformers.LlamaConfig(vocab_size=4096, bos_token_id=0, eos_token_id=1, pad_token_id=2, **sizes)
    return transformers.LlamaForCausalLM(config)


def _bert():
    """An encoder"""
    sizes = _SIZES | {"intermediate_size": 128, "max_position_embeddings": 64}
    return transformers.BertModel(transformers.BertConfig(vocab_size=4352, **sizes))


_MODELS = {"qwen": _qwen, "llama": _llama, "bert": _bert}


def folder(factory, name):
    """The folder of a model and its tokenizer; factory: pytest's tmp_path_factory"""
    return once(factory, f"tiny-{name}", lambda root: _write(root / name, _MODELS[name])) / name


def graph(factory, name):
    """Its graph in float32"""
    source = folder(factory, name)
    return once(factory, f"graph-{name}", lambda root: export(source, type_of(source), root)) / "model.onnx"


def type_of(source):
    """The class of the model in a folder"""
    (found,) = transformers.AutoConfig.from_pretrained(source).architectures
    return found


def _write(root, make):
    torch.manual_seed(0)
    model = make().eval()
    # so that what is generated is not one token over and over
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2:
                weight.copy_(torch.randn(weight.shape) * (0.05 if "embed" in name else 2 * weight.shape[1] ** -0.5))
    model.save_pretrained(root)
    _write_tokenizer(root)


def _write_tokenizer(root):
    """One token a byte, and four that say where a text begins and ends"""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = {letter: n + 4 for n, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE({"<s>": 0, "</s>": 1, "<pad>": 2, "<unk>": 3, **letters}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(root)
