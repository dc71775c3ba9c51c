"""Times at which Lightning's Trainer validates, by what it says of itself"""

from typing import Any


def each_epoch(trainer: Any) -> bool:
    """Whether an epoch ends with its validation, or has none; else validations come as they come"""
    once = (trainer.check_val_every_n_epoch, getattr(trainer, "val_check_interval", None)) == (1, 1.0)
    return once or not trainer.enable_validation


def after_batch(trainer: Any, batch: int) -> bool:
    """Whether there is one after this batch of the epoch; False also where only time will tell"""
    epochs, every = trainer.check_val_every_n_epoch, trainer.val_check_batch
    if not trainer.enable_validation or not isinstance(every, int):
        return False
    if epochs is None:
        batch = trainer.fit_loop.total_batch_idx
    elif (trainer.current_epoch + 1) % epochs:
        return False
    return (batch + 1) % every == 0
