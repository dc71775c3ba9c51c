"""Taking files in: what becomes of them, and what is refused"""

import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from artifactstore.core.errors import Invalid, NoSpace, NotFound
from artifactstore.core.events import Warn
from artifactstore.core.settings import Settings
from artifactstore.ops import ingest
from artifactstore.store import Store
from tests.ops.trees import contents


def test_a_folder_comes_back_bit_for_bit(any_store, model, tmp_path):
    report = any_store.add([model], name="org/m", aliases=["prod"], metrics={"loss": 0.5}, license="mit")
    assert report.read_bytes == sum(map(len, contents(model).values()))
    any_store.checkout("org/m@prod", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(model)
    shown = any_store.show("org/m:1")
    assert shown["metrics"] == {"loss": 0.5}
    assert shown["license"] == "mit"
    assert shown["created"] == "2023-11-14T22:13:20Z"
    assert [file["path"] for file in shown["files"]] == sorted(contents(model))


def test_adding_the_same_files_twice_gives_the_version_that_is_there(any_store, model):
    first = any_store.add([model], name="m")
    second = any_store.add([model], name="m")
    assert second.committed.existed
    assert second.committed.version.id == first.committed.version.id
    assert second.new_bytes == 0
    assert len(any_store.ls()) == 1


def test_an_unchanged_tensor_costs_no_bytes(store, tmp_path):
    random = np.random.default_rng(1)
    tensors = {f"w{n}": random.integers(0, 255, 5 << 20, dtype=np.uint8) for n in range(4)}
    save_file(tensors, tmp_path / "m.safetensors")
    store.add([tmp_path / "m.safetensors"], name="m")
    tensors["w2"] = tensors["w2"][::-1].copy()
    save_file(tensors, tmp_path / "m.safetensors")
    assert store.add([tmp_path / "m.safetensors"], name="m").new_bytes == 5 << 20


def test_a_single_file_keeps_its_name_and_several_folders_theirs(store, model, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("{}")
    store.add([model / "config.json"], name="one")
    store.add([model, other], name="two")
    assert [file["path"] for file in store.show("one")["files"]] == ["config.json"]
    assert {"model/config.json", "other/config.json"} <= {file["path"] for file in store.show("two")["files"]}


def test_phases_become_versions_in_their_order(store, tmp_path):
    folder = tmp_path / "checkpoints"
    for phase in ("phase_10", "phase_2", "phase_0"):
        (folder / phase).mkdir(parents=True)
        (folder / phase / "model.bin").write_text(phase)
    (folder / "latest.pt").write_text("phase_10")
    store.add_phases(folder, name="run")
    versions = sorted(store.ls("run"), key=lambda version: version.number)
    assert [version.phase for version in versions] == ["phase_0", "phase_2", "phase_10", None]
    assert store.resolve("run@latest").number == 4
    with pytest.raises(Invalid, match="no folders named phase_"):
        store.add_phases(folder / "phase_0", name="run")


def test_links_that_stay_inside_are_read_and_git_and_the_store_are_left_out(tmp_path):
    folder = tmp_path / "work"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git/HEAD").write_text("ref")
    (folder / "real.txt").write_text("content")
    (folder / "link.txt").symlink_to("real.txt")
    with Store.init(str(folder / ".artstore")) as store:
        store.add([folder], name="m")
        assert [file["path"] for file in store.show("m")["files"]] == ["link.txt", "real.txt"]


def bad_trees():
    def leaving(root: Path):
        (root.parent / "secret").write_text("x")
        (root / "link").symlink_to(root.parent / "secret")

    def dangling(root: Path):
        (root / "link").symlink_to("nowhere")

    def folder_link(root: Path):
        (root / "loop").symlink_to(root)

    def fifo(root: Path):
        os.mkfifo(root / "pipe")

    def listening(root: Path):
        with socket.socket(socket.AF_UNIX) as bound:
            os.chdir(root)
            bound.bind("socket")

    def cases(root: Path):
        (root / "Model.bin").write_text("a")
        (root / "model.bin").write_text("b")

    def forms(root: Path):
        (root / "caf\u00e9").write_text("a")
        (root / "cafe\u0301").write_text("b")

    def device_name(root: Path):
        (root / "nul.txt").write_text("a")

    def not_unicode(root: Path):
        (root / os.fsdecode(b"bad\xff")).write_text("a")

    def pickle_named_safetensors(root: Path):
        (root / "m.safetensors").write_bytes(b"\x80\x04K\x01.")

    def missing_shard(root: Path):
        index = {"metadata": {}, "weight_map": {"w": "model-00001-of-00002.safetensors"}}
        (root / "model.safetensors.index.json").write_text(json.dumps(index))

    found = [leaving, dangling, folder_link, fifo, listening, cases, forms, device_name, not_unicode]
    return [*found, pickle_named_safetensors, missing_shard]


@pytest.mark.parametrize("spoil", bad_trees(), ids=lambda spoil: spoil.__name__)
def test_what_cannot_be_stored_is_refused_with_nothing_changed(store, tmp_path, monkeypatch, spoil):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "in"
    root.mkdir()
    (root / "good.txt").write_text("fine")
    spoil(root)
    with pytest.raises(Invalid) as refusal:
        store.add([root], name="m")
    assert "\n" not in refusal.value.message
    assert store.ls() == []
    assert store.status()["blobs"] == 0


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "a//b", "con", "x\n"])
def test_bad_names_are_refused(store, model, name):
    with pytest.raises(Invalid):
        store.add([model], name=name)


