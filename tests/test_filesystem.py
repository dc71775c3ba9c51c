"""Files of versions by URL, for whatever opens URLs by fsspec"""

import json
import shutil

import fsspec
import numpy as np
import pytest
import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save, save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from artifactstore import Store
from artifactstore.core.errors import Corrupt, Invalid, NoStore
from artifactstore.filesystem import ArtifactFileSystem, parse
from artifactstore.ops.transfer.fetch import load_manifest
from artifactstore.ops.transfer.sharded import consolidated
from artifactstore.tensors.distributed import StoreWriter
from tests.sharded import STATE, write_ranks
from tests.tensors.ranks import in_ranks
from tests.tensors.states import random_tensor


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text('{"a": 1}')
    (folder / "sub" / "notes.txt").write_text("x\n" * 1000)
    (folder / "large.bin").write_bytes(np.random.default_rng(1).bytes(30 << 20))
    save_file({"w": np.arange(2_000_000, dtype=np.float32)}, folder / "model.safetensors")
    torch.save({"w": torch.arange(5)}, folder / "model.pt")
    return folder


@pytest.fixture
def store(tmp_path, files):
    with Store.init(str(tmp_path / "store")) as store:
        store.add([files], name="org/m", aliases=["prod"])
        yield store


@pytest.fixture
def system(store):
    ArtifactFileSystem.clear_instance_cache()
    return fsspec.filesystem("artstore", store=store.depot.blobs.url)


def test_files_are_opened_in_place(system, files):
    for path in (path for path in files.rglob("*") if path.is_file()):
        url = f"artstore://org/m@prod/{path.relative_to(files).as_posix()}"
        assert system.cat_file(url) == path.read_bytes()
        assert system.size(url) == path.stat().st_size
    with fsspec.open("artstore://org/m:1/config.json", "rt", **system.storage_options) as file:
        assert json.load(file) == {"a": 1}
    with system.open("org/m:1/model.pt") as file:
        assert torch.load(file, weights_only=True)["w"].tolist() == [0, 1, 2, 3, 4]
    assert load_safetensors(system.cat_file("org/m@prod/model.safetensors"))["w"][-1] == 1_999_999


def test_parts_are_read_in_any_order(system, files):
    raw = (files / "large.bin").read_bytes()
    with system.open("org/m@prod/large.bin") as file:
        for begin, length in ((29 << 20, 3 << 20), (5, 10), (15 << 20, 4 << 20), (len(raw) - 3, 100)):
            file.seek(begin)
            assert file.read(length) == raw[begin : begin + length]
    assert system.cat_file("org/m@prod/large.bin", start=-10) == raw[-10:]


def test_folders_are_listed(system):
    listed = {entry["name"]: entry["type"] for entry in system.ls("org/m@prod")}
    assert listed == {
        "org/m@prod/config.json": "file",
        "org/m@prod/large.bin": "file",
        "org/m@prod/model.pt": "file",
        "org/m@prod/model.safetensors": "file",
        "org/m@prod/sub": "directory",
    }
    assert system.ls("artstore://org/m@prod/sub/", detail=False) == ["org/m@prod/sub/notes.txt"]
    assert system.ls("org/m@prod/config.json", detail=False) == ["org/m@prod/config.json"]
    assert system.isdir("org/m:1")
    assert sorted(system.glob("org/m@prod/*.json")) == ["org/m@prod/config.json"]
    assert len(system.find("org/m@prod")) == 5
    assert system.info("org/m@prod/config.json")["sha256"]


@pytest.mark.parametrize("path", ["org/m@prod/none", "org/m@none/config.json", "org/m:7", "none@prod/x"])
def test_what_is_not_there_is_no_file(system, path):
    assert not system.exists(path)
    with pytest.raises(FileNotFoundError):
        system.info(path)
    with pytest.raises(FileNotFoundError):
        system.open(path)


def test_nothing_is_written(system):
    with pytest.raises(Invalid, match="never change"):
        system.open("org/m@prod/config.json", "wb")


def test_damage_is_told(system, store):
    for path in (store.depot.blobs.root / "blobs").rglob("*.*"):
        path.chmod(0o644)
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(Corrupt):
        system.cat_file("org/m@prod/large.bin")


def test_the_store_is_the_one_of_the_environment(store, monkeypatch):
    ArtifactFileSystem.clear_instance_cache()
    monkeypatch.setenv("ARTSTORE_STORE", store.depot.blobs.url)
    with fsspec.open("artstore://org/m@prod/config.json") as file:
        assert json.load(file) == {"a": 1}
    ArtifactFileSystem.clear_instance_cache()
    monkeypatch.delenv("ARTSTORE_STORE")
    with pytest.raises(NoStore, match="ARTSTORE_STORE"):
        fsspec.filesystem("artstore")


def test_an_address_is_a_reference_and_a_path():
    assert parse("org/m@prod/a/b.txt") == ("org/m@prod", "a/b.txt")
    assert parse("m:12") == ("m:12", "")
    assert parse("/m@x/") == ("m@x", "")
    with pytest.raises(Invalid, match="name@alias/file"):
        parse("org/m/config.json")


