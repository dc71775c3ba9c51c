"""MLflow's file store: `mlruns/EXPERIMENT/{RUN,models/m-…}` and the registry in `mlruns/models`

Layout: https://github.com/mlflow/mlflow, store/tracking/file_store.py and store/model_registry/file_store.py. A model
is a folder with an MLmodel file: among the artifacts of a run, or since MLflow 3 of a logged model. Where the registry
names one it is a version of that name, else of `experiment/model`; what is deleted stays out.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from artifactstore.core.digest import Sha256
from artifactstore.core.elsewhere.base import Found, Passed, Survey, Tree, aliases_of, artifact_of, found_files, newest
from artifactstore.core.errors import Invalid
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.provenance.base import label
from artifactstore.core.provenance.refs import refer

META, MLMODEL = "meta.yaml", "MLmodel"
_VERSION = re.compile(r"version-(\d{1,9})")
_OF_RUN = re.compile(r"(?:.*/)?([^/]+)/([0-9a-f]{32})/artifacts(?:/(.+?))?/?")
_OF_MODEL = re.compile(r"(?:.*/)?([^/]+)/models/(m-[0-9a-f]{32})/artifacts/?")
_BY_ID = re.compile(r"models:/(m-[0-9a-f]{32})/?")
_BY_RUN = re.compile(r"runs:/([0-9a-f]{32})/(.+?)/?")
_RESERVED = frozenset({"tags", "datasets", "traces", "models", ".trash"})


@dataclass(slots=True)
class _Model:
    """A folder with an MLmodel file, and what is said of it"""

    folder: str
    name: str
    created: int | None
    run: str | None
    model_id: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)


def read(tree: Tree) -> Survey:
    """A version for each model that is registered, and for each other one that a run has logged"""
    passed: list[Passed] = []
    runs = {run: place for place, run in _runs(tree, passed)}
    models = {model.folder: model for model in _models(tree, runs, passed)}
    registered = list(_registered(tree, models, passed))
    taken = {model.folder for _, model, _, _ in registered}
    named: list[tuple[str, _Model, tuple[str, ...], dict[str, Any]]] = [
        *registered,
        *((model.name, model, (), {}) for model in models.values() if model.folder not in taken),
    ]
    found = []
    for name, model, aliases, more in named:
        try:
            found.append(_found(tree, name, model, aliases, more))
        except Invalid as e:
            passed.append(Passed(model.folder, e.message))
    ordered = sorted(found, key=lambda one: (one.artifact, one.metadata.get("version", 0), one.created, one.place))
    return Survey(tuple(ordered), tuple(passed))


def _meta(tree: Tree, folder: str) -> Mapping[str, Any] | None:
    """What `meta.yaml` of a folder says, None where there is none; raise Invalid"""
    path = f"{folder}/{META}"
    if path not in tree.entries:
        return None
    document = _yaml(tree.text(path))
    if not isinstance(document, Mapping):
        raise Invalid(f"{path} holds no keys and values", code="yaml")
    return document


def _yaml(text: str) -> Any:
    # PyYAML takes 20 ms to import, which every command would pay
    from artifactstore.core.provenance.yaml_text import load_yaml  # noqa: PLC0415

    return load_yaml(text)


def _metas(tree: Tree, folders: Iterator[str], passed: list[Passed]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(folder, its meta) of those that have one and were not deleted"""
    for folder in folders:
        try:
            meta = _meta(tree, folder)
        except Invalid as e:
            passed.append(Passed(folder, e.message))
            continue
        if meta is not None and meta.get("lifecycle_stage", "active") != "deleted":
            yield folder, meta


