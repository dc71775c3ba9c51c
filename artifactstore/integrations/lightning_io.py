"""Lightning's CheckpointIO: paths of the scheme `artstore:` go to a store, others where they went before"""

from typing import Any

try:
    import lightning.pytorch as pl
    from lightning.fabric.plugins import CheckpointIO
except ImportError:
    import pytorch_lightning as pl
    from lightning_fabric.plugins import CheckpointIO

from artifactstore.integrations.saves import Saves, need

need(pl, "2.4")
SCHEME = "artstore:"
# A store has these at places of their own; the Trainer's names for them.
_NAMES = {"model": "state_dict", "optimizer": "optimizer_states"}


class StoreIO(CheckpointIO):  # type: ignore[misc]  # not followed by mypy
    """path: what a callback saves to, with the `metrics` it has set; loads are of any `artstore://reference`"""

    def __init__(self, saves: Saves, inner: CheckpointIO) -> None:
        self.saves, self.inner = saves, inner
        # strategies make a Path of it, which has no double slashes
        self.path = f"{SCHEME}{id(saves)}"
        self.metrics: dict[str, float] = {}

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Store what the Trainer dumped; raise Invalid naming the place of a value that cannot be stored"""
        if str(path) != self.path:
            self.inner.save_checkpoint(checkpoint, path, storage_options)
            return
        state = {name: checkpoint[theirs] for name, theirs in _NAMES.items()}
        state |= {name: value for name, value in checkpoint.items() if name not in _NAMES.values()}
        self.saves.save(state, step=checkpoint["global_step"], epoch=checkpoint["epoch"], metrics=self.metrics)

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What the Trainer restores itself from; raise NotFound, Invalid for what no Trainer saved, Corrupt"""
        if not str(path).startswith(SCHEME):
            loaded: dict[str, Any] = self.inner.load_checkpoint(path, *args, **kwargs)
            return loaded
        state = self.saves.restore(str(path).removeprefix(SCHEME).lstrip("/"))["state"]
        return {_NAMES.get(name, name): value for name, value in state.items()}

    def remove_checkpoint(self, path: Any) -> None:
        """Policies remove what is in the store"""
        self.inner.remove_checkpoint(path)

    def teardown(self) -> None:
        """The manager is its owner's to close"""
        self.inner.teardown()
