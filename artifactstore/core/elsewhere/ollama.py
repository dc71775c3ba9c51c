"""Ollama's models: `manifests/HOST/NAMESPACE/NAME/TAG` and `blobs/sha256-…`

Format: https://github.com/ollama/ollama, manifest/ and types/model/. A manifest is Docker's of schema 2; each layer's
media type says what it is, and `from` of which model it was taken.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from artifactstore.core.elsewhere.base import Found, Passed, Survey, Tree, aliases_of, artifact_of, found_files, newest
from artifactstore.core.errors import Invalid
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.names import check_label

_TYPE = re.compile(r"application/vnd\.ollama\.image\.([a-z0-9_-]{1,40})(?:[;+].*)?")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_NAMES: Mapping[str, str] = {
    "adapter": "adapter.gguf",
    "projector": "projector.gguf",
    "license": "LICENSE",
    "params": "params.json",
    "messages": "messages.json",
}
_OF_A_FILE = re.compile(r"/|@|sha256|[A-Za-z]:\\|.*\.gguf$")
_HOME = "registry.ollama.ai"


def read(tree: Tree) -> Survey:
    """A version for each tag, several tags of one manifest being one; the folder may be `~/.ollama` itself"""
    root = "" if tree.below("manifests") else "models/"
    found: dict[tuple[str, str], Found] = {}
    passed: list[Passed] = []
    for path in tree.below(f"{root}manifests"):
        if path.rpartition("/")[2].startswith("."):
            continue
        place = f"{root}manifests/{path}"
        try:
            one = _tag(tree, root, place, path.split("/"))
        except Invalid as e:
            passed.append(Passed(place, e.message))
            continue
        if one is None:
            passed.append(Passed(place, "has no weights here; it runs elsewhere", broken=False))
            continue
        key = (one.artifact, str(one.metadata["manifest"]))
        known = found.get(key)
        found[key] = one if known is None else _joined(known, one)
    return Survey(tuple(sorted(found.values(), key=lambda one: (one.artifact, one.created, one.place))), tuple(passed))


def _joined(one: Found, other: Found) -> Found:
    aliases = tuple(sorted({*one.aliases, *other.aliases}))
    return Found(
        one.artifact,
        one.place,
        one.files,
        one.created,
        aliases=aliases,
        parents=one.parents,
        metadata=one.metadata,
        digests=one.digests,
    )


def _tag(tree: Tree, root: str, place: str, parts: Sequence[str]) -> Found | None:
    if len(parts) < 3:
        raise Invalid("is not HOST/NAMESPACE/NAME/TAG", code="layout")
    host, *names, tag = parts
    document = tree.json(place)
    layers = _layers(document, place)
    weights = [layer for kind, layer in layers if kind in {"model", "tensor"}]
    if not weights:
        return None
    artifact = artifact_of("/".join(names))
    blobs = {path: f"{root}blobs/sha256-{digest}" for path, digest in _paths(names[-1], layers)}
    missing = [path for path, blob in blobs.items() if blob not in tree.entries]
    if missing:
        raise Invalid(f"its {missing[0]} is not among the blobs; pull it again", code="incomplete")
    files = found_files(tree, blobs)
    return Found(
        artifact,
        place,
        files,
        newest(tree, files.values()),
        aliases=aliases_of([tag]),
        parents=tuple(_parents(tree, root, layers)),
        metadata={"source": f"ollama://{host}/{'/'.join(names)}", "manifest": document},
        digests={path: blob[-64:] for path, blob in files.items()},
    )


def _layers(document: Mapping[str, Any], place: str) -> list[tuple[str, Mapping[str, Any]]]:
    """(what it is, layer) of each, the config last"""
    layers, config = document.get("layers"), document.get("config")
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise Invalid(f"{place} lists no layers; it is no manifest", code="manifest")
    typed = [(_TYPE.fullmatch(str(layer.get("mediaType"))), layer) for layer in layers]
    named = [(found[1], layer) for found, layer in typed if found is not None]
    return [*named, ("config", config)] if isinstance(config, dict) and config.get("digest") else named


def _paths(name: str, layers: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[tuple[str, str]]:
    """(path in the version, sha256 in hex) of each layer; of several of a kind the later ones are numbered"""
    taken: set[str] = set()
    for kind, layer in layers:
        digest = _DIGEST.fullmatch(str(layer.get("digest")))
        if digest is None:
            raise Invalid(f"its layer {kind} has no sha256", code="manifest")
        own = layer.get("name")
        path = own if isinstance(own, str) and own else _path(kind, name)
        unique, number = path, 1
        while unique.lower() in taken:
            number += 1
            unique = _numbered(path, number)
        taken.add(unique.lower())
        yield unique, digest[1]


def _numbered(path: str, number: int) -> str:
    folder, slash, leaf = path.rpartition("/")
    stem, dot, suffix = leaf.rpartition(".")
    return f"{folder}{slash}{stem}-{number}.{suffix}" if dot and stem else f"{folder}{slash}{leaf}-{number}"


def _path(kind: str, name: str) -> str:
    if kind == "model":
        return f"{name}.gguf"
    return "config.json" if kind == "config" else _NAMES.get(kind, kind)


def _parents(tree: Tree, root: str, layers: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[Link]:
    """The model that the weights were taken from: with an adapter it is what that is for, else they are the same"""
    adapted = any(kind == "adapter" for kind, _ in layers)
    for source in (layer.get("from") for kind, layer in layers if kind == "model"):
        if not isinstance(source, str) or _OF_A_FILE.match(source) or not source:
            continue
        try:
            name = check_label(_full(source), "parent reference")
        except Invalid:
            continue
        params = {"read": "manifest", **_evidence(tree, f"{root}manifests/{'/'.join(name.rsplit(':', 1))}")}
        yield Link(Relation.ADAPTER if adapted else Relation.CONVERT, f"ollama://{name}", params=params)
        return


def _evidence(tree: Tree, manifest: str) -> dict[str, str]:
    """The sha256 of the parent's config, by which the link finds it here: its weights are the child's as well"""
    if manifest not in tree.entries:
        return {}
    try:
        config = tree.json(manifest).get("config")
    except Invalid:
        return {}
    digest = _DIGEST.fullmatch(str(config.get("digest"))) if isinstance(config, dict) else None
    return {"sha256": digest[1]} if digest else {}


def _full(name: str) -> str:
    """`llama3` → `registry.ollama.ai/library/llama3:latest`"""
    parts = (name if ":" in name.rpartition("/")[2] else f"{name}:latest").split("/")
    missing = [_HOME, "library"][: max(3 - len(parts), 0)]
    return "/".join([*missing, *parts])
