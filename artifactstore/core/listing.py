"""Listing: models.json, by which a page finds the models that it may load"""

import json
from collections.abc import Mapping
from typing import Any

from artifactstore.core.errors import Invalid

NAME = "models.json"
_MODELS = "models"


def put(raw: bytes | None, key: str, entry: Mapping[str, Any]) -> bytes:
    """The listing with one entry set, all others as they were; None: a listing that is to be begun

    Entries are found by their keys, in a list by their `id`, either at the top or under `models`: in whichever way the
    listing has them. A new one is an object. Raises Invalid for what is none of these.
    """
    try:
        found: Any = {} if raw is None else json.loads(raw)
    except (ValueError, RecursionError) as e:
        raise Invalid(f"{NAME} is no JSON: {e}; repair it or move it away"[:200], code="listing") from e
    if isinstance(found, dict) and isinstance(found.get(_MODELS), list | dict):
        found = {**found, _MODELS: _with(found[_MODELS], key, entry)}
    else:
        found = _with(found, key, entry)
    return json.dumps(found, indent=2, ensure_ascii=False).encode() + b"\n"


def _with(models: Any, key: str, entry: Mapping[str, Any]) -> Any:
    if isinstance(models, dict):
        return {**models, key: entry}
    if not isinstance(models, list):
        raise Invalid(f"{NAME} should hold models by their keys, or a list of them", code="listing")
    named = [isinstance(one, dict) and one.get("id") == key for one in models]
    kept = [entry if same else one for one, same in zip(models, named, strict=True)]
    return kept if any(named) else [*kept, entry]
