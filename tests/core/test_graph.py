"""Graphs: links once, and what is near the root"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from tests.core.graphs import graph_of, graphs, key_of


def refs(graph):
    return {node.ref for node in graph.nodes.values()}


def test_what_is_near():
    graph = graph_of("c:1", ("b:1", "a:1"), ("c:1", "b:1"), ("c:1", "hf://x"), ("d:1", "c:1"), ("e:1", "d:1"))
    assert refs(graph.within(1)) == {"b:1", "hf://x", "c:1", "d:1"}
    assert refs(graph.within(2)) == refs(graph.within(99)) == refs(graph)
    assert [edge.ref for edge in graph.within(1).up] == ["b:1", "hf://x"]
    assert [edge.child for edge in graph.within(1).down] == [key_of("d:1")]
    for depth in (0, -1):
        with pytest.raises(Invalid):
            graph.within(depth)


def test_a_link_of_a_ring_is_one():
    graph = graph_of("a:1", ("a:1", "b:1"), ("b:1", "a:1"))
    assert (len(graph.up), len(graph.down), len(graph.edges)) == (2, 2, 2)
    assert (len(graph.within(1).up), len(graph.within(1).down)) == (1, 1)


@given(graphs(), st.integers(1, 12))
def test_any_depth_is_a_part_that_hangs_together(graph, depth):
    part = graph.within(depth)
    assert set(part.up) <= set(graph.up)
    assert set(part.down) <= set(graph.down)
    assert set(part.nodes) == {graph.root, *(key for edge in part.edges for key in (edge.child, edge.source))}
    assert part.within(depth) == part
    if depth > 1:
        assert set(graph.within(depth - 1).edges) <= set(part.edges)
