"""Text: ancestors above a version and descendants below it, as branches of box characters"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from artifactstore.core.drawing.base import facts, is_declared, relation, title
from artifactstore.core.graph import Edge, Graph, Key, Node, children_in, parents_in

# an unbranched line longer than this is shown by its ends
_RUN = 6
# what lies deeper would stand too far to the right
_DEEPEST = 40
_GAP = "  "
_Branches = Mapping[Key, list[tuple[Edge, Key]]]


def lines(graph: Graph) -> Iterator[str]:
    """What comes up again is named only, and points to where it is drawn with all that belongs to it"""
    parents: _Branches = {
        key: [(edge, edge.source) for edge in reversed(found)] for key, found in parents_in(graph.up).items()
    }
    children: _Branches = {
        key: [(edge, edge.child) for edge in found] for key, found in children_in(graph.down).items()
    }
    above = _Half(graph, parents, "↓ see below", upside_down=True).drawn()
    # drawn downwards and turned over
    yield from (bar.replace("└", "┌") + label for bar, label in reversed(above))
    yield _label(graph.nodes[graph.root])
    yield from (bar + label for bar, label in _Half(graph, children, "↑ see above").drawn())


def _label(node: Node, edge: Edge | None = None) -> str:
    words = [] if edge is None else [relation(edge)]
    declared = ["declared"] if edge is not None and is_declared(edge) else []
    return _GAP.join([*words, title(node), *facts(node), *declared])


@dataclass(frozen=True, slots=True)
class _Step:
    """A branch to be drawn: what stands before it, and the link it follows"""

    bar: str
    last: bool
    edge: Edge
    key: Key

    @property
    def inner(self) -> str:
        return self.bar + ("   " if self.last else "│  ")


class _Half:
    """One direction, depth first without recursion, which a line of thousands of steps would exhaust"""

    def __init__(self, graph: Graph, branches: _Branches, again: str, *, upside_down: bool = False) -> None:
        self.graph = graph
        self.branches = branches
        self.again = again
        self.upside_down = upside_down
        self.done: set[Key] = {graph.root}
        self.entries = Counter(key for found in branches.values() for _, key in found)

    def drawn(self) -> list[tuple[str, str]]:
        """(bar, label) of each line"""
        told: list[tuple[str, str]] = []
        due = self._steps(self.graph.root, "")
        while due:
            step = due.pop()
            node = self.graph.nodes[step.key]
            bar = step.bar + ("└─ " if step.last else "├─ ")
            if step.key in self.done:
                told.append((bar, _GAP.join([relation(step.edge), node.ref, self.again])))
                continue
            self.done.add(step.key)
            told.append((bar, _label(node, step.edge)))
            if len(step.inner) > 3 * _DEEPEST and step.key in self.branches:
                told.append((step.inner, f"… goes on from {node.ref}"))
            elif len(run := self._run(step.key)) > _RUN:
                told.append((step.inner, self._skip(run)))
                due.append(_Step(step.inner, True, *run[-1]))
            else:
                due += self._steps(step.key, step.inner)
        return told

    def _steps(self, key: Key, bar: str) -> list[_Step]:
        """The last first, as a stack takes them"""
        found = self.branches.get(key, [])
        return [_Step(bar, place == 0, edge, other) for place, (edge, other) in enumerate(reversed(found))]

    def _run(self, key: Key) -> list[tuple[Edge, Key]]:
        """The steps of an unbranched line by one relation from here; all but the last have nothing to tell"""
        run: list[tuple[Edge, Key]] = []
        while len(found := self.branches.get(key, [])) == 1:
            edge, key = found[0]
            if key in self.done or (run and edge.relation != run[0][0].relation):
                break
            run.append((edge, key))
            node = self.graph.nodes[key]
            if self.entries[key] > 1 or node.aliases or node.state != "active":
                break
        return run

    def _skip(self, run: list[tuple[Edge, Key]]) -> str:
        skipped = [key for _, key in run[:-1]]
        self.done.update(skipped)
        first, last = (self.graph.nodes[skipped[place]].ref for place in ((-1, 0) if self.upside_down else (0, -1)))
        return f"⋮  {len(skipped):,} more by {run[0][0].relation}: {first} … {last}"
