"""Text: what a person reads of a graph"""

import re

from hypothesis import given

from artifactstore.core.drawing.text import lines
from tests.core.graphs import graph_of, graphs

HERO = graph_of(
    "hero:3",
    ("tuned:2", "wan:1", "distill"),
    ("wan:1", "hf://org/wan", "finetune"),
    ("hero:3", "wan:1", "merge", 0.5),
    ("hero:3", "tuned:2", "merge", 0.25),
    ("hero:3", "hf://o/x", "merge", 0.25),
    ("q4:1", "hero:3", "quantize"),
    ("style:2", "hero:3", "adapter"),
    ("mix:1", "q4:1", "merge", 0.5),
    ("mix:1", "style:2", "merge", 0.5),
    hero_3={"aliases": ("best", "prod"), "step": 7, "dtypes": ("BF16",), "license": "MIT", "phase": "sft"},
    tuned_2={"state": "retired"},
    wan_1={"state": "swept"},
)


def drawn(graph):
    return "\n".join(lines(graph))


def test_ancestors_stand_above_and_descendants_below():
    assert (
        drawn(HERO)
        == """\
┌─ merge 0.5  wan:1  ↓ see below
│     ┌─ finetune  hf://org/wan  not here
│  ┌─ distill  wan:1  1.0 kB  swept  declared
├─ merge 0.25  tuned:2  1.0 kB  retired
├─ merge 0.25  hf://o/x  not here
hero:3 @best @prod  sft  step 7  1.0 kB  BF16  MIT
├─ quantize  q4:1  1.0 kB
│  └─ merge 0.5  mix:1  1.0 kB
└─ adapter  style:2  1.0 kB
   └─ merge 0.5  mix:1  ↑ see above"""
    )


def test_a_version_alone_is_one_line():
    assert drawn(graph_of("a:1")) == "a:1  1.0 kB"


def test_a_ring_is_drawn_once():
    graph = graph_of("a:1", ("a:1", "b:1"), ("b:1", "a:1"))
    assert (
        drawn(graph)
        == """\
   ┌─ resume  a:1  ↓ see below
┌─ resume  b:1  1.0 kB
a:1  1.0 kB
└─ resume  b:1  1.0 kB
   └─ resume  a:1  ↑ see above"""
    )


def steps(count):
    return [(f"m:{number + 1}", f"m:{number}") for number in range(1, count)]


def test_a_long_line_is_shown_by_its_ends():
    line = steps(10_000)
    assert (
        drawn(graph_of("m:1", *line))
        == """\
m:1  1.0 kB
└─ resume  m:2  1.0 kB
   ⋮  9,997 more by resume: m:3 … m:9999
   └─ resume  m:10000  1.0 kB"""
    )
    assert (
        drawn(graph_of("m:9999", *steps(9999)))
        == """\
   ┌─ resume  m:1  1.0 kB
   ⋮  9,996 more by resume: m:2 … m:9997
┌─ resume  m:9998  1.0 kB
m:9999  1.0 kB"""
    )


def test_a_line_is_shown_whole_where_there_is_something_to_tell():
    plain = len(drawn(graph_of("m:1", *steps(9))).splitlines())
    assert plain == 4
    assert len(drawn(graph_of("m:1", *steps(8))).splitlines()) == 8
    for fact in ({"aliases": ("prod",)}, {"state": "retired"}):
        assert len(drawn(graph_of("m:1", *steps(9), m_5=fact)).splitlines()) == 9
    assert "resume  m:5  1.0 kB" in drawn(graph_of("m:1", *steps(9), ("m:5", "m:1", "merge")))
    by_turns = [(child, parent, "ema" if parent == "m:5" else "resume") for child, parent in steps(9)]
    assert len(drawn(graph_of("m:1", *by_turns)).splitlines()) == 9


def test_what_is_very_deep_says_where_it_goes_on():
    side = [(f"s:{number}", f"m:{number}", "adapter") for number in range(1, 200)]
    told = drawn(graph_of("m:1", *steps(200), *side))
    assert "… goes on from m:42" in told
    assert "m:43  " not in told
    assert max(map(len, told.splitlines())) < 160


@given(graphs())
def test_every_version_and_link_of_any_graph_is_told(graph):
    told = list(lines(graph))
    text = "\n".join(told)
    skipped = sum(int(count.replace(",", "")) for count in re.findall(r"⋮  ([\d,]+) more", text))
    again = sum(line.endswith(("see below", "see above")) for line in told)
    elided = text.count("⋮")
    # a line each for the root and for each link, of which those in the middle of a long line share one
    assert len(told) - elided + skipped == 1 + len(graph.up) + len(graph.down)
    above = {edge.source for edge in graph.up} - {graph.root}
    below = {edge.child for edge in graph.down} - {graph.root}
    assert len(told) - elided - again + skipped == 1 + len(above) + len(below)
    place = next(number for number, line in enumerate(told) if line[0] not in "┌├│└ ⋮")
    assert told[place].startswith(graph.nodes[graph.root].ref)
    assert not any("└" in line for line in told[:place])
    assert not any("┌" in line for line in told[place:])
