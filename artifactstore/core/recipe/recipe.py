"""Recipe: how models are merged, as it was written, checked and in plain values"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from artifactstore.core.recipe.document import refusal
from artifactstore.core.recipe.methods import Base, Method

Number = float | bool


@dataclass(frozen=True, slots=True)
class Choice:
    """What a parameter is for tensors whose name holds `part`; None: for all

    values: one, or several that change along the layers, from the first of them to the last.
    """

    values: tuple[Number, ...]
    part: str | None = None


# the first choice that fits a tensor counts
Setting = tuple[Choice, ...]
Settings = Mapping[str, Setting]


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model as recipes name it: `path[@revision][+lora[@revision]]`"""

    path: str
    revision: str | None = None
    lora: str | None = None
    lora_revision: str | None = None

    def __str__(self) -> str:
        return _at(self.path, self.revision) + (f"+{_at(self.lora, self.lora_revision)}" if self.lora else "")

    @property
    def model(self) -> str:
        """Without its adapter"""
        return _at(self.path, self.revision)

    @property
    def adapter(self) -> str | None:
        """The adapter that is merged into it first"""
        return _at(self.lora, self.lora_revision) if self.lora else None


@dataclass(frozen=True, slots=True)
class Source:
    """What is taken of a model. layers: [first, end) of it; None: the whole model"""

    model: ModelRef
    layers: tuple[int, int] | None
    settings: Settings
    line: int


@dataclass(frozen=True, slots=True)
class Slice:
    """Sources that are merged with each other, layer by layer. base: what they differ from"""

    sources: tuple[Source, ...]
    base: ModelRef | None
    settings: Settings
    line: int


@dataclass(frozen=True, slots=True)
class TokenRule:
    """Where the embedding of a token comes from. model: None for zeros

    token: another token or row of that model whose row it takes; force: also in models that have the token.
    """

    model: ModelRef | None
    token: str | int | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class TokenizerRule:
    """Whose tokenizer the product has: "base", "union", or a model's. pad: its rows are a multiple of it"""

    source: str | ModelRef
    tokens: Mapping[str, TokenRule] = field(default_factory=lambda: MappingProxyType({}))
    pad: int | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe, read from `path`. notes: what people should be told of it

    slices: one that holds whole models, or several one after the other, whose sources all have layers.
    """

    path: str
    method: Method
    slices: tuple[Slice, ...]
    base: ModelRef | None = None
    settings: Settings = field(default_factory=lambda: MappingProxyType({}))
    dtype: str | None = None
    out_dtype: str | None = None
    tokenizer: TokenizerRule | None = None
    chat_template: str | None = None
    name: str | None = None
    seed: int = 0
    license: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether whole models are merged, not slices of them"""
        return all(source.layers is None for one in self.slices for source in one.sources)

    @property
    def models(self) -> tuple[ModelRef, ...]:
        """All it takes from, each once, in the order of the sources"""
        sources = [source.model for one in self.slices for source in one.sources]
        bases = [base for base in (self.base, *(one.base for one in self.slices)) if base is not None]
        return tuple(dict.fromkeys((*sources, *bases)))


def check_models(recipe: Recipe) -> None:
    """Raise Invalid unless each slice has as many models as the method merges, and the base where it is needed"""
    for one in recipe.slices:
        _check_slice(recipe, one)


def _check_slice(recipe: Recipe, one: Slice) -> None:
    method = recipe.method
    least, most = method.models
    names = [source.model for source in one.sources]
    twice = next((source for number, source in enumerate(one.sources) if source.model in names[:number]), None)
    if twice is not None:
        raise refusal(recipe.path, twice.line, f"{twice.model} stands here twice; a model is merged once")
    if method.base is not Base.PLAIN and one.base not in (None, *names):
        raise refusal(
            recipe.path, one.line, f"base_model {one.base} is none of the sources here; add it with its layers"
        )
    merged = [name for name in names if not (method.deltas and name == one.base)]
    if least <= len(merged) and (most is None or len(merged) <= most):
        return
    count = f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most}"
    beside = " beside the base" if method.deltas and one.base is not None else ""
    many = "model" if count == "1" else "models"
    found = f"found {len(merged)}: {', '.join(map(str, merged))}" if merged else "found none"
    raise refusal(recipe.path, one.line, f"{method.name} merges {count} {many}{beside}, {found}")


def _at(path: str, revision: str | None) -> str:
    return f"{path}@{revision}" if revision else path
