"""Foundry: new versions from old, for a store; torch is imported when one is asked for"""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifactstore.core.errors import Unavailable
from artifactstore.sharing import Shares

if TYPE_CHECKING:
    from artifactstore.derive.merge.plan import MergePlan
    from artifactstore.derive.merge.sweep import SweepPlan
    from artifactstore.derive.product import ProductReport

_Path = str | PathLike[str]


class Foundry(Shares):
    """Verbs of a store that make versions of other versions"""

    def plan_merge(self, recipe: _Path, *, name: str | None = None) -> "MergePlan":
        """Look at what a recipe of mergekit's form would make, from headers alone

        name: the artifact, by default the recipe's own `name`. Raise NotFound for models that are neither in the store
        nor folders; Invalid for a recipe that is wrong, with its line, and for models that cannot be merged.
        """
        planning = _room("merge.plan")
        parsed, raw = planning.read_recipe(Path(recipe))
        plan: MergePlan = planning.plan(self, parsed, raw, name or parsed.name or Path(recipe).stem)
        return plan

    def merge(self, recipe: "_Path | MergePlan", *, name: str | None = None) -> "ProductReport":
        """Make the version that a recipe says, tensor by tensor in constant memory

        What is finished is kept when it is killed, and by a neighbouring merge. Raise as `plan_merge`; NoSpace before
        any work.
        """
        plan = self.plan_merge(recipe, name=name) if isinstance(recipe, str | PathLike) else recipe
        report: ProductReport = _room("merge.run").run(self.depot, plan)
        return report

    def plan_sweep(
        self, recipe: _Path, settings: Mapping[str, Sequence[float]], *, name: str | None = None
    ) -> "SweepPlan":
        """Look at what a recipe makes with each combination of these values; raise as `plan_merge`"""
        plan: SweepPlan = _room("merge.sweep").plan_sweep(self, Path(recipe), settings, name)
        return plan

    def merge_sweep(self, plan: "SweepPlan") -> "Iterator[tuple[Mapping[str, float], ProductReport]]":
        """Make them all, reading each source once; each with its values, as it is there"""
        found: Iterator[tuple[Mapping[str, float], ProductReport]] = _room("merge.sweep").run_sweep(self, plan)
        return found


def _room(name: str) -> Any:
    """A room of torch's, which is slow to import and may be missing"""
    try:
        return import_module(f"artifactstore.derive.{name}")
    except ImportError as e:
        if (e.name or "").startswith(__package__):
            raise
        raise Unavailable(f"This needs {e.name}; run: pip install 'artifactstore[torch]'", code="extra") from e
