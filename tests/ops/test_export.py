"""Exports of versions that a store holds, and lists of checksums held against them"""

import json
import os
import subprocess

import pytest
import yaml

from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.exports.base import Kind
from artifactstore.core.lineage import Link, Relation
from tests.contract.catalog import retire

ODD_NAMES = ["-dash", " begins with a space", "ä/日本語 ü.txt", "#hash", "a (b) = c", "plain"]


@pytest.fixture
def odd(tmp_path):
    """A folder of files whose names a checksum tool may stumble on"""
    for name in ODD_NAMES:
        path = tmp_path / "odd" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "odd"


def add(store, folder, name, *parents, **labels):
    """A version of one file, whose content is its own"""
    path = folder / "weights.bin"
    path.write_text(f"{name} {parents} {labels}")
    links = [one if isinstance(one, Link) else store.link(one[1], one[0]) for one in parents]
    return store.add([path], name=name, parents=links, **labels).committed.version


def sha256sum(list_, folder):
    return subprocess.run(["sha256sum", "--strict", "--check", list_], cwd=folder, capture_output=True, text=True)


def test_sha256sum_takes_the_checksums_after_a_checkout(store, odd, tmp_path):
    store.add([odd], name="odd")
    (tmp_path / "CHECKSUMS.sha256").write_text(store.export("checksums", "odd"), encoding="utf-8")
    store.checkout("odd", tmp_path / "out")
    done = sha256sum(tmp_path / "CHECKSUMS.sha256", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == sorted(f"{name}: OK" for name in ODD_NAMES)
    (tmp_path / "out" / "-dash").write_text("other")
    assert sha256sum(tmp_path / "CHECKSUMS.sha256", tmp_path / "out").returncode == 1


@pytest.mark.parametrize("options", [(), ("--binary",), ("--tag",)])
def test_what_sha256sum_wrote_matches_without_reading_a_blob(store, odd, tmp_path, options):
    store.add([odd], name="odd")
    done = subprocess.run(
        ["sha256sum", *options, "--", *(f"./{name}" for name in ODD_NAMES)], cwd=odd, capture_output=True, check=True
    )
    (tmp_path / "list").write_bytes(done.stdout)
    for blob in (tmp_path / "store" / "blobs").rglob("*"):
        if blob.is_file():
            blob.unlink()
    report = store.import_checksums(tmp_path / "list", "odd")
    assert (report.matched, report.unlisted, report.fine) == (len(ODD_NAMES), (), True)


def test_what_differs_is_told(store, odd, tmp_path):
    store.add([odd], name="odd")
    lines = store.export("checksums", "odd").splitlines()
    changed = ["0" * 64 + line[64:] if line.endswith("plain") else line for line in lines if "dash" not in line]
    (tmp_path / "list").write_text("\n".join([*changed, f"{'1' * 64}  gone"]), encoding="utf-8")
    report = store.import_checksums(str(tmp_path / "list"), "odd")
    assert report.matched == len(ODD_NAMES) - 2
    assert [one.path for one in report.mismatched] == ["plain"]
    assert (report.missing, report.unlisted) == (("gone",), ("-dash",))


def test_what_is_no_list_is_refused(store, odd, tmp_path):
    store.add([odd], name="odd")
    with pytest.raises(NotFound, match="No such file"):
        store.import_checksums(tmp_path / "none", "odd")
    with pytest.raises(Invalid, match="Is a directory"):
        store.import_checksums(tmp_path, "odd")
    (tmp_path / "list").write_bytes(b"\xff\xfe")
    with pytest.raises(Invalid, match="is not text"):
        store.import_checksums(tmp_path / "list", "odd")
    with (tmp_path / "list").open("wb") as file:
        os.truncate(file.fileno(), (64 << 20) + 1)
    with pytest.raises(Invalid, match="over 64 MiB"):
        store.import_checksums(tmp_path / "list", "odd")


def test_every_kind_in_every_way_of_living(any_store, model, tmp_path):
    any_store.add([model], name="base", license="mit")
    foreign = Link(Relation.MERGE, "hf://org/name@abc", weight=0.5)
    parents = [any_store.link("base", "merge", 0.5), foreign]
    any_store.add([model], name="soup", parents=parents, metadata={"note": "x"}, metrics={"loss": 0.5})
    shown = any_store.show("soup")
    told = {kind: any_store.export(kind, "soup") for kind in Kind}
    assert told == {kind: any_store.export(str(kind), "soup:1") for kind in Kind}
    assert all(text.endswith("\n") for text in told.values())
    sums = [f"{file['sha256']}  {file['path']}" for file in shown["files"]]
    assert told["checksums"].splitlines() == sums
    front = yaml.safe_load(told["model-card"].split("---\n")[1])
    assert front["base_model"] == ["base", "org/name"]
    component = json.loads(told["cyclonedx"])["metadata"]["component"]
    assert component["hashes"][0]["content"] == shown["id"]
    base, name = component["pedigree"]["ancestors"]
    assert (base["licenses"][0]["license"]["id"], name["purl"]) == ("MIT", "pkg:huggingface/org/name@abc")
    assert {one["name"] for one in base["components"]} == {file["path"] for file in shown["files"]}
    graph = json.loads(told["spdx"])["@graph"]
    assert [one["name"] for one in graph if one["type"] == "ai_AIPackage"] == ["soup", "base"]
    assert any_store.depot.info.store_id in graph[2]["name"]
    prov = json.loads(told["prov"])
    assert prov["entity"][f"version:{shown['id']}"]["artifactstore:metadata"] == ["note=x"]
    assert "artifactstore:dtype" in prov["entity"][f"version:{shown['id']}"]


def test_another_kind_is_refused(store, odd):
    store.add([odd], name="odd")
    with pytest.raises(Invalid, match="Cannot export 'pdf'"):
        store.export("pdf", "odd")
    with pytest.raises(NotFound):
        store.export("spdx", "none")


def test_a_card_looks_up_a_long_line_of_resumed_versions(store, tmp_path):
    add(store, tmp_path, "run", Link(Relation.FINETUNE, "hf://org/base"))
    for number in range(1, 25):
        add(store, tmp_path, "run", ("resume", f"run:{number}"), step=number)
    front = yaml.safe_load(store.export("model-card", "run:25").split("---\n")[1])
    assert front == {"base_model": "org/base", "base_model_relation": "finetune"}


def test_a_card_of_what_comes_from_nothing(store, tmp_path):
    add(store, tmp_path, "first")
    add(store, tmp_path, "second", ("convert", "first"), license="mit")
    assert yaml.safe_load(store.export("model-card", "second").split("---\n")[1]) == {"license": "mit"}


def ancestors(component):
    """Names and versions up the first pedigree"""
    found = [(component["name"], component.get("version"), "components" in component)]
    for above in component.get("pedigree", {}).get("ancestors", ())[:1]:
        found += ancestors(above)
    return found


def test_documents_describe_sixteen_levels_and_name_the_next(store, tmp_path):
    add(store, tmp_path, "run")
    for number in range(1, 20):
        add(store, tmp_path, "run", ("resume", f"run:{number}"))
    line = ancestors(json.loads(store.export("cyclonedx", "run:20"))["metadata"]["component"])
    assert line == [*(("run", str(number), True) for number in range(20, 3, -1)), ("run:3", None, False)]


def test_a_retired_parent_is_named(store, tmp_path):
    base = add(store, tmp_path, "base")
    add(store, tmp_path, "child", ("finetune", "base"))
    retire(store.depot.catalog, base.id)
    component = json.loads(store.export("cyclonedx", "child"))["metadata"]["component"]
    (parent,) = component["pedigree"]["ancestors"]
    assert (parent["name"], parent["hashes"][0]["content"]) == ("base:1", str(base.id))
    assert yaml.safe_load(store.export("model-card", "child").split("---\n")[1])["base_model"] == "base"


def test_one_ancestor_on_two_ways_is_looked_up_once(store, tmp_path):
    add(store, tmp_path, "base")
    for side in ("left", "right"):
        add(store, tmp_path, side, ("finetune", "base"))
    add(store, tmp_path, "top", ("merge", "left"), ("merge", "right"))
    graph = json.loads(store.export("spdx", "top"))["@graph"]
    names = [one["name"] for one in graph if one["type"] == "ai_AIPackage"]
    assert names == ["top", "left", "right", "base"]
