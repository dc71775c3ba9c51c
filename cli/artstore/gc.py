"""Gc: retire what rules let go, and remove what nothing needs"""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from artifactstore.core.errors import Invalid, NotFound, Refused
from artifactstore.core.units import format_size, parse_duration, parse_size
from artstore.arguments import parse_path
from artstore.confirm import confirm
from artstore.invocation import Invocation, with_invocation
from artstore.output import Form, plural
from artstore.rules import with_rules
from artstore.screen import Column, Screen

if TYPE_CHECKING:
    from artifactstore.core.selection import Rules
    from artifactstore.gc import GcPlan, GcReport
    from artifactstore.ops.retire import RetireItem
    from artifactstore.store import Store

T = TypeVar("T")
_STRAYS = 20
_LARGEST = 1 << 28  # bytes of a plan; whatever is longer was meant to be another file
_PLAIN = {("not selected",), ("no rule selects it",)}
_SWEEP = "When its bytes go"


def _sweep(*names: str, text: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=_SWEEP, **more)


Grace = Annotated[
    str | None,
    _sweep("--grace", metavar="AGE", text="How long bytes that nothing needs stay; an undo is possible. Default: 7d."),
]
Now = Annotated[bool, _sweep("--now", text="Remove them at once, with no undo.")]
UntilFree = Annotated[
    str | None, _sweep("--until-free", metavar="SIZE", text="Retire no more than it takes to have so much free.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Show the plan; change nothing, never ask.")]
