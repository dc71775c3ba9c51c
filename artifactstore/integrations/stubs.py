"""Stubs: optimizers give and take another state than is asked of them, once, by hooks of torch"""

from collections.abc import Iterable
from typing import Any

import torch

State = dict[str, Any]


class Stubs:
    """Those of one trainer; what was not asked for since is forgotten"""

    def __init__(self) -> None:
        self._handles: list[Any] = []

    def give(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        """The next state of each that is asked for is an empty one"""
        self.forget()
        self._handles = [one.register_state_dict_post_hook(_Once({})) for one in optimizers]

    def take(self, states: Iterable[tuple[torch.optim.Optimizer, State]]) -> None:
        """The next state that is loaded into each is the given one, whatever it was to be"""
        self.forget()
        self._handles = [one.register_load_state_dict_pre_hook(_Once(state)) for one, state in states]

    def forget(self) -> None:
        """Nothing else from now on"""
        for handle in self._handles:
            handle.remove()
        self._handles = []


class _Once:
    def __init__(self, state: State) -> None:
        self._states = [state]

    def __call__(self, _optimizer: torch.optim.Optimizer, _state: State) -> State | None:
        return self._states.pop() if self._states else None
