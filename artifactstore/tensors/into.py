"""Into: a restored state put into modules, optimizers, schedulers and tensors that exist

Everything is compared first, so that what does not fit is told all at once and leaves nothing half loaded.
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from artifactstore.core.errors import Invalid

_SHOWN = 20
_PLAIN = (bool, int, float, complex, str, bytes, np.generic)
Load = Callable[[], object]


def load_into(into: Any, state: Any) -> None:
    """Load `state` into what `into` holds: a mapping of the state's shape, or one object for the whole state

    What has `load_state_dict` gets its part, tensors and arrays are copied in place, nested mappings and sequences
    are followed, other values are replaced. Names of the state that a top mapping leaves out are not loaded. Raise
    Invalid with every missing or unexpected name and shape that differs.
    """
    loader = _Loader()
    if isinstance(into, Mapping):
        whole = {name: value for name, value in state.items() if name in into} if isinstance(state, Mapping) else state
        loader.meet(into, whole, "state")
    elif callable(getattr(type(into), "load_state_dict", None)):
        loader.meet(into, state, "state")
    else:
        raise Invalid(
            f"into should be a mapping such as {{'model': model}} or a module, found a {type(into).__name__}",
            code="into",
        )
    loader.run()


class _Loader:
    def __init__(self) -> None:
        self._faults: list[str] = []
        self._loads: list[tuple[str, Load]] = []

    def run(self) -> None:
        """Load, unless something does not fit"""
        if self._faults:
            more = f"; and {len(self._faults) - _SHOWN} more" if len(self._faults) > _SHOWN else ""
            raise Invalid(
                f"The checkpoint does not fit: {'; '.join(self._faults[:_SHOWN])}{more}",
                code="into",
                faults=self._faults,
            )
        for path, load in self._loads:
            try:
                load()
            except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as e:
                raise Invalid(f"{path} could not be loaded: {e!s:.500}", code="into", path=path) from e

    def meet(self, into: Any, value: Any, path: str, replace: Load | None = None) -> None:
        """Compare one place and note how to load it; `replace` sets a value that cannot be changed in place"""
        if isinstance(into, torch.Tensor | np.ndarray):
            self._array(into, value, path)
        elif callable(getattr(type(into), "load_state_dict", None)):
            self._faults.extend(_misfits(into, value, path))
            self._loads.append((path, lambda: into.load_state_dict(value)))
        elif isinstance(into, Mapping):
            self._mapping(into, value, path)
        elif isinstance(into, list | tuple):
            self._sequence(into, value, path)
        elif replace is None or not (into is None or isinstance(into, _PLAIN)):
            self._faults.append(f"{path} is a {type(into).__name__}, which cannot be changed in place")
        else:
            self._loads.append((path, replace))

    def _array(self, into: "torch.Tensor | np.ndarray[Any, Any]", value: Any, path: str) -> None:
        if not isinstance(value, torch.Tensor if isinstance(into, torch.Tensor) else np.ndarray):
            self._faults.append(f"{path} is a {type(into).__name__}, saved was a {type(value).__name__}")
        elif tuple(into.shape) != tuple(value.shape):
            self._faults.append(f"{path} has shape {list(into.shape)}, saved was {list(value.shape)}")
        elif isinstance(into, torch.Tensor):
            self._loads.append((path, partial(into.detach().copy_, torch.as_tensor(value))))
        else:
            self._loads.append((path, lambda: np.copyto(into, value, casting="same_kind")))

    def _mapping(self, into: Mapping[Any, Any], value: Any, path: str) -> None:
        if not isinstance(value, Mapping):
            self._faults.append(f"{path} is a mapping, saved was a {type(value).__name__}")
            return
        missing = [name for name in into if name not in value]
        unexpected = [name for name in value if name not in into]
        self._faults.extend(f"{path}[{name!r:.80}] is missing in the checkpoint" for name in missing)
        self._faults.extend(f"{path}[{name!r:.80}] of the checkpoint is unexpected" for name in unexpected)
        for name in into:
            if name in value:
                self.meet(into[name], value[name], f"{path}[{name!r:.80}]", _setter(into, name, value[name]))

    def _sequence(self, into: Sequence[Any], value: Any, path: str) -> None:
        if not isinstance(value, list | tuple) or len(value) != len(into):
            found = f"{len(value)} values" if isinstance(value, list | tuple) else f"a {type(value).__name__}"
            self._faults.append(f"{path} has {len(into)} values, saved was {found}")
            return
        for number, (place, item) in enumerate(zip(into, value, strict=True)):
            self.meet(place, item, f"{path}[{number}]", _setter(into, number, item))


def _setter(holder: Any, key: Any, value: Any) -> Load | None:
    if isinstance(holder, MutableMapping | MutableSequence):
        return lambda: holder.__setitem__(key, value)
    return None


def _misfits(into: Any, value: Any, path: str) -> Iterator[str]:
    """What `load_state_dict` would refuse, as far as it can be told without calling it"""
    if not isinstance(value, Mapping):
        yield f"{path} has load_state_dict, saved was a {type(value).__name__}, not a state dict"
    elif isinstance(into, torch.nn.Module):
        yield from _module_misfits(into, value, path)
    elif isinstance(into, torch.optim.Optimizer):
        yield from _optimizer_misfits(into, value, path)


def _module_misfits(module: torch.nn.Module, value: Mapping[Any, Any], path: str) -> Iterator[str]:
    own = module.state_dict()
    yield from (f"{path}: {name} is missing in the checkpoint" for name in own if name not in value)
    yield from (f"{path}: {name} of the checkpoint is unexpected" for name in value if name not in own)
    for name, tensor in own.items():
        saved = value.get(name)
        known = isinstance(tensor, torch.Tensor) and not torch.nn.parameter.is_lazy(tensor)
        if known and isinstance(saved, torch.Tensor) and tensor.shape != saved.shape:
            yield f"{path}: {name} has shape {list(tensor.shape)}, saved was {list(saved.shape)}"


def _optimizer_misfits(optimizer: torch.optim.Optimizer, value: Mapping[Any, Any], path: str) -> Iterator[str]:
    own = [len(group["params"]) for group in optimizer.param_groups]
    try:
        saved = [len(group["params"]) for group in value["param_groups"]]
    except (KeyError, TypeError) as e:
        yield f"{path} is an optimizer, saved was no optimizer's state dict ({type(e).__name__}: {e})"
        return
    if own != saved:
        yield f"{path} has parameter groups of {own} tensors, saved were {saved}"