PlanTo = Annotated[str | None, typer.Option("--plan", metavar="FILE", help="Write the plan down; change nothing.")]
Apply = Annotated[str | None, typer.Option("--apply", metavar="FILE", help="Run a plan that was written down.")]
Force = Annotated[bool, typer.Option("--force", help="Let more than a fifth of all bytes go. Lifts no pin.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@with_invocation
@with_rules
def gc(
    run: Invocation,
    rules: "Rules",
    *,
    grace: Grace = None,
    now: Now = False,
    until_free: UntilFree = None,
    dry_run: DryRun = False,
    plan: PlanTo = None,
    apply: Apply = None,
    force: Force = False,
    yes: Yes = False,
) -> None:
    """Retire versions by rules, and remove bytes nothing needs

    All selectors must hold for a version to go; any rule that keeps it rescues it. Always kept: what is pinned, aliased
    or in use, the newest step of a run, the last version of an artifact, and what a kept version is built on. With
    neither selector nor rule the stored policies decide; without those only what is due is removed.
    """
    waits = _grace(grace, now=now)
    room = None if until_free is None else _named("--until-free", parse_size, until_free)
    looks = dry_run or plan is not None
    with run.open(read_only=looks) as store:
        if apply is not None:
            _refuse_beside_apply(rules, grace=grace, now=now, until_free=until_free, plan=plan)
            made = _saved(store, apply)
        else:
            made = store.plan_gc(rules, grace=waits, until_free=room)
        notes = [] if apply is not None else [*_without_rules(store, rules, made), *_short(store, made, room)]
        if looks:
            if plan is not None:
                _write(plan, made)
            guard = () if force else _guard(made)
            tell_plan(run, made, lambda screen: draw_plan(screen, made, [*notes, *guard]), _closing(plan))
            return
        if run.output.form is Form.TEXT:
            draw_plan(Screen(), made, notes)
        if not force:
            # nobody is asked to agree to what is refused then
            _check_guard(made)
        if not made.is_empty:
            confirm(_question(made), yes=yes)
        report = store.gc(made, force=force)
    run.monitor.stop()
    document = made.to_json() | {"done": report.to_json()}
    run.output.tell(document, lambda screen: _draw_report(screen, made, report), ids=_ids(made))


def _grace(text: str | None, *, now: bool) -> timedelta:
    if now and text is not None:
        raise Invalid("--now is a grace of zero; give either --now or --grace", code="usage")
    return timedelta(0) if now else _named("--grace", parse_duration, text or "7d")


def _named(option: str, parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except Invalid as e:
        raise Invalid(f"{option}: {e.message}", code="usage") from e


def _without_rules(store: "Store", rules: "Rules", plan: "GcPlan") -> list[str]:
    # who only sweeps what is due knows what is wanted
    if not plan.is_empty or not rules.is_empty or store.policy_ls():
        return []
    return ["No rules are given and none are stored; try --older 30d, or keep some with: artstore policy set"]


def _short(store: "Store", plan: "GcPlan", wanted: int | None) -> list[str]:
    free = store.depot.blobs.free()
    if wanted is None or free is None:
        return []
    short = wanted - free - plan.sweep.waiting.nbytes - plan.retire.frees_bytes
    return [f"That is {format_size(short)} short of --until-free; these rules let no more go"] if short > 0 else []


def _check_guard(plan: "GcPlan") -> None:
    from artifactstore.gc import check_guard  # noqa: PLC0415  # heavy, and loaded by now

    check_guard(plan)


def _guard(plan: "GcPlan") -> Iterable[str]:
    try:
        _check_guard(plan)
    except Refused as e:
        yield e.message


def _refuse_beside_apply(rules: "Rules", **given: Any) -> None:
    if not rules.is_empty or any(given.values()):
        raise Invalid("--apply runs the plan as it was written; give nothing else that decides", code="usage")


def _saved(store: "Store", path: str) -> "GcPlan":
    try:
        with parse_path(path).open("rb") as file:
            raw = file.read(_LARGEST)
    except FileNotFoundError as e:
        raise NotFound(f"No such file: {path}; write a plan with --plan {path}", code="file", path=path) from e
    try:
        return store.plan_saved(raw)
    except Invalid as e:
        raise Invalid(f"{path}: {e.message}", code="plan", path=path) from e


def _write(path: str, plan: "GcPlan") -> None:
    parse_path(path).write_text(json.dumps(plan.to_json(), indent=2) + "\n")


def _question(plan: "GcPlan") -> str:
    going = plan.retire.going
    parts = []
    if going:
        parts.append(f"Retire {plural(len(going), 'version')}, {format_size(plan.retire.frees_bytes)}?")
    if plan.sweep.due.count:
        parts.append(f"Remove {plural(plan.sweep.due.count, 'blob')} now due?")
    return " ".join(parts)


def _closing(path: str | None) -> str:
    return "Nothing changed (dry run)" if path is None else f"Nothing changed; run it with: artstore gc --apply {path}"


def tell_plan(run: Invocation, plan: "GcPlan", draw: Callable[[Screen], None], closing: str) -> None:
    """A plan as the whole answer"""

    def show(screen: Screen) -> None:
        draw(screen)
        screen.line(closing)

    run.output.tell(plan.to_json(), show, ids=_ids(plan))


def _ids(plan: "GcPlan") -> list[str]:
    return [str(item.id) for item in plan.retire.going]


_ITEM = (
    Column("", style="bold"),
    Column("version", style="cyan"),
    Column("step", right=True),
    Column("size", right=True),
    Column("frees", right=True),
    Column("why", wrap=True),
)


def draw_plan(screen: Screen, plan: "GcPlan", notes: Iterable[str] = ()) -> None:
    """What stays and what goes of each artifact of which anything goes, and what is due. notes: said below it"""
    lines = by_artifact(plan)
    touched = {name: items for name, items in lines.items() if any(item.action == "retire" for item in items)}
    for name, items in touched.items():
        draw_artifact(screen, name, items)
        screen.line()
    untouched = len(lines) - len(touched)
    if untouched and touched:
        screen.line(f"{plural(untouched, 'other artifact')}: everything stays")
    elif not touched:
        screen.line("No version is to be retired")
    _draw_sweep(screen, plan)
    for note in notes:
        screen.line(note, "yellow")


def by_artifact(plan: "GcPlan") -> dict[str, list["RetireItem"]]:
    """What is decided of each artifact, the newest version first"""
    lines: dict[str, list[RetireItem]] = {}
    for item in plan.retire.items:
        lines.setdefault(item.ref.rpartition(":")[0], []).append(item)
    return {name: items[::-1] for name, items in lines.items()}


def draw_artifact(screen: Screen, name: str, items: list["RetireItem"]) -> None:
    """What stays and what goes of one artifact, with the reasons"""
    going = [item for item in items if item.action == "retire"]
    freed, logical = sum(item.frees_bytes for item in going), sum(item.logical_bytes for item in going)
    shared = f" ({format_size(logical - freed)} of theirs is shared and stays)" if logical > freed else ""
    frees = f", frees {format_size(freed)}{shared}" if going else ""
    screen.line(f"{name}  keep {len(items) - len(going)}, retire {len(going)}{frees}", "bold")
    told = [item for item in items if item.reasons not in _PLAIN]
    # a column of its own only where it says more than the sizes do
    whole = all(format_size(item.frees_bytes) == format_size(item.logical_bytes) for item in going)
    styles = ["" if item.action == "keep" else "red" for item in told]
    screen.table(_ITEM, [_row(item, whole=whole) for item in told], styles=styles)
    if len(told) < len(items):
        screen.line(f"KEEP    {plural(len(items) - len(told), 'version')} that no selector selects")


def _row(item: "RetireItem", *, whole: bool) -> tuple[str, ...]:
    step = "" if item.step is None else str(item.step)
    frees = format_size(item.frees_bytes) if item.action == "retire" and not whole else ""
    reasons = "; ".join(item.reasons)
    return item.action.upper(), item.ref, step, format_size(item.logical_bytes), frees, reasons


def _draw_sweep(screen: Screen, plan: "GcPlan") -> None:
    sweep = plan.sweep
    if plan.retire.going:
        if plan.grace:
            day = datetime.now(UTC) + plan.grace
            screen.line(f"Frees {format_size(plan.retire.frees_bytes)} after {day:%Y-%m-%d} (--now frees at once)")
        else:
            screen.line(f"Frees {format_size(plan.retire.frees_bytes)} at once; nothing of it can be undone")
    if sweep.due.count:
        screen.line(f"Due now: {plural(sweep.due.count, 'blob')}, {format_size(sweep.due.nbytes)}")
    if later := sweep.waiting.nbytes - sweep.due.nbytes:
        screen.line(f"Waiting for the end of their grace: {format_size(max(later, 0))}")


def _draw_report(screen: Screen, plan: "GcPlan", report: "GcReport") -> None:
    retired, swept = report.retired, report.swept
    if retired is not None:
        count = plural(len(retired.versions), "version")
        screen.line(f"Retired {count}; take it back with: artstore undo {retired.serial}")
        refs = {item.id: item.ref for item in plan.retire.items}
        for version, reasons in retired.kept.items():
            screen.line(f"Kept {refs[version]} after all: {'; '.join(reasons)}")
    if gone := swept.removed.count + swept.orphans.count:
        freed = format_size(swept.removed.nbytes + swept.orphans.nbytes)
        screen.line(f"Removed {plural(gone, 'object')}, {freed} freed", "green")
    else:
        screen.line("Nothing was due to be removed")
    if swept.orphans.count:
        screen.line(f"Among them {plural(swept.orphans.count, 'leftover')} of writes that never ended")
    if swept.waiting.count:
        first = datetime.fromtimestamp((swept.since or 0) / 1e6, UTC) + plan.grace
        waiting = format_size(swept.waiting.nbytes)
        screen.line(f"{waiting} wait for the end of their grace, the first until {first:%Y-%m-%d}")
    for key in swept.strays[:_STRAYS]:
        screen.line(f"Not ours, left alone: {key}", "yellow")
    if len(swept.strays) > _STRAYS:
        screen.line(f"… and {len(swept.strays) - _STRAYS} more keys that are not ours", "yellow")
