"""Folders kept by hand: `org/name/…`, `org_name/…`, names alone, single files, and checkpoints of a trainer

A folder with a config is a model with all that lies below it, but `checkpoint-N` below it are versions of their own.
One with weights and no config is a model of its own files and of folders that hold no other. Weights that lie loose
in the folder that was given are a model each, shards together.
"""

import re
from collections.abc import Iterable, Sequence

from artifactstore.core.elsewhere.base import Found, Passed, Survey, Tree, artifact_of, found_files, newest
from artifactstore.core.errors import Invalid

_CONFIGS = frozenset(
    {"config.json", "model_index.json", "adapter_config.json", "modules.json", "params.json", "MLmodel"}
)
_WEIGHTS = re.compile(r"(.+)\.(?:safetensors|gguf|bin|pt|pth|ckpt|onnx|h5|msgpack|tflite)", re.IGNORECASE)
_SHARD = re.compile(r"(.+?)[-_.](?:model-)?\d{5}-of-\d{5}")
_INDEX = re.compile(r"(.+?)\.(?:safetensors|bin)\.index\.json")
_CHECKPOINT = re.compile(r"checkpoint-(\d{1,15})")
_NEVER = frozenset({"__pycache__", "lost+found", "$RECYCLE.BIN", "System Volume Information"})


def read(tree: Tree) -> Survey:
    """A version for each model; the folder itself when it holds a config"""
    found: list[Found] = []
    passed: list[Passed] = []
    for name, (folder, paths) in _models(tree).items():
        try:
            found.append(_model(tree, name, folder, paths))
        except Invalid as e:
            passed.append(Passed(name or tree.name, e.message))
    return Survey(tuple(sorted(found, key=lambda one: (one.artifact, one.step or 0, one.created))), tuple(passed))


def _model(tree: Tree, name: str, folder: str, paths: Sequence[str]) -> Found:
    start = f"{folder}/" if folder else ""
    files = found_files(tree, {path[len(start) :]: path for path in paths})
    above, _, leaf = name.rpartition("/")
    checkpoint = _CHECKPOINT.fullmatch(leaf)
    line = (above or tree.name) if checkpoint else name
    return Found(
        artifact_of(_split(tree, folder, line) or tree.name),
        name or ".",
        files,
        newest(tree, files.values()),
        step=int(checkpoint[1]) if checkpoint else None,
    )


def _split(tree: Tree, folder: str, name: str) -> str:
    """`org_name` → `org/name` where the model's config names it so, or the hub's client has put it there"""
    org, low, rest = name.rpartition("/")[2].partition("_")
    if not low or not org or not rest:
        return name
    said = ""
    if f"{folder}/config.json" in tree.entries:
        try:
            said = str(tree.json(f"{folder}/config.json").get("_name_or_path"))
        except Invalid:
            said = ""
    if said == f"{org}/{rest}" or tree.below(f"{folder}/.cache/huggingface/download"):
        return f"{name.removesuffix(f'{org}_{rest}')}{org}/{rest}"
    return name


def _models(tree: Tree) -> dict[str, tuple[str, list[str]]]:
    """Name → (folder that its paths count from, paths of its files)"""
    plain = {path: entry for path, entry in tree.entries.items() if not _is_hidden(path)}
    homes = _homes(plain)
    models: dict[str, tuple[str, list[str]]] = {}
    for path in plain:
        home = next((folder for folder in _above(path) if folder in homes), None)
        if home:
            models.setdefault(home, (home, []))[1].append(path)
        elif home == "":
            models.setdefault("", ("", []))[1].append(path)
        elif "/" not in path and (stem := _stem(path)) is not None:
            models.setdefault(stem, ("", []))[1].append(path)
    return models


def _homes(plain: Iterable[str]) -> set[str]:
    """The folders that are models, none of them in another but checkpoints"""
    by_folder: dict[str, list[str]] = {}
    for path in plain:
        by_folder.setdefault(path.rpartition("/")[0], []).append(path.rpartition("/")[2])
    configured = {folder for folder, names in by_folder.items() if _CONFIGS.intersection(names)}
    weighted = {folder for folder, names in by_folder.items() if folder and any(map(_WEIGHTS.fullmatch, names))}
    homes: set[str] = set()
    for folder in sorted(configured | weighted, key=lambda one: (one.count("/") + bool(one), one)):
        inside = any(above in homes and above in configured for above in _above(folder))
        part = folder not in configured and any(above in homes for above in _above(folder))
        if _CHECKPOINT.fullmatch(folder.rpartition("/")[2]) or not (inside or part):
            homes.add(folder)
    return homes


def _above(path: str) -> list[str]:
    """The folders a path lies in, the nearest first, `` for the whole"""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(len(parts), -1, -1)]


def _is_hidden(path: str) -> bool:
    folders = path.split("/")[:-1]
    return any(part.startswith(".") or part in _NEVER for part in folders) or path.rpartition("/")[2] in {
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
    }


def _stem(name: str) -> str | None:
    """The model that a loose file is, or is a part of; None for one that is none"""
    index = _INDEX.fullmatch(name)
    if index is not None:
        return index[1]
    weights = _WEIGHTS.fullmatch(name)
    if weights is None:
        return None
    shard = _SHARD.fullmatch(weights[1])
    return shard[1] if shard else weights[1]
