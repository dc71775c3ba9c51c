"""Kin: what lineage says of the models of a merge, and which others of the store could be merged with them"""

from collections.abc import Iterator, Sequence

from artifactstore.catalog.base import VersionInfo
from artifactstore.core.digest import Digest
from artifactstore.core.errors import NotFound
from artifactstore.core.reading import stored
from artifactstore.core.recipe.blueprint import Blueprint
from artifactstore.depot import Depot
from artifactstore.derive.models import Model
from artifactstore.ops.transfer.fetch import load_manifest

# How many of the newest artifacts are looked at, and of how many the manifests are read.
_KNOWN, _READ = 500, 20
_SHOWN = 5


def strangers(depot: Depot, models: Sequence[Model], blueprint: Blueprint) -> Iterator[str]:
    """A line for each model that is merged by what it differs from a base it does not descend from

    Nothing of those of which nobody knows what they were made of; and of slerp, whose base is one of two ends.
    """
    pairs = {
        (output.base.model, one.model)
        for output in blueprint.outputs
        if output.base is not None and output.method != "slerp"
        for one in output.sources
    }
    for number, other in sorted(pairs):
        base, model = models[number], models[other]
        if number == other or base.version is None or model.version is None:
            continue
        made_of = _ancestors(depot, model.version.id)
        known = {base.version.id, str(base.version.artifact), f"hf://{base.version.artifact}"}
        if made_of and not known & made_of.keys():
            yield (
                f"{model.ref} does not descend from {base.ref}, as far as its links say: it was made of "
                f"{', '.join(dict.fromkeys(made_of.values()))}"
            )


def _ancestors(depot: Depot, version: Digest) -> dict[Digest | str, str]:
    """References of ancestors, by id, by artifact, and by what names them where they are not here"""
    try:
        graph = depot.catalog.versions.graph(version, down=False)
    except NotFound:
        return {}
    found: dict[Digest | str, str] = {}
    for edge in graph.up:
        node = graph.nodes.get(edge.source)
        ref = edge.ref if node is None else node.ref
        found[edge.source] = ref
        if node is not None and node.artifact is not None:
            found[node.artifact] = ref
    return found


def instead(depot: Depot, models: Sequence[Model]) -> Iterator[str]:
    """A line for each of these models that others of the store could be merged with"""
    named = {model.version.artifact for model in models if model.version is not None}
    newest: dict[str, VersionInfo] = {}
    for version in depot.catalog.versions.list(sort="created:desc", limit=_KNOWN):
        newest.setdefault(str(version.artifact), version)
    for model in models:
        shapes = {name: tensor.shape for name, tensor in model.inputs.tensors.items()}
        close = [one for name, one in newest.items() if name not in named and one.tensors == len(shapes)]
        fitting = [one.ref for one in close[:_READ] if _shapes(depot, one) == shapes]
        if fitting:
            more = f" and {len(fitting) - _SHOWN} more" if len(fitting) > _SHOWN else ""
            yield f"{model.ref} can be merged with {', '.join(fitting[:_SHOWN])}{more}: their tensors are alike"


def _shapes(depot: Depot, version: VersionInfo) -> dict[str, tuple[int, ...]]:
    return {name: one.shape for name, one in stored(load_manifest(depot, version.id)).items()}
