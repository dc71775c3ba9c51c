"""CheckpointManager: save a training state, restore it, and know what came from what

manager = CheckpointManager({"storage_path": "./models/checkpoints", "best": "val_loss"})
saved = manager.save_checkpoint({"request_id": "step-100", "step": 100, "state": {"model": model}})
context = manager.restore_checkpoint("step-100", into={"model": model})
"""

import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from importlib import import_module
from types import TracebackType
from typing import Any, Literal, Self, overload

from artifactstore import depot as depots
from artifactstore import gc
from artifactstore.background import Background, Job, ProcessWriter, Target, ThreadWriter, Ticket, Writer, save
from artifactstore.catalog.base import Best, VersionInfo
from artifactstore.context import (
    CheckpointContext,
    SavedCheckpoint,
    base_of,
    fields_of,
    label_of,
    labels_of,
    note_saved,
    number_of,
    parents_of,
    plain_parent,
)
from artifactstore.core.errors import Exists, Invalid, NotFound, StoreError, Unavailable
from artifactstore.core.events import Event, Monitor, Step, Warn, silent
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.names import AliasName, ArtifactName, Reference, check_label
from artifactstore.core.policy import Policy
from artifactstore.core.settings import Settings
from artifactstore.depot import Clock, Depot, OpenStore, wall_clock
from artifactstore.lease import reading
from artifactstore.ops import ingest
from artifactstore.ops.collect import GRACE
from artifactstore.ops.transfer.fetch import load_manifest, note_load
from artifactstore.session import Tags

_CONFIG = ("storage_path", "catalog", "run", "name", "best")
_DEFAULT_RUN = "checkpoints"
_TRIES = 10
_LATEST = AliasName("latest")


@dataclass(frozen=True, slots=True)
class _Draft:
    """A checkpoint before its bytes. base: what it goes on from"""

    artifact: ArtifactName
    tree: Any
    labels: ingest.Labels
    links: tuple[Link, ...]
    tags: Tags
    base: VersionInfo | None


