"""State of a Trainer of transformers: what its checkpoints hold beside the weights, and a folder to resume from"""

import json
import logging
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers.training_args import ParallelMode

_LOGGER = logging.getLogger("transformers.trainer")


def parts(model: Any, optimizer: Any, lr_scheduler: Any, **_: Any) -> dict[str, Any]:
    """What is filled in place"""
    scaler = getattr(optimizer, "scaler", None)
    return {"model": model, "optimizer": optimizer, "scheduler": lr_scheduler} | ({"scaler": scaler} if scaler else {})


def small_parts(args: Any, state: Any, metrics: Mapping[str, float]) -> dict[str, Any]:
    """What is read from the folder, in the Trainer's own form"""
    states = {"python": random.getstate(), "numpy": np.random.get_state(), "cpu": torch.get_rng_state()}  # noqa: NPY002
    if torch.cuda.is_available():
        every = args.parallel_mode == ParallelMode.DISTRIBUTED
        states["cuda"] = torch.cuda.get_rng_state_all() if every else torch.cuda.get_rng_state()
    return {"trainer": _with_best(asdict(state), args, metrics), "random": states}


def _with_best(state: dict[str, Any], args: Any, metrics: Mapping[str, float]) -> dict[str, Any]:
    """The Trainer notes the best metric only after its callbacks have heard of it"""
    name = (args.metric_for_best_model or "").removeprefix("eval_")
    value, best = metrics.get(f"eval_{name}"), state["best_metric"]
    if value is not None and (best is None or (value > best if args.greater_is_better else value < best)):
        state |= {"best_metric": value, "best_global_step": state["global_step"]}
    return state


@contextmanager
def folder(state: Mapping[str, Any]) -> Iterator[str]:
    """What the Trainer resumes from, with no weights in it"""
    with TemporaryDirectory() as path:
        Path(path, "trainer_state.json").write_text(json.dumps(state["trainer"]), "utf-8")
        for name in ("rng_state.pth", "rng_state_0.pth"):
            torch.save(state["random"], Path(path, name))
        save_file({}, Path(path, "model.safetensors"))
        _LOGGER.addFilter(_is_of_use)
        try:
            yield path
        finally:
            _LOGGER.removeFilter(_is_of_use)


def _is_of_use(record: logging.LogRecord) -> bool:
    """Not that this folder has no weights"""
    return "missing keys in the checkpoint" not in record.getMessage()
