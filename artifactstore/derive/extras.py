"""Extras: libraries that only the foundry needs, imported where they are used"""

import importlib
from typing import Any

from artifactstore.core.errors import Unavailable


def need(module: str) -> Any:
    """A module of the extra `foundry`; raise Unavailable saying how to get it"""
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise Unavailable(
            f"This needs {e.name or module}; run: pip install 'artifactstore[foundry]'", code="extra", module=module
        ) from e
