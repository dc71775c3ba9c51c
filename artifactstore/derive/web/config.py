"""Config: what transformers.js is told of a model in its config.json"""

import json
from collections.abc import Mapping

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.config_patch import patch

_KEY = "transformers.js_config"
_FORMAT = "use_external_data_format"
# as many files of weights as transformers.js loads for one graph, src/utils/hub.js
MAX_CHUNKS = 100


def with_chunks(raw: bytes, chunks: Mapping[str, int], dtype: str | None = None) -> bytes:
    """A config.json that says how many files of weights each graph has, by the graph's name, and which dtype to load

    Raise Invalid for more than transformers.js takes, and for what is no JSON.
    """
    most = max(chunks.values(), default=0)
    if most > MAX_CHUNKS:
        raise Invalid(
            f"{most} files of weights for one graph; transformers.js takes {MAX_CHUNKS}, so give a larger --size",
            code="chunks",
            chunks=most,
        )
    try:
        known = json.loads(raw).get(_KEY) or {}
        before = known.get(_FORMAT)
    except (ValueError, AttributeError, RecursionError) as e:
        raise Invalid(f"config.json is no JSON object: {e}"[:200], code="json", name="config.json") from e
    others = before if isinstance(before, dict) else {}
    formats = {name: count for name, count in {**others, **chunks}.items() if count}
    said = {**known, **({"dtype": dtype} if dtype else {}), _FORMAT: formats}
    if not formats:
        said.pop(_FORMAT)
    changes: dict[tuple[str, ...], object] = {(_KEY,): said}
    return patch(raw, changes) if said != known else raw
