"""What every drawing says of a node and of a link"""

from artifactstore.core.graph import Edge, Graph, Node
from artifactstore.core.units import format_size

_STATES = {"retired": "retired", "swept": "swept", None: "not here"}


def title(node: Node) -> str:
    """`hero:3 @prod`"""
    return " ".join([node.ref, *(f"@{alias}" for alias in node.aliases)])


def facts(node: Node) -> list[str]:
    """`step 90000`, `19.8 GB`, `BF16`, `MIT`, and how it is when it is not active"""
    step = "" if node.step is None else f"step {node.step}"
    size = "" if node.nbytes is None else format_size(node.nbytes)
    told = (node.phase, step, size, " ".join(node.dtypes), node.license, _STATES.get(node.state))
    return [one for one in told if one]


def relation(edge: Edge) -> str:
    """`merge 0.5`"""
    return edge.relation if edge.weight is None else f"{edge.relation} {edge.weight:.6g}"


def is_declared(edge: Edge) -> bool:
    """Nothing but somebody's word speaks for a link to what is here"""
    return edge.parent is not None and edge.evidence is None


def numbered(graph: Graph) -> dict[object, str]:
    """A name for each node that any language takes: `n0`, `n1`, …"""
    return {key: f"n{number}" for number, key in enumerate(graph.nodes)}
