"""artstore checkout"""

from pathlib import Path

import pytest
from safetensors.numpy import save

from tests.cli.calling import contents, document, done, refused
from tests.sharded import STATE, write_ranks


@pytest.fixture
def model(place, store):
    folder = place / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"w" * 5000)
    (folder / "sub" / "config.json").write_text("{}")
    done("add", folder, "--as", "model")
    return folder


def test_the_files_come_back(model):
    assert done("checkout", "model", "out").startswith("model:1 → out  2 files  5.0 kB  ")
    for path in ("weights.bin", "sub/config.json"):
        assert (Path("out") / path).read_bytes() == (model / path).read_bytes()
    again = document("checkout", "model", "out")
    assert (again["files"], again["kept"], again["written_bytes"]) == (0, 2, 0)


def test_only_some(model):
    document("checkout", "model", "out", "--only", "*.json", "--only", "nothing*")
    assert [path.name for path in Path("out").rglob("*.*")] == ["config.json"]
    assert refused(3, "checkout", "model", "out", "--only", "nothing*") == "No file of model:1 matches nothing*"


def test_other_content_is_overwritten_by_force_alone(model):
    Path("out").mkdir()
    Path("out/weights.bin").write_text("mine")
    assert refused(5, "checkout", "model", "out").startswith("out/weights.bin is there with other content")
    assert contents("out").keys() == {"out/weights.bin"}
    done("checkout", "model", "out", "--force")
    assert Path("out/weights.bin").read_bytes() == b"w" * 5000


def test_a_dry_run_writes_nothing(model):
    assert "write   weights.bin" in done("checkout", "model", "out", "-n")
    plan = document("checkout", "model", "out", "-n")
    assert (len(plan["write"]), plan["keep"], plan["bytes"]) == (2, [], 5002)
    assert not Path("out").exists()


def test_quiet_is_the_id(model):
    assert done("checkout", "model", "out", "-q").strip() == document("show", "model")["id"]


def test_a_checkpoint_as_torch_writes_it(place):
    torch = pytest.importorskip("torch")
    from artifactstore import CheckpointManager

    manager = CheckpointManager({"storage_path": str(place / ".artstore")})
    manager.save_checkpoint({"request_id": "r1", "step": 3, "state": {"w": torch.arange(5)}})
    assert done("checkout", "r1", "out/model.pth", "--format", "pth", "-n").endswith("Nothing changed (dry run)\n")
    written = document("checkout", "r1", "out/model.pth", "--format", "pth")
    assert written["bytes"] == Path("out/model.pth").stat().st_size
    state = torch.load("out/model.pth", weights_only=True)
    assert torch.equal(state["w"], torch.arange(5))
    assert "--force" in refused(5, "checkout", "r1", "out/model.pth", "--format", "pth")
    done("checkout", "r1", "out/model.pth", "--format", "pth", "--force")


def test_pth_is_a_file_of_a_whole_checkpoint(model):
    assert "no checkpoint" in refused(2, "checkout", "model", "a.pth", "--format", "pth")
    assert "name the file to write" in refused(2, "checkout", "model", "model", "--format", "pth")
    assert "--only is for files" in refused(2, "checkout", "model", "a.pth", "--format", "pth", "--only", "*")
    assert not Path("a.pth").exists()


def test_what_ranks_wrote_as_one_file(place, store):
    write_ranks(place / "ranks")
    done("add", place / "ranks", "--as", "ranks")
    raw = save(STATE, {"format": "pt"})
    arguments = ("checkout", "ranks", "out/model.safetensors", "--format", "safetensors")
    assert document(*arguments, "-n")["bytes"] == len(raw)
    assert not Path("out").exists()
    assert document(*arguments)["bytes"] == len(raw)
    assert Path("out/model.safetensors").read_bytes() == raw
    assert "--force" in refused(5, *arguments)
    assert done(*arguments, "--force").startswith("ranks:1 → out/model.safetensors  ")


def test_one_file_is_of_what_ranks_wrote(model):
    assert "No ranks wrote model:1" in refused(3, "checkout", "model", "a.safetensors", "--format", "safetensors")
    assert "model/model.safetensors" in refused(2, "checkout", "model", "model", "--format", "safetensors")
    assert not Path("a.safetensors").exists()


def test_a_cache_for_the_libraries_of_the_hub(model):
    plan = document("checkout", "model", "out", "--layout", "hf-cache", "-n")
    assert not Path("out").exists()
    said = done("checkout", "model", "out", "--layout", "hf-cache")
    assert said.splitlines()[1] == "  HF_HUB_CACHE=out gives it as model"
    home = Path(plan["home"])
    assert home == Path(f"out/models--model/snapshots/{plan['id'][:40]}")
    assert (home / "sub" / "config.json").read_text() == "{}"
    assert (Path("out") / "models--model" / "refs" / "main").read_text() == plan["id"][:40]
    assert document("checkout", "model", "out", "--layout", "hf-cache")["kept"] == 2


def test_a_layout_is_of_files(model):
    assert "--layout is for files" in refused(
        2, "checkout", "model", "a.pth", "--format", "pth", "--layout", "hf-cache"
    )
