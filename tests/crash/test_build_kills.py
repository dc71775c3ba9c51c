"""A build killed at any moment: run again it ends in the same bytes, and makes no tensor twice that was finished"""

import json
import os
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from artifactstore.core.settings import Settings
from artifactstore.depot import open_depot
from artifactstore.derive.build import plan as planning
from artifactstore.derive.build import run as building
from artifactstore.derive.merge.plan import plan as plan_merge
from artifactstore.derive.merge.plan import read_recipe
from artifactstore.derive.product import known
from artifactstore.derive.quantize.levels import Target
from artifactstore.ops import verify
from artifactstore.store import Store
from tests.crash import harness

KILLS = 300 if os.environ.get("SOAK") else 30
# so that each tensor or two are landed
SETTINGS = Settings(landing=1 << 16)
RECIPE = """\
name: mix
seed: 7
merge_method: dare_ties
base_model: org/base
models:
  - {model: org/a, parameters: {weight: 0.5, density: 0.5}}
  - {model: org/b, parameters: {weight: [0.2, 0.8], density: 0.7}}
"""
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 6,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
}


def model(folder: Path, seed: int) -> Path:
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    shapes = {"model.embed_tokens": (256, 128), "model.norm": (128,)}
    for number in range(CONFIG["num_hidden_layers"]):
        shapes |= {f"model.layers.{number}.mlp.{name}": (128, 128) for name in ("up_proj", "down_proj")}
    tensors = {f"{name}.weight": draw.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


class Yard:
    """A store that holds three models, made anew for each kill; builds happen in children"""

    def __init__(self, root: Path) -> None:
        self.root, self.recipe = root, root / "mix.yml"
        self.recipe.write_text(RECIPE)
        with Store.init(str(root / "first"), settings=SETTINGS) as store:
            for seed, name in enumerate(("base", "a", "b")):
                store.add([model(root / name, seed)], name=f"org/{name}")

    def fresh(self) -> None:
        shutil.rmtree(self.root / "store", ignore_errors=True)
        shutil.rmtree(self.root / "out", ignore_errors=True)
        shutil.copytree(self.root / "first", self.root / "store")

    def build(self, monitor) -> str:
        wanted = planning.Wanted("q4", Target.GPU, 100_000, self.root / "out" / "mix", measured=False)
        with Store(open_depot(str(self.root / "store"), settings=SETTINGS, monitor=monitor)) as store:
            (built,) = building.run(store, planning.plan([self.recipe], wanted), wanted)
            return json.dumps([built.made, built.known])

    def act(self) -> list[int]:
        """Build to the end: tensors made, and known from before"""
        return json.loads(harness.run(self.build).answer)

    def finished(self) -> int:
        """Tensors of the merge that are there already"""
        with Store(open_depot(str(self.root / "store"), settings=SETTINGS)) as store:
            plan = plan_merge(store, *read_recipe(self.recipe), "mix")
            return len(known(store.depot, plan.product.made))

    def check(self) -> None:
        with open_depot(str(self.root / "store")) as depot:
            assert verify.run(depot, verify.plan(depot)).damaged == ()
            assert depot.catalog.leases.active() == []

    def written(self) -> dict[str, bytes]:
        """The files that were written out, and the listing but for what names the version"""
        files = {path.name: path.read_bytes() for path in (self.root / "out/mix").iterdir()}
        (entry,) = json.loads((self.root / "out/models.json").read_bytes()).values()
        entry["metadata"].pop("version")
        return {**files, "models.json": json.dumps(entry).encode()}


@pytest.fixture
def yard(tmp_path):
    return Yard(tmp_path)


def test_killed_at_any_moment_it_ends_in_the_same_bytes(yard):
    draw = random.Random(os.environ.get("SOAK", "ci"))
    yard.fresh()
    began = time.monotonic()
    whole, nothing = yard.act()
    seconds = time.monotonic() - began
    assert nothing == 0
    expected = yard.written()
    # shapes, which are quicker written than looked for
    assert yard.act() == [CONFIG["num_hidden_layers"] * 2, whole - CONFIG["num_hidden_layers"] * 2]
    kills = kept = 0
    yard.fresh()
    # few of so many moments lie between the first landing and the last
    while kills < KILLS or not kept:
        assert kills < 5 * KILLS
        outcome = harness.run(yard.build, within=draw.uniform(0, 1.2 * seconds))
        kills += outcome.killed
        if outcome.killed and draw.random() < 0.4:
            # killed once more before it is done
            continue
        finished = yard.finished()
        kept += finished > 0
        made, there = yard.act()
        assert made + there == whole
        assert there >= finished
        assert yard.written() == expected
        yard.check()
        yard.fresh()