class CheckpointManager:
    """Saves and restores checkpoints in one store, which is made at the first save

    config: `storage_path` (a folder or the URL of a store; other files in the folder are not touched), and optionally
    `catalog`, `run`, `best`. store: in place of a storage_path, also an opened Store. run: the artifact of contexts
    that name none. best: the metric that moves the alias `best`, as `val_loss` (lower is better) or `accuracy:max`.
    policy: after each save, versions of its run that `Latest(3) | Best(2, "val_loss")` or `--keep-last 3` does not keep
    are retired; bytes that nothing in the store needs are removed when they have waited for the grace, whoever retired
    them. May be used from several threads.

    For `save_checkpoint(…, wait=False)`: staging, the bytes of a state or the state itself, by which the memory for its
    copy is made now instead of at the first save; frozen, glob patterns of tensors that training does not change, which
    are copied once; background, whether a process of its own (for a store opened here by its URL, on Linux) or a
    thread writes.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        store: str | os.PathLike[str] | OpenStore | Depot | None = None,
        catalog: str | None = None,
        run: str | None = None,
        best: str | None = None,
        policy: Policy | str | None = None,
        grace: timedelta = GRACE,
        staging: Any = None,
        frozen: Sequence[str] = (),
        background: Literal["process", "thread"] = "process",
        settings: Settings | None = None,
        monitor: Monitor = silent,
        clock: Clock = wall_clock,
    ) -> None:
        chosen = _checked_config(config)
        place = chosen.get("storage_path") if store is None else store
        if place is None or (store is not None and "storage_path" in chosen):
            raise Invalid("Give one place for checkpoints: {'storage_path': folder or URL}, or store=", code="config")
        self._given = _opened(place)
        self._url = "" if self._given else _url(place)
        self._catalog = catalog or chosen.get("catalog")
        own = run or chosen.get("run") or chosen.get("name")
        self._run = ArtifactName(own) if own else None
        best = best or chosen.get("best")
        self._best = _parse_best(best) if best else None
        self._rules, self._grace = gc.as_rules(policy), grace
        self._settings, self._monitor, self._clock = settings or Settings(), monitor, clock
        self._lock = threading.Lock()
        self._depot: Depot | None = None
        self._resumed: dict[ArtifactName, VersionInfo] = {}
        self._saving = threading.RLock()
        self._frozen = tuple(frozen)
        reachable = self._given is None and not self._url.startswith("memory:") and clock is wall_clock
        self._in_process = background == "process" and reachable
        self._staging: Any = None
        self._background: Background | None = None
        if staging is not None:
            self._make_room(_bytes_of(staging))
            assert self._background is not None
            self._background.prepare()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except StoreError as e:
            if error is None:
                raise
            self._monitor(Warn(e.message))

    def close(self) -> None:
        """Wait for what is saved in the background, and let connections go; a store that was handed in stays open

        Raise what went wrong in the background.
        """
        try:
            with self._saving:
                self._end_background()
        finally:
            with self._lock:
                depot, self._depot = self._depot, None
            if depot is not None:
                depot.close()

    @overload
    def save_checkpoint(self, context: Any, *, wait: Literal[True] = True) -> SavedCheckpoint: ...

    @overload
    def save_checkpoint(self, context: Any, *, wait: Literal[False]) -> Ticket: ...

    def save_checkpoint(self, context: Any, *, wait: bool = True) -> SavedCheckpoint | Ticket:
        """Store a context: an object or mapping of fields that are to come back

        Known are request_id (one is made where it is missing), phase, step, epoch, metrics, parent, state, run or name,
        license. The state must not change until this returns, which is when the checkpoint is durable, or with
        `wait=False` when its state is copied: what is under way is told by the ticket, and what goes wrong is raised
        by the next call or `flush`. A save waits for the one before.

        Raise Invalid naming the place of a value that cannot be stored, NoSpace.
        """
        if not wait:
            with self._saving:
                self._settled()
                return self._hand_over(context)
        self._settled()
        draft = self._draft(context)
        tree = draft.tree
        plan = ingest.IngestPlan(draft.artifact, _tensors("save").sources(tree), draft.labels, draft.links, draft.tags)
        guarded = _guarded(self._open(create=True), _tensors("save").Unchanged(tree))
        saved = save(guarded, plan, self._rules, self._grace)
        self._settle(context, draft.artifact, draft.base)
        return saved

    def flush(self, timeout: float | None = None) -> None:
        """Wait until what was saved is durable; raise what went wrong, Unavailable after `timeout` seconds"""
        with self._saving:
            if self._background is not None:
                self._own_background().flush(timeout)

    def _settled(self) -> None:
        """Wait for the save before; raise what went wrong with it"""
        with self._saving:
            if self._background is not None:
                self._own_background().settle()

    def _draft(self, context: Any) -> "_Draft":
        values = {**fields_of(context)}
        if "parent" in values:
            values["parent"] = plain_parent(values["parent"])
        artifact = ArtifactName(values.get("run") or values.get("name") or self._run or _DEFAULT_RUN)
        request_id = label_of(values, "request_id") or uuid.uuid4().hex
        metrics = self._metrics(values.get("metrics"))
        labels = labels_of(values, request_id, self._clock())
        tree = _tensors("tree").take_apart(values)
        links, base = self._links(self._open(create=True), context, values, artifact)
        best = (self._best,) if self._best and self._best.metric in metrics else ()
        tags = Tags(aliases=(_LATEST,), best=best, metrics=metrics)
        return _Draft(artifact, tree, labels, links, tags, base)

    def _hand_over(self, context: Any) -> Ticket:
        """Copy the state, and have it written meanwhile"""
        draft = self._draft(context)
        layout = _tensors("staging").lay_out(draft.tree)
        self._make_room(layout.size)
        assert self._staging is not None
        assert self._background is not None
        files = self._staging.stage(layout)
        job = Job(draft.artifact, files, draft.labels, draft.links, draft.tags)
        then = partial(self._settle, context, draft.artifact, draft.base)
        return self._background.start(job, draft.labels.request_id or "", then)

    def _make_room(self, nbytes: int) -> None:
        """Staging memory of at least this size, and a writer that has it mapped"""
        if self._staging is not None and self._staging.size >= nbytes:
            return
        self._end_background()
        depot = self._open(create=True)
        self._staging = staging = _tensors("staging").Staging(nbytes, self._frozen)
        for warning in staging.warnings:
            self._monitor(Warn(warning))
        writer: Writer
        if self._in_process and staging.fd is not None:
            target = Target(
                depots.home_url(self._url, self._settings), self._catalog, self._settings, self._rules, self._grace
            )
            writer = ProcessWriter(target, staging.fd, staging.size, self._monitor)
        else:
            writer = ThreadWriter(depot, staging.memory, self._rules, self._grace)
        self._background = Background(writer, self._monitor)

    def _own_background(self) -> Background:
        """Not that of the process this one was forked from"""
        assert self._background is not None
        if self._background.pid != os.getpid():
            raise Invalid(
                "This process was forked from the one whose checkpoints are written in the background; "
                "save there, or make a CheckpointManager here",
                code="forked",
            )
        return self._background

    def _end_background(self) -> None:
        background, staging = self._background, self._staging
        self._background = self._staging = None
        if background is not None and background.pid == os.getpid():
            try:
                background.close()
            finally:
                staging.close()

    def restore_checkpoint(self, ref: Any, *, into: Any = None, map_location: Any = None) -> CheckpointContext:
        """The fields of a checkpoint by request id, version id, `name@alias`, `name:number` or name

        into: a mapping of the state's shape, such as `{"model": model, "optimizer": optimizer}`, or one module, loaded
        in place. map_location: the device of restored tensors, by default the CPU. Raise NotFound, Invalid when the
        version is no checkpoint or does not fit `into`, Corrupt when it is damaged.
        """
        depot = self._written()
        version = _find(depot, ref)
        with reading(depot, version.id):
            manifest = load_manifest(depot, version.id)
            values = _tensors("restore").restore(depot, manifest, map_location)
        if into is not None:
            if "state" not in values:
                raise Invalid(f"{version.ref} was saved without a state; restore it without into", code="into")
            _tensors("into").load_into(into, values["state"])
        note_load(depot, version.id)
        with self._lock:
            self._resumed[version.artifact] = version
        return CheckpointContext(values, version)

    def latest(self, run: str | None = None) -> VersionInfo | None:
        """The newest checkpoint of a run, or None"""
        return next(iter(self.list(run)), None)

    def list(self, run: str | None = None) -> Sequence[VersionInfo]:
        """Checkpoints, newest first: of `run`, else of the manager's own run, else all"""
        wanted = ArtifactName(run) if run else self._run
        found = self._written().catalog.versions.list(glob=wanted, sort="taken:desc")
        return [version for version in found if version.request_id is not None]

    def _written(self) -> Depot:
        """The store, once what was saved is in it"""
        background = self._background
        if background is not None and background.pid == os.getpid():
            background.wait()
        return self._open(create=False)

    def _open(self, *, create: bool) -> Depot:
        with self._lock:
            if self._given is not None:
                return self._given
            if self._depot is None:
                self._depot = self._opened_depot(create=create)
            return self._depot

    def _opened_depot(self, *, create: bool) -> Depot:
        options: dict[str, Any] = {"settings": self._settings, "monitor": self._monitor, "clock": self._clock}
        for _ in range(_TRIES):
            url = depots.home_url(self._url, self._settings)
            try:
                return depots.open_depot(url, self._catalog, **options)
            except NotFound:
                if not create:
                    raise
            with suppress(Exists):  # another process makes it at the same moment, and may not be done
                return depots.init(url, self._catalog, **options)
        raise Unavailable(f"The store at {self._url} is being made by others; try again", code="init")

    def _metrics(self, given: Any) -> dict[str, float]:
        """Those the catalog can hold; the others stay in the context, as a lost checkpoint would be worse"""
        if given is not None and not isinstance(given, Mapping):
            raise Invalid(f"metrics should map names to numbers, found a {type(given).__name__}", code="metrics")
        metrics = {}
        for name, value in (given or {}).items():
            number = number_of(value)
            try:
                check_label(name, "metric name")
            except Invalid as e:
                self._monitor(Warn(f"{e.message}; it is kept in the checkpoint only"))
                continue
            if number is None or not abs(number) < float("inf"):
                self._monitor(Warn(f"Metric {name} is no finite number; it is kept in the checkpoint only"))
            else:
                metrics[name] = number
        return metrics

    def _links(
        self, depot: Depot, context: Any, values: Mapping[str, Any], artifact: ArtifactName
    ) -> tuple[tuple[Link, ...], VersionInfo | None]:
        """Links to the parents named and to what was restored, and the latter"""
        parents, base = parents_of(context, values), base_of(context, self._resumed.get(artifact))
        given = parents if isinstance(parents, list | tuple) else [] if parents is None else [parents]
        links = [self._link(depot, parent, artifact) for parent in given]
        if base is not None and all(link.id != base.id for link in links):
            relation = Relation.RESUME if base.artifact == artifact else Relation.FINETUNE
            links.append(Link(relation, base.ref, base.id))
        return tuple(links), base

    def _link(self, depot: Depot, parent: Any, artifact: ArtifactName) -> Link:
        given = parent if isinstance(parent, Mapping) else {"ref": parent}
        if given.keys() - {"ref", "relation", "weight"} or not isinstance(given.get("ref"), str):
            raise Invalid("A parent is a reference or {'ref': reference, 'relation': …, 'weight': …}", code="parent")
        ref, weight = given["ref"], given.get("weight")
        version = None
        if "://" not in ref:
            try:
                version = _find(depot, ref)
            except NotFound:
                self._monitor(Warn(f"Parent {ref!r:.80} is not in this store; the link keeps its name"))
        same = version is not None and version.artifact == artifact
        relation = given.get("relation") or (Relation.RESUME if same else Relation.FINETUNE)
        return Link(
            Relation.parse(str(relation)), version.ref if version else ref, version.id if version else None, weight
        )

    def _settle(self, context: Any, artifact: ArtifactName, base: VersionInfo | None) -> None:
        """What was resumed has its successor: later saves of the run are not resumed from it"""
        note_saved(context)
        with self._lock:
            if base is not None and self._resumed.get(artifact) is base:
                del self._resumed[artifact]


