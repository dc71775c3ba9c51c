"""Tokens: what may be sent to which hub"""

from collections.abc import Mapping
from pathlib import Path

from artifactstore.core.hub import ENDPOINT

VARIABLE = "ARTSTORE_HUB_TOKEN"


def find_token(endpoint: str, env: Mapping[str, str]) -> str | None:
    """The token for an endpoint, None where none may be sent

    A token that was made for the public hub goes nowhere else: HF_TOKEN, or else what `hf auth login` saved, is for the
    default endpoint only. For another one ARTSTORE_HUB_TOKEN must be set on purpose.
    """
    if endpoint.rstrip("/") != ENDPOINT:
        return env.get(VARIABLE, "").strip() or None
    return env.get("HF_TOKEN", "").strip() or _saved(env)


def _saved(env: Mapping[str, str]) -> str | None:
    # https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
    cache = env.get("XDG_CACHE_HOME") or Path("~", ".cache")
    place = env.get("HF_TOKEN_PATH") or Path(env.get("HF_HOME") or Path(cache, "huggingface"), "token")
    try:
        return Path(place).expanduser().read_text("utf-8").strip() or None
    except (OSError, RuntimeError, UnicodeDecodeError):
        return None
