"""Taking in what other tools keep: each once, nothing of theirs changed, damage refused by name"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from artifactstore.core.errors import Corrupt, Invalid, NotFound
from artifactstore.core.events import Warn
from artifactstore.ops.transfer.fetch import load_manifest
from artifactstore.store import Store
from tests.ops.trees import contents

COMMIT, OLDER = "b" * 40, "a" * 40
WEIGHTS = save({"w": np.arange(1000, dtype=np.float32)})
CARD = b"---\nlicense: apache-2.0\nbase_model: org/base\n---\n# A model\n"


@pytest.fixture
def store(tmp_path):
    with Store.init(str(tmp_path / "store")) as store:
        yield store


def git_name(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def snapshot(repo, commit, files):
    """As the hub's client does it: blobs by their ETag, and links to them"""
    for path, data in files.items():
        name = hashlib.sha256(data).hexdigest() if path.endswith(".safetensors") else git_name(data)
        put(repo / "blobs" / name, data)
        link = repo / "snapshots" / commit / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(repo / "blobs" / name, link.parent))


@pytest.fixture
def hub(tmp_path):
    hub = tmp_path / "hub"
    snapshot(hub / "models--org--m", OLDER, {"config.json": b"{}", "model.safetensors": WEIGHTS})
    snapshot(
        hub / "models--org--m", COMMIT, {"config.json": b'{"a": 1}', "model.safetensors": WEIGHTS, "README.md": CARD}
    )
    put(hub / "models--org--m" / "refs" / "main", COMMIT.encode() + b"\n")
    put(hub / "models--org--m" / "refs" / "refs" / "pr" / "1", OLDER.encode())
    snapshot(hub / "models--gpt2", COMMIT, {"config.json": b"{}"})
    put(hub / "models--gpt2" / ".no_exist" / COMMIT / "adapter_config.json", b"")
    put(hub / ".locks" / "models--org--m" / "x.lock", b"")
    put(hub / "version.txt", b"1")
    return hub


def frozen(folder):
    """Everything there with its times and links, which must stay"""
    found = {path: os.lstat(path) for path in Path(folder).rglob("*")}
    return {str(path): (status.st_mode, status.st_mtime_ns, status.st_size) for path, status in found.items()}


def test_a_hub_is_taken_in_once(store, hub):
    before = frozen(hub)
    report = store.add_from("hf-cache", hub)
    assert [str(one.committed.version.ref) for _, one in report.taken] == ["gpt2:1", "org/m:1", "org/m:2"]
    assert not report.broken
    newest = store.resolve("org/m@main")
    assert (newest.number, newest.license) == (2, "apache-2.0")
    shown = store.show("org/m:2")
    assert shown["metadata"] == {"upstream": {"source": "hf://org/m", "commit": COMMIT}}
    assert [(link["relation"], link["ref"]) for link in shown["parents"]] == [("finetune", "hf://org/base")]
    assert store.show("org/m:1")["aliases"] == ["refs/pr/1"]
    assert newest.formats == ("other", "safetensors")  # by the names of links, as those of blobs tell nothing
    again = store.add_from("hf-cache", hub)
    assert [one.committed.existed for _, one in again.taken] == [True] * 3
    assert len(store.ls()) == 3
    assert frozen(hub) == before


def test_what_is_here_is_not_read_again_but_where_a_name_moved_or_damage_is_known(store, hub):
    for _ in range(2):
        report = store.add_from("hf-cache", hub)
    assert [one.read_bytes for _, one in report.taken] == [0, 0, 0]
    put(hub / "models--org--m" / "refs" / "v1", OLDER.encode())
    report = store.add_from("hf-cache", hub)
    assert [one.read_bytes > 0 for _, one in report.taken] == [False, True, False]
    assert store.resolve("org/m@v1").number == 1
    blob = next(Path(store.depot.blobs.url, "blobs").rglob("*.*"))
    blob.chmod(0o644)
    blob.write_bytes(b"x")
    assert store.verify().damaged
    report = store.add_from("hf-cache", hub)
    assert any(one.read_bytes for _, one in report.taken)
    assert not store.verify().damaged


