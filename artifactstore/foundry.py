"""Foundry: new versions from old, for a store; torch is imported when one is asked for"""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifactstore.catalog.base import VersionInfo
from artifactstore.core.errors import Unavailable
from artifactstore.sharing import Shares

if TYPE_CHECKING:
    from artifactstore.derive.benchmark.run import Variant
    from artifactstore.derive.build.plan import Wanted
    from artifactstore.derive.build.run import Built
    from artifactstore.derive.evaluate.run import Evaluation
    from artifactstore.derive.ladder import Loaded
    from artifactstore.derive.merge.plan import MergePlan
    from artifactstore.derive.merge.sweep import SweepPlan
    from artifactstore.derive.product import ProductReport
    from artifactstore.derive.shard.run import ShardReport

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

    def quantize(self, ref: str, level: str, target: str = "gpu", *, name: str | None = None) -> VersionInfo:
        """The model in fewer bits, as a version of `name` (by default `ARTIFACT-LEVEL-TARGET`), linked to its source

        level: fp16, bf16, fp8, int8, q8, q4, q3, q2; target: `gpu` for safetensors as transformers and vLLM load them,
        `cpu` for GGUF, `web` for ONNX as transformers.js names it. Raise NotFound; Invalid for a level that the target
        cannot hold and for models that are quantized or pickled; NoSpace before any work.
        """
        levels = _room("quantize.levels")
        aim = levels.parse_target(target)
        artifact = name or f"{self.find(ref)[1].artifact}-{level}-{aim}"
        if aim is levels.Target.WEB:
            made = _room("web.run").run(self.depot, _room("web.plan").plan(self, ref, level, artifact))
        else:
            plan = _room("quantize.plan").plan(self, ref, levels.parse_level(level), aim, artifact)
            made = _room("quantize.run").run(self.depot, plan)
        version: VersionInfo = made.committed.version
        return version

    def load_quantized(self, ref: str, levels: str = "float16|int8", *, device: str = "cpu") -> "Loaded":
        """The model of a version as a module of transformers, at the first of these levels that works, else float32

        Each is tried by one pass whose results must be finite; the result says which it is, and why others are not.
        """
        loaded: Loaded = _room("ladder").load_quantized(self, ref, levels, device=device)
        return loaded

    def shard(self, ref: str, dest: _Path, size: int, *, force: bool = False) -> "ShardReport":
        """Write a version's files to a folder in files of at most `size` bytes, and check that they give it back

        Raise Invalid for a tensor that is larger, Refused when other content would be overwritten and not `force`.
        """
        depot, version = self.find(ref)
        plan = _room("shard.plan").plan(depot, version, Path(dest), size, force=force)
        report: ShardReport = _room("shard.run").run(depot, plan)
        return report

    def build(self, recipes: Sequence[_Path], wanted: "Wanted") -> "list[Built]":
        """Merge, quantize, shard and list in models.json what recipes make, in the order of their needs

        One that was killed goes on where it was, and ends with the same bytes.
        """
        steps = _room("build.plan").plan([Path(one) for one in recipes], wanted)
        done: list[Built] = _room("build.run").run(self, steps, wanted)
        return done

    def evaluate(
        self, refs: Sequence[str], tasks: Sequence[str] = (), *, data: _Path | None = None, baseline: str | None = None
    ) -> "Iterator[Evaluation]":
        """Each in its turn: gates of sanity, or how well it does tasks; what is found becomes metrics of the version

        tasks: perplexity, kl, hellaswag, arc or a JSONL file; data: where their data lie. Raise NotFound, Invalid.
        """
        table, where = _room("evaluate.tasks.table"), None if data is None else Path(data)
        loaded = [table.load(task, where) for task in tasks]
        found: Iterator[Evaluation] = _room("evaluate.run").evaluate(self, refs, loaded, baseline=baseline)
        return found

    def benchmark(self, refs: Sequence[str], *, baseline: str | None = None) -> "Iterator[Variant]":
        """Variants of a model side by side: size, speed, memory, and what they still know; each in its own process"""
        found: Iterator[Variant] = _room("benchmark.run").benchmark(self, refs, baseline=baseline)
        return found


def _room(name: str) -> Any:
    """A room of torch's, which is slow to import and may be missing"""
    try:
        return import_module(f"artifactstore.derive.{name}")
    except ImportError as e:
        if (e.name or "").startswith(__package__):
            raise
        raise Unavailable(f"This needs {e.name}; run: pip install 'artifactstore[torch]'", code="extra") from e
