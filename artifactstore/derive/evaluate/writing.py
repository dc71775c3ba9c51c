"""Writing: a text continued token by token"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch

from artifactstore.core.errors import Invalid
from artifactstore.derive.evaluate.base import LanguageModel

Pick = Callable[[torch.Tensor], int]


def likeliest(logits: torch.Tensor) -> int:
    """Of equal ones the first"""
    return int(logits.argmax())


def drawn(temperature: float, seed: int) -> Pick:
    """By chance, as likely as the model finds it; the same seed draws the same. Temperature 0 takes the likeliest

    Raise Invalid for a temperature below 0.
    """
    if not 0 <= temperature < math.inf:
        raise Invalid(f"Temperature {temperature} is not 0 or more", code="temperature")
    if temperature == 0:
        return likeliest
    generator = torch.Generator().manual_seed(seed)

    def pick(logits: torch.Tensor) -> int:
        chances = torch.softmax(logits.double() / temperature, -1)
        return int(torch.multinomial(chances, 1, generator=generator))

    return pick


def continued(model: LanguageModel, ids: Sequence[int], count: int, pick: Pick = likeliest) -> Iterator[int]:
    """At most so many tokens more, as far as the model's context and until it ends the text

    Raise Invalid for a start that fills the context, or logits that are no numbers.
    """
    start = list(ids) or [model.tokens.prefix]
    if len(start) >= model.context:
        raise Invalid(f"The text has {len(start)} tokens, and the model takes {model.context}", code="context")
    logits, past = model.advance(start)
    for number in range(min(count, model.context - len(start))):
        if torch.isnan(logits).any():
            raise Invalid("The model's logits are not numbers", code="nan")
        token = pick(logits)
        if token in model.ends():
            return
        yield token
        if number + 1 < count:
            logits, past = model.advance([token], past)
