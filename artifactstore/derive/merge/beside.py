"""Beside the weights: what of the donor's files goes along, and what is written anew"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from artifactstore.core.names import SafePath
from artifactstore.core.recipe.blueprint import Blueprint
from artifactstore.core.recipe.config_patch import patch
from artifactstore.derive.models import Model, text_file
from artifactstore.ops.transfer.source import Source

# What tells of the model that the donor was, or holds its weights once more.
_LEFT = frozenset(("README.md", ".gitattributes", "mergekit_config.yml", "merge.json", "pytorch_model.bin.index.json"))
_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".onnx_data", ".h5", ".msgpack", ".ot", ".safetensors")
_FOLDERS = ("onnx/", "openvino/", "original/", ".cache/")
# by which tokenizers of Hugging Face are found
TOKENIZER = frozenset(
    (
        *("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json"),
        *("vocab.json", "vocab.txt", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "chat_template.jinja"),
        *("chat_template.json", "tekken.json"),
    )
)


def beside(models: Sequence[Model], blueprint: Blueprint, texts: Mapping[str, bytes]) -> tuple[Source, ...]:
    """The donor's files with its configuration patched, the tokenizer's from whose it is, and these texts, by path"""
    found: dict[str, Source] = dict(_kept(models[blueprint.donor], tokenizer=blueprint.tokenizer == blueprint.donor))
    if blueprint.tokenizer not in (None, blueprint.donor):
        other = models[blueprint.tokenizer or 0].beside
        found |= {path: file for path, file in other.items() if path in TOKENIZER}
    config = models[blueprint.donor].read("config.json")
    if config is not None and blueprint.config:
        found["config.json"] = text_file("config.json", patch(config, blueprint.config))
    found |= {path: text_file(path, raw) for path, raw in texts.items()}
    return tuple(found[path] for path in sorted(found))


def _kept(donor: Model, *, tokenizer: bool) -> Iterator[tuple[str, Source]]:
    for path, file in donor.beside.items():
        inner = path.rpartition("/")[0]
        is_left = path in _LEFT or path.startswith(_FOLDERS) or (not inner and path.endswith(_WEIGHTS))
        if not is_left and (tokenizer or path not in TOKENIZER):
            yield path, replace(file, path=SafePath(path))
