"""Bundle: versions carried in files, for where no network leads"""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifactstore.core.errors import Exists, Invalid
from artifactstore.core.units import format_size, parse_size
from artstore.arguments import parse_path
from artstore.failure import DAMAGED
from artstore.invocation import Invocation, with_invocation
from artstore.output import plural, took
from artstore.screen import Column, Screen

if TYPE_CHECKING:
    from artifactstore.core.bundle import Holdings
    from artifactstore.ops.bundle import BundlePlan
    from artifactstore.ops.transfer.signature import Signer

_PASSWORD = "ARTSTORE_SIGN_PASSWORD"  # noqa: S105  # the name of a variable

File = Annotated[str, typer.Argument(metavar="FILE", help="The bundle, any of its parts, or their folder.")]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be done.")]
Trusted = Annotated[
    str | None,
    typer.Option("--trusted-keys", metavar="DIR", help="Accept only what one of these public keys (PEM) has signed."),
]

Delta = Annotated[
    str | None,
    typer.Option("--delta", metavar="HAVE", help="Leave out what the other side's bundle have has written down."),
]
Split = Annotated[
    str | None,
    typer.Option("--split", metavar="SIZE", help="Write FILE.001, FILE.002 … of at most so much, such as 3.9GB."),
]
Sign = Annotated[
    str | None,
    typer.Option(
        "--sign",
        metavar="KEY",
        help=f"Sign with this private key (PEM, elliptic curve). Its password: {_PASSWORD}, else it is asked for.",
    ),
]

app = typer.Typer(help="Carry versions in files: have, create, inspect, apply")


@app.command()
@with_invocation
def have(
    run: Invocation,
    *,
    to: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")],
) -> None:
    """Write down what this store holds, so that a bundle made for it leaves that out"""
    from artifactstore.ops import bundle  # noqa: PLC0415  # heavy

    path = parse_path(to)
    _refuse_other(path)
    with run.open(read_only=True) as store:
        found = bundle.holdings(store.depot)
    with path.open("w", encoding="ascii") as file:
        file.writelines(f"{line}\n" for line in found.lines())
    document = {"file": to, "store": found.store, "versions": len(found.versions)}
    said = f"{to}  {plural(len(found.versions), 'version')}; give it to artstore bundle create --delta"
    run.output.tell(document, lambda screen: screen.line(said), ids=map(str, found.versions))


