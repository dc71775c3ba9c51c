"""Resolve: a recipe and what is known of its models, to what is done tensor by tensor

As mergekit 0.1.5 plans it: parameters of a source before those of its slice before those of the recipe, gradients
along the layers of a slice, embeddings of the first slice's sources, norms and heads of the last one's. Tensors outside
of the layers take the first value of a gradient.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe import compare, dtypes
from artifactstore.core.recipe.blueprint import Blueprint, Number, Output, Taken
from artifactstore.core.recipe.config_keys import config_of
from artifactstore.core.recipe.copies import COPY, by_params
from artifactstore.core.recipe.document import refusal
from artifactstore.core.recipe.facts import ModelFacts, Shape, is_buffer, is_by_token, is_head
from artifactstore.core.recipe.layers import Layout, Place, depth, is_before, layout
from artifactstore.core.recipe.methods import Base, Scope
from artifactstore.core.recipe.notes import notes_of
from artifactstore.core.recipe.ranges import check_params
from artifactstore.core.recipe.recipe import ModelRef, Recipe, Settings, Slice, Source
from artifactstore.core.recipe.settings import evaluate
from artifactstore.core.recipe.vocabulary import Matched

_COUNTS = frozenset(("BOOL", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64"))


@dataclass(frozen=True, slots=True)
class _Place:
    """A tensor of the product: its name, that in each source of a slice, and how far down the layers it is"""

    name: str
    part: Slice
    names: tuple[str, ...]
    depth: float = 0.0


@dataclass(frozen=True, slots=True)
class _Setup:
    """What the outputs follow from. tied: whether the product's head is its input embeddings"""

    recipe: Recipe
    models: Mapping[ModelRef, int]
    facts: Sequence[ModelFacts]
    layouts: Sequence[Layout]
    matched: Matched | None
    tied: bool


def resolve(recipe: Recipe, models: Sequence[ModelFacts], matched: Matched | None = None) -> Blueprint:
    """What the recipe comes to, given what is known of its models, in the order of `recipe.models`

    matched: their vocabularies, where the recipe has a `tokenizer`. Raises Invalid when models cannot be merged (see
    `compare.check`), hold quantized weights, or lack layers or parameters that the recipe needs.
    """
    for model in models:
        _check_plain(model)
    numbers = {ref: number for number, ref in enumerate(recipe.models)}
    donor = numbers[recipe.base] if recipe.base is not None else 0
    ordered = [models[donor], *(model for number, model in enumerate(models) if number != donor)]
    compare.check(ordered, sliced=not recipe.whole, matched=matched is not None)
    layouts = [layout(model.tensors, model.config) for model in models]
    setup = _Setup(recipe, numbers, models, layouts, matched, all(model.tied for model in models))
    outputs = tuple(_output(setup, place) for place in _places(setup))
    tokenizer = donor if recipe.tokenizer is None else _tokenizer(recipe, numbers, donor)
    return Blueprint(
        models=tuple(map(str, recipe.models)),
        outputs=outputs,
        donor=donor,
        tokenizer=tokenizer,
        config=config_of(recipe, models[donor], layouts[donor], outputs, tied=setup.tied),
        notes=(*recipe.notes, *notes_of(recipe, ordered, outputs, tied=setup.tied)),
    )


def _check_plain(model: ModelFacts) -> None:
    if model.quantization is not None:
        raise Invalid(
            f"{model.ref} holds weights quantized by {model.quantization}; merge the model that it was made from",
            code="merge-quantized",
            model=model.ref,
        )
    if not model.tensors:
        raise Invalid(f"{model.ref} holds no tensors in safetensors files", code="merge-empty", model=model.ref)


def _tokenizer(recipe: Recipe, numbers: Mapping[ModelRef, int], donor: int) -> int | None:
    source = recipe.tokenizer.source if recipe.tokenizer is not None else "base"
    if isinstance(source, ModelRef):
        return numbers[source]
    return donor if source == "base" else None


