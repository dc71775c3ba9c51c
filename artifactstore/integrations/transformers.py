"""transformers: a callback that saves to a store in place of the Trainer, and a Trainer that goes on from there

When to save is said as ever, by the Trainer's arguments; nothing of a checkpoint is written to its output_dir.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import transformers
from accelerate.state import AcceleratorState

from artifactstore.checkpoints import CheckpointManager
from artifactstore.core.errors import Invalid
from artifactstore.integrations.pretrained import files_of
from artifactstore.integrations.saves import Fields, Saves
from artifactstore.integrations.transformers_state import folder, parts, small_parts
from artifactstore.tensors.into import load_into

_SHARDED = ("FSDP", "DEEPSPEED", "MEGATRON_LM", "XLA")
# Of an evaluation, and no measure of the model.
_ASIDE = ("epoch", "_runtime", "_per_second")


class StoreCallback(transformers.TrainerCallback):  # type: ignore[misc]  # not followed by mypy
    """Saves model, optimizer, scheduler, random state and the Trainer's own, with configuration and tokenizer

    Metrics are those of the evaluation at the same step. The manager ranks them and says by its policy what stays;
    fields is what else every checkpoint says of itself, such as phase, license and the first one's parent. The first of
    several processes saves; random states of others and states of other callbacks are not kept.
    """

    def __init__(self, manager: CheckpointManager, *, fields: Fields = None, wait: bool = False) -> None:
        self._saves = Saves("transformers", manager, fields, wait=wait)
        self._resumed: dict[str, Any] = {}
        self._files: dict[str, Any] = {}
        self._due, self._logged = False, 0

    @contextmanager
    def resume(self, ref: str) -> Iterator[str]:
        """What `trainer.train(resume_from_checkpoint=…)` takes; raise NotFound, Invalid, Corrupt

        A folder of small files: weights and optimizer are filled from the store when training begins.
        """
        self._resumed = self._saves.restore(ref)["state"]
        try:
            with folder(self._resumed) as path:
                yield path
        finally:
            self._resumed = {}

    def on_train_begin(self, args: Any, state: Any, _control: Any, model: Any = None, **given: Any) -> None:
        """Fill what is resumed; raise Invalid for what does not fit, or needs files that only the Trainer writes"""
        if args.load_best_model_at_end or args.save_strategy == "best":
            raise Invalid(
                "The Trainer's best model is one of its own files; give the manager best= instead", code="best"
            )
        if AcceleratorState().distributed_type in _SHARDED:
            raise Invalid("The model is sharded; use torch.distributed.checkpoint with StoreWriter", code="strategy")
        if self._resumed:
            load_into(parts(model, **given), self._resumed)
        self._resumed, self._due, self._logged = {}, False, state.global_step
        self._files = files_of(model, given.get("processing_class"))

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Save in place of the Trainer, after what it logs and evaluates at this step"""
        if control.should_save:
            control.should_save = False
            self._due = control.should_evaluate or (control.should_log and state.global_step > self._logged)
            if not self._due:
                self._save(args, state, {}, **given)

    on_epoch_end = on_step_end

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **given: Any) -> None:
        """Save, if that was waited for"""
        self._logged = state.global_step if "loss" in logs else self._logged
        if self._due and not control.should_evaluate:
            self._save(args, state, {}, **given)

    def on_evaluate(self, args: Any, state: Any, _control: Any, metrics: Any = None, **given: Any) -> None:
        """Save, if that was waited for"""
        if self._due:
            self._save(args, state, metrics, **given)

    def on_train_end(self, *_: Any, **_given: Any) -> None:
        """Wait until all is durable; raise what went wrong"""
        self._saves.flush()

    def _save(self, args: Any, state: Any, metrics: Mapping[str, float], **given: Any) -> None:
        self._due = False
        if state.is_world_process_zero:
            kept = {"model": given["model"]} if args.save_only_model else parts(**given)
            kept |= {**small_parts(args, state, metrics), "files": self._files}
            measured = {name: value for name, value in metrics.items() if not name.endswith(_ASIDE)}
            self._saves.save(kept, step=state.global_step, epoch=state.epoch, metrics=measured)
