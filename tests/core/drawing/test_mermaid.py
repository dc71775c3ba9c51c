"""Mermaid: what pages read, whatever a version is called"""

from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.drawing.mermaid import lines
from tests.core.candidates import labels
from tests.core.drawing.readers import read_mermaid
from tests.core.graphs import graph_of, graphs

ODD = [
    '"',
    "#quot;",
    "`**b**`",
    "<br>",
    "a\\nb",
    "x]",
    "style:a#",
    "classDef x:y#z",
    "end",
    "%%c",
    "&amp;",
    "日本 é",
    ";",
]


def test_a_merge():
    graph = graph_of("m:1", ("m:1", "a:1", "merge", 0.5), ("m:1", "hf://x", "distill"), ("b:1", "m:1", "distill"))
    assert (
        "\n".join(lines(graph))
        == """flowchart TD
  n0["a:1<br>1.0 kB"]
  n1["b:1<br>1.0 kB"]
  n2["hf://x<br>not here"]
  n3["m:1<br>1.0 kB"]
  n0 -->|"merge 0.5"| n3
  n2 -->|"distill"| n3
  n3 -.->|"distill"| n1
  style n3 stroke-width:3px
  classDef gone stroke-dasharray:4
  class n2 gone"""
    )


@given(st.sampled_from(ODD) | labels)
def test_any_name_is_read_back(name):
    graph = graph_of("m:1", ("m:1", f"hf://{name}"))
    nodes, edges = read_mermaid("\n".join(lines(graph)))
    assert nodes == {"n0": f"hf://{name}\nnot here", "n1": "m:1\n1.0 kB"}
    assert edges == [("n0", "n1", "resume")]


@given(graphs())
def test_any_graph_has_its_nodes_and_links(graph):
    nodes, edges = read_mermaid("\n".join(lines(graph)))
    keys = dict(zip(nodes, graph.nodes, strict=True))
    assert [text.split("\n")[0].split(" @")[0] for text in nodes.values()] == [one.ref for one in graph.nodes.values()]
    assert [(keys[start], keys[end]) for start, end, _ in edges] == [(one.source, one.child) for one in graph.edges]
