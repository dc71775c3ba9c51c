"""Blueprint: what a recipe comes to, tensor by tensor, once the headers of its models are known"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Number = float | int | bool


@dataclass(frozen=True, slots=True)
class Taken:
    """A tensor of one model that goes into an output. model: number among the models of the blueprint

    params: of this source, resolved for this tensor: weight, density, gamma, epsilon, scale…
    """

    model: int
    tensor: str
    params: Mapping[str, Number] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Output:
    """One tensor of the product. dtype, work: names of safetensors, of what is stored and of what is calculated in

    sources: in the recipe's order, the base among them only where the recipe lists it; base: what the method takes as
    the base, None where it needs none. params: of the whole tensor: t, normalize, lambda, rescale, int8_mask…
    method: `passthrough` also where another method comes to a copy. rows: shape[0] is the vocabulary, to be matched.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    method: str
    work: str
    sources: tuple[Taken, ...]
    base: Taken | None = None
    params: Mapping[str, Number] = field(default_factory=lambda: MappingProxyType({}))
    rows: bool = False


@dataclass(frozen=True, slots=True)
class Blueprint:
    """All of a product. models: references as the recipe has them, each once, the first one that is named first

    donor: number of the model whose configuration and tokenizer are kept; config: keys of it to be set anew, None to
    take one away; tokenizer: number of the model whose tokenizer it is, or None for a union. notes: what people should
    be told.
    """

    models: tuple[str, ...]
    outputs: tuple[Output, ...]
    donor: int
    tokenizer: int | None
    config: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()