def _bytes_of(staging: Any) -> int:
    """A number of bytes, or that of a state"""
    if isinstance(staging, int):
        if isinstance(staging, bool) or staging <= 0:
            raise Invalid(f"staging is a number of bytes above zero or a state, found {staging}", code="config")
        return staging
    nbytes: int = _tensors("staging").lay_out(_tensors("tree").take_apart({"state": staging})).size
    return nbytes


def _tensors(name: Literal["tree", "save", "restore", "into", "staging"]) -> Any:
    """A room of `tensors`; torch takes a second to import, and readers of the catalog do not need it"""
    try:
        return import_module(f"artifactstore.tensors.{name}")
    except ImportError as e:
        raise Unavailable(f"Checkpoints need {e.name}; run: pip install 'artifactstore[torch]'", code="torch") from e


def _guarded(depot: Depot, unchanged: Any) -> Depot:
    """The depot, where a save whose tensors changed meanwhile ends before its commit"""

    def monitor(event: Event, /) -> None:
        if isinstance(event, Step) and event.name == "save.commit.before":
            unchanged.check()
        depot.monitor(event)

    return replace(depot, monitor=monitor)


def _checked_config(config: Any) -> Mapping[str, Any]:
    if config is None:
        return {}
    if not isinstance(config, Mapping):
        raise Invalid(f"config should be a mapping such as {{'storage_path': …}}, found {config!r:.60}", code="config")
    unknown = [str(key) for key in config if key not in _CONFIG]
    if unknown:
        raise Invalid(f"Unknown in config: {', '.join(unknown):.200}; known are {', '.join(_CONFIG)}", code="config")
    return {key: value for key, value in config.items() if value is not None}


