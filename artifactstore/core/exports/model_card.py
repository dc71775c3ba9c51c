"""Model card: README.md with the front matter the Hugging Face hub reads"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from artifactstore.core.digest import Digest
from artifactstore.core.exports.base import ParentFacts, Subject, VersionFacts, shown, word, words
from artifactstore.core.exports.identity import hub_source
from artifactstore.core.exports.licenses import hub_license
from artifactstore.core.provenance.card import RELATIONS
from artifactstore.core.provenance.refs import named
from artifactstore.core.units import format_moment, format_size

# The four that the hub knows; through any other a version is the same model at another time or in another form
_RELATIONS = {relation: name for name, relation in RELATIONS.items()}
_REPOSITORY = re.compile(r"(?:[A-Za-z0-9_][\w.-]*/)?[A-Za-z0-9_][\w.-]*", re.ASCII)
_LICENSE_FILES = {"LICENSE", "LICENSE.MD", "LICENSE.TXT"}
# What YAML 1.1 and 1.2 alike read as text; whatever else is text is quoted
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./+-]*")
_MARKUP = re.compile(r"[\\`*_\[\]<>|&~#]")


def text(subject: Subject) -> str:
    """The whole card"""
    fields = front_matter(subject)
    front = ["---", _yaml(fields), "---", ""] if fields else []
    return "\n".join([*front, *_body(subject), ""])


def front_matter(subject: Subject) -> dict[str, Any]:
    """What the hub reads; https://github.com/huggingface/hub-docs/blob/main/modelcard.md"""
    metadata = subject.version.metadata
    bases, relation = base_models(subject)
    tags = words(metadata, "tags")
    if relation == "merge" and "merge" not in tags:
        tags.append("merge")
    fields = {
        **_license(subject.version),
        "library_name": word(metadata, "library_name"),
        "pipeline_tag": word(metadata, "pipeline_tag"),
        "language": words(metadata, "language"),
        "tags": tags,
        "datasets": words(metadata, "datasets"),
        "base_model": bases[0] if len(bases) == 1 else bases,
        "base_model_relation": relation,
        "model-index": _model_index(subject.version),
    }
    return {name: value for name, value in fields.items() if value not in (None, [])}


def base_models(subject: Subject) -> tuple[list[str], str | None]:
    """The models of the nearest links of a kind the hub knows, in their order; their relation, None for several kinds

    A resumed, converted, resharded … version is the model it came from, so its bases are those of that. What the hub
    could not take for the name of a model is left out.
    """
    found: list[tuple[str, str]] = []
    level, seen = [subject.version], {subject.version.id}
    while level and not found:
        found = [base for version in level for base in bases_of(subject, version)]
        level = [above for version in level for above in _above(subject, version, seen)]
    told = [base for base in found if _REPOSITORY.fullmatch(base[0])]
    relations = {relation for _, relation in told}
    return list(dict.fromkeys(model for model, _ in told)), relations.pop() if len(relations) == 1 else None


def bases_of(subject: Subject, version: VersionFacts) -> Iterator[tuple[str, str]]:
    """(model, relation) of a version's own links of a kind the hub knows"""
    for parent in version.parents:
        relation = _RELATIONS.get(parent.relation)
        model = _model(subject, parent)
        # an earlier version of the same artifact is the same repository, which cannot be its own base
        if relation is not None and model != subject.version.artifact:
            yield model, relation


def _model(subject: Subject, parent: ParentFacts) -> str:
    source = hub_source(parent.ref)
    if source is not None:
        return source.repo
    known = subject.known(parent)
    return named(parent.ref) if known is None else str(known.artifact)


def _above(subject: Subject, version: VersionFacts, seen: set[Digest]) -> Iterator[VersionFacts]:
    for parent in version.parents:
        known = subject.known(parent)
        if known is not None and known.id not in seen:
            seen.add(known.id)
            yield known


def _license(version: VersionFacts) -> dict[str, str | None]:
    if version.license is None:
        return {}
    known = hub_license(version.license)
    if known is not None:
        return {"license": known}
    file = next((str(file.path) for file in version.files if file.path.upper() in _LICENSE_FILES), None)
    name = word(version.metadata, "license_name") or version.license
    return {
        "license": "other",
        # the hub takes no other characters
        "license_name": re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-") or "other",
        "license_link": word(version.metadata, "license_link") or file,
    }


def _model_index(version: VersionFacts) -> list[dict[str, Any]]:
    if not version.metrics:
        return []
    dataset = next(iter(words(version.metadata, "datasets")), "unknown")
    result = {
        "task": {"type": word(version.metadata, "pipeline_tag") or "other"},
        "dataset": {"name": dataset, "type": dataset},
        "metrics": [{"name": name, "type": name, "value": value} for name, value in version.metrics.items()],
    }
    return [{"name": str(version.artifact), "results": [result]}]


class _FrontMatter(yaml.SafeDumper):
    """Text that a reader might take for anything else stands in quotes, on one line, in ASCII"""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None if _PLAIN.fullmatch(value) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_FrontMatter.add_representer(str, _text)


def _yaml(fields: Mapping[str, Any]) -> str:
    return yaml.dump(fields, Dumper=_FrontMatter, sort_keys=False, width=float("inf")).rstrip("\n")


def _body(subject: Subject) -> Iterator[str]:
    version = subject.version
    yield f"# {_cell(version.artifact)}"
    yield from _table(("Version", version.ref), _facts(version))
    if version.parents:
        yield from _section("Lineage", ("Relation", "Parent", "Weight", "Evidence"), _lineage(subject))
    if version.metrics:
        yield from _section("Metrics", ("Metric", "Value"), ((k, shown(v)) for k, v in version.metrics.items()))
    files = ((file.path, format_size(file.size), str(file.sha256)) for file in version.files)
    yield from _section("Files", ("File", "Size", "SHA-256"), files)
    if version.metadata:
        yield from _section("Metadata", ("Name", "Value"), ((k, shown(v)) for k, v in version.metadata.items()))


def _facts(version: VersionFacts) -> Iterator[tuple[str, str]]:
    yield "Id", str(version.id)
    yield "Created", format_moment(version.created)
    labels = {"Phase": version.phase, "Step": version.step, "Epoch": version.epoch, "Licence": version.license}
    yield from ((name, shown(value)) for name, value in labels.items() if value is not None)
    for tensors in version.tensors:
        yield f"Tensors, {tensors.dtype}", f"{tensors.count:,}, {format_size(tensors.nbytes)}"


def _lineage(subject: Subject) -> Iterator[tuple[str, ...]]:
    for parent in subject.version.parents:
        known = subject.known(parent)
        name = parent.ref if known is None else known.ref
        where = name if parent.id is None else f"{name} ({parent.id})"
        weight = "" if parent.weight is None else shown(parent.weight)
        yield parent.relation, where, weight, parent.evidence or "declared"


def _section(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield from ("", f"## {title}")
    yield from _table(head, rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield from ("", _row(head), _row(["---"] * len(head)))
    yield from (_row([_cell(cell) for cell in row]) for row in rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: str) -> str:
    """On one line, nothing in it markup"""
    line = " ".join(value.split())
    seen = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
    return _MARKUP.sub(r"\\\g<0>", seen)
