"""Notes: what people should be told of a merge before it is made"""

from collections.abc import Iterator, Sequence
from itertools import islice

from artifactstore.core.recipe.blueprint import Output
from artifactstore.core.recipe.dtypes import is_weight
from artifactstore.core.recipe.facts import ModelFacts
from artifactstore.core.recipe.layers import layout
from artifactstore.core.recipe.recipe import Recipe, Setting, Settings


def notes_of(recipe: Recipe, models: Sequence[ModelFacts], outputs: Sequence[Output], *, tied: bool) -> Iterator[str]:
    """Lines to be read, the models' order being that of importance"""
    yield from _heads(models, tied=tied)
    yield from _positions(models)
    yield from _outside(recipe, models[0], outputs)
    yield from _filters(recipe, outputs)


def _heads(models: Sequence[ModelFacts], *, tied: bool) -> Iterator[str]:
    joined = [model.ref for model in models if model.tied and model.embedding is not None]
    if joined and not tied:
        yield f"The product gets a head of its own; of {', '.join(joined)} the input embeddings are taken for it"


def _positions(models: Sequence[ModelFacts]) -> Iterator[str]:
    found = {model.ref: model.value("rope_theta") for model in models}
    if len({value for value in found.values() if value is not None}) > 1:
        listed = ", ".join(f"{value:g} in {ref}" for ref, value in found.items() if isinstance(value, int | float))
        yield f"rope_theta differs ({listed}); the product has the first"


def _outside(recipe: Recipe, model: ModelFacts, outputs: Sequence[Output]) -> Iterator[str]:
    stacks = layout(model.tensors, model.config)
    outside = [one.name for one in outputs if stacks.place(one.name) is None and is_weight(one.dtype)]
    names = [name for name in outside if any(_has_gradient(setting, name) for setting in _settings(recipe))]
    if names:
        few = ", ".join(names[:2] + names[-1:]) if len(names) > 3 else ", ".join(names)
        yield f"Tensors outside of the layers take the first value of a gradient, as in mergekit: {few}"


def _has_gradient(setting: Setting, name: str) -> bool:
    fitting = (choice for choice in setting if choice.part is None or choice.part in name)
    return any(len(choice.values) > 1 for choice in islice(fitting, 1))


def _filters(recipe: Recipe, outputs: Sequence[Output]) -> Iterator[str]:
    names = {output.name for output in outputs} | {taken.tensor for output in outputs for taken in output.sources}
    parts = {choice.part for setting in _settings(recipe) for choice in setting if choice.part is not None}
    for part in sorted(parts):
        if not any(part in name for name in names):
            yield f"The filter {part!r} fits no tensor"


def _settings(recipe: Recipe) -> Iterator[Setting]:
    scopes: list[Settings] = [recipe.settings, *(part.settings for part in recipe.slices)]
    scopes += [source.settings for part in recipe.slices for source in part.sources]
    for scope in scopes:
        yield from scope.values()
