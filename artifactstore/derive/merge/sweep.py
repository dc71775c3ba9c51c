"""Sweep: one recipe with several values of a parameter, merged with each source read once"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from artifactstore.core.errors import Invalid
from artifactstore.core.provenance.yaml_text import load_yaml
from artifactstore.core.recipe.parse import parse
from artifactstore.derive.merge.chunks import Arena
from artifactstore.derive.merge.plan import MergePlan, plan, read_recipe
from artifactstore.derive.models import holding
from artifactstore.derive.product import ProductReport, prepare, produce
from artifactstore.derive.threads import one_thread
from artifactstore.finding import Finds

Values = Mapping[str, float]
_MOST = 64
# Larger than that of one merge: what several make of the same tensors should not be read again.
_ARENA = 64 << 20


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """The merges of a sweep, by the values of each; they are versions of one artifact"""

    merges: tuple[tuple[Values, MergePlan], ...]
    arena: Arena

    def to_json(self) -> dict[str, Any]:
        """For people and programs to read before it runs"""
        documents = [{"values": dict(values), **merge.to_json()} for values, merge in self.merges]
        for document in documents:
            del document["outputs"]
        return {"merges": documents, "bytes": sum(document["bytes"] for document in documents)}


def plan_sweep(store: Finds, path: Path, settings: Mapping[str, Sequence[float]], name: str | None) -> SweepPlan:
    """Look at what every combination of values makes; raise as a merge's plan, Invalid for parameters it has not"""
    recipe, raw = read_recipe(path)
    arena = Arena(_ARENA)
    merges = []
    for values in _combined(settings):
        text = with_values(raw, values)
        merged = plan(store, parse(text, path.name), text.encode(), name or recipe.name or path.stem, arena)
        merges.append((values, merged))
    return SweepPlan(tuple(merges), arena)


def _combined(settings: Mapping[str, Sequence[float]]) -> list[Values]:
    combined: list[Values] = [dict(zip(settings, values, strict=True)) for values in product(*settings.values())]
    if not settings or not combined or len(combined) > _MOST:
        raise Invalid(
            f"A sweep has 1 to {_MOST} combinations of values, found {len(combined) if settings else 0}; "
            "give --set t=0.3,0.5,0.7",
            code="sweep",
        )
    return combined


def with_values(raw: bytes, values: Values) -> str:
    """A recipe whose parameters have these values wherever it sets them, or for all tensors where it does not"""
    document = load_yaml(raw.decode())
    for key, value in values.items():
        places = list(_places(document, key)) or [document.setdefault("parameters", {})]
        for place in places:
            place[key] = value
    return yaml.safe_dump(document, sort_keys=False)


def _places(document: Any, key: str) -> Iterator[dict[str, Any]]:
    if isinstance(document, list):
        for one in document:
            yield from _places(one, key)
    elif isinstance(document, dict):
        found = document.get("parameters")
        if isinstance(found, dict) and key in found:
            yield found
        yield from _places([inner for name, inner in document.items() if name != "parameters"], key)


def run_sweep(store: Finds, sweep: SweepPlan) -> Iterator[tuple[Values, ProductReport]]:
    """Make all tensors of all merges, those of one name together, then one version after another"""
    depot = store.depot
    try:
        with holding(sweep.merges[0][1].models), one_thread():
            prepare(depot, [merged.product for _, merged in sweep.merges])
            for values, merged in sweep.merges:
                yield values, produce(depot, merged.product)
    finally:
        sweep.arena.close()
