"""Mergekit recipes: `mergekit_config.yml` and `mergekit_moe_config.yml`, which mergekit puts beside what it made

Format: https://github.com/arcee-ai/mergekit/blob/main/docs/ (config.py, common.py, moe/config.py). A model is
written `path[@revision][+lora[@revision]]` or as `{model: {path, revision}, lora: {path, revision}}`. A parameter may
be set for a source, a slice, a module or the whole recipe; the innermost counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from artifactstore.core.errors import Invalid
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.numbers import check_finite
from artifactstore.core.provenance.base import (
    MAX_PARENTS,
    Budget,
    Provenance,
    Warner,
    bounded,
    label,
    parent,
    pass_over,
    plain,
    shown,
)
from artifactstore.core.provenance.refs import refer

NAMES = frozenset({"mergekit_config.yml", "mergekit_config.yaml", "mergekit_moe_config.yml"})
MAX_PARAMETERS = 32
# what a link's params mean by these words is not for a recipe to set
_OURS = frozenset({"read", "method", "role", "of", "lora", "layers", "sha256"})

_BASE = "base"

Document = Mapping[Any, Any]
Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Use:
    """One place where a recipe takes from a model"""

    model: object
    params: Params = field(default_factory=dict)
    layers: object = None
    role: str | None = None


@dataclass(slots=True)
class _Model:
    """A model and all its places in the recipe"""

    sources: list[_Use] = field(default_factory=list)
    loras: dict[str, None] = field(default_factory=dict)
    role: str | None = None


def read(document: object, path: str, warn: Warner) -> Provenance:
    """Every model a recipe takes from, in its order; a base model that is no source comes first, LoRAs come last

    A weight that is one number is the link's weight. One that changes with the layers stays among the params, a list
    where a model is used several times and not alike.
    """
    if not isinstance(document, Mapping):
        raise Invalid(f"it holds {shown(document)}, not keys and values", code="mergekit")
    models = _models(bounded(list(islice(_uses(document), MAX_PARENTS + 1)), path, warn), path, warn)
    if not models:
        warn(f"{path}: it names no models in a form that is known; no parent was taken from it")
    method = label(document.get("merge_method")) or ("moe" if "experts" in document else None)
    told = {"method": method} if method else {}
    budget = Budget()
    ordered = sorted(models.items(), key=lambda item: bool(item[1].sources))
    links = [_link(ref, model, told, path, budget) for ref, model in ordered]
    loras = {lora: ref for ref, model in ordered for lora in model.loras if lora not in models}
    links += [parent(Relation.MERGE, lora, path, {**told, "role": "lora", "of": ref}) for lora, ref in loras.items()]
    return Provenance(tuple(links))


def _models(uses: Sequence[_Use], path: str, warn: Warner) -> dict[str, _Model]:
    models: dict[str, _Model] = {}
    odd = []
    # in the order of the sources: a base model may well be the last of them
    for use in sorted(uses, key=lambda use: use.role == _BASE):
        ref, lora = _refs(use.model)
        if ref is None:
            odd.append(use.model)
            continue
        model = models.setdefault(ref, _Model())
        if lora is not None:
            model.loras[lora] = None
        if use.role != _BASE:
            model.sources.append(use)
        model.role = use.role or model.role
    pass_over(odd, path, warn)
    return models


def _uses(document: Document) -> Iterator[_Use]:
    yield from _section(document, {})
    for module in _values(document.get("modules")):
        yield from _section(module, _params(document))
    for expert in (*_items(document.get("experts")), *_items(document.get("shared_experts"))):
        yield _Use(expert.get("source_model"), role="expert")


def _section(section: Document, outer: Params) -> Iterator[_Use]:
    """What a recipe, or one module of it, takes from: whole models, or slices of them"""
    params = {**outer, **_params(section)}
    if section.get("base_model") is not None:
        yield _Use(section["base_model"], role=_BASE)
    for source in _items(section.get("models")):
        yield _Use(source.get("model"), {**params, **_params(source)})
    for part in _items(section.get("slices")):
        if part.get("base_model") is not None:
            yield _Use(part["base_model"], role=_BASE)
        for source in _items(part.get("sources")):
            inner = {**params, **_params(part), **_params(source)}
            yield _Use(source.get("model"), inner, source.get("layer_range"))


def _params(section: Document) -> Params:
    found = section.get("parameters")
    if not isinstance(found, Mapping):
        return {}
    named = ((label(key), value) for key, value in islice(found.items(), MAX_PARAMETERS))
    return {name: value for name, value in named if name and name not in _OURS}


def _items(value: object) -> list[Document]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _values(value: object) -> list[Document]:
    return _items(list(value.values())) if isinstance(value, Mapping) else []


def _refs(value: object) -> tuple[str | None, str | None]:
    """(model, LoRA merged into it first) of `a@rev+b` or its long form"""
    if isinstance(value, Mapping):
        if isinstance(value.get("model"), str) and value.get("lora") is None:
            return _refs(value["model"])
        return _ref(value.get("model", value)), _ref(value.get("lora"))
    if not isinstance(value, str):
        return None, None
    model, _, lora = value.partition("+")
    return refer(model), refer(lora)


def _ref(value: object) -> str | None:
    return refer(value.get("path"), value.get("revision")) if isinstance(value, Mapping) else refer(value)


def _link(ref: str, model: _Model, told: Mapping[str, str], path: str, budget: Budget) -> Link:
    keys = dict.fromkeys(key for use in model.sources for key in use.params)
    params = {key: _one([use.params.get(key) for use in model.sources]) for key in islice(keys, MAX_PARAMETERS)}
    params["layers"] = [use.layers for use in model.sources if use.layers is not None] or None
    params["lora"] = _one(list(model.loras)) if model.loras else None
    params["role"] = model.role
    kept = {key: found for key, value in params.items() if (found := plain(value, budget)) is not None}
    weight = kept.pop("weight") if _is_number(kept.get("weight")) else None
    return parent(Relation.MERGE, ref, path, {**kept, **told}, weight)


def _one(values: Sequence[object]) -> object:
    return values[0] if all(value == values[0] for value in values) else list(values)


def _is_number(value: object) -> bool:
    try:
        check_finite(value, "weight")
    except Invalid:
        return False
    return True
