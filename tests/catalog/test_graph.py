"""Lineage against a plain walk over the same links, in rings too"""

from dataclasses import dataclass

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifactstore.catalog.tables import alias, artifact, link, version
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.names import AliasName
from tests.contract.catalog import manifest_of, retire, save

COUNT = 7
IDS = [Digest.of(b"%d" % number) for number in range(64)]


@dataclass(frozen=True)
class Arrow:
    """A link of the plain model: parent is a version's number, or what it is called elsewhere"""

    child: int
    parent: int | str
    position: int


def arrows_of(pairs):
    """Links in their order, each child's counted from 0"""
    made: list[Arrow] = []
    for child, parent in pairs:
        made.append(Arrow(child, parent, sum(one.child == child for one in made)))
    return made


def write(catalog, arrows, count=COUNT):
    """These versions and links as rows alone, in place of all there were"""
    versions = [
        {
            "id": number + 1, "digest": IDS[number], "artifact_id": 1, "number": number + 1, "created": number,
            "taken": 0, "nbytes": 1, "file_count": 1, "tensor_count": 0, "formats": "", "dtypes": "", "metadata": "{}",
            "state": "active",
        }
        for number in range(count)
    ]  # fmt: skip
    links = [
        {
            "child_id": one.child + 1, "position": one.position, "relation": "merge", "ref": f"{one.parent}",
            "parent_id": one.parent + 1 if isinstance(one.parent, int) else None, "params": "{}",
        }
        for one in arrows
    ]  # fmt: skip

    def work(connection):
        for table in (link, alias, version, artifact):
            connection.execute(sa.delete(table))
        connection.execute(sa.insert(artifact), {"id": 1, "name": "m"})
        connection.execute(sa.insert(version), versions)
        if links:
            connection.execute(sa.insert(link), links)

    catalog.database.write(work)


def walked(arrows, root, depth, *, upwards):
    """The links a plain walk takes, level by level"""
    seen, level, taken = {root}, [root], set()
    for _ in range(depth):
        found = [one for one in arrows if (one.child if upwards else one.parent) in level]
        taken.update(found)
        level = [one.parent if upwards else one.child for one in found]
        level = [one for one in dict.fromkeys(level) if one not in seen]
        seen.update(level)
    return taken


def told(edges):
    return {
        Arrow(IDS.index(edge.child), edge.ref if edge.parent is None else IDS.index(edge.parent), edge.position)
        for edge in edges
    }


ENDS = st.integers(0, COUNT - 1)
PAIRS = st.lists(st.tuples(ENDS, ENDS | st.sampled_from(["hf://a", "hf://b"])), max_size=16)


def test_any_graph_is_what_a_plain_walk_finds(catalog):
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(PAIRS, ENDS, st.none() | st.integers(1, 5) | st.just(40))
    def holds(pairs, root, depth):
        arrows = arrows_of(pairs)
        write(catalog, arrows)
        graph = catalog.versions.graph(IDS[root], depth=depth)
        up, down = (walked(arrows, root, depth or 99, upwards=upwards) for upwards in (True, False))
        assert (told(graph.up), told(graph.down)) == (up, down)
        assert len(graph.up) + len(graph.down) == len(up) + len(down)
        assert {(edge.child, edge.position) for edge in graph.edges} == {
            (IDS[one.child], one.position) for one in up | down
        }
        ends = {root} | {one.parent for one in up | down} | {one.child for one in up | down}
        assert set(graph.nodes) == {IDS[one] if isinstance(one, int) else one for one in ends}
        assert all(graph.nodes[key].ref == key for key in ends if isinstance(key, str))
        assert catalog.versions.graph(IDS[root], down=False, depth=depth).up == graph.up
        assert catalog.versions.graph(IDS[root], up=False, depth=depth).down == graph.down

    holds()


def test_a_long_ring_is_cut_where_it_is_asked_to_be(catalog):
    write(catalog, arrows_of([(number, (number + 1) % 50) for number in range(50)]), 50)
    for depth, count in ((1, 1), (31, 31), (32, 32), (33, 33), (49, 49), (50, 50), (1000, 50), (None, 50)):
        graph = catalog.versions.graph(IDS[0], depth=depth)
        assert (len(graph.up), len(graph.down)) == (count, count)
        assert len(graph.nodes) == min(50, 1 + 2 * count)
        assert len(graph.edges) == min(50, 2 * count)


def test_one_direction_leaves_the_other_empty(catalog):
    write(catalog, arrows_of([(1, 0), (2, 1)]))
    graph = catalog.versions.graph(IDS[1], up=False)
    assert (graph.up, set(graph.nodes)) == ((), {IDS[1], IDS[2]})
    assert catalog.versions.graph(IDS[1], down=False).down == ()
    assert set(catalog.versions.graph(IDS[1], up=False, down=False).nodes) == {IDS[1]}


def test_what_is_told_of_versions_and_links(catalog):
    base = save(catalog, manifest_of(b"b", name="org/base", created=7, license="MIT", dtype="BF16")).version
    links = (
        Link(Relation.MERGE, "org/base:1", base.id, 0.25),
        Link(Relation.MERGE, "hf://elsewhere", None, 0.75),
    )
    made = manifest_of(b"cc", name="m", created=9, phase="sft", step=3, parents=links)
    child = save(catalog, made, aliases=(AliasName("prod"), AliasName("best"))).version
    graph = catalog.versions.graph(child.id)
    assert graph.root == child.id
    root, above, other = (graph.nodes[key] for key in (child.id, base.id, "hf://elsewhere"))
    assert (root.ref, root.state, root.artifact, root.number, root.created) == ("m:1", "active", "m", 1, 9)
    assert (root.phase, root.step, root.nbytes, root.dtypes) == ("sft", 3, 2, ())
    assert root.aliases == ("best", "prod")
    assert (above.ref, above.license, above.dtypes, above.aliases) == ("org/base:1", "MIT", ("BF16",), ())
    assert (other.ref, other.id, other.state) == ("hf://elsewhere", None, None)
    first, second = graph.up
    assert (first.relation, first.weight, first.position, first.evidence) == ("merge", 0.25, 0, "hash")
    assert (second.ref, second.weight, second.position, second.evidence) == ("hf://elsewhere", 0.75, 1, None)
    assert (second.source, first.source) == ("hf://elsewhere", base.id)


def test_what_is_retired_or_swept_is_still_a_part(catalog):
    ids = [save(catalog, manifest_of(b"0")).version.id]
    for number in (1, 2):
        parents = (Link(Relation.RESUME, f"org/m:{number}", ids[-1]),)
        ids.append(save(catalog, manifest_of(b"%d" % number, parents=parents)).version.id)
    retire(catalog, ids[0])
    retire(catalog, ids[1])
    swept = sa.update(version).where(version.c.digest == ids[0]).values(swept_at=5)
    catalog.database.write(lambda connection: connection.execute(swept))
    graph = catalog.versions.graph(ids[1])
    assert [graph.nodes[one].state for one in ids] == ["swept", "retired", "active"]
    assert set(catalog.versions.graph(ids[0], up=False).nodes) == set(ids)


def test_what_is_not_known_and_what_makes_no_sense(catalog):
    with pytest.raises(NotFound):
        catalog.versions.graph(Digest.of(b"none"))
    known = save(catalog, manifest_of(b"1")).version.id
    for depth in (0, -1):
        with pytest.raises(Invalid, match="give 1 or more"):
            catalog.versions.graph(known, depth=depth)
        with pytest.raises(Invalid, match="give 1 or more"):
            catalog.versions.graph(known).within(depth)
