"""Plan of a merge: everything that can be known before a weight is read"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.names import ArtifactName
from artifactstore.core.recipe.blueprint import Blueprint, Output
from artifactstore.core.recipe.copies import by_content
from artifactstore.core.recipe.facts import ModelFacts
from artifactstore.core.recipe.parse import parse
from artifactstore.core.recipe.recipe import Recipe
from artifactstore.core.recipe.resolve import resolve
from artifactstore.depot import Depot
from artifactstore.derive.lora import Adapter
from artifactstore.derive.merge import vocabularies
from artifactstore.derive.merge.beside import beside
from artifactstore.derive.merge.chunks import Arena
from artifactstore.derive.merge.kin import instead, strangers
from artifactstore.derive.merge.readers import Readers
from artifactstore.derive.merge.tensors import Makers
from artifactstore.derive.models import Model, open_model
from artifactstore.derive.product import Product, known
from artifactstore.derive.weights import weight_files
from artifactstore.finding import Finds
from artifactstore.ops.ingest import Labels
from artifactstore.ops.transfer.source import looking_at

_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class MergePlan:
    """What a merge will make of which models, adapters last among them

    known: bytes of outputs that were calculated before; copied: of those that are tensors of a model as they are.
    """

    recipe: Recipe
    blueprint: Blueprint
    models: tuple[Model, ...]
    product: Product
    known: int
    copied: int
    arena: Arena

    @property
    def calculated(self) -> int:
        """Bytes of outputs that have to be calculated"""
        return sum(one.nbytes for one in self.product.made) - self.known - self.copied

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        blueprint = self.blueprint
        return {
            "artifact": str(self.product.artifact),
            "method": self.recipe.method.name,
            "models": [
                {"ref": model.ref, "id": None if model.version is None else str(model.version.id)}
                for model in self.models
            ],
            "parents": [link.to_json() for link in self.product.parents],
            "donor": blueprint.models[blueprint.donor],
            "methods": dict(Counter(output.method for output in blueprint.outputs)),
            "tensors": len(blueprint.outputs),
            "bytes": self.product.nbytes,
            "read_bytes": sum(self._read(output) for output in blueprint.outputs),
            "known_bytes": self.known,
            "copied_bytes": self.copied,
            "calculated_bytes": self.calculated,
            "license": self.product.labels.license,
            "outputs": [told(output) for output in blueprint.outputs],
            "notes": list(blueprint.notes),
        }

    def _read(self, output: Output) -> int:
        taken = {*((one.model, one.tensor) for one in output.sources)}
        taken |= set() if output.base is None else {(output.base.model, output.base.tensor)}
        return sum(self.models[model].inputs.tensors[tensor].nbytes for model, tensor in taken)


def told(output: Output) -> dict[str, Any]:
    """How one tensor comes to be: what a version says of its own making"""
    document: dict[str, Any] = {
        "name": output.name,
        "dtype": output.dtype,
        "shape": list(output.shape),
        "method": output.method,
        "sources": [[one.model, one.tensor, dict(one.params)] for one in output.sources],
    }
    if output.base is not None:
        document["base"] = [output.base.model, output.base.tensor]
    if output.params:
        document["params"] = dict(output.params)
    return document


def read_recipe(path: Path) -> tuple[Recipe, bytes]:
    """A recipe and its bytes; raise NotFound, Invalid with the line of what is wrong"""
    with looking_at(path):
        raw = path.read_bytes()
    if len(raw) > _LARGEST:
        raise Invalid(f"{path} has {len(raw)} bytes; no recipe is so long", code="recipe", path=str(path))
    try:
        return parse(raw.decode(), path.name), raw
    except UnicodeDecodeError as e:
        raise Invalid(f"{path} is no text: byte {e.start} is not UTF-8", code="recipe", path=str(path)) from e


def plan(store: Finds, recipe: Recipe, raw: bytes, name: str, arena: Arena | None = None) -> MergePlan:
    """Look at the models of a recipe, by their headers alone, and at what of the product is there already

    raw: the recipe as it was written, which goes along; arena: memory that several merges share. Raise NotFound for a
    model that is neither in the store nor a folder, Invalid for models that cannot be merged.
    """
    models = tuple(open_model(store, ref.model) for ref in recipe.models)
    lent = {number: open_model(store, ref.adapter) for number, ref in enumerate(recipe.models) if ref.adapter}
    _check_name(name, (*models, *lent.values()))
    facts = [facts_of(model) for model in models]
    matched = vocabularies.matched(recipe, models, facts)
    adapters = {number: adapter_of(models[number], model) for number, model in lent.items()}
    readers = Readers(models, adapters, matched)
    with _telling(store.depot, models):
        resolved = resolve(recipe, facts, matched)
    told_too = tuple(strangers(store.depot, models, resolved))
    blueprint = replace(by_content(resolved, readers.same), notes=(*resolved.notes, *told_too))
    arena = arena or Arena()
    makers = Makers(readers, recipe.seed, arena)
    made = [makers.made(output) for output in blueprint.outputs]
    files, index = weight_files(made)
    texts = dict(vocabularies.changed(recipe, models, blueprint, matched))
    texts |= {"mergekit_config.yml": raw, "merge.json": _provenance(models, blueprint)}
    parents = (*links(recipe, models, blueprint), *adapter_links(recipe, models, lent))
    depot = store.depot
    labels = Labels(
        created=depot.clock(),
        license=recipe.license or _license(models),
        metadata={"merge": {"method": recipe.method.name, "recipe": str(Digest.of(raw))}},
    )
    product = Product(ArtifactName(name), labels, files, (*index, *beside(models, blueprint, texts)), parents)
    there = known(depot, made)
    return MergePlan(
        recipe,
        blueprint,
        (*models, *lent.values()),
        product,
        known=sum(one.nbytes for one in made if one.key in there),
        copied=sum(one.nbytes for one in made if one.key is None),
        arena=arena,
    )


def _check_name(name: str, models: Sequence[Model]) -> None:
    """Raise Invalid for a product that would be a version of one of its models"""
    same = next((model for model in models if model.version is not None and model.version.artifact == name), None)
    if same is not None:
        raise Invalid(
            f"{name} is one of the models that are merged ({same.ref}); give the product another name: --as NAME",
            code="name",
            artifact=name,
        )


@contextmanager
def _telling(depot: Depot, models: Sequence[Model]) -> Iterator[None]:
    """A refusal of models that differ says too which others could be merged"""
    try:
        yield
    except Invalid as e:
        if "next" in e.facts:
            e.facts["next"] = [*instead(depot, models), *e.facts["next"]]
        raise


def facts_of(model: Model) -> ModelFacts:
    """What headers and configuration say"""
    tensors = {name: (one.dtype, one.shape) for name, one in model.inputs.tensors.items()}
    return ModelFacts(model.ref, tensors, model.config)


def links(recipe: Recipe, models: Sequence[Model], blueprint: Blueprint) -> Iterator[Link]:
    """An edge to each model, in the order of the recipe; its weight where it is one number for all tensors"""
    weights = [_weights(blueprint, number) for number in range(len(models))]
    for number, model in enumerate(models):
        found = weights[number]
        is_base = any(one.base is not None and one.base.model == number for one in blueprint.outputs)
        weight = found.pop() if len(found) == 1 else None
        params: dict[str, Any] = {"method": recipe.method.name} | ({"role": "base"} if is_base else {})
        yield model.link(Relation.MERGE, weight, **params)


def adapter_of(base: Model, adapter: Model) -> Adapter:
    """What an adapter makes of its base; raise Invalid where it does not fit"""
    shapes = {name: tensor.shape for name, tensor in base.inputs.tensors.items()}
    return Adapter(adapter.inputs, adapter.read("adapter_config.json"), shapes, adapter.ref)


def adapter_links(recipe: Recipe, models: Sequence[Model], lent: Mapping[int, Model]) -> Iterator[Link]:
    """An edge to each adapter that was merged into a model first"""
    for number, adapter in lent.items():
        yield adapter.link(Relation.MERGE, method=recipe.method.name, role="lora", of=models[number].ref)


def _weights(blueprint: Blueprint, model: int) -> set[float]:
    found = set()
    for output in blueprint.outputs:
        for one in output.sources:
            if one.model == model and "weight" in one.params:
                found.add(float(one.params["weight"]))
        if output.method == "slerp" and output.base is not None and any(one.model == model for one in output.sources):
            t = float(output.params["t"])
            found.add(round(1 - t, 12) if output.base.model == model else t)
    return found


def _license(models: Sequence[Model]) -> str | None:
    licenses = {model.license for model in models}
    return licenses.pop() if len(licenses) == 1 else None


def _provenance(models: Sequence[Model], blueprint: Blueprint) -> bytes:
    document = {
        "models": [{"ref": m.ref, "id": None if m.version is None else str(m.version.id)} for m in models],
        "tensors": [told(output) for output in blueprint.outputs],
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"
