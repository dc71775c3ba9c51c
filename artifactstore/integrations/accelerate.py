"""accelerate: `accelerator.save_state(folder)` and `load_state(folder)`, with weights and optimizers in a store"""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import accelerate
from accelerate.checkpointing import save_accelerator_state, save_custom_state
from accelerate.utils import broadcast_object_list, gather_object

from artifactstore.checkpoints import CheckpointManager
from artifactstore.core.errors import Invalid
from artifactstore.integrations import folders
from artifactstore.integrations.saves import Fields, Saves, need
from artifactstore.integrations.stubs import Stubs
from artifactstore.tensors.into import load_into

need(accelerate, "1.7")
_POINTER = "artstore-checkpoint.txt"


class StoreHooks:
    """Registers itself with an accelerator; the small files of a folder are in the store too, so that `load` needs none

    The manager's policy says what stays; fields is what every checkpoint says of itself: phase, the first one's parent.
    """

    def __init__(
        self, accelerator: Any, manager: CheckpointManager, *, fields: Fields = None, wait: bool = False
    ) -> None:
        self._accelerator = accelerator
        self._saves = Saves("accelerate", manager, fields, wait=wait)
        self._noted: dict[str, Any] = {}
        self._stubs = Stubs()
        accelerator.register_save_state_pre_hook(self._save)
        accelerator.register_load_state_pre_hook(self._load)

    def note(self, **fields: Any) -> None:
        """What accelerate does not know of the next save: `step`, `epoch`, `metrics` and more"""
        self._noted = fields

    def load(self, ref: str) -> None:
        """`load_state` of any checkpoint; raise NotFound, Invalid for one that does not fit, Corrupt"""
        with TemporaryDirectory() as folder:
            Path(folder, _POINTER).write_text(ref, "utf-8")
            self._accelerator.load_state(folder)

    def _save(self, models: list[Any], weights: list[Any], output_dir: str) -> None:
        if len(weights) != len(models):
            raise Invalid("The model is sharded; use torch.distributed.checkpoint with StoreWriter", code="strategy")
        accelerator, optimizers = self._accelerator, self._optimizers()
        files = {name: content for small in gather_object([self._small()]) for name, content in small.items()}
        (name,) = broadcast_object_list([uuid4().hex])
        if accelerator.is_main_process:
            self._saves.save({**self._models(models), **optimizers, "files": files}, request_id=name, **self._noted)
        if accelerator.is_local_main_process:
            Path(output_dir, _POINTER).write_text(name, "utf-8")
        self._noted = {}
        weights.clear()
        self._stubs.give(optimizers.values())

    def _load(self, models: list[Any], input_dir: str) -> None:
        pointer = Path(input_dir, _POINTER)
        if not pointer.is_file():
            return
        self._saves.flush()
        self._accelerator.wait_for_everyone()
        state = self._saves.restore(pointer.read_text("utf-8"))["state"]
        optimizers = self._optimizers()
        if missing := sorted(optimizers.keys() - state.keys()):
            raise Invalid(f"The checkpoint has no {', '.join(missing)}", code="into", faults=missing)
        load_into(self._models(models), state)
        models.clear()
        folders.give(state["files"], input_dir)
        self._stubs.take((one, state[name]) for name, one in optimizers.items())

    def _models(self, models: list[Any]) -> dict[str, Any]:
        return _numbered("model", (self._accelerator.unwrap_model(one, keep_torch_compile=False) for one in models))

    def _optimizers(self) -> dict[str, Any]:
        every = self._accelerator._optimizers  # noqa: SLF001  # hooks are handed models only
        return _numbered("optimizer", (one.optimizer for one in every))

    def _small(self) -> dict[str, Any]:
        """The files that accelerate is going to write"""
        one = self._accelerator
        parts = (one._optimizers, one._schedulers, one._dataloaders)  # noqa: SLF001
        self._stubs.give(self._optimizers().values())
        with TemporaryDirectory() as folder:
            save_accelerator_state(folder, [], *parts, one.process_index, one.step, one.scaler)
            for number, custom in enumerate(one._custom_objects):  # noqa: SLF001
                save_custom_state(custom, folder, number)
            return folders.take(folder)


def _numbered(name: str, values: Iterable[Any]) -> dict[str, Any]:
    """As accelerate numbers its files"""
    return {f"{name}_{number}" if number else name: value for number, value in enumerate(values)}