def test_one_repository_of_a_hub_and_its_files_come_back(store, hub, tmp_path):
    store.add_from("hf-cache", hub / "models--org--m", name="mine")
    assert {str(version.artifact) for version in store.ls()} == {"mine"}
    store.checkout("mine@main", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(hub / "models--org--m" / "snapshots" / COMMIT)


def test_what_was_taken_in_can_be_given_back_as_a_cache(store, hub, tmp_path):
    store.add_from("hf-cache", hub)
    store.checkout("org/m@main", tmp_path / "back", layout="hf-cache")
    home = tmp_path / "back" / "models--org--m"
    assert (home / "refs" / "main").read_text() == COMMIT
    assert contents(home / "snapshots") == {
        f"{COMMIT}/{path}": data for path, data in contents(hub / "models--org--m" / "snapshots" / COMMIT).items()
    }
    copied = store.add_from("hf-cache", tmp_path / "back")
    assert [one.new_bytes for _, one in copied.taken] == [0]


def test_names_that_are_given(store, hub):
    with pytest.raises(Invalid, match=r"holds 2 models \(gpt2, org/m, …\), which cannot all be mine"):
        store.add_from("hf-cache", hub, name="mine")
    store.add_from("hf-cache", hub, name="cached/")
    assert {str(version.artifact) for version in store.ls()} == {"cached/gpt2", "cached/org/m"}


@pytest.mark.parametrize("path", ["config.json", "model.safetensors"])
def test_a_damaged_blob_is_refused_by_name(store, hub, path):
    warned = []
    blob = (hub / "models--org--m" / "snapshots" / COMMIT / path).resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    with Store.open(store.depot.blobs.url, monitor=lambda e: isinstance(e, Warn) and warned.append(e.message)) as other:
        report = other.add_from("hf-cache", hub)
    assert report.broken
    assert all(blob.name in one.why and "is damaged" in one.why for one in report.passed)
    assert warned
    assert "org/m@main" not in {f"{version.artifact}@{alias}" for version in store.ls() for alias in version.aliases}
    assert store.resolve("gpt2").number == 1
    shutil.rmtree(hub / "models--gpt2")
    shutil.rmtree(hub / "models--org--m" / "snapshots" / OLDER)
    with pytest.raises(Corrupt, match=blob.name):
        store.add_from("hf-cache", hub)


def test_a_snapshot_with_a_link_to_nothing_is_passed_over(store, hub):
    (hub / "models--org--m" / "snapshots" / COMMIT / "config.json").resolve().unlink()
    report = store.add_from("hf-cache", hub)
    assert [one.place for one in report.passed] == [f"models--org--m/snapshots/{COMMIT}"]
    assert report.broken
    assert len(report.taken) == 2


def test_copies_instead_of_links_and_a_shared_store_of_blobs(store, hub, tmp_path):
    flat = tmp_path / "flat"
    shutil.copytree(hub, flat)  # which follows links, as Windows' caches hold none
    shared = hub / "blobs" / "ab" / ("c" * 64)
    blob = (hub / "models--org--m" / "snapshots" / COMMIT / "model.safetensors").resolve()
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(os.path.relpath(shared, blob.parent))
    put(shared.with_name(f"{shared.name}.refs"), b"../../models--org--m/blobs/x\n")
    for folder in (hub, hub / "models--org--m"):
        assert not store.add_from("hf-cache", folder).broken
    plans = [store.plan_add_from("hf-cache", folder).arrivals for folder in (hub, flat)]
    assert [len(one.plan.expected) for one in plans[0]] == [0, 1, 1]
    assert [len(one.plan.expected) for one in plans[1]] == [0, 0, 0]
    shared.write_bytes(WEIGHTS[:-1] + b"x")
    with pytest.raises(Corrupt, match="is damaged"):
        store.add_from("hf-cache", hub / "models--org--m")


def test_a_repository_that_was_moved_to_another_disk(store, hub, tmp_path):
    (hub / "models--org--m").rename(tmp_path / "large")
    (hub / "models--org--m").symlink_to(tmp_path / "large")
    report = store.add_from("hf-cache", hub)
    assert (len(report.taken), report.passed) == (3, ())
    assert {len(arrival.plan.expected) for arrival, _ in report.taken} == {0, 1}


def test_a_link_that_leaves_the_cache_is_not_followed(store, hub, tmp_path):
    secret = put(tmp_path / "secret", b"s")
    for commit, target in (("1", secret), ("2", Path("../../../../secret"))):
        link = hub / "models--org--m" / "snapshots" / commit / "config.json"
        link.parent.mkdir()
        link.symlink_to(target)
    report = store.add_from("hf-cache", hub)
    assert len(report.taken) == 3
    assert all("is a link that leaves" in one.why for one in report.passed)
    assert len(report.passed) == 2


def test_links_in_a_ring_and_broken_models(store, hub):
    ring = hub / "models--org--ring" / "snapshots" / COMMIT / "a.json"
    ring.parent.mkdir(parents=True)
    ring.symlink_to("a.json")
    put(hub / "models--org--odd" / "snapshots" / COMMIT / "model.safetensors", b"nonsense")
    index = json.dumps({"weight_map": {"w": "model-00001-of-00002.safetensors"}})
    put(hub / "models--org--part" / "snapshots" / COMMIT / "model.safetensors.index.json", index.encode())
    report = store.add_from("hf-cache", hub)
    assert len(report.taken) == 3
    assert {one.place.split("/")[0] for one in report.passed} == {
        "models--org--ring",
        "models--org--odd",
        "models--org--part",
    }


def test_a_folder_of_models(store, tmp_path):
    models = tmp_path / "models"
    for folder in ("org/a", "flat"):
        put(models / folder / "config.json", b"{}")
        put(models / folder / "model.safetensors", WEIGHTS)
    put(models / "alone.gguf", b"no real one")
    put(models / "link", b"x").unlink()
    (models / "link").symlink_to(models / "alone.gguf")
    report = store.add_from("dir", models)
    assert [one.committed.version.ref for _, one in report.taken] == ["alone:1", "flat:1", "org/a:1"]
    assert report.taken[1][1].new_bytes == 0 or report.taken[2][1].new_bytes == 0
    assert store.resolve("flat").created == 1_700_000_000_000_000


def test_a_store_among_the_models_is_no_model(tmp_path):
    put(tmp_path / "models" / "a" / "w.bin", b"w")
    with Store.init(str(tmp_path / "models" / ".artstore")) as store:
        store.add_from("dir", tmp_path / "models")
        assert [one.committed.existed for _, one in store.add_from("dir", tmp_path / "models").taken] == [True]
    with Store.init(str(tmp_path / "models" / "store")) as store:
        found = [str(one.plan.artifact) for one in store.plan_add_from("dir", tmp_path / "models").arrivals]
        assert found == ["a"]


def test_ollama_with_a_parent_here(store, tmp_path):
    root = tmp_path / "models"

    def blob(data):
        digest = hashlib.sha256(data).hexdigest()
        put(root / "blobs" / f"sha256-{digest}", data)
        return f"sha256:{digest}"

    def manifest(place, config, **more):
        layers = [{"mediaType": "application/vnd.ollama.image.model", "digest": blob(b"weights"), "size": 7, **more}]
        layers += [{"mediaType": "application/vnd.ollama.image.template", "digest": blob(b"{{ .Prompt }}"), "size": 13}]
        document = {"schemaVersion": 2, "config": {"digest": blob(config), "size": len(config)}, "layers": layers}
        put(root / "manifests" / place, json.dumps(document).encode())

    manifest("registry.ollama.ai/me/twin/latest", b'{"twin": 1}', **{"from": "base:8b"})
    manifest("registry.ollama.ai/library/base/8b", b'{"base": 1}')
    manifest("registry.ollama.ai/me/mine/latest", b'{"mine": 1}', **{"from": "base:8b"})
    assert len(store.add_from("ollama", root).taken) == 3
    assert store.show("library/base")["parents"] == []
    for child in ("me/mine", "me/twin"):
        (link,) = store.show(child)["parents"]
        assert (link["version"], link["evidence"]) == ("library/base:1", "hash")
    (root / "blobs" / f"sha256-{hashlib.sha256(b'weights').hexdigest()}").write_bytes(b"Weights")
    with pytest.raises(Corrupt, match="expected"):
        store.add_from("ollama", root)


def test_mlflow_with_metrics_and_aliases(store, tmp_path):
    root, run = tmp_path / "mlruns", "c" * 32
    put(root / "1" / "meta.yaml", b"name: translate\n")
    put(root / "1" / run / "meta.yaml", f"run_id: {run}\nstart_time: 1700000000123\n".encode())
    put(root / "1" / run / "metrics" / "loss", b"1 0.5 0\n2 0.25 1\n")
    put(root / "1" / run / "artifacts" / "model" / "MLmodel", b"flavors: {}\n")
    save_file({"w": np.zeros(4, np.float32)}, root / "1" / run / "artifacts" / "model" / "model.safetensors")
    put(root / "models" / "nllb" / "meta.yaml", b"name: nllb\n")
    put(root / "models" / "nllb" / "aliases" / "champion", b"3")
    put(root / "models" / "nllb" / "version-3" / "meta.yaml", f"version: '3'\nsource: runs:/{run}/model\n".encode())
    for existed in (False, True):
        ((_, report),) = store.add_from("mlflow", root).taken
        assert report.committed.existed == existed
    found = store.resolve("nllb@champion")
    assert (found.request_id, dict(found.metrics), found.created) == (run, {"loss": 0.25}, 1_700_000_000_123_000)
    assert store.resolve(run).id == found.id
    assert load_manifest(store.depot, found.id).metadata["version"] == 3


@pytest.mark.parametrize("tool", ["hf-cache", "dir", "ollama", "mlflow"])
def test_a_folder_without_any(store, tmp_path, tool):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match=f"holds nothing that --from {tool} knows"):
        store.add_from(tool, tmp_path / "empty")
    with pytest.raises(NotFound, match="No such folder"):
        store.add_from(tool, tmp_path / "nowhere")
    with pytest.raises(NotFound, match="is a file"):
        store.add_from(tool, put(tmp_path / "file", b""))


def test_a_tool_that_nobody_knows(store, tmp_path):
    with pytest.raises(Invalid, match="hf-cache, dir, ollama, mlflow"):
        store.add_from("dvc", tmp_path)


def test_a_listing_of_great_size_is_not_read(store, tmp_path):
    path = tmp_path / "models" / "manifests" / "host" / "ns" / "name" / "tag"
    put(path, b"{" + b" " * (5 << 20))
    report = store.add_from("ollama", tmp_path / "models")
    assert "at most" in report.passed[0].why