def _places(setup: _Setup) -> Iterator[_Place]:
    """All tensors of the product: those before the layers, the layers, those after them"""
    parts = setup.recipe.slices
    yield from _outside(setup, parts[0], before=True)
    if setup.recipe.whole:
        yield from _whole(setup, parts[0])
    else:
        yield from _sliced(setup)
    yield from _outside(setup, parts[-1], before=False)


def _outside(setup: _Setup, part: Slice, *, before: bool) -> Iterator[_Place]:
    first = _number(setup, part.sources[0])
    for name in _names(setup, part):
        if (
            setup.layouts[first].place(name) is None
            and is_before(name) is before
            and not (setup.tied and is_head(name))
        ):
            yield _Place(name, part, tuple(_own_name(setup, source, name) for source in part.sources))


def _whole(setup: _Setup, part: Slice) -> Iterator[_Place]:
    stacks = setup.layouts[_number(setup, part.sources[0])]
    found = [(place, name) for name in _names(setup, part) if (place := stacks.place(name)) is not None]
    for place, name in sorted(found, key=lambda one: (one[0].stack, one[0].number)):
        yield _Place(name, part, (name,) * len(part.sources), depth(place.number, stacks.stacks[place.stack]))


def _sliced(setup: _Setup) -> Iterator[_Place]:
    number = 0
    layers = [_by_layer(model, stacks) for model, stacks in zip(setup.facts, setup.layouts, strict=True)]
    for part in setup.recipe.slices:
        ranges = [_layers(setup, source) for source in part.sources]
        first, count = layers[_number(setup, part.sources[0])], len(ranges[0])
        for index in range(count):
            for place in first[ranges[0][index]]:
                names = tuple(place.at(each[index]) for each in ranges)
                yield _Place(place.at(number), part, names, depth(index, count))
            number += 1


def _by_layer(model: ModelFacts, stacks: Layout) -> Mapping[int, list[Place]]:
    found: dict[int, list[Place]] = {}
    for place in map(stacks.place, model.tensors):
        if place is not None:
            found.setdefault(place.number, []).append(place)
    return found


def _layers(setup: _Setup, source: Source) -> range:
    stacks, path = setup.layouts[_number(setup, source)], setup.recipe.path
    first, end = source.layers or (0, stacks.layers)
    if len(stacks.stacks) > 1:
        found = ", ".join(stacks.stacks)
        raise refusal(path, source.line, f"{source.model} has several stacks of layers, which are not sliced: {found}")
    if end > stacks.layers:
        raise refusal(path, source.line, f"{source.model} has {stacks.layers} layers, found layer_range {[first, end]}")
    return range(first, end)


def _number(setup: _Setup, source: Source) -> int:
    return setup.models[source.model]


def _names(setup: _Setup, part: Slice) -> list[str]:
    """All names that the sources have, in the order of their files"""
    return list(dict.fromkeys(name for source in part.sources for name in setup.facts[_number(setup, source)].tensors))


def _own_name(setup: _Setup, source: Source, name: str) -> str:
    """Where a model has a tensor: a tied head is its input embeddings"""
    model = setup.facts[_number(setup, source)]
    return model.embedding or name if is_head(name) and model.tied else name


@dataclass(frozen=True, slots=True)
class _Input:
    """A tensor that goes into an output"""

    source: Source
    taken: Taken
    dtype: str
    shape: Shape


def _output(setup: _Setup, place: _Place) -> Output:
    inputs = _inputs(setup, place)
    base = next((one for one in inputs if one.source.model == place.part.base), None)
    kinds = {one.dtype for one in inputs}
    if not all(map(dtypes.is_weight, kinds)) or (is_buffer(place.name) and len(inputs) < len(place.names)):
        return _copied(place, base or inputs[0], inputs)
    method = setup.recipe.method
    merged = [one for one in inputs if not (method.deltas and one is base)]
    work = setup.recipe.dtype or dtypes.promote(one.dtype for one in inputs)
    output = Output(
        name=place.name,
        dtype=setup.recipe.out_dtype or work,
        shape=_shape(place, inputs),
        method=method.name,
        work=work,
        sources=tuple(replace(one.taken, params=_of_source(setup, place, one)) for one in merged),
        base=base.taken if base is not None and method.base is not Base.PLAIN else None,
        params=_of_tensor(setup, place),
    )
    check_params(setup.recipe, place.part, output)
    return by_params(output) if setup.matched is None else _by_token(setup, setup.matched, output)


