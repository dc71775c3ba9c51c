"""Checkout: a version's files, or one file that other tools read, out to a folder"""

import os
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.core.arrangement import Layout
from artifactstore.core.errors import Invalid, Refused
from artifactstore.core.units import format_size
from artstore.arguments import parse_path
from artstore.invocation import Invocation, with_invocation
from artstore.output import plural, took
from artstore.screen import Column, Screen

if TYPE_CHECKING:
    from artifactstore.catalog.base import VersionInfo
    from artifactstore.depot import Depot
    from artifactstore.ops.checkout import CheckoutPlan
    from artifactstore.store import Store


class Format(StrEnum):
    """How a version is written out"""

    FILES = "files"
    PTH = "pth"
    SAFETENSORS = "safetensors"


@with_invocation
def checkout(
    run: Invocation,
    *,
    ref: Annotated[str, typer.Argument(metavar="REF", help="name, name@alias, name:number, an id or a request id.")],
    dest: Annotated[str, typer.Argument(metavar="DEST", help="The folder to write to; with --format, the file.")],
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="GLOB", help="Only files whose path matches. Repeatable."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that have other content.")] = False,
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            metavar="files|pth|safetensors",
            help="files: as they were added. pth: a checkpoint as torch.save writes it. "
            "safetensors: what several ranks wrote, as one file.",
        ),
    ] = Format.FILES,
    layout: Annotated[
        Layout,
        typer.Option(
            "--layout",
            metavar="files|hf-cache",
            help="files: by their paths. hf-cache: as a cache of Hugging Face's libraries, for HF_HUB_CACHE=DEST.",
        ),
    ] = Layout.FILES,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be written.")] = False,
) -> None:
    """Write a version's files to a folder, bit for bit

    Each file's sha256 is checked. Files that are there already, bit for bit, are kept, and an interrupted checkout goes
    on where it ended.
    """
    parse_path(dest)
    with run.open_for_reading() as store:
        if form is not Format.FILES:
            if layout is not Layout.FILES:
                raise Invalid(f"--layout is for files; --format {form} writes one file", code="format")
            _export(run, store, ref, dest, form, only=bool(only), force=force, dry_run=dry_run)
            return
        depot, version = store.find(ref)
        plan = store.plan_checkout(str(version.id), dest, only=only or (), force=force, layout=layout)
        if dry_run:
            _tell_plan(run, plan, dest)
        else:
            _write(run, depot, plan, dest)


def _write(run: Invocation, depot: "Depot", plan: "CheckoutPlan", dest: str) -> None:
    from artifactstore.ops import checkout  # noqa: PLC0415  # heavy

    begin = time.monotonic()
    version = plan.version
    report = checkout.run(depot, plan)
    run.monitor.stop()
    document = {
        "id": str(version.id),
        "ref": version.ref,
        "dest": dest,
        "home": str(plan.home),
        "files": report.files,
        "written_bytes": report.written_bytes,
        "resumed_bytes": report.resumed_bytes,
        "kept": report.kept,
    }

    def show(screen: Screen) -> None:
        parts = [f"{version.ref} → {dest}", plural(report.files, "file"), format_size(report.written_bytes)]
        if report.resumed_bytes:
            parts.append(f"{format_size(report.resumed_bytes)} were there from an earlier try")
        if report.kept:
            parts.append(f"{report.kept} there already")
        screen.line("  ".join([*parts, took(time.monotonic() - begin)]))
        if plan.arrangement.texts:
            screen.line(f"  HF_HUB_CACHE={dest} gives it as {version.artifact}")

    run.output.tell(document, show, ids=[str(version.id)])


def _tell_plan(run: Invocation, plan: "CheckoutPlan", dest: str) -> None:
    def show(screen: Screen) -> None:
        screen.line(f"{plan.version.ref} → {dest}  {plural(len(plan.write), 'file')}  {format_size(plan.nbytes)}")
        rows = [("write", str(file.path), format_size(file.size)) for file in plan.write]
        rows += [("keep", str(file.path), format_size(file.size)) for file in plan.keep]
        screen.table(_PLANNED, rows)
        screen.line("Nothing changed (dry run)")

    run.output.tell(plan.to_json(), show, ids=[str(plan.version.id)])


def _export(
    run: Invocation, store: "Store", ref: str, dest: str, form: Format, *, only: bool, force: bool, dry_run: bool
) -> None:
    if only:
        raise Invalid(f"--only is for files; a {form} file holds the whole state", code="format")
    path, (depot, version) = Path(dest), store.find(ref)
    if path.is_dir():
        raise Invalid(
            f"{dest} is a folder; name the file to write, such as {path / f'model.{form}'}", code="file", path=dest
        )
    if os.path.lexists(path) and not force:
        raise Refused(
            f"{dest} is there; choose another name, or overwrite it with --force", code="overwrite", path=dest
        )
    begin = time.monotonic()
    save = _save_pth if form is Format.PTH else _save_safetensors
    nbytes = save(depot, version, path, dry_run=dry_run)
    run.monitor.stop()
    document = {"id": str(version.id), "ref": version.ref, "dest": dest, "bytes": nbytes}

    def show(screen: Screen) -> None:
        about = "about " if dry_run and form is Format.PTH else ""
        screen.line(f"{version.ref} → {dest}  {about}{format_size(nbytes)}  {took(time.monotonic() - begin)}")
        if dry_run:
            screen.line("Nothing changed (dry run)")

    run.output.tell(document, show, ids=[str(version.id)])


def _save_pth(depot: "Depot", version: "VersionInfo", path: Path, *, dry_run: bool) -> int:
    if dry_run:
        return version.nbytes
    # torch takes seconds to import
    from artifactstore.ops.transfer.fetch import load_manifest  # noqa: PLC0415
    from artifactstore.tensors.restore import export_pth  # noqa: PLC0415

    return export_pth(depot, load_manifest(depot, version.id), path)


def _save_safetensors(depot: "Depot", version: "VersionInfo", path: Path, *, dry_run: bool) -> int:
    from artifactstore.ops import consolidate  # noqa: PLC0415  # heavy

    plan = consolidate.plan(depot, version, path)
    if not dry_run:
        consolidate.run(depot, plan)
    return plan.file.size


_PLANNED = (Column("action"), Column("file", style="cyan"), Column("size", right=True))
