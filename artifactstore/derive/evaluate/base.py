"""Models as evaluation sees them: tokens in, logits or vectors out, whatever file they lie in"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch


class Tokens(Protocol):
    """The tokenizer of a model. prefix: the token before a text that has nothing before it; size: ids are below"""

    prefix: int
    size: int

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Ids of a text; special: with those that the tokenizer puts around it by itself"""

    def chat(self, text: str) -> list[int]:
        """Ids of what a person said, as the model's template has it; raise Invalid without a template"""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without those that stand for no text"""


class Model(Protocol):
    """vocabulary: how many tokens it knows; context: how many it takes; params: how many weights, where it can tell"""

    vocabulary: int
    context: int
    params: int | None

    @property
    def tokens(self) -> Tokens:
        """Its tokenizer"""


@runtime_checkable
class LanguageModel(Model, Protocol):
    """What continues a text. cuts: whether it makes no more logits than it is asked for"""

    cuts: bool

    def logits(self, ids: torch.Tensor, keep: int) -> torch.Tensor:
        """[rows, keep, vocabulary] after each of the last `keep` ids of rows [rows, length], padded at their end"""

    def advance(self, ids: Sequence[int], past: Any = None) -> tuple[torch.Tensor, Any]:
        """float32 logits [vocabulary] after ids that follow on what `past` holds, and the past of the next call"""

    def ends(self) -> frozenset[int]:
        """Tokens after which a text is over"""


@runtime_checkable
class Encoder(Model, Protocol):
    """What makes one vector of a text. width: its length"""

    width: int

    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """float32 [texts, width]: the mean over each text's tokens, at most `context` of them"""
