"""Dot: a graph for Graphviz, https://graphviz.org/doc/info/lang.html"""

from collections.abc import Iterator

from artifactstore.core.drawing.base import facts, is_declared, numbered, relation, title
from artifactstore.core.graph import Graph, Node


def lines(graph: Graph) -> Iterator[str]:
    """Parents above their children; what is not here or no longer active is dashed, as is what is only declared"""
    names = numbered(graph)
    yield "digraph lineage {"
    yield "  node [shape=box, style=rounded];"
    for key, node in graph.nodes.items():
        bold = ", penwidth=2" if key == graph.root else ""
        dashed = "" if node.state == "active" else ', style="rounded,dashed"'
        yield f"  {names[key]} [label={_label(node)}{bold}{dashed}];"
    for edge in graph.edges:
        dashed = ", style=dashed" if is_declared(edge) else ""
        yield f"  {names[edge.source]} -> {names[edge.child]} [label={_quoted(relation(edge))}{dashed}];"
    yield "}"


def _label(node: Node) -> str:
    told = (_escaped(title(node)), _escaped(", ".join(facts(node))))
    return '"' + "\\n".join(filter(None, told)) + '"'


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    """Within quotes; Graphviz reads entities there as HTML has them"""
    return text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
