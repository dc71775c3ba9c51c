"""Taken: what is told of versions that were taken in"""

from typing import TYPE_CHECKING, Any

from artifactstore.core.units import format_size
from artstore.output import took

if TYPE_CHECKING:
    from artifactstore.core.lineage import Link
    from artifactstore.ops.ingest import IngestPlan, IngestReport


def taken_document(report: "IngestReport") -> dict[str, Any]:
    """For programs"""
    from artifactstore.ops.describe import summary  # noqa: PLC0415  # heavy

    return {
        **summary(report.committed.version),
        "existed": report.committed.existed,
        "read_bytes": report.read_bytes,
        "new_bytes": report.new_bytes,
    }


def taken_lines(plan: "IngestPlan", report: "IngestReport", seconds: float) -> list[str]:
    """For people: what was typed needs no telling, what was found in the files does"""
    version = report.committed.version
    size = format_size(version.nbytes)
    what = (
        f"already stored as {version.ref}  {size}"
        if report.committed.existed
        else f"{version.ref}  {size}  ({format_size(report.new_bytes)} new)"
    )
    labels = [f"phase {version.phase}"] if version.phase else []
    labels += [f"alias {alias}" for alias in dict.fromkeys(plan.tags.aliases)]
    parents = [] if report.committed.existed else [link for link in plan.parents if "read" in link.params]
    return ["  ".join([what, *labels, took(seconds)]), *map(parent_line, parents)]


def parent_line(link: "Link") -> str:
    """One parent, and which file named it"""
    told_by = f"  (as {link.params['read']} says)" if "read" in link.params else ""
    return f"  {link.relation} of {link.ref}{told_by}"
