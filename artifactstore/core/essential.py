"""Essential files: what a model cannot be loaded without, and which of it is missing

A model has weights: every shard of its index, else every part of a numbered set, else any file of weights. In the
layout of transformers it has a config.json beside them, and where that speaks of a vocabulary a tokenizer. A pipeline
of diffusers is what its model_index.json lists, each part in its folder. GGUF carries all of it in itself, an adapter
has its adapter_config.json, and weights under a name of their own need nothing beside them.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from artifactstore.core.errors import Invalid
from artifactstore.core.formats import index

Read = Callable[[str], bytes]

CONFIG, ADAPTER, PIPELINE = "config.json", "adapter_config.json", "model_index.json"
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".h5", ".msgpack", ".pkl", ".npz")
_STATES = re.compile(r"(?:optimizer|scheduler|training_args|rng_state[^/]*|random_states[^/]*)\.(?:pt|pth|bin|pkl)")
# model.safetensors, pytorch_model-00001-of-00003.bin, diffusion_pytorch_model.fp16.safetensors
_NAMED = re.compile(
    r"(?:model|pytorch_model|diffusion_pytorch_model|tf_model|flax_model)"
    r"(?:\.[a-z0-9_]+)?(?:-\d{5}-of-\d{5})?(?:\.[a-z0-9_]+)?\.(?:safetensors|bin|h5|msgpack)"
)
_NUMBERED = re.compile(r"(.*-)(\d{5})(-of-)(\d{5})(\.[^/]*)", re.DOTALL)
_TOKENIZERS = re.compile(
    r"(?:tokenizer\.(?:json|model)|vocab\.(?:json|txt)|(?:spiece|sentencepiece(?:\.bpe)?|source|target)\.(?:model|spm)"
    r"|tekken\.json|.*\.tiktoken|.*\.vocab|bpe\.codes|qwen\.tiktoken|tokenizer\.model(?:\.v\d+)?|preprocessor_config\.json"
    r"|processor_config\.json)"
)
_SPEAKS = ("vocab_size", "vocabulary_size")


def missing(paths: Collection[str], read: Read) -> tuple[str, ...]:
    """What is not among the files of a model, in the words of a person; empty when it is whole

    read: a small file's bytes; what it raises is raised.
    """
    if PIPELINE in paths:
        return _pipeline(paths, read)
    return _folder(paths, read, "")


def readable(path: str) -> bool:
    """Whether `missing` may ask for this file's bytes"""
    return path.rpartition("/")[2] in {CONFIG, PIPELINE} or index.is_index(path)


def _folder(paths: Collection[str], read: Read, prefix: str) -> tuple[str, ...]:
    here = {path.removeprefix(prefix): path for path in paths if path.startswith(prefix)}
    top = {name for name in here if "/" not in name}
    lacking = [*_lost_shards(here, read), *_lost_parts(here)]
    weights = [name for name in here if is_weights(name)]
    if not weights and not lacking:
        lacking.append(f"{prefix}weights (none of {', '.join(_WEIGHTS[:4])}, …)")
    if ADAPTER in top or (weights and all(name.endswith(".gguf") for name in weights)):
        return tuple(lacking)
    if CONFIG not in top:
        usual = any(_NAMED.fullmatch(name) or index.is_index(name) for name in top)
        return (*lacking, *([f"{prefix}{CONFIG}"] if usual else []))
    if _needs_tokenizer(read(here[CONFIG]), here[CONFIG]) and not any(map(_TOKENIZERS.fullmatch, top)):
        lacking.append(f"{prefix}a tokenizer (tokenizer.json, tokenizer.model, vocab.txt, …)")
    return tuple(lacking)


def is_weights(path: str) -> bool:
    """Whether a file of this name holds weights, and not the state of a training"""
    name = path.rpartition("/")[2]
    return name.endswith(_WEIGHTS) and not _STATES.fullmatch(name)


def _lost_shards(here: Mapping[str, str], read: Read) -> list[str]:
    """Shards that an index names; one kind of weights that is whole is enough"""
    lost: dict[str, list[str]] = {}
    for name, path in here.items():
        if "/" in name or not index.is_index(path):
            continue
        shards = index.parse(read(path), path)
        if shards is not None:
            lost[path] = sorted(set(shards.weight_map.values()) - set(here.values()))
    return [] if not all(lost.values()) else sorted({shard for shards in lost.values() for shard in shards})


def _lost_parts(here: Mapping[str, str]) -> list[str]:
    """Parts of sets numbered 00001-of-00003 that no index speaks of, as those of GGUF"""
    if any(index.is_index(path) for path in here.values()):
        return []
    found: dict[tuple[str, str, str], set[int]] = {}
    for path in here.values():
        part = _NUMBERED.fullmatch(path)
        if part and is_weights(path):
            found.setdefault((part[1], part[4], part[5]), set()).add(int(part[2]))
    return [
        f"{stem}{number:05}-of-{total}{suffix}"
        for (stem, total, suffix), numbers in sorted(found.items())
        for number in range(1, min(int(total), 10_000) + 1)
        if number not in numbers
    ]


def _needs_tokenizer(raw: bytes, path: str) -> bool:
    config = _object(raw, path)
    if "_class_name" in config:  # of diffusers, whose tokenizers lie in folders of their own
        return False
    parts = [config, *(value for key, value in config.items() if key.endswith("_config") and isinstance(value, dict))]
    return any(key in part for part in parts for key in _SPEAKS)


def _pipeline(paths: Collection[str], read: Read) -> tuple[str, ...]:
    lacking: list[str] = []
    for name, what in _object(read(PIPELINE), PIPELINE).items():
        if name.startswith("_") or not isinstance(what, list) or len(what) != 2 or not all(what):
            continue
        prefix = f"{name}/"
        inside = [path for path in paths if path.startswith(prefix)]
        if not inside:
            lacking.append(prefix)
        elif f"{prefix}{CONFIG}" in inside:
            lacking += _component(inside, read, prefix)
    return tuple(lacking)


def _component(inside: Collection[str], read: Read, prefix: str) -> tuple[str, ...]:
    """A part of a pipeline that is a model: its tokenizer lies beside it, in a folder of its own"""
    return tuple(one for one in _folder(inside, read, prefix) if "tokenizer" not in one)


def _object(raw: bytes, path: str) -> Mapping[str, Any]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as e:
        raise Invalid(f"{path} is not JSON ({e!s:.80})", code="json", path=path) from e
    if not isinstance(document, dict):
        raise Invalid(f"{path} is not a JSON object", code="json", path=path)
    return document
