"""Trees as a listing gives them, from a dict of contents"""

from types import MappingProxyType

from artifactstore.core.elsewhere.base import Entry, Tree
from artifactstore.core.errors import NotFound


def tree(files, name="root", links=MappingProxyType({}), faults=MappingProxyType({})):
    """files: path → bytes or text; links: path → the path it leads to first; faults: path → why it cannot be read"""
    raw = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
    entries = {path: Entry(len(data), 1000 + number) for number, (path, data) in enumerate(sorted(raw.items()))}
    for path, hop in links.items():
        entries[path] = (
            Entry(entries[hop].size, entries[hop].changed, hop)
            if hop in entries
            else Entry(0, 0, hop, "is a link to nothing")
        )
    for path, fault in faults.items():
        entries[path] = Entry(0, 0, None, fault)

    def read(path):
        if path not in raw:
            raise NotFound(f"No such file: {path}", code="file")
        return raw[path]

    return Tree(name, dict(sorted(entries.items())), read)


def told(survey):
    """(artifact, paths, aliases) of what was found"""
    return [(str(one.artifact), sorted(one.files), [str(alias) for alias in one.aliases]) for one in survey.found]


def passed(survey):
    """place → (why, broken) of what was passed over"""
    return {one.place: (one.why, one.broken) for one in survey.passed}
