"""Foundry: two models of 2.2 GB merged and quantized, against mergekit and plain reads and writes"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.ingest import ARTSTORE
from benchmarks.measure import Sample

MERGEKIT = Path(sys.executable).with_name("mergekit-yaml")
MODELS = Path(__file__).with_name("foundry_models.py")
NAMES = ("one", "other")


@dataclass(frozen=True)
class Case:
    """A merge. base: whether it reads a third model, from which it starts; each: parameters of both models"""

    method: str
    base: bool
    dtype: str
    each: dict[str, float] = field(default_factory=dict)
    whole: dict[str, Any] = field(default_factory=dict)

    def recipe(self, models: Path, **whole: Any) -> str:
        """As JSON, which is YAML"""
        sources = [{"model": str(models / name)} | ({"parameters": self.each} if self.each else {}) for name in NAMES]
        found: dict[str, Any] = {"merge_method": self.method, "models": sources, "dtype": self.dtype}
        found |= {"out_dtype": "bfloat16", "parameters": self.whole | whole}
        if self.base or self.method == "slerp":
            found["base_model"] = str(models / ("base" if self.base else NAMES[0]))
        return json.dumps({key: value for key, value in found.items() if value != {}})


_HALF = {"weight": 0.5, "density": 0.5}
CASES = {
    "linear": Case("linear", base=False, dtype="bfloat16", each={"weight": 0.5}),
    "slerp": Case("slerp", base=False, dtype="bfloat16", whole={"t": 0.4}),
    "task_arithmetic": Case("task_arithmetic", base=True, dtype="float32", each={"weight": 0.5}),
    "dare_linear": Case("dare_linear", base=True, dtype="float32", each=_HALF),
    "dare_ties": Case("dare_ties", base=True, dtype="float32", each=_HALF),
    "ties": Case("ties", base=True, dtype="float32", each=_HALF),
}
# at most so many times the wall time of reading and writing the same bytes
AIMS = {"linear": 2, "slerp": 2, "task_arithmetic": 2, "dare_linear": 4, "dare_ties": 4, "ties": 8}
RESIDENT = 400 << 20
# what mergekit is asked too: its ties alone takes minutes
PEERS = os.environ.get("BENCH_MERGEKIT", " ".join(CASES)).split()
# of quantizing a model of this size
QUANTIZING = 3
# of five values of a parameter, times one merge
SWEEPING = 1.5


class Foundry:
    """Models in a folder; each merge begins with a store that has nothing"""

    def __init__(self, root: Path) -> None:
        self.root, self.models = root, root / "models"
        measure.run([sys.executable, MODELS, "make", self.models])
        self.nbytes = sum(path.stat().st_size for path in (self.models / "one").glob("*.safetensors"))
        self.peer = MERGEKIT if MERGEKIT.exists() else None

    def contenders(self) -> dict[str, Callable[[], Sample | None]]:
        """In the order in which a thing needs what is before it"""
        found: dict[str, Callable[[], Sample | None]] = {
            "read two, write one": lambda: self.plain(NAMES),
            "read three, write one": lambda: self.plain(("base", *NAMES)),
            "read one, write one": lambda: self.plain(NAMES[:1]),
        }
        for name, case in CASES.items():
            found[f"artstore {name}"] = lambda case=case: self.merge(case)
            if name in PEERS:
                found[f"mergekit {name}"] = lambda case=case: self.mergekit(case)
        case = CASES["slerp"]
        found["artstore slerp, first"] = lambda: self.merge(case)
        found["artstore slerp, one layer changed"] = lambda: self.again(case, t=_one_layer(0.4, 0.6))
        found["artstore slerp, unchanged"] = lambda: self.again(case, t=_one_layer(0.4, 0.6))
        found["artstore quantize to q4"] = self.quantize
        found["artstore slerp, five values of t"] = self.sweep
        return found

    def plain(self, names: tuple[str, ...]) -> Sample:
        self._fresh("plain")
        sources = [self.models / name for name in names]
        return measure.run([sys.executable, MODELS, "copy", *sources, self.models / "one", self.root / "plain"])

    def merge(self, case: Case) -> Sample:
        self._fresh("store")
        measure.run([ARTSTORE, "init", self.root / "store"])
        return self.again(case)

    def again(self, case: Case, **whole: Any) -> Sample:
        recipe = self.root / "recipe.yml"
        recipe.write_text(case.recipe(self.models, **whole))
        os.sync()
        return measure.run([ARTSTORE, "merge", recipe, "--as", "merged", "--store", self.root / "store"])

    def sweep(self) -> Sample:
        self._fresh("store")
        measure.run([ARTSTORE, "init", self.root / "store"])
        recipe = self.root / "recipe.yml"
        recipe.write_text(CASES["slerp"].recipe(self.models))
        os.sync()
        words = ["merge-sweep", recipe, "--set", "t=0.3,0.4,0.5,0.6,0.7", "--as", "swept"]
        return measure.run([ARTSTORE, *words, "--store", self.root / "store"])

    def mergekit(self, case: Case) -> Sample | None:
        if self.peer is None:
            return None
        self._fresh("peer")
        recipe = self.root / "recipe.yml"
        recipe.write_text(case.recipe(self.models))
        os.sync()
        words = [self.peer, recipe, self.root / "peer", "--no-copy-tokenizer", "--random-seed", "42", "--quiet"]
        try:
            return measure.run(words, HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
        finally:
            shutil.rmtree(self.root / "peer", ignore_errors=True)

    def quantize(self) -> Sample:
        os.sync()
        words = ["quantize", "merged", "--level", "q4", "--target", "gpu", "--no-measure", "--as", "merged-q4"]
        return measure.run([ARTSTORE, *words, "--store", self.root / "store"])

    def _fresh(self, name: str) -> None:
        shutil.rmtree(self.root / name, ignore_errors=True)
        os.sync()


def _one_layer(others: float, changed: float) -> list[dict[str, Any]]:
    return [{"filter": "layers.3.", "value": changed}, {"value": others}]


def run(root: Path, rounds: int) -> dict[str, object]:
    """All merges once a round"""
    work = Foundry(root)
    samples = measure.interleaved(work.contenders(), rounds)
    return {"bytes": work.nbytes, "samples": measure.as_json(samples)}


def baseline(name: str) -> str:
    """What reads and writes the same bytes as this merge"""
    return "read three, write one" if CASES[name].base else "read two, write one"
