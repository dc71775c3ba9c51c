"""Sync: what one store lacks of another, as a plan that may be read before it runs"""

import pytest

from artifactstore.core.digest import Digest
from artifactstore.core.names import AliasName, ArtifactName
from artifactstore.ops import sync
from artifactstore.ops.sync import AliasMove, Naming
from tests.beside import aliases, ids, meaning


@pytest.fixture
def two(beside):
    """A store with a family, and an empty one"""
    store = beside.store()
    beside.family(store)
    return store, beside.store()


def plan(source, target, refs=None, **naming):
    chosen = None if refs is None else [source.resolve(ref) for ref in refs]
    return sync.plan(source.depot, target.depot, chosen, Naming(**naming))


def run(source, target, refs=None, **naming):
    return sync.run(source.depot, target.depot, plan(source, target, refs, **naming))


def test_a_plan_changes_nothing_and_says_everything(two):
    source, target = two
    before = meaning(target)
    found = plan(source, target)
    assert meaning(target) == before
    document = found.to_json()
    assert [one["ref"] for one in document["versions"]] == ["org/base:1", "org/tuned:1", "other:1"]
    assert document["bytes"] == sum(place.size for place in source.depot.catalog.blobs.all())
    assert document["blobs"] == len(list(source.depot.catalog.blobs.all()))
    named = {(one["artifact"], one["alias"]) for one in document["aliases"]}
    assert named == {("org/base", "prod"), ("org/tuned", "latest")}
    assert (document["metrics"], document["retired_there"], document["healed"]) == ([], [], [])
    assert not found.is_empty
    # an older store is not asked for what the newer has
    assert plan(target, source).is_empty


def test_what_is_named_comes_with_what_it_needs_and_no_more(two):
    source, target = two
    found = plan(source, target, ["org/tuned"], aliases=False)
    assert [one.ref for one in found.carry.versions] == ["org/base:1", "org/tuned:1"]
    assert found.aliases == ()
    run(source, target, ["org/tuned"], prefix="them")
    assert set(aliases(target)) == {"org/base@them/prod", "org/tuned@them/latest"}
    assert plan(source, target, ["org/tuned"], prefix="them").is_empty
    # what is here already needs nothing brought, and its other alias is no matter of this name
    assert plan(source, target, ["org/base"], prefix="them").is_empty


def test_exact_takes_away_what_the_source_has_not(two, beside):
    source, target = two
    run(source, target)
    target.alias_set("other", "mine", "other")
    target.add([beside.model(8)], name="own", aliases=["x"])
    assert plan(source, target).is_empty
    moves = set(plan(source, target, exact=True).aliases)
    assert moves == {
        AliasMove(ArtifactName("other"), AliasName("mine"), None),
        AliasMove(ArtifactName("own"), AliasName("x"), None),
    }
    run(source, target, exact=True)
    assert aliases(target) == aliases(source)
    assert [one.ref for one in sync.superfluous(source.depot, target.depot)] == ["own:1"]
    assert sync.superfluous(target.depot, source.depot) == ()


def test_metrics_only_of_what_both_have(two):
    source, target = two
    run(source, target, ["other"])
    source.metric("other", {"loss": 1.5})
    source.metric("org/base", {"late": 2.0})
    found = plan(source, target, ["other"])
    assert found.metrics == {source.resolve("other").id: {"loss": 1.5}}
    run(source, target)
    assert target.resolve("other").metrics == {"loss": 1.5}
    assert target.resolve("org/base").metrics == {"loss": 0.5, "acc": 1.0, "late": 2.0}
    target.metric("other", {"loss": 9.0})
    assert plan(source, target).is_empty
    assert plan(source, target, exact=True).metrics == {source.resolve("other").id: {"loss": 1.5}}


def test_an_alias_of_what_was_retired_there_stays_away(two, beside):
    source, target = two
    first = source.resolve("other")
    source.alias_set("other", "prod", "other:1")
    source.add([beside.model(9)], name="other")
    run(source, target, aliases=False)
    target.depot.catalog.retirements.retire({first.id: "no room"})
    found = plan(source, target)
    assert [one.id for one in found.retired] == [first.id]
    assert {str(move.artifact) for move in found.aliases} == {"org/base", "org/tuned"}
    assert run(source, target).versions == ()
    assert first.id not in ids(target)
    run(source, target, ["other:1"])
    assert aliases(target) == aliases(source)


@pytest.mark.parametrize("refs", [["org/tuned"], None])
def test_what_a_newcomer_needs_comes_though_it_was_retired_there(two, beside, refs):
    source, target = two
    base = source.resolve("org/base")
    run(source, target, ["org/base"], aliases=False)
    target.add([beside.model(10)], name="org/base")
    target.depot.catalog.retirements.retire({base.id: "no room"})
    assert base.id not in ids(target)
    assert plan(source, target, refs).retired == ()
    run(source, target, refs, aliases=False)
    assert {base.id, source.resolve("org/tuned").id} <= ids(target)
    assert target.verify().damaged == ()


def test_by_what_an_alias_move_is_told():
    move = AliasMove(ArtifactName("m"), AliasName("prod"), None)
    assert move.to_json() == {"artifact": "m", "alias": "prod", "id": None}
    one = Digest.of(b"x")
    assert AliasMove(ArtifactName("m"), AliasName("prod"), one).to_json()["id"] == str(one)
    assert Naming(prefix="usb").name(AliasName("prod")) == "usb/prod"
