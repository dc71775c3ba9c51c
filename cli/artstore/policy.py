"""Policy: rules of retention kept for artifacts by their names"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.core.errors import NotFound
from artstore.gc import by_artifact, draw_artifact, tell_plan
from artstore.invocation import Invocation, with_invocation
from artstore.screen import Column, Screen

if TYPE_CHECKING:
    from artifactstore.catalog.base import PolicyInfo
    from artifactstore.gc import GcPlan
    from artifactstore.store import Store

Glob = Annotated[str, typer.Argument(metavar="GLOB", help="Artifacts with such names; the longest that matches wins.")]

app = typer.Typer(help="Keep rules of retention: ls, set, test, rm")

_POLICY = (Column("pattern", style="cyan"), Column("rules", wrap=True))


@app.command()
@with_invocation
def ls(run: Invocation) -> None:
    """Show the stored policies"""
    with run.open(read_only=True) as store:
        policies = [{"pattern": one.pattern, "rules": one.rules} for one in store.policy_ls()]

    def show(screen: Screen) -> None:
        if not policies:
            screen.line("No policies; set one with: artstore policy set 'run/*' '--keep-last 3'")
        screen.table(_POLICY, [(one["pattern"], one["rules"]) for one in policies])

    run.output.tell({"policies": policies}, show, ids=[one["pattern"] for one in policies])


@app.command("set", context_settings={"ignore_unknown_options": True})
@with_invocation
def set_(
    run: Invocation,
    *,
    glob: Glob,
    rules: Annotated[
        list[str], typer.Argument(metavar="RULES…", help="Flags of gc, such as --older 30d --keep-last 3.")
    ],
) -> None:
    """Keep rules for artifacts whose name matches, in place of those it had"""
    import shlex  # noqa: PLC0415  # no other command needs it

    # one text in quotes is read as it is, several words as the shell has split them
    text = rules[0] if len(rules) == 1 else shlex.join(rules)
    with run.open() as store:
        kept = store.policy_set(glob, text)
    document = {"pattern": kept.pattern, "rules": kept.rules}
    run.output.tell(document, lambda screen: screen.line(f"{kept.pattern}  {kept.rules}"), ids=[kept.pattern])


@app.command()
@with_invocation
def test(run: Invocation, *, glob: Glob) -> None:
    """Show what gc would do with the artifacts whose name matches, by the stored policies; change nothing"""
    with run.open(read_only=True) as store:
        plan = _plan(store, glob)
        names = by_artifact(plan)
        policies = [f"Policy {one.pattern}: {one.rules}" for one in _deciding(store, names)]

    def draw(screen: Screen) -> None:
        for line in policies:
            screen.line(line)
        if not policies:
            screen.line("No stored policy is for any of these; everything stays", "yellow")
        for name, items in names.items():
            draw_artifact(screen, name, items)

    tell_plan(run, plan, draw, "Nothing changed (test)")


def _plan(store: "Store", glob: str) -> "GcPlan":
    from artifactstore.core.selection import Rules  # noqa: PLC0415  # --help need not wait for it

    try:
        plan = store.plan_gc(Rules.of(run=glob), grace=timedelta(days=7))
    except NotFound as e:
        raise NotFound(f"No artifact matches {glob!r:.80}; see artstore ls", code="run", run=glob) from e
    items = tuple(item for item in plan.retire.items if fnmatchcase(item.ref.rpartition(":")[0], glob))
    return replace(plan, retire=replace(plan.retire, items=items))


def _deciding(store: "Store", names: Iterable[str]) -> Iterator["PolicyInfo"]:
    from artifactstore.core.selection import pattern_for  # noqa: PLC0415  # as above

    policies = {one.pattern: one for one in store.policy_ls()}
    for pattern in dict.fromkeys(pattern_for(name, policies) for name in names):
        if pattern is not None:
            yield policies[pattern]


@app.command()
@with_invocation
def rm(run: Invocation, *, glob: Glob) -> None:
    """Forget the rules of a pattern"""
    with run.open() as store:
        store.policy_rm(glob)
    run.output.tell({"pattern": glob, "rules": None}, lambda screen: screen.line(f"{glob}  no rules"), ids=[glob])
