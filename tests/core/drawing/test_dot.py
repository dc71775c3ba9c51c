"""Dot: what Graphviz reads, whatever a version is called"""

import re

from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.drawing.dot import lines
from tests.core.candidates import labels
from tests.core.drawing.readers import read_dot
from tests.core.graphs import graph_of, graphs

ODD = ['"', "\\", "\\N", 'a"]; n0 [label="b', "&amp;", "&", "{a|b}", "<b>", "日本 é", "# x", "//", "a\\"]


def test_a_merge():
    graph = graph_of("m:1", ("m:1", "a:1", "merge", 0.5), ("m:1", "hf://x", "distill"), ("b:1", "m:1", "distill"))
    assert (
        "\n".join(lines(graph))
        == r"""digraph lineage {
  node [shape=box, style=rounded];
  n0 [label="a:1\n1.0 kB"];
  n1 [label="b:1\n1.0 kB"];
  n2 [label="hf://x\nnot here", style="rounded,dashed"];
  n3 [label="m:1\n1.0 kB", penwidth=2];
  n0 -> n3 [label="merge 0.5"];
  n2 -> n3 [label="distill"];
  n3 -> n1 [label="distill", style=dashed];
}"""
    )


@given(st.sampled_from(ODD) | labels)
def test_any_name_is_read_back(name):
    graph = graph_of("m:1", ("m:1", f"hf://{name}"))
    nodes, edges = read_dot("\n".join(lines(graph)))
    assert nodes == {"n0": f"hf://{name}\nnot here", "n1": "m:1\n1.0 kB"}
    assert edges == [("n0", "n1", "resume")]


@given(graphs())
def test_any_graph_has_its_nodes_and_links(graph):
    nodes, edges = read_dot("\n".join(lines(graph)))
    keys = dict(zip(nodes, graph.nodes, strict=True))
    assert [text.split("\n")[0].split(" @")[0] for text in nodes.values()] == [one.ref for one in graph.nodes.values()]
    assert [(keys[start], keys[end]) for start, end, _ in edges] == [(one.source, one.child) for one in graph.edges]
    assert all(re.fullmatch(r"n\d+", name) for name in nodes)