def _inputs(setup: _Setup, place: _Place) -> list[_Input]:
    found = []
    for source, name in zip(place.part.sources, place.names, strict=True):
        number = _number(setup, source)
        tensor = setup.facts[number].tensors.get(name)
        if tensor is not None:
            found.append(_Input(source, Taken(number, name), *tensor))
        elif not is_buffer(name):
            raise Invalid(f"{source.model} has no tensor {name}", code="merge-tensors", tensor=name)
    return found


def _copied(place: _Place, taken: _Input, inputs: Sequence[_Input]) -> Output:
    """What is no weight: counts, flags and buffers, which are alike in all models"""
    for one in inputs:
        if one.dtype not in _COUNTS and not dtypes.is_weight(one.dtype):
            why = f"Tensor {place.name} of {one.source.model} is {one.dtype}; only plain weights are merged"
            raise Invalid(why, code="merge-dtype", tensor=place.name)
        if (one.dtype, one.shape) != (taken.dtype, taken.shape):
            shown = " and ".join(f"{each.dtype} {list(each.shape)} in {each.source.model}" for each in (taken, one))
            raise Invalid(f"Tensor {place.name} is {shown}", code="merge-dtype", tensor=place.name)
    return Output(place.name, taken.dtype, taken.shape, COPY, taken.dtype, (taken.taken,))


def _shape(place: _Place, inputs: Sequence[_Input]) -> Shape:
    shapes = {one.shape[1:] if is_by_token(place.name) else one.shape for one in inputs}
    if len(shapes) > 1:
        shown = ", ".join(f"{list(one.shape)} in {one.source.model}" for one in inputs)
        raise Invalid(f"Tensor {place.name} differs in shape: {shown}", code="merge-shape", tensor=place.name)
    return inputs[0].shape


def _of_tensor(setup: _Setup, place: _Place) -> Mapping[str, Number]:
    scopes = (place.part.settings, setup.recipe.settings)
    values = _values(setup, place, scopes, (Scope.TENSOR,), name=place.name, line=place.part.line)
    return MappingProxyType(dict(values))


def _of_source(setup: _Setup, place: _Place, one: _Input) -> Mapping[str, Number]:
    scopes = (one.source.settings, place.part.settings, setup.recipe.settings)
    kinds = (Scope.SOURCES, Scope.ALL)
    return MappingProxyType(dict(_values(setup, place, scopes, kinds, name=one.taken.tensor, line=one.source.line)))


def _values(
    setup: _Setup, place: _Place, scopes: Sequence[Settings], kinds: Sequence[Scope], *, name: str, line: int
) -> Iterator[tuple[str, Number]]:
    for parameter in setup.recipe.method.parameters:
        if parameter.scope not in kinds:
            continue
        value = evaluate(scopes, parameter.name, name, place.depth)
        if value is None and parameter.needed:
            why = f"{setup.recipe.method.name} should have a {parameter.name} for {name}, and none is given"
            raise refusal(setup.recipe.path, line, why)
        value = parameter.default if value is None else value
        if value is not None:
            yield parameter.name, value


def _by_token(setup: _Setup, matched: Matched, output: Output) -> Output:
    """The output with its rows matched by token; a copy only where they stay where they are"""
    if not is_by_token(output.name):
        return by_params(output)
    taken = (*output.sources, *((output.base,) if output.base is not None else ()))
    rows = matched.lay(sorted({one.model for one in taken}), output.base.model if output.base is not None else None)
    held = {one.model: setup.facts[one.model].tensors[one.tensor][1][0] for one in taken}
    if all(rows.stays(model, count) for model, count in held.items()):
        return by_params(output)
    return replace(output, shape=(rows.size, *output.shape[1:]), rows=True)
