"""Hugging Face's cache: `models--org--name/{refs,snapshots,blobs}`

Layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache. Snapshots hold links into blobs, or copies on
systems without links; a blob is named by its ETag: sha256 for a large file, git's blob for others. A blob of newer
clients may itself lead into a folder shared by all repositories. `trees/COMMIT.json` lists a commit as the hub does.
"""

from collections.abc import Mapping
from typing import Any

from artifactstore.core.elsewhere.base import (
    Entry,
    Found,
    Passed,
    Survey,
    Tree,
    aliases_of,
    found_files,
    is_digest,
    newest,
)
from artifactstore.core.errors import Invalid
from artifactstore.core.hub import UPSTREAM
from artifactstore.core.names import ArtifactName

_MODELS = "models--"
_OTHERS = ("datasets--", "spaces--", "kernels--")
_IGNORED = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


def is_repo(name: str) -> bool:
    """Whether a folder of this name is that of one repository"""
    return name.startswith(_MODELS)


def read(tree: Tree) -> Survey:
    """A version for each snapshot of each model; refs become aliases where an alias can have their name"""
    found: list[Found] = []
    passed = [Passed(name, "is no model", broken=False) for name in tree.folders("") if name.startswith(_OTHERS)]
    for folder in filter(is_repo, tree.folders("")):
        try:
            artifact = ArtifactName(folder.removeprefix(_MODELS).replace("--", "/"))
        except Invalid as e:
            passed.append(Passed(folder, e.message))
            continue
        commits = tree.folders(f"{folder}/snapshots")
        if not commits:
            passed.append(Passed(folder, "holds no snapshot", broken=False))
        refs = _refs(tree, folder, passed) if commits else {}
        for commit in commits:
            try:
                found.append(_snapshot(tree, folder, artifact, commit, refs.get(commit, [])))
            except Invalid as e:
                passed.append(Passed(f"{folder}/snapshots/{commit}", e.message))
    return Survey(tuple(sorted(found, key=lambda one: (one.artifact, one.created, one.place))), tuple(passed))


def _refs(tree: Tree, folder: str, passed: list[Passed]) -> dict[str, list[str]]:
    """Commit → names of branches, tags and pull requests that stand for it"""
    named: dict[str, list[str]] = {}
    for name in tree.below(f"{folder}/refs"):
        if name.rpartition("/")[2] in _IGNORED:
            continue
        try:
            # some tools end it with a line break, which the client itself takes for a part of the commit
            named.setdefault(tree.text(f"{folder}/refs/{name}"), []).append(name)
        except Invalid as e:
            passed.append(Passed(f"{folder}/refs/{name}", e.message))
    return named


def _snapshot(tree: Tree, folder: str, artifact: ArtifactName, commit: str, refs: list[str]) -> Found:
    place = f"{folder}/snapshots/{commit}"
    entries = {path: entry for path, entry in tree.below(place).items() if path.rpartition("/")[2] not in _IGNORED}
    listing = _listing(tree, folder, commit)
    _refuse_cut_off(tree, folder, entries, listing)
    files = found_files(tree, {path: f"{place}/{path}" for path in entries})
    digests = {path: _digest(folder, tree.entries[local], listing.get(path)) for path, local in files.items()}
    return Found(
        artifact,
        place,
        files,
        newest(tree, files.values()),
        aliases=aliases_of(refs),
        metadata={UPSTREAM: {"source": f"hf://{artifact}", "commit": commit}},
        digests={path: digest for path, digest in digests.items() if digest is not None},
    )


def _listing(tree: Tree, folder: str, commit: str) -> Mapping[str, Any]:
    """The files of a commit as the hub listed them; nothing where nobody did"""
    path = f"{folder}/trees/{commit}.json"
    if path not in tree.entries:
        return {}
    try:
        files = tree.json(path).get("files")
    except Invalid:
        return {}  # the client ignores a damaged one, too
    return {name: told for name, told in files.items() if isinstance(told, dict)} if isinstance(files, dict) else {}


def _named(told: Mapping[str, Any] | None) -> str | None:
    """The blob of a listed file"""
    name = (told or {}).get("lfs_sha256") or (told or {}).get("blob_id")
    return name if is_digest(name) else None


def _refuse_cut_off(tree: Tree, folder: str, entries: Mapping[str, Entry], listing: Mapping[str, Any]) -> None:
    for path, told in listing.items():
        if path not in entries and f"{folder}/blobs/{_named(told)}.incomplete" in tree.entries:
            raise Invalid(f"the download of {path} was cut off; run it again", code="incomplete", path=path)


def _digest(folder: str, entry: Entry, told: Mapping[str, Any] | None) -> str | None:
    """What the first blob that a file leads to is named after, or the listing says of a copy"""
    if entry.hop is None:
        return _named(told)
    name = entry.hop.removeprefix(f"{folder}/blobs/")
    return name if is_digest(name) else None
