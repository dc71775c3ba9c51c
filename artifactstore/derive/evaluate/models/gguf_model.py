"""GGUF: a file of llama.cpp's, whose tensors transformers unpacks as they load"""

from pathlib import Path

from artifactstore.derive.evaluate.models.config import Config
from artifactstore.derive.evaluate.models.files import refuse_split
from artifactstore.derive.evaluate.models.tokens import open_tokens
from artifactstore.derive.evaluate.models.torch_model import TorchLanguageModel, Use, open_module, weights_of
from artifactstore.derive.extras import need


def open_gguf(folder: Path, path: str, use: Use) -> TorchLanguageModel:
    """A model whose configuration, and where none lies beside it whose tokenizer, are read from its header"""
    need("gguf")
    refuse_split(path)
    tokens = open_tokens(folder, path)
    module = open_module(folder, use, causal=True, gguf_file=path)
    context = Config(module.config.to_dict()).context(tokens.longest)
    return TorchLanguageModel(module, tokens, context, weights_of(module))
