"""Kinds: what sort of model a version is, and in which format most of it stands"""

from collections.abc import Mapping, Sequence
from typing import Any

_BY_RELATION = {"adapter": "adapter", "merge": "merge", "quantize": "quantized"}
_FORMATS = ("safetensors", "gguf", "torch", "pickle")


def kind_of(metadata: Mapping[str, Any], relations: Sequence[str], *, is_step: bool) -> str:
    """`kind` or `pipeline_tag` of the metadata, else `adapter`, `merge`, `quantized`, `checkpoint` or `model`

    relations: of its links, in order. is_step: it is a step of a run.
    """
    for name in ("kind", "pipeline_tag"):
        given = metadata.get(name)
        if isinstance(given, str) and given:
            return given
    derived = [_BY_RELATION[relation] for relation in relations if relation in _BY_RELATION]
    if derived:
        return derived[0]
    return "checkpoint" if is_step else "model"


def format_of(formats: Sequence[str]) -> str:
    """The format of its weights, of the formats of its files; the files beside the weights say nothing"""
    known = [name for name in _FORMATS if name in formats]
    return known[0] if known else formats[0] if formats else "-"
