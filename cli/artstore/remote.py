"""Remote: other stores under names, what goes to them and what comes from them"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifactstore.core.units import format_moment, format_size, parse_duration
from artstore.confirm import confirm
from artstore.invocation import Invocation, with_invocation
from artstore.output import plural, took
from artstore.screen import Column, Screen
from artstore.versions import age

if TYPE_CHECKING:
    from artifactstore.catalog.base import RemoteInfo, VersionInfo
    from artifactstore.ops.sync import SyncPlan
    from artifactstore.sharing import ShareReport

Remote = Annotated[str, typer.Argument(metavar="REMOTE", help="The name of a remote, see artstore remote ls.")]
Refs = Annotated[
    list[str] | None, typer.Argument(metavar="REF", help="Only these versions, with all they need. Default: all.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be brought; change nothing.")]
_SHOWN = 20

app = typer.Typer(help="Know other stores by name: add, ls, rm")


@app.command()
@with_invocation
def add(
    run: Invocation,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it: letters, digits, - and _.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="A folder, or a URL such as s3://bucket/prefix.")],
    remote_catalog: Annotated[
        str | None,
        typer.Option(
            "--remote-catalog",
            metavar="URL",
            help="The catalog of a store that has one of its own, such as postgresql://…; needed to push to it.",
        ),
    ] = None,
) -> None:
    """Make another store known; where there is none a mirror is made

    A mirror is written to by this store alone, which keeps its catalog in remotes/. Any store can be pulled from.
    """
    with run.open(make=True) as store:
        info = store.remote_add(name, url, remote_catalog)
    run.output.tell(_remote(info, there=True), lambda screen: screen.line(_added(info)), ids=[info.name])


@app.command()
@with_invocation
def ls(run: Invocation) -> None:
    """List remotes, and whether each is there now"""
    with run.open(read_only=True) as store:
        remotes = [_remote(info, there=there) for info, there in store.remote_ls()]

    def show(screen: Screen) -> None:
        if not remotes:
            screen.line("No remotes; artstore remote add NAME URL makes one known")
            return
        rows = [
            (one["name"], one["url"], one["kind"], "yes" if one["reachable"] else "no", _ago(one["seen"]))
            for one in remotes
        ]
        screen.table(_REMOTES, rows)

    run.output.tell_rows("remote", remotes, show, ids=[one["name"] for one in remotes])


@app.command()
@with_invocation
def rm(run: Invocation, *, name: Remote) -> None:
    """Forget a remote; the store itself stays as it is"""
    with run.open() as store:
        info = store.remote_rm(name)
    run.output.tell(
        {"name": info.name, "url": info.url},
        lambda screen: screen.line(f"Forgot {info.name}; {info.url} stays as it is"),
        ids=[info.name],
    )


@with_invocation
def push(
    run: Invocation,
    *,
    remote: Remote,
    ref: Refs = None,
    aliases: Annotated[
        bool | None,
        typer.Option(
            "--aliases/--no-aliases", help="Move aliases there too. Default: in a mirror made from here, not elsewhere."
        ),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Bring versions to a remote: what it lacks, parents first, each blob checked on arrival, aliases last

    One that was interrupted goes on where it ended.
    """
    with run.open() as store:
        if dry_run:
            _tell_plan(run, store.plan_push(remote, ref or (), aliases=aliases))
            return
        begin = time.monotonic()
        report = store.push(remote, ref or (), aliases=aliases)
    _tell(run, report, remote, "to", time.monotonic() - begin)


