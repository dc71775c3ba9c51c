"""Refs: models as recipes name them, `path[@revision][+lora[@revision]]`"""

from collections.abc import Mapping

from artifactstore.core.recipe.document import Value
from artifactstore.core.recipe.recipe import ModelRef


def parse_ref(value: Value, what: str) -> ModelRef:
    """A model in one line, or as keys and values of the same; raise Invalid"""
    if isinstance(value.found, Mapping):
        return _long_ref(value, what)
    parts = value.text(what).strip().split("+")
    if len(parts) > 2:
        raise value.refuse(f"{what} should be a model and at most one adapter, found {len(parts) - 1} of them")
    (path, revision), (lora, lora_revision) = _path(value, what, parts[0]), (None, None)
    if len(parts) == 2:
        lora, lora_revision = _path(value, what, parts[1])
    return ModelRef(path, revision, lora, lora_revision)


def _long_ref(value: Value, what: str) -> ModelRef:
    found = value.mapping(what, ("lora", "model"))
    if "model" not in found:
        raise value.refuse(f"{what} should have a key model")
    path, revision = _long_path(found["model"], what)
    lora, lora_revision = _long_path(found["lora"], what) if "lora" in found else (None, None)
    return ModelRef(path, revision, lora, lora_revision)


def _long_path(value: Value, what: str) -> tuple[str, str | None]:
    if not isinstance(value.found, Mapping):
        return _path(value, what, value.text(what))
    found = value.mapping(what, ("path", "revision"))
    if "path" not in found:
        raise value.refuse(f"{what} should have a path")
    return found["path"].text("path"), found["revision"].text("revision") if "revision" in found else None


def _path(value: Value, what: str, text: str) -> tuple[str, str | None]:
    path, at, revision = text.strip().partition("@")
    if not path or (at and not revision) or "@" in revision:
        raise value.refuse(f"{what} should be a model such as org/name or org/name@revision, found {text[:60]!r}")
    return path, revision or None
