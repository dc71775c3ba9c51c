"""Config: what config.json says that evaluation must know before a model is opened"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifactstore.core.errors import Invalid

_HEADS = ("ForCausalLM", "LMHeadModel")
_CONTEXT = ("n_positions", "max_position_embeddings", "n_ctx")
_UNSAID = 2048


@dataclass(frozen=True, slots=True)
class Config:
    """What it says, as a whole"""

    document: Mapping[str, Any]

    @property
    def is_causal(self) -> bool:
        """Whether it continues texts"""
        names = self.document.get("architectures")
        return isinstance(names, list) and any(str(name).endswith(_HEADS) for name in names)

    @property
    def text(self) -> Mapping[str, Any]:
        """Of the part that reads text, where there are several"""
        inner = self.document.get("text_config")
        return inner if isinstance(inner, dict) else self.document

    def context(self, longest: int | None = None) -> int:
        """Tokens that it takes; else what the tokenizer says, else 2048"""
        said = (self.text.get(key) for key in _CONTEXT)
        return next((one for one in said if isinstance(one, int) and one > 0), longest or _UNSAID)


def read_config(folder: Path) -> Config:
    """Raise Invalid when there is none or it says code of its own is needed"""
    path = folder / "config.json"
    try:
        document = json.loads(path.read_bytes())
    except OSError as e:
        raise Invalid("It has no config.json; nothing says what its weights are", code="config") from e
    except (ValueError, RecursionError) as e:
        raise Invalid(f"Its config.json is no JSON: {e!s:.80}", code="config") from e
    if not isinstance(document, dict) or not isinstance(document.get("model_type"), str):
        raise Invalid("Its config.json names no model_type; it is not of transformers' kind", code="config")
    return Config(document)
