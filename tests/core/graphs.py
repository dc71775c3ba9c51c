"""Graphs for tests: from pairs of names, as the catalog would find them around one version"""

from collections import Counter, defaultdict

from hypothesis import strategies as st

from artifactstore.core.digest import Digest
from artifactstore.core.graph import Edge, Graph, Key, Node


def key_of(name: str) -> Key:
    """`hero:3` is a version here, `hf://…` is not"""
    return name if name.startswith("hf:") else Digest.of(name.encode())


def node(name: str, **facts) -> Node:
    """A version of 1 kB, or what is only named"""
    if isinstance(key_of(name), str):
        return Node(name)
    artifact, _, number = name.rpartition(":")
    told = {"state": "active", "created": 0, "nbytes": 1000} | facts
    return Node(name, key_of(name), artifact=artifact, number=int(number), **told)


def graph_of(root: str, *links, **facts) -> Graph:
    """links: (child, parent, relation, weight), the last two may be left out. facts: by name, with `_` for `:`"""
    edges: list[Edge] = []
    counts: Counter[str] = Counter()
    for child, parent, *how in links:
        relation, weight = [*how, *("resume", None)[len(how) :]]
        here = None if isinstance(key_of(parent), str) else key_of(parent)
        evidence = None if relation == "distill" else "hash"
        edges.append(Edge(key_of(child), here, parent, relation, weight, counts[child], evidence))
        counts[child] += 1
    names = {root, *(name for link in links for name in link[:2])}
    nodes = {key_of(name): node(name, **facts.get(name.replace(":", "_"), {})) for name in sorted(names)}
    up, down = _closed(key_of(root), edges, upwards=True), _closed(key_of(root), edges, upwards=False)
    ends = {key_of(root), *(key for edge in (*up, *down) for key in (edge.child, edge.source))}
    return Graph(key_of(root), {key: one for key, one in nodes.items() if key in ends}, up, down)


def _closed(root, edges, *, upwards):
    leads = defaultdict(list)
    for edge in edges:
        here, there = (edge.child, edge.source) if upwards else (edge.source, edge.child)
        leads[here].append(there)
    seen, due = {root}, [root]
    while due:
        new = [key for key in dict.fromkeys(leads[due.pop()]) if key not in seen]
        seen.update(new)
        due += new
    return tuple(edge for edge in edges if (edge.child if upwards else edge.source) in seen)


_NAMES = [f"m:{number}" for number in range(1, 12)]
_PAIRS = st.tuples(st.sampled_from(_NAMES), st.sampled_from([*_NAMES, "hf://a", "hf://b/c"]))
_FACTS = st.fixed_dictionaries(
    {
        "state": st.sampled_from(["active", "active", "retired", "swept"]),
        "aliases": st.sampled_from([(), (), ("prod",), ("best", "prod")]),
        "step": st.none() | st.integers(0, 9),
        "dtypes": st.sampled_from([(), ("BF16", "F32")]),
        "license": st.sampled_from([None, "MIT"]),
    }
)
_HOW = st.sampled_from([("resume",), ("merge", 0.5), ("distill",)])
_LINKS = st.lists(st.tuples(_PAIRS, _HOW).map(lambda pair: (*pair[0], *pair[1])), max_size=20)
# lines long enough to be shown by their ends, with some links across
_LINE = st.lists(_PAIRS, max_size=3).map(lambda more: [*((f"m:{n + 1}", f"m:{n}") for n in range(1, 11)), *more])


@st.composite
def graphs(draw) -> Graph:
    """Any, rings too"""
    facts = {name.replace(":", "_"): draw(_FACTS) for name in _NAMES}
    return graph_of(draw(st.sampled_from(_NAMES)), *draw(_LINKS | _LINE), **facts)
