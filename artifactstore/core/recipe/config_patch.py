"""Patch: keys of a JSON document set anew, in its own order and indentation"""

import json
import re
from collections.abc import Mapping
from typing import Any

from artifactstore.core.errors import Invalid

_INDENT = re.compile(rb"\A\s*\{\r?\n([ \t]+)")


def patch(raw: bytes, keys: Mapping[str, object]) -> bytes:
    """The document with these keys: a path with dots, as `text_config.vocab_size`; None takes a key away

    What has the values already comes back byte for byte. Raise Invalid for what is no JSON object.
    """
    try:
        document = json.loads(raw)
    except ValueError as e:
        raise Invalid(f"A configuration is no JSON: {e}", code="config") from e
    if not isinstance(document, dict):
        raise Invalid("A configuration holds no JSON object", code="config")
    changes = [_set(document, path.split("."), value) for path, value in keys.items()]
    if not any(changes):
        return raw
    found = _INDENT.match(raw)
    indent = found[1].decode() if found else None
    separators = None if found else (",", ":") if b'": ' not in raw else (", ", ": ")
    text = json.dumps(document, indent=indent, separators=separators, ensure_ascii=raw.isascii())
    return text.encode() + (b"\n" if raw.endswith(b"\n") else b"")


def _set(document: dict[str, Any], path: list[str], value: object) -> bool:
    """Whether it changed something"""
    *sections, key = path
    for section in sections:
        document = document.setdefault(section, {})
    if value is None:
        return document.pop(key, None) is not None
    same = key in document and type(document[key]) is type(value) and document[key] == value
    document[key] = value
    return not same
