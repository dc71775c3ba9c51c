"""artstore shard"""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.cli.calling import contents, document, done, refused


@pytest.fixture
def model(place, store):
    folder = place / "model"
    folder.mkdir()
    weights = {f"layers.{n}.w": np.arange(1000, dtype=np.float32) + n for n in range(10)}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    done("add", folder, "--as", "model")


def test_shards_are_written_and_compared(model):
    said = done("shard", "model", "--size", "10kB", "--out", "out")
    assert said.startswith("model:1 → out  7 files  ")
    assert "1 file put together again and compared" in said
    found = document("shard", "model", "--size", "10kB", "--out", "out")
    assert (found["ref"], found["ceiling"], found["split"], found["reassembled"]) == (
        "model:1",
        10_000,
        ["model.safetensors"],
        1,
    )
    assert found["written_bytes"] == 0
    assert {file["path"]: file["size"] for file in found["files"]} == {
        path.name: path.stat().st_size for path in Path("out").iterdir()
    }
    assert all(file["kept"] and len(file["sha256"]) == 64 for file in found["files"])
    assert "7 there already" in done("shard", "model", "--size", "10kB", "--out", "out")


def test_a_dry_run_writes_nothing(model):
    assert "model-00005-of-00005.safetensors" in done("shard", "model", "--size", "10kB", "--out", "out", "-n")
    plan = document("shard", "model", "--size", "10kB", "--out", "out", "-n")
    assert len(plan["files"]) == 7
    assert plan["bytes"] == sum(file["size"] for file in plan["files"])
    assert not Path("out").exists()


def test_quiet_is_the_id(model):
    assert done("shard", "model", "--size", "1MB", "--out", "out", "-q").strip() == document("show", "model")["id"]


def test_what_is_wrong_is_one_line(model):
    assert refused(2, "shard", "model", "--size", "3kB", "--out", "out").startswith(
        "Tensor 'layers.0.w' alone takes 4.1"
    )
    assert refused(2, "shard", "model", "--size", "many", "--out", "out").startswith("Not a size: 'many'")
    assert refused(2, "shard", "model", "--size", "1MB", "--out", "") == "A path is empty; write . for this folder"
    assert refused(3, "shard", "nothing", "--size", "1MB", "--out", "out").startswith("Nothing here is called")
    assert not Path("out").exists()
    done("shard", "model", "--size", "10kB", "--out", "out")
    before = contents("out")
    assert "is of another division" in refused(5, "shard", "model", "--size", "20kB", "--out", "out")
    assert contents("out") == before
    done("shard", "model", "--size", "20kB", "--out", "out", "--force")
    assert len(list(Path("out").iterdir())) == 5