WHOLE = "ranks@latest/consolidated.safetensors"


@pytest.fixture
def ranks(store, tmp_path):
    write_ranks(tmp_path / "ranks")
    store.add([tmp_path / "ranks"], name="ranks", aliases=["latest"])
    return tmp_path / "ranks"


def test_what_ranks_wrote_is_one_file_more(system, ranks):
    raw = save(STATE, {"format": "pt"})
    [entry] = [entry for entry in system.ls("ranks@latest") if entry["name"] == WHOLE]
    assert entry == {"name": WHOLE, "size": len(raw), "type": "file"} == system.info(WHOLE)
    assert system.ls(WHOLE) == [entry]
    assert len(system.find("ranks@latest")) == 5
    assert system.cat_file(WHOLE) == raw
    with system.open(WHOLE, block_size=1 << 20) as file:
        file.seek(3 << 20)
        assert file.read(5 << 20) == raw[3 << 20 : 8 << 20]
    with fsspec.open(f"artstore://{WHOLE}", **system.storage_options) as file:
        assert np.array_equal(load_safetensors(file.read())["columns"], STATE["columns"])
    system.get(WHOLE, str(ranks / "out.safetensors"))
    with safetensors.safe_open(ranks / "out.safetensors", "np") as file:
        assert np.array_equal(file.get_slice("columns")[5:7, 30:40], STATE["columns"][5:7, 30:40])


def test_damage_of_what_ranks_wrote_is_told(system, store, ranks):
    manifest = load_manifest(store.depot, store.resolve("ranks").id)
    whole = consolidated(store.depot, manifest)
    blob = manifest.blobs[whole.body.extents[0].blob]
    place = store.depot.catalog.blobs.places([blob.digest])[blob.digest]
    path = store.depot.blobs.root / place.key
    path.chmod(0o644)
    path.write_bytes(bytes(blob.size))
    with system.open(WHOLE, cache_type="none") as file:
        assert file.read(len(whole.header)) == whole.header
    with pytest.raises(Corrupt, match=blob.digest.hex()[:12]):
        system.cat_file(WHOLE)


@pytest.mark.parametrize("document", [b"{}", b"{", None])
def test_what_cannot_be_put_together_hides_no_other_file(system, store, ranks, document):
    if document is None:
        shutil.move(ranks / "rank-00001.safetensors", ranks / "rank-00009.safetensors")
    else:
        (ranks / "dcp.json").write_bytes(document)
    store.add([ranks], name="ranks", aliases=["latest"])
    assert sorted(path.rpartition("/")[2] for path in system.ls("ranks@latest", detail=False)) == sorted(
        path.name for path in ranks.iterdir()
    )
    assert system.cat_file("ranks@latest/dcp.json") == (ranks / "dcp.json").read_bytes()
    with pytest.raises(Corrupt, match=r"dcp\.json"):
        system.open(WHOLE)


def test_a_stored_file_wins_over_the_one_of_all_ranks(system, store, ranks):
    save_file({"mine": np.ones(3)}, ranks / "consolidated.safetensors")
    store.add([ranks], name="ranks", aliases=["latest"])
    assert list(load_safetensors(system.cat_file(WHOLE))) == ["mine"]
    assert system.info(WHOLE)["sha256"]
    assert len(system.ls("ranks@latest")) == 5


def test_a_version_that_no_ranks_wrote_has_no_such_file(system):
    assert not system.exists("org/m@prod/consolidated.safetensors")
    with pytest.raises(FileNotFoundError):
        system.open("org/m@prod/consolidated.safetensors")
    with pytest.raises(FileNotFoundError):
        system.ls("org/m@prod/consolidated.safetensors")


def weights():
    return {
        "model.rows": random_tensor(torch.bfloat16, (10, 12), 1),
        "model.columns": random_tensor(torch.float32, (9, 7), 2),
        "model.everywhere": random_tensor(torch.int64, (5,), 3),
        "model.scale": random_tensor(torch.float16, (), 4),
        "model.none": torch.zeros(0, 3),
    }


def write(rank, folder):
    mesh = init_device_mesh("cpu", (2,))
    placements = {"model.rows": Shard(0), "model.columns": Shard(1), "model.everywhere": Replicate()}
    state = {
        name: distribute_tensor(each, mesh, [placements[name]]) if name in placements else each
        for name, each in weights().items()
    }
    dcp.save(state | {"step": 7}, storage_writer=StoreWriter(folder, "run"))


def test_what_torch_saved_in_ranks_is_what_one_would_have_saved(system, store, tmp_path):
    assert in_ranks(write, 2, tmp_path, str(store.depot.blobs.root)) == [0, 0]
    raw = system.cat_file("run@latest/consolidated.safetensors")
    assert raw == safetensors.torch.save(weights(), {"format": "pt"})
    found = safetensors.torch.load(raw)
    assert all(torch.equal(found[name].nan_to_num(), each.nan_to_num()) for name, each in weights().items())
