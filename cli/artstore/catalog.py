"""Catalog: its schema, its rebuilding from the journal, and everything it means as lines"""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artstore.confirm import confirm
from artstore.failure import DAMAGED, PARTLY
from artstore.invocation import Invocation, with_invocation
from artstore.output import Form, plural
from artstore.screen import Screen, write_all

if TYPE_CHECKING:
    from artifactstore.ops.adopt import AdoptReport
    from artifactstore.ops.rebuild import RebuildPlan, RebuildReport

app = typer.Typer(help="Administer the catalog: rebuild, upgrade, dump")
_SHOWN = 20


@app.command()
@with_invocation
def rebuild(
    run: Invocation,
    *,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take in versions that lie here whole and were never committed.")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="ID", help="The catalog whose records count, where the journal has several."),
    ] = None,
    until: Annotated[
        int | None,
        typer.Option(
            "--until", metavar="SERIAL", min=0, help="The last record to replay, where a later one is lost or damaged."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would be replayed; change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Make the catalog anew from the journal and the manifests

    For one that is gone, damaged, or went another way than the journal. A catalog that is there is replaced; an SQLite
    file is kept beside the new one. Ends with exit code 4 when something is damaged or missing that was not known to
    be, 6 when --adopt had to leave something.
    """
    from artifactstore.store import Store  # noqa: PLC0415  # heavy

    where = run.locate()
    plan = Store.plan_rebuild(where.store, where.catalog, settings=run.settings, source=source, until=until)
    if dry_run:
        run.output.tell(plan.to_json(), lambda screen: _draw_plan(screen, plan), ids=[plan.origin.catalog])
        return
    confirm(f"{_sentence(plan)}?", yes=yes)
    report = Store.catalog_rebuild(where.store, where.catalog, plan=plan, settings=run.settings, monitor=run.monitor)
    adopted = None
    if adopt and report.uncommitted:
        with run.open() as store:
            adopted = store.adopt(report.uncommitted)
    run.monitor.stop()
    document = _document(report, adopted)
    run.output.tell(document, lambda screen: _draw(screen, document), ids=[report.catalog_id])
    if report.lost:
        raise typer.Exit(DAMAGED)
    if document["left"]:
        raise typer.Exit(PARTLY)


def _sentence(plan: "RebuildPlan") -> str:
    what = "Replace" if plan.replaces else "Make"
    return f"{what} {plan.catalog} by replaying {plural(plan.origin.serial, 'record')} of {plan.store}"


def _draw_plan(screen: Screen, plan: "RebuildPlan") -> None:
    screen.line(_sentence(plan))
    screen.line("Nothing changed (dry run)")


def _document(report: "RebuildReport", adopted: "AdoptReport | None") -> dict[str, Any]:
    taken = [] if adopted is None else adopted.adopted
    left = [] if adopted is None else adopted.left
    here = {one.id for one in taken}
    return {
        "catalog": report.catalog_id,
        "serial": report.serial,
        "versions": report.versions + len(taken),
        "damaged": [
            {"what": one.what.removesuffix("s"), "digest": str(one.digest), "key": one.key, "kind": one.kind}
            for one in report.lost
        ],
        "uncommitted": [str(one) for one in report.uncommitted if one not in here],
        "adopted": [{"id": str(one.id), "ref": one.ref} for one in taken],
        "left": [{"id": str(one), "why": why} for one, why in left],
        "replaced": None if report.replaced is None else str(report.replaced),
    }


def _draw(screen: Screen, document: dict[str, Any]) -> None:
    screen.line(f"The catalog was made anew: {plural(document['versions'], 'version')}, serial {document['serial']:,}")
    if document["replaced"]:
        screen.line(f"The old one is kept as {document['replaced']}")
    for one in document["adopted"]:
        screen.line(f"Adopted {one['ref']} ({one['id'][:12]})")
    for one in document["left"]:
        screen.line(f"Left {one['id'][:12]}: {one['why']}", style="yellow")
    if document["uncommitted"] and not document["left"]:
        found = plural(len(document["uncommitted"]), "version")
        screen.line(f"{found} here that nobody committed; rebuild with --adopt takes them in")
    damaged = document["damaged"]
    if damaged:
        screen.line(f"{plural(len(damaged), 'object')} damaged; run artstore repair --from a copy:", style="bold red")
        for one in damaged[:_SHOWN]:
            screen.line(f"{one['kind']}  {one['key']}")
        if len(damaged) > _SHOWN:
            screen.line(f"… and {len(damaged) - _SHOWN:,} more, --json shows all")
        if any(one["what"] == "manifest" for one in damaged):
            screen.line("What a lost manifest said of its version is known again after a repair and one more rebuild")


@app.command()
@with_invocation
def upgrade(run: Invocation) -> None:
    """Bring the catalog's schema to what this release needs; nothing to do when it is there"""
    from artifactstore.store import Store  # noqa: PLC0415  # heavy

    where = run.locate()
    schema = Store.catalog_upgrade(where.store, where.catalog, settings=run.settings)
    run.output.tell({"schema": schema}, lambda screen: screen.line(f"The catalog has schema {schema}"), ids=[schema])


@app.command()
@with_invocation
def dump(run: Invocation) -> None:
    """Write everything the catalog means, one JSON object a line

    In an order of its own: two catalogs of one meaning give the same lines, wherever they are kept. Leases, the last
    use of a version and the id of the catalog are left out.
    """
    with run.open_rows() as rows:
        lines = rows.catalog.dump()
        if run.output.form is Form.TEXT:
            write_all(lines)
        else:
            told = map(json.loads, lines)
            run.output.tell_rows("line", told, lambda _: None, ids=(one["id"] for one in told if _is_version(one)))


def _is_version(line: dict[str, Any]) -> bool:
    return bool(line["kind"] == "version")
