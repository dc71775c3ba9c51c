"""Parts: the tensors of one model of a version, under the names that its `load_state_dict` takes

A part is what stands at a key of a checkpoint's state, or what files of one name or folder hold, in shards or not.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid
from artifactstore.core.manifest import FileEntry, Manifest
from artifactstore.core.pairing import Placed, named, unsharded_path
from artifactstore.depot import Depot
from artifactstore.ops.transfer.fetch import fetch_file, load_manifest
from artifactstore.tensors import document
from artifactstore.tensors.opening import open_version, source_of
from artifactstore.tensors.options import Loading

_MODEL = "model"


@dataclass(frozen=True, slots=True)
class _Named:
    """A tensor or array that is not read yet, by its name among all of the version"""

    name: str
    kind: document.Kind = "tensor"


def state_dict(depot: Depot, version: Digest, loading: Loading, part: str | None = None) -> dict[str, Any]:
    """What `load_state_dict` of a part takes, by default of the model; a tied weight has all its names

    Raise Invalid, naming the parts there are, for one that is not there, and without one when there are several of
    which none is the model.
    """
    found = _names(depot, load_manifest(depot, version), part)
    loaded = open_version(depot, version, loading).load(dict.fromkeys(one.name for one in _leaves(found)))
    filled: dict[str, Any] = _filled(
        found, lambda one: loaded[one.name] if one.kind == "tensor" else loaded[one.name].cpu().numpy()
    )
    return filled


def _names(depot: Depot, manifest: Manifest, part: str | None) -> dict[str, Any]:
    """A part with names in place of its tensors"""
    placed = named(manifest)
    for file in manifest.files:
        if file.path == document.PATH:
            return _of_state(_state(depot, manifest, file, placed), part)
    source = source_of(depot, manifest.id)
    if source.paths:
        return _of_paths(source.paths, part)
    return _of_files(placed, part)


def _state(depot: Depot, manifest: Manifest, file: FileEntry, placed: Iterable[Placed]) -> Any:
    shown = {(str(one.file.path), one.info.name): one.name for one in placed}
    raw = fetch_file(depot, manifest, file)
    return document.decode(raw, lambda kind, path, name: _Named(shown[path, name], kind)).get("state")


def _of_state(state: Any, part: str | None) -> dict[str, Any]:
    """What stands at a key of the state, or a state that is a model itself"""
    if part is None and isinstance(state, dict) and state and all(isinstance(one, _Named) for one in state.values()):
        return state
    parts = {key: value for key, value in state.items() if isinstance(value, dict)} if isinstance(state, dict) else {}
    return _chosen({key: value for key, value in parts.items() if any(True for _ in _leaves(value))}, part)


def _of_paths(paths: Mapping[str, tuple[str | int, ...]], part: str | None) -> dict[str, Any]:
    """Of what ranks wrote: the first key of a path is the part, the others make the name"""
    if part is None and all(len(path) == 1 for path in paths.values()):
        return {str(path[0]): _Named(name) for name, path in paths.items()}
    parts: dict[str, dict[str, _Named]] = {}
    for name, path in paths.items():
        parts.setdefault(str(path[0]), {})[".".join(map(str, path[1:])) or name] = _Named(name)
    return _chosen(parts, part)


def _of_files(placed: Sequence[Placed], part: str | None) -> dict[str, Any]:
    """Of plain files: a part is a path without suffix and number of the shard, or a folder"""
    paths = sorted({unsharded_path(one.file) for one in placed})
    if part is None and _MODEL not in paths and all(one.name == one.info.name for one in placed):
        return {one.name: _Named(one.name) for one in placed}
    wanted = part or _MODEL
    chosen = [one for one in placed if f"{unsharded_path(one.file)}/".startswith(f"{wanted}/")]
    found = {one.info.name: _Named(one.name) for one in chosen}
    if not chosen or len(found) < len(chosen):
        raise _not_there(part, paths)
    return found


def _chosen(parts: Mapping[str, dict[str, Any]], part: str | None) -> dict[str, Any]:
    wanted = part if part is not None or len(parts) != 1 else next(iter(parts))
    try:
        return parts[_MODEL if wanted is None else wanted]
    except KeyError:
        raise _not_there(part, list(parts)) from None


def _not_there(part: str | None, parts: Sequence[str]) -> Invalid:
    shown = ", ".join(map(str, parts)) or "none"
    what = "Which part of it is meant" if part is None else f"It has no part {part!r:.80} of which a model is made"
    return Invalid(f"{what}? Those with tensors are: {shown:.400}", code="part", parts=list(parts))


def _leaves(value: Any) -> Iterator[_Named]:
    if isinstance(value, _Named):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)


def _filled(value: Any, read: Callable[[_Named], Any]) -> Any:
    """The same with what was read in place of names; a mapping stays what it is, with what torch keeps beside it"""
    if isinstance(value, _Named):
        return read(value)
    if isinstance(value, dict):
        for key, item in value.items():
            value[key] = _filled(item, read)
        return value
    return type(value)(_filled(item, read) for item in value) if isinstance(value, list | tuple) else value
