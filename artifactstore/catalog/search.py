"""Search: a text anywhere in what the catalog knows of a version"""

import re

import sqlalchemy as sa

from artifactstore.catalog.resolve import prefix_range
from artifactstore.catalog.tables import alias, artifact, file, version

_PREFIX = re.compile(r"[0-9a-f]{8,64}")
_OWN = (version.c.phase, version.c.request_id, version.c.license, version.c.metadata)


def matches(text: str) -> sa.ColumnElement[bool]:
    """Versions whose name, phase, request id, license, metadata, paths or aliases hold `text`, letters of any case

    Eight or more hex digits also match the beginning of a version id or of a file's sha256.
    """
    text = text.strip()
    if not text or "\0" in text or not text.isprintable():
        return sa.false()

    def holds(column: sa.Column[str]) -> sa.ColumnElement[bool]:
        return column.icontains(text, autoescape=True)

    found = [
        *(holds(column) for column in _OWN),
        version.c.artifact_id.in_(sa.select(artifact.c.id).where(holds(artifact.c.name))),
        version.c.id.in_(sa.select(file.c.version_id).where(holds(file.c.path))),
        version.c.id.in_(sa.select(alias.c.version_id).where(holds(alias.c.name))),
    ]
    if _PREFIX.fullmatch(text):
        ends = prefix_range(text)
        found.append(version.c.digest.between(*ends))
        found.append(version.c.id.in_(sa.select(file.c.version_id).where(file.c.sha256.between(*ends))))
    return sa.or_(*found)
