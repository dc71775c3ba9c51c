"""Documents with stable keys"""

import json

from artifactstore.core.selection import Rules

STABLE = {
    "id", "artifact", "number", "created", "phase", "step", "epoch", "request_id", "aliases", "pins", "parents",
    "files", "metrics", "license", "logical_bytes", "unique_bytes",
}  # fmt: skip


def test_show_has_the_stable_keys_and_is_json(any_store, model):
    any_store.add([model], name="base")
    parents = [any_store.link("base", "finetune", 0.5)]
    any_store.add([model], name="child", parents=parents, phase="p", step=3, metadata={"note": [1, {"a": None}]})
    shown = json.loads(json.dumps(any_store.show("child")))
    assert set(shown) >= STABLE
    (parent,) = shown["parents"]
    assert set(parent) >= {"relation", "id", "ref", "weight", "position", "declared"}
    assert parent["id"] == any_store.show("base")["id"]
    assert shown["metadata"] == {"note": [1, {"a": None}]}
    assert {"path", "size", "sha256"} <= set(shown["files"][0])
    assert shown["unique_bytes"] == 0
    assert shown["logical_bytes"] == sum(file["size"] for file in shown["files"])


def test_search_finds_by_any_word(any_store, model):
    any_store.add([model], name="org/wan", license="mit", phase="warmup", aliases=["prod"], metadata={"k": "needle"})
    sha256 = any_store.show("org/wan")["files"][0]["sha256"]
    for text in ("wan", "mit", "warmup", "prod", "needle", "vocab", sha256[:12]):
        assert [version.ref for version in any_store.search(text)] == ["org/wan:1"], text
    assert any_store.search("haystack") == []


def test_status_and_log_tell_what_happened(any_store, model):
    any_store.add([model], name="m", aliases=["prod"])
    any_store.metric("m", {"loss": 0.25})
    status = json.loads(json.dumps(any_store.status()))
    assert (status["versions"], status["serial"], status["damaged"], status["unexported"]) == (1, 2, 0, 0)
    newest, oldest = json.loads(json.dumps(any_store.log()))
    assert [action["do"] for action in oldest["actions"]] == ["version", "alias"]
    assert isinstance(oldest["actions"][0]["blobs"], int)
    assert [action["do"] for action in newest["actions"]] == ["metric"]
    assert newest["refs"] == oldest["refs"] == {any_store.show("m")["id"]: "m:1"}


def test_the_log_names_versions_of_every_action(store, model):
    for number in range(3):
        parents = [store.link("m", "resume")] if number else []
        store.add([model], name="m", step=number, parents=parents)
    first, second, third = (store.show(f"m:{number}")["id"] for number in (1, 2, 3))
    store.pin("m:1", "paper")
    store.unpin("m:1")
    store.gc(store.plan_gc(Rules.parse("--where 'number < 3'")), force=True)
    store.undo()
    undone, retired, unpinned, pinned, added, *_ = store.log()
    assert undone["refs"] == retired["refs"] == {first: "m:1", second: "m:2"}
    assert unpinned["refs"] == pinned["refs"] == {first: "m:1"}
    assert added["refs"] == {second: "m:2", third: "m:3"}


def test_a_parent_is_told_as_declared_and_by_what_it_is_here(store, model):
    store.add([model], name="org/base")
    parents = [store.link("hf://org/base", "finetune"), store.link("hf://org/none", "merge")]
    store.add([model], name="child", parents=parents)
    told = [(parent["ref"], parent["version"]) for parent in store.show("child")["parents"]]
    assert told == [("hf://org/base", "org/base:1"), ("hf://org/none", None)]


def test_show_counts_children_and_says_the_state(store, model):
    store.add([model], name="base")
    assert (store.show("base")["children_count"], store.show("base")["state"]) == (0, "active")
    store.add([model], name="child", parents=[store.link("base", "finetune")])
    assert store.show("base")["children_count"] == 1
    assert store.show("base")["retired"] is None
