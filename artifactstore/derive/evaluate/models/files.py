"""Files: which of a model's files are to be opened, and which others go with them"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from artifactstore.core.errors import Invalid

_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})\.gguf")
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.safetensors$)")
_DATA = re.compile(r"\.onnx[._]data(_\d+)?$")
# What transformers opens before all others, and a name with a variant in it.
_PLAIN = "model.safetensors"
_VARIANT = re.compile(r"model(?:\.([\w-]+))?\.safetensors", re.ASCII)
_PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
_OTHERS = {".h5", ".msgpack", ".tflite", ".ot", ".mlmodel", ".npz"}


class Format(StrEnum):
    """How weights lie on disk"""

    SAFETENSORS = "safetensors"
    GGUF = "gguf"
    ONNX = "onnx"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is opened. path: the file, or of shards the name without their numbers; beside: paths it cannot do without

    weights: those among them that hold its numbers.
    """

    format: Format
    path: str
    weights: tuple[str, ...]
    beside: tuple[str, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """All that must lie in the folder"""
        return self.weights + self.beside


def choose(paths: Sequence[str], path: str | None = None) -> Chosen:
    """Safetensors before GGUF before ONNX, unless a path is named; raise Invalid when it is not clear, or there is none

    Pickled weights are never opened.
    """
    models = _models(paths)
    if path is not None:
        found = [one for one in models if path == one.path or path in one.weights]
        if not found:
            raise Invalid(f"No model at {path!r:.80}; there are {_shown(models)}", code="file")
        return found[0]
    for form in Format:
        found = [one for one in models if one.format is form]
        first = [one for one in found if one.path == _PLAIN] or found
        if len(first) > 1:
            raise Invalid(f"Which model is meant? Name one of {_shown(found)} with --file", code="file")
        if first:
            return first[0]
    if any(PurePosixPath(one).suffix in _PICKLED for one in paths):
        raise Invalid("Its weights are pickled, which may run code; convert them to safetensors first", code="pickle")
    raise Invalid("It has no weights in safetensors, GGUF or ONNX form", code="model")


def _models(paths: Sequence[str]) -> list[Chosen]:
    small = tuple(one for one in paths if not _is_weights(one))
    found: dict[tuple[Format, str], list[str]] = {}
    for one in sorted(paths):
        suffix = PurePosixPath(one).suffix.removeprefix(".")
        if suffix in set(Format):
            name = _SHARD.sub("", one) if suffix == Format.SAFETENSORS else one
            found.setdefault((Format(suffix), name), []).append(one)
    data = [one for one in paths if _DATA.search(one)]
    models = []
    for (form, name), own in found.items():
        stem = name.removesuffix(".onnx")
        outside = [one for one in data if form is Format.ONNX and _DATA.sub("", one) == stem]
        models.append(Chosen(form, name, (*own, *sorted(outside)), small))
    return [one for one in models if not _is_adapter(one)]


def _is_adapter(model: Chosen) -> bool:
    return PurePosixPath(model.path).name == "adapter_model.safetensors"


def _is_weights(path: str) -> bool:
    suffix = PurePosixPath(path).suffix
    return suffix.removeprefix(".") in set(Format) or bool(_DATA.search(path)) or suffix in _PICKLED | _OTHERS


def variant_of(path: str) -> str | None:
    """`fp16` of `model.fp16.safetensors`; raise Invalid for a file that transformers would not look for"""
    found = _VARIANT.fullmatch(PurePosixPath(path).name)
    if found is None:
        raise Invalid(f"{path} is not named model.safetensors, as transformers wants it", code="file")
    return found[1]


def refuse_split(path: str) -> None:
    """Raise Invalid for one part of several, which transformers cannot read together"""
    found = _SPLIT.search(path)
    if found:
        raise Invalid(
            f"{path} is part {int(found[1])} of {int(found[2])}; evaluate the file before its split", code="file"
        )


def _shown(models: Sequence[Chosen]) -> str:
    return ", ".join(model.path for model in models)[:300] or "none"
