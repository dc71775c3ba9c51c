"""A content-addressed store for model checkpoints and their lineage"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from artifactstore.background import Ticket
    from artifactstore.checkpoints import CheckpointManager
    from artifactstore.context import CheckpointContext, SavedCheckpoint
    from artifactstore.core.calendar import Daily, Monthly, Weekly
    from artifactstore.core.errors import (
        Conflict,
        Corrupt,
        Exists,
        Invalid,
        NotFound,
        StoreError,
        Unavailable,
    )
    from artifactstore.core.policy import Aliased, Best, EverySteps, Latest, MinCopies, Phase, Within
    from artifactstore.core.settings import Settings
    from artifactstore.models import ModelManager, create_model_manager
    from artifactstore.store import Store

__all__ = [
    "Aliased",
    "Best",
    "CheckpointContext",
    "CheckpointManager",
    "Conflict",
    "Corrupt",
    "Daily",
    "EverySteps",
    "Exists",
    "Invalid",
    "Latest",
    "MinCopies",
    "ModelManager",
    "Monthly",
    "NotFound",
    "Phase",
    "SavedCheckpoint",
    "Settings",
    "Store",
    "StoreError",
    "Ticket",
    "Unavailable",
    "Weekly",
    "Within",
    "create_model_manager",
]
__version__ = "0.1.0"

_POLICIES = ("Aliased", "Best", "EverySteps", "Latest", "MinCopies", "Phase", "Within")
_HOMES = {
    **dict.fromkeys(_POLICIES, "core.policy"),
    **dict.fromkeys(("Daily", "Monthly", "Weekly"), "core.calendar"),
    "CheckpointContext": "context",
    "CheckpointManager": "checkpoints",
    "ModelManager": "models",
    "SavedCheckpoint": "context",
    "Settings": "core.settings",
    "Store": "store",
    "Ticket": "background",
    "create_model_manager": "models",
}


def __getattr__(name: str) -> Any:
    """Import public names at first use, so that `import artifactstore` costs nothing"""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'core.errors')}"), name)