def _experiments(tree: Tree, passed: list[Passed]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from _metas(tree, iter(name for name in tree.folders("") if name not in _RESERVED), passed)


def _runs(tree: Tree, passed: list[Passed]) -> Iterator[tuple[str, str]]:
    """(folder, run id)"""
    for experiment, _ in _experiments(tree, []):
        inner = iter(f"{experiment}/{name}" for name in tree.folders(experiment) if name not in _RESERVED)
        for folder, meta in _metas(tree, inner, passed):
            yield folder, str(meta.get("run_id") or meta.get("run_uuid") or folder.rpartition("/")[2])


def _models(tree: Tree, runs: Mapping[str, str], passed: list[Passed]) -> Iterator[_Model]:
    for experiment, about in _experiments(tree, passed):
        line = str(about.get("name") or experiment)
        yield from _logged(tree, experiment, line, runs, passed)
        for run, folder in runs.items():
            if not folder.startswith(f"{experiment}/"):
                continue
            meta = _meta(tree, folder) or {}  # read before, so it can be
            for path in tree.below(f"{folder}/artifacts"):
                inner, _, leaf = path.rpartition("/")
                if leaf == MLMODEL:
                    model = _Model(
                        f"{folder}/artifacts/{inner}".rstrip("/"),
                        f"{line}/{inner or 'model'}",
                        _milliseconds(meta.get("start_time")),
                        run,
                    )
                    _measure(tree, folder, model)
                    model.inputs = list(_inputs(tree, folder))
                    yield model


def _logged(tree: Tree, experiment: str, line: str, runs: Mapping[str, str], passed: list[Passed]) -> Iterator[_Model]:
    inner = iter(f"{experiment}/models/{name}" for name in tree.folders(f"{experiment}/models"))
    for folder, meta in _metas(tree, inner, passed):
        if f"{folder}/artifacts/{MLMODEL}" not in tree.entries:
            passed.append(Passed(folder, "holds no MLmodel", broken=False))
            continue
        run = str(meta.get("source_run_id") or "")
        model = _Model(
            f"{folder}/artifacts",
            f"{line}/{meta.get('name') or 'model'}",
            _milliseconds(meta.get("creation_timestamp")),
            run or None,
            str(meta.get("model_id") or folder.rpartition("/")[2]),
        )
        if run in runs:
            _measure(tree, runs[run], model)
            model.inputs = list(_inputs(tree, runs[run]))
        _measure(tree, folder, model)
        yield model


def _milliseconds(value: object) -> int | None:
    return value * 1000 if isinstance(value, int) and 0 <= value < 1 << 43 else None


def _measure(tree: Tree, folder: str, model: _Model) -> None:
    """Take the metrics and parameters of a run or logged model, the newest value of each metric"""
    for name in tree.below(f"{folder}/metrics"):
        points = [_point(line) for line in _text(tree, f"{folder}/metrics/{name}").splitlines()]
        latest = max((point for point in points if point is not None), default=None)
        if latest is not None and math.isfinite(latest[2]) and label(name) == name:
            model.metrics[name] = latest[2]
    for name in tree.below(f"{folder}/params"):
        model.params[name] = _text(tree, f"{folder}/params/{name}")


def _text(tree: Tree, path: str) -> str:
    """A small file, empty when it is no text: it is no reason to leave the model"""
    try:
        return tree.text(path)
    except Invalid:
        return ""


def _point(line: str) -> tuple[int, int, float] | None:
    """(step, time, value) of `time value step …`; None for what is no point, or is not a number"""
    words = line.split(" ")
    try:
        value = float(words[1])
        return None if math.isnan(value) else (int(words[2]) if len(words) > 2 else 0, int(words[0]), value)
    except (IndexError, ValueError):
        return None


def _inputs(tree: Tree, folder: str) -> Iterator[str]:
    """Ids of the logged models that a run began from"""
    for name in tree.folders(f"{folder}/inputs"):
        try:
            meta = _meta(tree, f"{folder}/inputs/{name}") or {}
        except Invalid:
            continue
        if str(meta.get("source_type")).startswith("MODEL") and isinstance(meta.get("source_id"), str):
            yield meta["source_id"]


def _registered(
    tree: Tree, models: Mapping[str, _Model], passed: list[Passed]
) -> Iterator[tuple[str, _Model, tuple[str, ...], dict[str, Any]]]:
    """(name, model, aliases, metadata) of each version in the registry"""
    for folder, about in _metas(tree, iter(f"models/{name}" for name in tree.folders("models")), passed):
        name = str(about.get("name") or folder.rpartition("/")[2])
        aliases: dict[str, list[str]] = {}
        for alias in tree.below(f"{folder}/aliases"):
            aliases.setdefault(_text(tree, f"{folder}/aliases/{alias}"), []).append(alias)
        inner = iter(f"{folder}/{one}" for one in tree.folders(folder) if _VERSION.fullmatch(one))
        for place, meta in _metas(tree, inner, passed):
            if meta.get("current_stage") == "Deleted_Internal":
                continue
            number = place.rpartition("-")[2]
            model = _source(meta, models)
            if model is None:
                passed.append(Passed(place, f"its source is not in this folder: {str(meta.get('source'))[:200]!a}"))
                continue
            stage = meta.get("current_stage")
            more = {"version": int(number)} | ({"stage": stage} if stage not in (None, "None") else {})
            yield name, model, tuple(aliases.get(number, ())), more


def _source(meta: Mapping[str, Any], models: Mapping[str, _Model]) -> _Model | None:
    """The model that a registered version is; the folder may have been moved since"""
    for source in (str(meta.get(key) or "") for key in ("storage_location", "source")):
        if (found := _BY_ID.fullmatch(source)) or (found := _OF_MODEL.fullmatch(source)):
            wanted = found[found.re.groups]
            return next((model for model in models.values() if model.model_id == wanted), None)
        if (found := _BY_RUN.fullmatch(source)) or (found := _OF_RUN.fullmatch(source)):
            run, inner = found[found.re.groups - 1], found[found.re.groups]
            tail = f"/{run}/artifacts/{inner or ''}".rstrip("/")
            return next((model for model in models.values() if model.folder.endswith(tail)), None)
    return None


def _found(tree: Tree, name: str, model: _Model, aliases: tuple[str, ...], more: Mapping[str, Any]) -> Found:
    files = found_files(tree, {path: f"{model.folder}/{path}" for path in tree.below(model.folder)})
    metadata = {"source": "mlflow", "run": model.run, "model_id": model.model_id, "params": model.params, **more}
    created = newest(tree, files.values()) if model.created is None else model.created
    return Found(
        artifact_of(name),
        model.folder,
        files,
        created,
        aliases=aliases_of(aliases),
        parents=tuple(_parents(tree, model)),
        request_id=model.run,
        metrics=model.metrics,
        metadata={key: value for key, value in metadata.items() if value not in (None, {})},
    )


def _parents(tree: Tree, model: _Model) -> Iterator[Link]:
    """The logged models its run began from, and the hub's model that a transformers flavor was made from

    The former are found here by the sha256 of their MLmodel file, which holds their id.
    """
    for wanted in dict.fromkeys(model.inputs):
        if wanted == model.model_id or label(wanted) != wanted:
            continue
        of_it = [path for path in tree.entries if path.endswith(f"/models/{wanted}/artifacts/{MLMODEL}")]
        evidence = {"sha256": str(Sha256.of(tree.read(of_it[0])))} if of_it else {}
        yield Link(Relation.FINETUNE, f"mlflow:{wanted}", params={"read": META, **evidence})
    try:
        document = _yaml(tree.text(f"{model.folder}/{MLMODEL}"))
        flavor = document.get("flavors", {}).get("transformers", {})
    except (Invalid, AttributeError):
        return
    source = refer(flavor.get("source_model_name")) if isinstance(flavor, Mapping) else None
    if source is not None:
        yield Link(Relation.FINETUNE, source, params={"read": MLMODEL})
