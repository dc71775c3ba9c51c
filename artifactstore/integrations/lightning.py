"""Lightning: a callback that saves to a store, and `ckpt_path="artstore://run@latest"` to go on from there

The Trainer dumps and restores itself; the callback says when, and puts its CheckpointIO before the Trainer's.
"""

from typing import Any

try:
    import lightning.pytorch as pl
except ImportError:
    import pytorch_lightning as pl

from artifactstore.checkpoints import CheckpointManager
from artifactstore.core.errors import Invalid
from artifactstore.integrations import lightning_times
from artifactstore.integrations.lightning_io import SCHEME, StoreIO
from artifactstore.integrations.saves import Fields, Saves


class StoreCheckpoint(pl.callbacks.Checkpoint):  # type: ignore[misc]  # not followed by mypy
    """Saves every n steps or every n epochs, which is every epoch when neither is said

    As with ModelCheckpoint, an epoch is saved when its validation is over, and after each of several. Metrics are those
    that were logged, of a validation only at its step. The manager ranks them and its policy says what stays; fields is
    what else every checkpoint says of itself: phase, license, the first one's parent.
    """

    def __init__(
        self,
        manager: CheckpointManager,
        *,
        every_n_train_steps: int = 0,
        every_n_epochs: int | None = None,
        fields: Fields = None,
        wait: bool = False,
    ) -> None:
        self._saves = Saves("Lightning", manager, fields, wait=wait)
        self._steps = every_n_train_steps
        self._epochs = int(not every_n_train_steps) if every_n_epochs is None else every_n_epochs
        self._step, self._due = 0, False
        self._before: dict[str, Any] = {}
        self._measured: dict[str, int] = {}

    @property
    def best_model_path(self) -> str:
        """What `ckpt_path="best"` means: by the manager's `best`, else the newest; empty before the first"""
        return f"{SCHEME}//{self._saves.best}" if self._saves.best else ""

    def setup(self, trainer: "pl.Trainer", pl_module: "pl.LightningModule", stage: str) -> None:  # noqa: ARG002
        """Be asked for paths of the store; raise Invalid for a strategy that writes checkpoints by itself"""
        strategy, gathering = trainer.strategy, pl.strategies.Strategy.save_checkpoint
        if type(strategy).save_checkpoint is not gathering and getattr(strategy, "_state_dict_type", "") != "full":
            name = type(strategy).__name__
            raise Invalid(
                f"{name} writes by itself; use torch.distributed.checkpoint with StoreWriter", code="strategy"
            )
        if getattr(strategy.checkpoint_io, "saves", None) is not self._saves:
            strategy.checkpoint_io = self._io = StoreIO(self._saves, strategy.checkpoint_io)

    def on_train_batch_end(self, trainer: "pl.Trainer", _module: Any, _outputs: Any, _batch: Any, number: int) -> None:
        """Save, if it is due; after a validation that is due too, as it measures"""
        if self._steps and trainer.global_step % self._steps == 0:
            self._due = lightning_times.after_batch(trainer, number)
            if not self._due:
                self._save(trainer)

    def on_train_epoch_end(self, trainer: "pl.Trainer", *_: Any) -> None:
        """Save, if it is due"""
        self._save_epoch(trainer, validated=False)

    def on_validation_start(self, trainer: "pl.Trainer", *_: Any) -> None:
        """Remember what was logged before"""
        self._before = dict(trainer.callback_metrics)

    def on_validation_end(self, trainer: "pl.Trainer", *_: Any) -> None:
        """Note what was measured, and save if it is due"""
        logged = trainer.callback_metrics.items()
        self._measured |= {name: trainer.global_step for name, value in logged if self._before.get(name) is not value}
        if self._due:
            self._due = False
            self._save(trainer)
        self._save_epoch(trainer, validated=True)

    def on_train_end(self, trainer: "pl.Trainer", *_: Any) -> None:
        """Wait until all is durable; raise what went wrong"""
        self._saves.flush()
        self._saves.best = trainer.strategy.broadcast(self._saves.best)

    def _save_epoch(self, trainer: "pl.Trainer", *, validated: bool) -> None:
        at_end = lightning_times.each_epoch(trainer)
        if self._epochs and (trainer.current_epoch + 1) % self._epochs == 0 and validated != at_end:
            self._save(trainer)

    def _save(self, trainer: "pl.Trainer") -> None:
        fitting = trainer.state.fn == "fit" and not trainer.sanity_checking and not trainer.fast_dev_run
        if fitting and trainer.global_step != self._step:
            step, logged = trainer.global_step, trainer.callback_metrics.items()
            self._step = step
            self._io.metrics = {name: float(value) for name, value in logged if self._measured.get(name, step) == step}
            trainer.save_checkpoint(self._io.path, weights_only=False)
