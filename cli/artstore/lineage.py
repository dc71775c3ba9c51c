"""Lineage: tree shows what came from what, why says what keeps a version"""

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifactstore.core.errors import Invalid
from artstore.invocation import Invocation, with_invocation
from artstore.output import Form, Output
from artstore.screen import Screen, write_all
from artstore.versions import how_it_went

if TYPE_CHECKING:
    from artifactstore.core.graph import Graph

Ref = Annotated[str, typer.Argument(metavar="REF", help="name, name@alias, name:number, an id or a request id.")]


class Drawing(StrEnum):
    """How tree draws"""

    TEXT = "text"
    DOT = "dot"
    MERMAID = "mermaid"
    JSON = "json"


@with_invocation
def tree(
    run: Invocation,
    *,
    ref: Ref,
    up: Annotated[bool, typer.Option("--up", help="Only what it came from.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Only what came from it.")] = False,
    drawing: Annotated[
        Drawing | None,
        typer.Option("--format", metavar="text|dot|mermaid|json", help="dot is for Graphviz. Default: text."),
    ] = None,
    depth: Annotated[
        int | None, typer.Option("--depth", metavar="N", min=1, help="At most so many links away.")
    ] = None,
) -> None:
    """Show what a version came from, above it, and what came from it, below it

    Versions that were retired are shown too. What comes up again is drawn once; the middle of a long line of steps is
    left out of the text, and of no other format.
    """
    if up and down:
        raise Invalid("Give either --up or --down; without them both are shown", code="usage")
    output = _output(run.output, drawing)
    with run.open(read_only=True) as store:
        graph = store.tree(ref, up=not down, down=not up, depth=depth)
    if output.form is Form.TEXT:
        _draw(Screen(), graph, drawing or Drawing.TEXT)
        return
    from artifactstore.ops.lineage import document  # noqa: PLC0415  # heavy, and loaded by now

    ids = [str(node.id) for node in graph.nodes.values() if node.id is not None]
    output.tell(document(graph), lambda _: None, ids=ids)


def _output(output: Output, drawing: Drawing | None) -> Output:
    if drawing is None or (drawing is Drawing.JSON and output.form is Form.JSON):
        return output
    if output.form is not Form.TEXT:
        raise Invalid("Give either --format or one of --json, --jsonl and -q", code="usage")
    return Output(Form.JSON) if drawing is Drawing.JSON else output


def _draw(screen: Screen, graph: "Graph", drawing: Drawing) -> None:
    from artifactstore.core.drawing import dot, mermaid, text  # noqa: PLC0415  # --help need not wait for them

    match drawing:
        case Drawing.DOT:
            write_all(dot.lines(graph))
        case Drawing.MERMAID:
            write_all(mermaid.lines(graph))
        case _:
            root = graph.nodes[graph.root].ref
            for line in text.lines(graph):
                screen.line(line, style="bold" if line.startswith(root) else "")
            if not graph.edges:
                screen.line("Nothing is known of where it came from or of what came from it")


@with_invocation
def why(run: Invocation, *, ref: Ref) -> None:
    """Say why a version stays or may go, or how it went

    Its pins, aliases and uses; what is built on it, followed to what keeps that; and what its stored policy does with
    it. Of a retired version when, by which record and why, and until when an undo is possible.
    """
    with run.open(read_only=True) as store:
        document = store.why(ref).to_json()
    run.output.tell(document, lambda screen: _explain(screen, document), ids=[document["id"]])


def _explain(screen: Screen, document: dict[str, Any]) -> None:
    if document["retired"] is not None:
        screen.line(f"{document['ref']} {how_it_went(document['retired'])}", style="bold")
        screen.line(_way_back(document["retired"]))
        return
    policy, keeps = document["policy"], document["keeps"]
    going = policy is not None and policy["action"] == "retire"
    verdict = "stays" if keeps else "goes with the next gc" if going else "may go"
    screen.line(f"{document['ref']} {verdict}", style="bold")
    for reason in keeps:
        screen.line(f"  {reason['text']}")
    if not keeps and not going:
        screen.line("  Nothing keeps it once a rule of gc selects it")
    for line in _policy(policy):
        screen.line(line)


def _policy(policy: dict[str, Any] | None) -> Iterator[str]:
    if policy is None:
        yield "No stored policy is for it"
        return
    yield f"Policy {policy['pattern']}: {policy['rules']}"
    verb = {"keep": "keeps it", "retire": "retires it", "refused": "gc refuses it"}[policy["action"]]
    yield f"  {verb}: {'; '.join(policy['reasons'])}"


def _way_back(retired: dict[str, Any]) -> str:
    if retired["swept"] is not None:
        return "It cannot come back from here; take it from a mirror or bundle"
    undo = "see artstore log" if retired["serial"] is None else f"bring it back with: artstore undo {retired['serial']}"
    if retired["undo_until"] is None:
        return f"Its bytes are here until gc collects them; {undo}"
    end = datetime.fromisoformat(retired["undo_until"])
    when = "go with the next gc" if end <= datetime.now(UTC) else f"stay until {end:%Y-%m-%d %H:%M} UTC"
    return f"Its bytes {when}; {undo}"
