"""The tokenizer of a model as GGUF has it, from tokenizer.json

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#tokenizer.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from artifactstore.core.errors import Invalid

_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")
# How texts are split before merging, by the part of the pattern in which these differ.
_SPLITS = (("llama-bpe", r"\p{N}{1,3}| ?[^\s"), ("qwen2", r"?\p{L}+|\p{N}| ?[^\s"))
_SPECIAL = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}


@dataclass(frozen=True, slots=True)
class Tokens:
    """What goes into the head of a file. model: "gpt2" for bytes as letters, "llama" for pieces with scores, or none

    ids: of special tokens by their key of GGUF; flags: add_bos_token…; notes: what people should be told.
    """

    model: str
    pre: str | None = None
    tokens: Sequence[str] = ()
    types: Sequence[int] = ()
    scores: Sequence[float] = ()
    merges: Sequence[str] = ()
    ids: Mapping[str, int] = field(default_factory=dict)
    flags: Mapping[str, bool] = field(default_factory=dict)
    template: str | None = None
    notes: tuple[str, ...] = ()


def read_tokens(files: Mapping[str, bytes], config: Mapping[str, Any], rows: int) -> Tokens:
    """From the files beside a model, for an embedding of so many rows

    Raise Invalid for a tokenizer that GGUF cannot say, or that has more tokens than the model has rows.
    """
    raw = files.get("tokenizer.json")
    if raw is None:
        return Tokens("no_vocab", notes=("no tokenizer.json, so the file takes token ids only",))
    document, settings = _parsed(raw, "tokenizer.json"), _parsed(files.get("tokenizer_config.json", b"{}"), "tokenizer")
    model = document.get("model") or {}
    if model.get("type") != "BPE":
        raise Invalid(
            f"A tokenizer of kind {model.get('type')!r:.40} has no form here in GGUF (BPE has); use --target gpu",
            code="tokenizer",
        )
    tokens, types = _vocabulary(document, rows)
    pieces = bool(model.get("byte_fallback"))
    pre, notes = (None, ()) if pieces else _split(document)
    merges = [one if isinstance(one, str) else " ".join(one) for one in model.get("merges", [])]
    ids = _special(settings, config, {token: number for number, token in enumerate(tokens)})
    return Tokens(
        "llama" if pieces else "gpt2",
        pre,
        tokens,
        types,
        _scores(tokens, merges) if pieces else (),
        merges,
        ids,
        _flags(document, settings, ids),
        _template(files, settings),
        notes,
    )


def _parsed(raw: bytes, name: str) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except ValueError as e:
        raise Invalid(f"{name} is no JSON: {e}", code="json", file=name) from e
    if not isinstance(document, dict):
        raise Invalid(f"{name} must hold an object", code="json", file=name)
    return document


def _vocabulary(document: Mapping[str, Any], rows: int) -> tuple[list[str], list[int]]:
    """Tokens and their types by id; rows without a token get a name that no text gives"""
    known: dict[int, tuple[str, int]] = {}
    unknown = document["model"].get("unk_token")
    for token, number in document["model"].get("vocab", {}).items():
        kind = _BYTE if _BYTE_TOKEN.fullmatch(token) else _UNKNOWN if token == unknown else _NORMAL
        known[number] = token, kind
    for added in document.get("added_tokens", []):
        kind = _UNKNOWN if added["content"] == unknown else _CONTROL if added.get("special") else _USER
        known[added["id"]] = added["content"], kind
    if max(known, default=-1) >= rows:
        raise Invalid(
            f"tokenizer.json has the token {known[max(known)][0]!r:.40} with id {max(known)}, but the model has {rows} "
            "rows; they do not belong together",
            code="tokenizer",
        )
    filled = [known.get(number, (f"[PAD{number}]", _UNUSED)) for number in range(rows)]
    return [token for token, _ in filled], [kind for _, kind in filled]


def _scores(tokens: Sequence[str], merges: Sequence[str]) -> list[float]:
    """Of pieces: what is merged first scores highest, as it is the order of merging that scores decide"""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault(merge.replace(" ", "", 1), rank)
    return [float(-ranks.get(token, len(merges))) for token in tokens]


def _split(document: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    pre = document.get("pre_tokenizer") or {}
    parts = pre.get("pretokenizers", [pre])
    patterns = [str((part.get("pattern") or {}).get("Regex", "")) for part in parts]
    for name, sign in _SPLITS:
        if any(sign in pattern for pattern in patterns):
            return name, ()
    if any(part.get("type") == "ByteLevel" and part.get("use_regex", True) for part in parts):
        return "gpt-2", ()
    return "default", ("its way of splitting texts is not known; llama.cpp will split as its default does",)


def _special(settings: Mapping[str, Any], config: Mapping[str, Any], numbers: Mapping[str, int]) -> dict[str, int]:
    ids = {}
    for key, name in _SPECIAL.items():
        number = numbers.get(_content(settings, name) or "")
        if number is None:
            number = config.get(f"{name}_id")
            number = number[0] if isinstance(number, list) and number else number
        if isinstance(number, int) and 0 <= number < len(numbers):
            ids[key] = number
    return ids


def _content(settings: Mapping[str, Any], key: str) -> str | None:
    """A token as it is written, alone or among its flags"""
    token = settings.get(key)
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else None


def _flags(document: Mapping[str, Any], settings: Mapping[str, Any], ids: Mapping[str, int]) -> dict[str, bool]:
    flags = {}
    single = _first_template(document.get("post_processor") or {})
    for key in ("bos", "eos"):
        given = settings.get(f"add_{key}_token")
        if isinstance(given, bool):
            flags[f"add_{key}_token"] = given
        elif single is not None and key in ids:
            flags[f"add_{key}_token"] = _content(settings, f"{key}_token") in single
    return flags


def _first_template(processor: Mapping[str, Any]) -> list[Any] | None:
    for one in processor.get("processors", [processor]):
        if one.get("type") == "TemplateProcessing":
            return [(part.get("SpecialToken") or {}).get("id") for part in one.get("single", [])]
    return None


def _template(files: Mapping[str, bytes], settings: Mapping[str, Any]) -> str | None:
    if "chat_template.jinja" in files:
        return files["chat_template.jinja"].decode(errors="replace")
    template = settings.get("chat_template")
    if isinstance(template, list):
        named = {one.get("name"): one.get("template") for one in template}
        template = named.get("default")
    return template if isinstance(template, str) else None
