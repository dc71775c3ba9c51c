"""Tree and why: what a version came from, what keeps it, and how it went"""

import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from artifactstore.catalog.tables import version
from artifactstore.core.drawing.text import lines
from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.graph import Graph
from artifactstore.ops import lineage
from artifactstore.ops.lineage import document

SHORT = {
    *("id", "ref", "artifact", "number", "created", "phase", "step", "aliases", "license", "logical_bytes"),
    *("state", "dtypes"),
}
EDGE = {"child", "parent", "relation", "weight", "position", "declared", "evidence", "ref"}


@pytest.fixture
def add(tmp_path):
    """Add a small version of a name to a store, each of other bytes"""

    def added(store, name, *parents, **more):
        added.count += 1
        path = tmp_path / f"{added.count}.bin"
        path.write_bytes(b"%d" % added.count * 50)
        links = [store.link(*parent) for parent in parents]
        return store.add([path], name=name, parents=links, created=added.count, **more).committed.version

    added.count = 0
    return added


def family(store, add):
    """A base with two steps, a merge of it with something elsewhere, and an adapter of that"""
    base = add(store, "base", license="MIT")
    step = add(store, "base", ("base:1", "resume"), step=7)
    hero = add(store, "hero", ("base:1", "merge", 0.5), ("hf://org/x@abc", "merge", 0.25), aliases=["prod"])
    style = add(store, "style", ("hero", "adapter"))
    add(store, "style")
    return base, step, hero, style


def test_tree_is_a_document_with_stable_keys(any_store, add):
    base, step, hero, style = family(any_store, add)
    told = json.loads(json.dumps(document(any_store.tree("hero"))))
    assert all(set(node) == SHORT for node in told["nodes"])
    assert all(set(edge) == EDGE for edge in told["edges"])
    assert told["root"] == str(hero.id)
    assert [node["ref"] for node in told["nodes"]] == ["base:1", "hero:1", "style:1", "hf://org/x@abc"]
    first, second, third, fourth = told["nodes"]
    assert (first["id"], first["license"], first["state"], first["logical_bytes"]) == (
        str(base.id),
        "MIT",
        "active",
        50,
    )
    assert (second["aliases"], third["number"]) == (["prod"], 1)
    assert (fourth["id"], fourth["state"], fourth["created"], fourth["aliases"]) == (None, None, None, [])
    here, elsewhere, below = told["edges"]
    assert (here["child"], here["parent"], here["relation"], here["weight"]) == (
        str(hero.id),
        str(base.id),
        "merge",
        0.5,
    )
    assert (here["declared"], here["evidence"], here["position"]) == (False, "hash", 0)
    assert (elsewhere["parent"], elsewhere["ref"], elsewhere["declared"]) == (None, "hf://org/x@abc", True)
    assert (below["child"], below["parent"]) == (str(style.id), str(hero.id))
    assert set(any_store.tree("base:1", up=False, depth=1).nodes) == {base.id, step.id, hero.id}


def test_one_direction_and_a_depth(store, add):
    family(store, add)

    def refs(graph: Graph):
        return {node.ref for node in graph.nodes.values()}

    assert refs(store.tree("style:1", down=False)) == {"style:1", "hero:1", "base:1", "hf://org/x@abc"}
    assert refs(store.tree("style:1", depth=1)) == {"style:1", "hero:1"}
    assert refs(store.tree("style:1", up=False)) == {"style:1"}
    with pytest.raises(Invalid):
        store.tree("style:1", depth=0)
    with pytest.raises(NotFound):
        store.tree("nobody")


def keeps(store, ref):
    return [(str(reason.ground), str(reason)) for reason in store.why(ref).keeps]


def test_every_kind_of_reason_is_told(store, add):
    family(store, add)
    store.pin("base:1", "paper", datetime(2200, 1, 31, tzinfo=UTC))
    store.pin("base:1", "audit")
    store.pin("base:1", "over", datetime(2020, 1, 1, tzinfo=UTC))
    leases = store.depot.catalog.leases
    leases.open("reading", host="h/1", pid=7, kind="read")
    leases.hold("reading", store.resolve("base:1").id)
    assert keeps(store, "base:1") == [
        ("pin", "pinned: paper until 2200-01-31"),
        ("pin", "pinned: audit"),
        ("use", "in use: read (process 7 on h/1)"),
        ("needed", "merge source of hero:1, which has alias prod"),
    ]
    assert keeps(store, "base:2") == [("resumable", "newest resumable step")]
    assert keeps(store, "hero") == [
        ("alias", "alias prod"),
        ("last", "last version of its artifact"),
        ("needed", "base of adapter style:1, which nothing asks to go"),
    ]
    assert keeps(store, "style:1") == []
    assert store.why("style:1").to_json() == {
        "id": str(store.resolve("style:1").id),
        "ref": "style:1",
        "state": "active",
        "keeps": [],
        "policy": None,
        "retired": None,
    }


