"""Rules: the options that say which versions may go and which are rescued, as gc takes them"""

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer

from artstore.invocation import Invocation

if TYPE_CHECKING:
    from artifactstore.core.selection import Rules

P = ParamSpec("P")
_SELECT, _KEEP = "What may go", "What is rescued from it"


def _select(*names: str, metavar: str, text: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=_SELECT)


def _keep(*names: str, metavar: str, text: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=_KEEP)


def _rules(
    *,
    older: Annotated[str | None, _select("--older", metavar="AGE", text="Made longer ago, such as 30d.")] = None,
    unused: Annotated[str | None, _select("--unused", metavar="AGE", text="Not loaded for so long.")] = None,
    phase: Annotated[str | None, _select("--phase", metavar="P", text="Of this phase.")] = None,
    run: Annotated[str | None, _select("--run", metavar="GLOB", text="Of artifacts with such names only.")] = None,
    where: Annotated[list[str] | None, _select("--where", metavar="EXPR", text="As in ls --where. Repeatable.")] = None,
    keep_last: Annotated[str | None, _keep("--keep-last", metavar="N", text="The newest of each artifact.")] = None,
    keep_best: Annotated[
        list[str] | None, _keep("--keep-best", metavar="N:METRIC[:min|max]", text="The best by a metric. Repeatable.")
    ] = None,
    keep_every: Annotated[str | None, _keep("--keep-every", metavar="STEPS", text="Steps that are a multiple.")] = None,
    keep_daily: Annotated[str | None, _keep("--keep-daily", metavar="N", text="The newest of the last N days.")] = None,
    keep_weekly: Annotated[
        str | None, _keep("--keep-weekly", metavar="N", text="The newest of the last N weeks.")
    ] = None,
    keep_monthly: Annotated[
        str | None, _keep("--keep-monthly", metavar="N", text="The newest of the last N months.")
    ] = None,
    keep_within: Annotated[
        str | None, _keep("--keep-within", metavar="AGE", text="Made so shortly before the newest of its artifact.")
    ] = None,
    keep_alias: Annotated[
        list[str] | None, _keep("--keep-alias", metavar="GLOB", text="With such an alias. Repeatable.")
    ] = None,
    keep_phase: Annotated[
        list[str] | None, _keep("--keep-phase", metavar="P", text="Of this phase. Repeatable.")
    ] = None,
    min_copies: Annotated[
        str | None, _keep("--min-copies", metavar="N", text="Held by fewer than N remotes, as last seen there.")
    ] = None,
) -> "Rules":
    from artifactstore.core.selection import Rules  # noqa: PLC0415  # --help need not wait for it

    given = {**locals()}
    given.pop("Rules")
    for several in ("where", "keep_best", "keep_alias", "keep_phase"):
        given[several] = tuple(given[several] or ())
    return Rules.of(**given)


RULES = inspect.signature(_rules).parameters


def with_rules(command: Callable[Concatenate[Invocation, "Rules", P], None]) -> Callable[..., None]:
    """A command whose signature has the options of rules in place of its second parameter"""
    first, _, *own = inspect.signature(command).parameters.values()
    # an option is called --run, as the first parameter of every command is
    first = first.replace(name="invocation")

    @functools.wraps(command)
    def run(invocation: Invocation, **values: Any) -> None:
        rules = _rules(**{name: values.pop(name) for name in RULES})
        command(invocation, rules, **values)  # type: ignore[call-arg]  # what the merged signature asked for

    run.__signature__ = inspect.Signature([first, *RULES.values(), *own])  # type: ignore[attr-defined]  # PEP 362
    return run
