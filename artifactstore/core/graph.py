"""Graph: what one version came from and what came from it, as nodes and the links between them"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid

State = Literal["active", "retired", "swept"]
# a version by its id, what is not in this store by the reference that names it
Key = Digest | str


# nodes and links are tuples, which are made in a sixth of the time: a graph may hold very many
class Node(NamedTuple):
    """A version as a graph knows it. created: microseconds since 1970 UTC

    Of what is not in this store nothing is known but `ref`, and `state` is None.
    """

    ref: str
    id: Digest | None = None
    state: State | None = None
    artifact: str | None = None
    number: int | None = None
    created: int | None = None
    phase: str | None = None
    step: int | None = None
    license: str | None = None
    nbytes: int | None = None
    dtypes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


class Edge(NamedTuple):
    """A link: parent is None where what `ref` names is not in this store. evidence: as of `LinkInfo`"""

    child: Digest
    parent: Digest | None
    ref: str
    relation: str
    weight: float | None
    position: int
    evidence: str | None

    @property
    def source(self) -> Key:
        """The node it starts from"""
        return self.ref if self.parent is None else self.parent


@dataclass(frozen=True, slots=True)
class Graph:
    """The version `root` with its ancestors, joined by the links `up`, and its descendants, joined by `down`"""

    root: Digest
    nodes: Mapping[Key, Node]
    up: tuple[Edge, ...] = ()
    down: tuple[Edge, ...] = ()

    @property
    def edges(self) -> tuple[Edge, ...]:
        """All links, each once: in a ring one leads up as well as down"""
        return tuple({(edge.child, edge.position): edge for edge in (*self.up, *self.down)}.values())

    def within(self, depth: int) -> "Graph":
        """What is at most so many links away from the root; raise Invalid unless that is 1 or more"""
        check_depth(depth)
        parents, children = parents_in(self.up), children_in(self.down)
        above = _near(self.root, {key: [edge.source for edge in found] for key, found in parents.items()}, depth - 1)
        below = _near(self.root, {key: [edge.child for edge in found] for key, found in children.items()}, depth - 1)
        up = tuple(edge for edge in self.up if edge.child in above)
        down = tuple(edge for edge in self.down if edge.source in below)
        ends = {self.root, *(edge.source for edge in up), *(edge.child for edge in down)}
        return Graph(self.root, {key: node for key, node in self.nodes.items() if key in ends}, up, down)


def check_depth(depth: int) -> None:
    """Raise Invalid unless it is 1 or more"""
    if depth < 1:
        raise Invalid(f"A depth of {depth} shows nothing; give 1 or more", code="depth")


def parents_in(edges: Iterable[Edge]) -> dict[Key, list[Edge]]:
    """The links of each child, in their order"""
    found: dict[Key, list[Edge]] = {}
    for edge in edges:
        found.setdefault(edge.child, []).append(edge)
    return found


def children_in(edges: Iterable[Edge]) -> dict[Key, list[Edge]]:
    """The links that start from each node, in their order"""
    found: dict[Key, list[Edge]] = {}
    for edge in edges:
        found.setdefault(edge.source, []).append(edge)
    return found


def _near(root: Key, nexts: Mapping[Key, list[Key]], depth: int) -> set[Key]:
    """What is at most `depth` steps from the root"""
    seen = {root}
    level = [root]
    for _ in range(depth):
        level = list(dict.fromkeys(key for one in level for key in nexts.get(one, ()) if key not in seen))
        seen.update(level)
        if not level:
            break
    return seen
