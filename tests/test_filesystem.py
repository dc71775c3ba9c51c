"""Files of versions by URL, for whatever opens URLs by fsspec"""

import json

import fsspec
import numpy as np
import pytest
import torch
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save_file

from artifactstore import Store
from artifactstore.core.errors import Corrupt, Invalid, NoStore
from artifactstore.filesystem import ArtifactFileSystem, parse


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
