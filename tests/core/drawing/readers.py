"""Readers of the two languages, as strict as their grammars and written from them"""

import html
import re

# https://graphviz.org/doc/info/lang.html: in a quoted ID only \" is an escape; labels read \n, \\ and entities on top
_DOT_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_DOT_NODE = re.compile(rf'  (n\d+) \[label={_DOT_QUOTED}(?:, penwidth=2)?(?:, style="rounded,dashed")?\];')
_DOT_EDGE = re.compile(rf"  (n\d+) -> (n\d+) \[label={_DOT_QUOTED}(?:, style=dashed)?\];")
_DOT_ESCAPES = {"\\n": "\n", "\\\\": "\\", '\\"': '"'}


def read_dot(text):
    """(labels by name, [(start, end, label)])"""
    first, second, *lines, last = text.split("\n")
    assert (first, second, last) == ("digraph lineage {", "  node [shape=box, style=rounded];", "}")
    nodes, edges = _split(lines, _DOT_NODE, _DOT_EDGE)
    return {name: _dot_text(label) for name, label in nodes}, [(*ends, _dot_text(label)) for *ends, label in edges]


def _dot_text(label):
    return html.unescape(re.sub(r"\\.", lambda found: _DOT_ESCAPES[found[0]], label))


# https://mermaid.js.org/syntax/flowchart.html: quoted text ends at the next quote; #35; is a character by its number
_MERMAID_NODE = re.compile(r'  (n\d+)\["([^"`\\]*)"\]')
_MERMAID_EDGE = re.compile(r'  (n\d+) -\.?->\|"([^"`\\]*)"\| (n\d+)')
_MERMAID_STYLE = re.compile(r"  style n\d+ stroke-width:3px|  classDef gone stroke-dasharray:4|  class n[\d,n]+ gone")
# what the library does to its whole input before it reads entity codes: such a line loses its last semicolon
_MERMAID_TRAP = re.compile(r"(?:style|classDef).*:\S*#.*;")


def read_mermaid(text):
    """(labels by name, [(start, end, label)])"""
    assert not _MERMAID_TRAP.search(text)
    first, *lines = text.split("\n")
    assert first == "flowchart TD"
    lines = [line for line in lines if not _MERMAID_STYLE.fullmatch(line)]
    nodes, edges = _split(lines, _MERMAID_NODE, _MERMAID_EDGE)
    told = [(start, end, _mermaid_text(label)) for start, label, end in edges]
    return {name: _mermaid_text(label) for name, label in nodes}, told


def _mermaid_text(label):
    parts = [re.sub(r"#(\d+);", lambda found: f"\0{found[1]};", part) for part in label.split("<br>")]
    assert not any(set("<>&#") & set(part) for part in parts)
    return "\n".join(re.sub(r"\0(\d+);", lambda found: chr(int(found[1])), part) for part in parts)


def _split(lines, node, edge):
    nodes = [found.groups() for line in lines if (found := node.fullmatch(line))]
    edges = [found.groups() for line in lines if (found := edge.fullmatch(line))]
    assert len(nodes) + len(edges) == len(lines)
    return nodes, edges
