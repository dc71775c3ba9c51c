"""Mermaid: a flowchart for pages that draw it, https://mermaid.js.org/syntax/flowchart.html"""

from collections.abc import Iterator

from artifactstore.core.drawing.base import facts, is_declared, numbered, relation, title
from artifactstore.core.graph import Graph, Node

_PLAIN = frozenset(" ._-+,/:@()=")


def lines(graph: Graph) -> Iterator[str]:
    """Parents above their children; what is not here or no longer active is dashed, as is what is only declared"""
    names = numbered(graph)
    yield "flowchart TD"
    for key, node in graph.nodes.items():
        yield f"  {names[key]}[{_label(node)}]"
    for edge in graph.edges:
        arrow = "-.->" if is_declared(edge) else "-->"
        yield f'  {names[edge.source]} {arrow}|"{_escaped(relation(edge))}"| {names[edge.child]}'
    yield f"  style {names[graph.root]} stroke-width:3px"
    if gone := [names[key] for key, node in graph.nodes.items() if node.state != "active"]:
        yield "  classDef gone stroke-dasharray:4"
        yield f"  class {','.join(gone)} gone"


def _label(node: Node) -> str:
    told = (_escaped(title(node)), _escaped(", ".join(facts(node))))
    return '"' + "<br>".join(filter(None, told)) + '"'


def _escaped(text: str) -> str:
    """Within quotes, with entity codes for what could end them or be read as Markdown or HTML"""
    escaped = "".join(char if char.isalnum() or char in _PLAIN else f"#{ord(char)};" for char in text)
    # a line such as `style:a#38;` is taken for a statement before entity codes are read
    return escaped.replace(":", "#58;") if "#" in escaped else escaped