def test_missing_paths_and_empty_folders(store, tmp_path):
    with pytest.raises(NotFound, match="No such file or folder"):
        store.add([tmp_path / "nothing"], name="m")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Invalid, match="No files"):
        store.add([tmp_path / "empty"], name="m")
    with pytest.raises(Invalid, match="not a regular file"):
        store.add([Path("/dev/null")], name="m")


def test_out_of_space_is_found_before_the_work(tmp_path):
    sparse = tmp_path / "huge.bin"
    with sparse.open("wb") as file:
        file.truncate(1 << 43)
    with Store.init(str(tmp_path / "store"), settings=Settings()) as store:
        with pytest.raises(NoSpace, match="are free"):
            store.add([sparse], name="m")
        assert store.depot.blobs.owners() == []


def test_a_plan_tells_what_it_would_do_and_a_changed_file_is_noticed(store, model):
    plan = store.plan_add([model], name="m")
    document = json.loads(json.dumps(plan.to_json()))
    assert document["logical_bytes"] == plan.nbytes
    (model / "config.json").write_text("{}")
    with pytest.raises(Invalid, match="changed while it was being read"):
        ingest.run(store.depot, plan)
    assert store.ls() == []


def test_links_to_parents(store, model):
    store.add([model / "config.json"], name="base")
    parents = [store.link("base", "finetune", 0.5), store.link("hf://org/base@main", "merge")]
    store.add([model / "data.bin"], name="child", parents=parents)
    here, elsewhere = store.show("child")["parents"]
    assert (here["relation"], here["weight"], here["ref"]) == ("finetune", 0.5, "base:1")
    assert (elsewhere["relation"], elsewhere["id"], elsewhere["ref"]) == ("merge", None, "hf://org/base@main")


PEFT = {"base_model_name_or_path": "org/base", "revision": "v1", "peft_type": "LORA", "r": 8}
CARD = "---\nbase_model: org/base\nlicense: apache-2.0\n---\n# An adapter\n"


@pytest.fixture
def adapter(tmp_path):
    """A folder as PEFT writes it"""
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_file({"q_proj.lora_A.weight": np.zeros(8, np.float32)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(PEFT))
    (folder / "README.md").write_text(CARD)
    return folder


def test_parents_and_licence_are_read_from_the_files(any_store, adapter):
    any_store.add([adapter], name="org/adapter")
    shown = any_store.show("org/adapter")
    (parent,) = shown["parents"]
    assert (parent["relation"], parent["ref"], parent["id"]) == ("adapter", "hf://org/base@v1", None)
    assert parent["params"] == {"read": "adapter_config.json", "peft_type": "LORA"}
    assert parent["declared"]
    assert shown["license"] == "apache-2.0"
    assert any_store.add([adapter], name="org/adapter").committed.existed


def test_a_parent_read_is_bound_to_a_version_of_that_name(store, adapter, model):
    (adapter / "adapter_config.json").unlink()
    base = store.add([model], name="org/base").committed.version
    store.add([adapter], name="org/adapter")
    (parent,) = store.show("org/adapter")["parents"]
    assert (parent["relation"], parent["id"]) == ("adapter", str(base.id))


def test_what_is_given_wins_over_what_is_read(store, adapter, model):
    store.add([model], name="org/base")
    other = store.link("hf://org/other", "distill")
    store.add([adapter], name="a", parents=[store.link("org/base", "finetune"), other], license="mit")
    shown = store.show("a")
    assert [(one["relation"], one["ref"]) for one in shown["parents"]] == [
        ("finetune", "org/base:1"),
        ("distill", "hf://org/other"),
    ]
    assert shown["license"] == "mit"
    store.add([adapter], name="b", parents=[other])
    assert [one["ref"] for one in store.show("b")["parents"]] == ["hf://org/other", "hf://org/base@v1"]


def test_a_card_that_cannot_be_understood_is_told_and_stored_as_it_is(tmp_path, adapter):
    (adapter / "README.md").write_bytes(b"---\na: [\xff\n---\n")
    events = []
    with Store.init(str(tmp_path / "store"), monitor=events.append) as store:
        store.add([adapter], name="m")
        assert [one["relation"] for one in store.show("m")["parents"]] == ["adapter"]
        store.checkout("m", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(adapter)
    (warning,) = [event.message for event in events if isinstance(event, Warn)]
    assert warning.startswith("README.md cannot be understood (its front matter is not UTF-8")


def test_a_plan_tells_parents_and_licence(store, adapter):
    document = json.loads(json.dumps(store.plan_add([adapter], name="m").to_json()))
    assert [(one["relation"], one["ref"]) for one in document["parents"]] == [("adapter", "hf://org/base@v1")]
    assert document["license"] == "apache-2.0"


def test_weights_are_not_read_for_their_parents(store, tmp_path):
    sparse = tmp_path / "m.safetensors"
    header = json.dumps(
        {
            "__metadata__": {"ss_sd_model_name": "org/base"},
            "w": {"dtype": "U8", "shape": [1 << 40], "data_offsets": [0, 1 << 40]},
        }
    )
    with sparse.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header.encode())
        file.truncate(8 + len(header) + (1 << 40))
    plan = store.plan_add([sparse], name="m")
    assert [link.ref for link in plan.parents] == ["hf://org/base"]


def test_each_phase_has_the_parents_its_files_name(store, tmp_path, adapter):
    folder = tmp_path / "run"
    folder.mkdir()
    adapter.rename(folder / "phase_0")
    (folder / "phase_1").mkdir()
    (folder / "phase_1/model.bin").write_bytes(b"x")
    store.add_phases(folder, name="run")
    assert [len(store.show(f"run:{number}")["parents"]) for number in (1, 2)] == [1, 0]