@with_invocation
def pull(
    run: Invocation,
    *,
    remote: Remote,
    ref: Annotated[
        list[str] | None,
        typer.Argument(metavar="REF", help="Only these versions of the remote, with all they need. Default: all."),
    ] = None,
    aliases: Annotated[
        bool,
        typer.Option("--aliases", help="Take its aliases under their own names, not as REMOTE/ALIAS."),
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Bring versions of a remote here: what is lacking, parents first, each blob checked on arrival, aliases last

    One that was interrupted goes on where it ended. What was retired here comes back by its name only.
    """
    with run.open(make=not dry_run) as store:
        if dry_run:
            _tell_plan(run, store.plan_pull(remote, ref or (), aliases=aliases))
            return
        begin = time.monotonic()
        report = store.pull(remote, ref or (), aliases=aliases)
    _tell(run, report, remote, "from", time.monotonic() - begin)


@with_invocation
def sync(
    run: Invocation,
    *,
    remote: Remote,
    delete: Annotated[
        bool, typer.Option("--delete", help="Retire in the mirror what is not here; asks before it does.")
    ] = False,
    grace: Annotated[
        str, typer.Option("--grace", metavar="DURATION", help="How long bytes of what was retired stay in the mirror.")
    ] = "7d",
    force: Annotated[bool, typer.Option("--force", help="Also when more than a fifth of the mirror would go.")] = False,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Bring a mirror in step: what it lacks, metrics, and aliases exactly as they are here"""
    after = parse_duration(grace)
    with run.open() as store:
        going: Sequence[VersionInfo] = ()
        if delete or dry_run:
            plan, going = store.plan_sync(remote, delete=delete)
            if dry_run:
                _tell_plan(run, plan, going)
                return
        if going:
            run.monitor.stop()
            confirm(f"Retire {plural(len(going), 'version')} in {remote} that are not here?", yes=yes)
        begin = time.monotonic()
        chosen = [one.id for one in going] if delete else False
        report = store.sync(remote, delete=chosen, grace=after, force=force)
    _tell(run, report, remote, "to", time.monotonic() - begin)


@with_invocation
def clone(
    run: Invocation,
    *,
    url: Annotated[str, typer.Argument(metavar="URL", help="The store to clone.")],
    dest: Annotated[str, typer.Argument(metavar="DEST", help="The folder of the new store.")],
) -> None:
    """Make a store that reads what it does not hold from another, through a cache

    It is usable at once; artstore pull origin makes it hold everything.
    """
    from artifactstore.store import Store  # noqa: PLC0415  # heavy

    with Store.clone(url, dest, settings=run.settings, monitor=run.monitor) as store:
        origin = store.origin()
        count = 0 if origin is None else len(origin.catalog.versions.active())
    run.monitor.stop()
    document = {"store": dest, "origin": url, "versions": count}
    run.output.tell(
        document,
        lambda screen: screen.line(f"{dest} reads {plural(count, 'version')} of {url}; artstore pull origin holds it"),
        ids=[dest],
    )


@with_invocation
def whereis(run: Invocation, *, ref: Annotated[str, typer.Argument(metavar="REF", help="The version.")]) -> None:
    """Show every place that holds a version, also those that are not there now"""
    with run.open(read_only=True) as store:
        places = [place.to_json() for place in store.whereis(ref)]

    def show(screen: Screen) -> None:
        rows = [(one["name"], one["state"], _age(one["at"]), one["url"]) for one in places]
        screen.table(_PLACES, rows)

    run.output.tell_rows("place", places, show, ids=[one["name"] for one in places])


_REMOTES = (
    Column("name", style="cyan"),
    Column("url"),
    Column("kind"),
    Column("there"),
    Column("last used", right=True),
)
_PLACES = (Column("name", style="cyan"), Column("state"), Column("seen", right=True), Column("url"))


def _age(at: int | None) -> str:
    return "" if at is None else age(format_moment(at))


def _ago(moment: str | None) -> str:
    return "never" if moment is None else f"{age(moment)} ago"


def _remote(info: "RemoteInfo", *, there: bool) -> dict[str, Any]:
    kind = "mirror" if info.mirror else "origin" if info.origin else "store" if info.catalog else "read only"
    return {
        "name": info.name,
        "url": info.url,
        "kind": kind,
        "store": info.store_id,
        "reachable": there,
        "serial": None if info.seen is None else info.seen.serial,
        "seen": None if info.seen is None else format_moment(info.seen.at),
    }


def _added(info: "RemoteInfo") -> str:
    if info.mirror:
        return f"{info.name} is a mirror at {info.url}; artstore push {info.name} fills it"
    what = "can be pushed to and pulled from" if info.catalog else "can be pulled from; --remote-catalog lets you push"
    return f"{info.name} is the store at {info.url}; it {what}"


def _tell_plan(run: Invocation, plan: "SyncPlan", going: "Sequence[VersionInfo]" = ()) -> None:
    run.monitor.stop()
    document = {**plan.to_json(), "delete": [{"id": str(one.id), "ref": one.ref} for one in going]}

    def show(screen: Screen) -> None:
        _list(screen, plan.carry.versions, "BRING   ")
        for version in going:
            screen.line(f"RETIRE  {version.ref}  {format_size(version.nbytes)}  not in the store it mirrors")
        _rest(screen, plan, aliases="to move", healed="to fill in")
        if plan.is_empty:
            screen.line("Nothing to bring")
        elif not plan.carry.is_empty:
            screen.line(f"{plural(plan.carry.blobs, 'blob')} of {format_size(plan.carry.nbytes)} to bring")
        screen.line("Nothing changed (dry run)")

    run.output.tell(document, show, ids=[str(one.id) for one in plan.carry.versions])


def _list(screen: Screen, versions: "Sequence[VersionInfo]", mark: str = "") -> None:
    for one in versions[:_SHOWN]:
        screen.line(f"{mark}{one.ref}  {format_size(one.nbytes)}")
    if len(versions) > _SHOWN:
        screen.line(f"… and {len(versions) - _SHOWN:,} more, --json shows all")


def _rest(screen: Screen, plan: "SyncPlan", *, aliases: str, healed: str) -> None:
    if plan.aliases:
        screen.line(f"Aliases: {len(plan.aliases):,} {aliases}")
    if plan.metrics:
        screen.line(f"Metrics of {plural(len(plan.metrics), 'version')}")
    if count := len(plan.carry.healing) + len(plan.carry.manifests):
        screen.line(f"{plural(count, 'object')} {healed} that {'was' if count == 1 else 'were'} damaged")
    if plan.retired:
        screen.line(f"{plural(len(plan.retired), 'version')} left out, retired there; push or pull by name brings back")


def _tell(run: Invocation, report: "ShareReport", remote: str, way: str, seconds: float) -> None:
    run.monitor.stop()

    def show(screen: Screen) -> None:
        _list(screen, report.carried.versions)
        _rest(screen, report.plan, aliases="moved", healed="filled in")
        _removed(screen, report, remote)
        if report.plan.is_empty:
            screen.line("Nothing to bring; both are in step")
        elif report.plan.carry.is_empty:
            screen.line("Both are in step")
        else:
            size = format_size(report.carried.nbytes)
            versions = plural(len(report.carried.versions), "version")
            screen.line(f"{versions}, {plural(report.carried.blobs, 'blob')} of {size} {way} {remote}  {took(seconds)}")

    run.output.tell(report.to_json(), show, ids=[str(one.id) for one in report.carried.versions])


def _removed(screen: Screen, report: "ShareReport", remote: str) -> None:
    if report.removed is None or report.removed.retired is None:
        return
    retired = report.removed.retired
    screen.line(f"{plural(len(retired.versions), 'version')} retired in {remote}")
    for version, why in retired.kept.items():
        screen.line(f"{version.hex()[:12]} stays in {remote}: {'; '.join(map(str, why))}", style="yellow")