def test_it_says_what_the_stored_policy_does(store, add):
    for step in range(4):
        add(store, "run/a", metrics={"loss": float(step)}, phase="sft" if step else None)
    store.policy_set("run/*", "--older 1d --keep-last 1 --keep-best 1:loss")
    store.policy_set("run/[a-z]", "--where metric.loss>=1 --keep-last 1 --keep-best 1:loss")

    def told(number):
        found = store.why(f"run/a:{number}").to_json()
        return found["policy"]["action"], found["policy"]["reasons"], found["keeps"]

    assert store.why("run/a").policy.pattern == "run/[a-z]"
    assert told(1) == ("keep", ["best 1 of loss = 0"], [{"kind": "rule", "text": "best 1 of loss = 0"}])
    action, [reason], kept = told(2)
    assert (action, kept) == ("retire", [])
    assert reason.endswith("no rule keeps it")
    assert told(4) == ("keep", ["latest 1 of 1"], [{"kind": "rule", "text": "latest 1 of 1"}])
    decided = {item.ref: (item.action, list(item.reasons)) for item in store.plan_gc().retire.items}
    for number in range(1, 5):
        assert told(number)[:2] == decided[f"run/a:{number}"]


@pytest.mark.parametrize("rules", ["--older 1d --keep-best 1:nothing", "--where 'metric.nothing > 1'"])
def test_a_policy_that_gc_refuses_keeps_nothing_and_says_why(store, add, rules):
    add(store, "run/a", metrics={"loss": 1.0})
    add(store, "run/a")
    store.policy_set("run/*", rules)
    with pytest.raises(Invalid) as refusal:
        store.plan_gc()
    for ref in ("run/a:1", "run/a:2"):
        view = store.why(ref).policy
        assert (view.action, view.reasons) == ("refused", (refusal.value.message,))
        assert store.why(ref).keeps == ()
    add(store, "other")
    assert store.why("other").policy is None


def test_of_what_was_retired_it_says_how_and_until_when(any_store, add):
    first = add(any_store, "run/a")
    add(any_store, "run/a", ("run/a:1", "resume"))
    any_store.policy_set("run/a", "--older 1d --keep-last 1")
    plan = any_store.plan_gc()
    retired = any_store.depot.catalog.retirements.retire({item.id: "a reason" for item in plan.retire.going})
    waiting = any_store.why("run/a:1")
    assert (waiting.version.state, waiting.keeps, waiting.policy, waiting.undo_until) == ("retired", (), None, None)
    any_store.gc(any_store.plan_gc(), force=True)
    told = any_store.why("run/a:1", grace=timedelta(days=2))
    went = told.to_json()["retired"]
    assert (went["serial"], went["why"], went["swept"]) == (retired.serial, "a reason", None)
    days = (datetime.fromisoformat(went["undo_until"]) - datetime.now(UTC)) / timedelta(days=1)
    assert 1.9 < days <= 2
    assert "run/a:1  50 B  retired" in "\n".join(lines(any_store.tree("run/a")))
    shown = any_store.show(str(first.id)[:12])
    assert (shown["state"], shown["retired"]["serial"], len(shown["files"])) == ("retired", retired.serial, 1)
    any_store.gc(any_store.plan_gc(grace=timedelta(0)), force=True)
    gone = any_store.why("run/a:1")
    assert (gone.version.state, gone.undo_until) == ("swept", None)
    assert gone.to_json()["retired"]["swept"] is not None
    shown = any_store.show("run/a:1")
    assert (shown["state"], shown["files"], shown["children_count"]) == ("swept", [], 1)
    with pytest.raises(NotFound, match="bytes are gone since"):
        any_store.resolve("run/a:1")


def test_what_old_rows_do_not_say_is_left_open(store, add):
    first = add(store, "a")
    add(store, "a")
    gone = sa.update(version).where(version.c.digest == first.id).values(state="retired")
    store.depot.catalog.database.write(lambda connection: connection.execute(gone))
    went = store.why("a:1").to_json()["retired"]
    assert went == {"at": None, "serial": None, "why": None, "swept": None, "undo_until": None}


def test_one_that_goes_meanwhile_has_no_standing(store, add):
    info = add(store, "a")
    add(store, "a")
    store.depot.catalog.retirements.retire({info.id: "test"})
    told = lineage.why(store.depot, info, grace=timedelta(days=7))
    assert (told.keeps, told.policy) == ((), None)