def _opened(place: Any) -> Depot | None:
    """The depot of a store that is open already, None for a path or URL"""
    if isinstance(place, Depot):
        return place
    depot = getattr(place, "depot", None)
    return depot if isinstance(depot, Depot) else None


def _url(place: Any) -> str:
    if not isinstance(place, str | os.PathLike) or not isinstance(os.fspath(place), str) or not os.fspath(place):
        raise Invalid(f"A place for checkpoints is a folder or the URL of a store, found {place!r:.60}", code="config")
    return os.fspath(place)


def _parse_best(text: Any) -> Best:
    """`metric`, `metric:min` or `metric:max`"""
    metric, colon, mode = str(text).rpartition(":")
    if not colon:
        metric, mode = mode, "min"
    if mode not in {"min", "max"}:
        raise Invalid(f"best should be 'val_loss', 'val_loss:min' or 'accuracy:max', found {text!r:.60}", code="best")
    return Best(AliasName("best"), check_label(metric, "metric name"), "max" if mode == "max" else "min")


def _find(depot: Depot, ref: Any) -> VersionInfo:
    """By request id first, as it is what a trainer knows"""
    text = plain_parent(ref)
    if not isinstance(text, str):
        raise Invalid(f"A checkpoint is named by a string, found {ref!r:.60}", code="reference")
    versions = depot.catalog.versions
    return versions.by_request(text) or versions.resolve(Reference.parse(text))
