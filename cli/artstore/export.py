"""Export and import: a version as a document for other tools, and a list of checksums held against one"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifactstore.core.errors import Refused
from artifactstore.core.exports.base import Kind
from artifactstore.core.units import format_size
from artstore.arguments import parse_path
from artstore.failure import DAMAGED
from artstore.invocation import Invocation, with_invocation
from artstore.output import plural
from artstore.screen import Column, Screen

if TYPE_CHECKING:
    from artifactstore.core.exports.checksums import ChecksumReport

Ref = Annotated[str, typer.Argument(metavar="REF", help="name, name@alias, name:number, an id or a request id.")]


@with_invocation
def export(
    run: Invocation,
    *,
    kind: Annotated[Kind, typer.Argument(metavar="model-card|cyclonedx|spdx|prov|checksums", help="Which document.")],
    ref: Ref,
    file: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to a file instead of stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file when it is there.")] = False,
) -> None:
    """Write a version as a document that other tools read

    model-card: README.md with the Hugging Face front matter. cyclonedx: CycloneDX 1.6 ML-BOM. spdx: SPDX 3.0.1 with
    the AI profile. prov: W3C PROV-JSON. checksums: what sha256sum -c takes in the folder of a checkout.

    All but checksums tell the version's metadata as it is. The same version gives the same document, until its metrics
    or its known parents change.
    """
    if file is not None:
        parse_path(file)
    with run.open(read_only=True) as store:
        _, version = store.find(ref)
        text = store.export(kind, str(version.id))
    facts = {"id": str(version.id), "ref": version.ref, "kind": str(kind)}
    if file is not None:
        _save(text, Path(file), force=force)
        nbytes = len(text.encode())
        told = f"{version.ref} → {file}  {format_size(nbytes)}"
        document = {**facts, "file": file, "bytes": nbytes}
        run.output.tell(document, lambda screen: screen.line(told), ids=[facts["id"]])
        return
    content = {**facts, "text": text} if kind in {Kind.MODEL_CARD, Kind.CHECKSUMS} else json.loads(text)
    run.output.tell(content, lambda _: _write(text), ids=[facts["id"]])


def _write(text: str) -> None:
    # its bytes are what a file would hold, whatever the terminal's encoding
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def _save(text: str, path: Path, *, force: bool) -> None:
    try:
        with path.open("wb" if force else "xb") as file:
            file.write(text.encode())
    except FileExistsError as e:
        raise Refused(
            f"{path} is there; choose another name, or overwrite it with --force", code="overwrite", path=str(path)
        ) from e


import_app = typer.Typer(help="Take in what other tools wrote: checksums")


@import_app.callback()
def _group() -> None:
    """Keep `checksums` a command of its own, though it is the only one"""


@import_app.command("checksums")
@with_invocation
def import_checksums(
    run: Invocation,
    *,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What sha256sum or shasum --tag wrote.")],
    ref: Ref,
) -> None:
    """Hold a list of checksums against a version

    Its recorded sha256 are compared, and no blob is read; artstore verify does that. Ends with exit code 4 when a file
    of the list is missing or has another hash. Files that the list leaves out are told, and are no failure.
    """
    parse_path(file)
    with run.open(read_only=True) as store:
        _, version = store.find(ref)
        report = store.import_checksums(file, str(version.id))
    document = {"id": str(version.id), "ref": version.ref, **_document(report)}
    run.output.tell(document, lambda screen: _draw(screen, document), ids=[document["id"]])
    if not report.fine:
        raise typer.Exit(DAMAGED)


def _document(report: "ChecksumReport") -> dict[str, Any]:
    return {
        "matched": report.matched,
        "mismatched": [
            {"path": one.path, "listed": str(one.listed), "recorded": str(one.recorded)} for one in report.mismatched
        ],
        "missing": list(report.missing),
        "unlisted": [str(path) for path in report.unlisted],
    }


_DIFFERENCES = (
    Column("what", style="bold red"),
    Column("file", style="cyan"),
    Column("listed", style="dim", wrap=True),
    Column("recorded", style="dim", wrap=True),
)


def _draw(screen: Screen, document: dict[str, Any]) -> None:
    rows = [("mismatched", one["path"], one["listed"], one["recorded"]) for one in document["mismatched"]]
    rows += [("missing", path, "", "") for path in document["missing"]]
    if rows:
        screen.table(_DIFFERENCES, rows)
        screen.line()
    parts = [f"{document['ref']}  {plural(document['matched'], 'file')} matched"]
    parts += [f"{len(document[name])} {name}" for name in ("mismatched", "missing", "unlisted") if document[name]]
    screen.line("  ".join(parts), style="bold red" if rows else "green")