@app.command()
@with_invocation
def create(
    run: Invocation,
    *,
    refs: Annotated[
        list[str], typer.Argument(metavar="REF…", help="name, name@alias, name:number, an id or a request id.")
    ],
    to: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The bundle to write.")],
    delta: Delta = None,
    split: Split = None,
    sign: Sign = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that has other content.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Write versions, and all they need, into one file: a tar of a store

    Each blob is checked on the way. An interrupted run is finished by the same command. Other programs can unpack it;
    artstore catalog rebuild makes a store of what they unpacked.
    """
    from artifactstore.ops import bundle  # noqa: PLC0415  # heavy

    path, part = parse_path(to), None if split is None else parse_size(split)
    held = None if delta is None else _read_have(parse_path(delta))
    signer = None if sign is None else _signer(parse_path(sign))
    begin = time.monotonic()
    with run.open_for_reading() as store:
        plan = bundle.plan(store.depot, [store.resolve(ref) for ref in refs], path, have=held, part=part)
        document = plan.to_json()
        if not dry_run:
            report = bundle.run(store.depot, plan, signer=signer, force=force)
            document |= {
                "files": [str(one) for one in report.paths],
                "written_bytes": report.written_bytes,
                "resumed_bytes": report.resumed_bytes,
                "signed": report.signed,
            }
    run.monitor.stop()
    ids = [one["id"] for one in document["versions"]]
    run.output.tell(document, lambda screen: _draw_created(screen, plan, document, time.monotonic() - begin), ids=ids)


_GOING = (Column("version", style="cyan"), Column("new", right=True), Column("left out", right=True), Column("why"))


def _draw_created(screen: Screen, plan: "BundlePlan", document: dict[str, Any], seconds: float) -> None:
    along = {one.id for one in plan.load.along}
    rows = [
        (
            one.version.named.ref,
            format_size(sum(blob.size for blob in one.blobs)),
            format_size(one.left_out) if one.left_out else "",
            "needed by another" if one.version.id in along else "",
        )
        for one in plan.load.cargo
    ]
    screen.table(_GOING, rows)
    if plan.load.held:
        screen.line(f"{plural(len(plan.load.held), 'version')} the other side has already")
    if plan.load.label.base:
        screen.line(f"A delta: it counts on {', '.join(one.ref for one in plan.load.label.base)} at the other side")
    if "files" not in document:
        where = f"{document['parts']} files" if document["parts"] > 1 else str(plan.dest)
        screen.line(f"{format_size(plan.nbytes)} → {where}")
        screen.line("Nothing changed (dry run)")
        return
    files = document["files"]
    parts = [files[0] if len(files) == 1 else f"{files[0]} … {files[-1]}", format_size(plan.nbytes)]
    if document["resumed_bytes"]:
        parts.append(f"{format_size(document['resumed_bytes'])} were there already")
    screen.line("  ".join([*parts, *(["signed"] if document["signed"] else []), took(seconds)]))


@app.command()
@with_invocation
def inspect(
    run: Invocation,
    *,
    file: File,
    trusted: Trusted = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read every blob and compare it with its name.")] = False,
) -> None:
    """Show what a bundle carries, from whom, and whether it is whole

    Needs no store. With --verify it ends with exit code 4 when something is damaged.
    """
    from artifactstore.ops import inspect as look  # noqa: PLC0415  # heavy

    keys = None if trusted is None else parse_path(trusted)
    info = look.run(parse_path(file), trusted=keys, verify=verify, monitor=run.monitor)
    run.monitor.stop()
    document = info.to_json()
    ids = [one["id"] for one in document["versions"]]
    run.output.tell(document, lambda screen: _draw_inspected(screen, document), ids=ids)
    if info.damaged:
        raise typer.Exit(DAMAGED)


_CARRIED = (
    Column("version", style="cyan"),
    Column("id"),
    Column("size", right=True),
    Column("left out", right=True),
    Column("license"),
    Column("aliases", wrap=True),
)


def _draw_inspected(screen: Screen, document: dict[str, Any]) -> None:
    rows = [
        (
            one["ref"],
            one["id"][:12],
            format_size(one["size"]),
            format_size(one["left_out_bytes"]) if one["left_out_bytes"] else "",
            one["license"] or "",
            " ".join(one["aliases"]),
        )
        for one in document["versions"]
    ]
    screen.table(_CARRIED, rows)
    base = ", ".join(f"{one['ref']} ({one['id'][:12]})" for one in document["base"])
    screen.fields(
        [
            ("files", str(len(document["files"])) if len(document["files"]) > 1 else ""),
            ("bytes", format_size(document["bytes"])),
            ("store", document["store"][:8]),
            ("counts on", base),
            ("signature", _signed(document["signature"])),
        ]
    )
    for one in document["damaged"] or ():
        screen.line(f"{one['digest'][:12]} is {one['kind']} at byte {one['offset']}", style="bold red")
    if document["damaged"] == []:
        screen.line("no damage", style="green")


def _signed(signature: dict[str, Any]) -> str:
    match signature["state"]:
        case "none":
            return "none"
        case "valid":
            return f"valid, by {signature['by']}"
        case _:
            return f"by the key {signature['key'][:16]}, not checked; see --trusted-keys"


@app.command()
@with_invocation
def apply(
    run: Invocation,
    *,
    file: File,
    trusted: Trusted = None,
    name: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="Aliases arrive as NAME/alias. Default: the name of the file."),
    ] = None,
    aliases: Annotated[bool, typer.Option("--aliases", help="Move the aliases here as they are there.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Bring the versions of a bundle into this store

    Only what is missing is written, each blob is checked, each version comes whole or not at all. An interrupted run is
    finished by the same command.
    """
    from artifactstore.bundles import alias_prefix, applying  # noqa: PLC0415  # heavy
    from artifactstore.ops.sync import Naming  # noqa: PLC0415

    if name is not None and aliases:
        raise Invalid("Aliases arrive under NAME or as they are: give --as or --aliases, not both", code="usage")
    path, keys = parse_path(file), None if trusted is None else parse_path(trusted)
    naming = Naming("" if aliases else alias_prefix(Path(name or path.name)))
    begin = time.monotonic()
    with run.open(make=True) as store, applying(store.depot, path, trusted=keys, naming=naming) as work:
        document = work.to_json()
        if not dry_run:
            report = work.run()
            document["versions"] = [{"id": str(one.id), "ref": one.ref, "size": one.nbytes} for one in report.versions]
            document |= {"blobs": report.blobs, "bytes": report.nbytes}
        run.monitor.stop()
        ids = [one["id"] for one in document["versions"]]
        seconds = None if dry_run else time.monotonic() - begin
        run.output.tell(document, lambda screen: _draw_applied(screen, document, seconds), ids=ids)


_ARRIVED = (Column("version", style="cyan"), Column("id"), Column("size", right=True))


def _draw_applied(screen: Screen, document: dict[str, Any], seconds: float | None) -> None:
    rows = [(one["ref"], one["id"][:12], format_size(one["size"])) for one in document["versions"]]
    screen.table(_ARRIVED, rows)
    for move in document["aliases"]:
        screen.line(f"{move['artifact']}@{move['alias']} → {move['id'][:12]}")
    if document["held"]:
        screen.line(f"{plural(document['held'], 'version')} here already")
    moved = f"{plural(document['blobs'], 'blob')}  {format_size(document['bytes'])}"
    signature = f"signature {_signed(document['signature'])}"
    screen.line("  ".join([moved, signature] + ([] if seconds is None else [took(seconds)])))
    if seconds is None:
        screen.line("Nothing changed (dry run)")


def _read_have(path: Path) -> "Holdings":
    from artifactstore.core.bundle import Holdings  # noqa: PLC0415  # as the verbs

    return Holdings.parse(path.read_bytes())


def _refuse_other(path: Path) -> None:
    """Raise Exists for a file that `have` did not write; one of its own is written anew"""
    if not os.path.lexists(path):
        return
    try:
        _read_have(path)
    except Invalid as e:
        raise Exists(f"{path} is there and is something else; choose another name", code="file", path=str(path)) from e


def _signer(key: Path) -> "Signer":
    from artifactstore.ops.transfer.signature import Signer  # noqa: PLC0415  # as the verbs

    password = os.environ.get(_PASSWORD)
    if password is None and sys.stdin.isatty() and key.is_file() and b"ENCRYPTED" in key.read_bytes():
        password = typer.prompt(f"Password of {key}", hide_input=True, err=True)
    return Signer(key, password)
