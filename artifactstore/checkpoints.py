"""CheckpointManager: save a training state, restore it, and know what came from what

manager = CheckpointManager({"storage_path": "./models/checkpoints", "best": "val_loss"})
saved = manager.save_checkpoint({"request_id": "step-100", "step": 100, "state": {"model": model}})
context = manager.restore_checkpoint("step-100", into={"model": model})
"""

import operator
import os
import threading
import uuid
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import timedelta
from importlib import import_module
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from artifactstore import depot as depots
from artifactstore import gc
from artifactstore.blobs.open import open_blobs
from artifactstore.catalog.base import Best, VersionInfo
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Denied, Exists, Invalid, NotFound, Unavailable
from artifactstore.core.events import Event, Monitor, Step, Warn, silent
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.names import AliasName, ArtifactName, Reference, check_label
from artifactstore.core.numbers import check_integer
from artifactstore.core.policy import Policy
from artifactstore.core.settings import Settings
from artifactstore.depot import Clock, Depot, wall_clock
from artifactstore.lease import reading
from artifactstore.ops import ingest
from artifactstore.ops.collect import GRACE
from artifactstore.ops.transfer.fetch import load_manifest, note_load
from artifactstore.session import Tags

_CONFIG = ("storage_path", "catalog", "run", "name", "best")
_KNOWN = ("request_id", "phase", "step", "epoch", "metrics", "parent", "state", "run", "name", "license")
_DEFAULT_RUN = "checkpoints"
_TRIES = 10
_LATEST = AliasName("latest")
_ABSENT = object()


class OpenStore(Protocol):
    """A store that is open already"""

    @property
    def depot(self) -> Depot:
        """Its parts"""


@dataclass(frozen=True, slots=True)
class SavedCheckpoint:
    """What a save made. nbytes: size of the checkpoint; new_bytes: what of it had to be written"""

    id: str
    ref: str
    number: int
    request_id: str
    nbytes: int
    new_bytes: int
    aliases: tuple[str, ...]

    def __str__(self) -> str:
        return self.id


class CheckpointContext(MutableMapping[str, Any]):
    """The fields of a restored checkpoint, as mapping and as attributes; `version` is what the catalog knows of it

    A field whose name is taken by a method or by `version` is reached as mapping only.
    """

    __slots__ = ("_fields", "_inherited", "_resumable", "_version")

    def __init__(self, values: Mapping[str, Any], version: VersionInfo) -> None:
        self._fields = dict(values)
        self._version = version
        self._inherited = self._fields.get("parent")
        self._resumable = True

    @property
    def version(self) -> VersionInfo:
        """The version it was restored from"""
        return self._version

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._fields[name] = value

    def __delitem__(self, name: str) -> None:
        del self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self._fields:
            return self._fields[name]
        raise AttributeError(f"the checkpoint has no field {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or name == "version":
            object.__setattr__(self, name, value)
        else:
            self._fields[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self._fields:
            raise AttributeError(f"the checkpoint has no field {name!r}")
        del self._fields[name]

    def __reduce__(self) -> tuple[Any, ...]:
        # A version's metrics are a read-only view, which neither pickle nor copy takes.
        version = replace(self._version, metrics=dict(self._version.metrics))
        return _rebuilt, (self._fields, version, self._inherited, self._resumable)

    def __repr__(self) -> str:
        names = ", ".join(self._fields)
        return f"CheckpointContext({self._version.ref}, {self._version.id.hex()[:12]}, fields: {names:.200})"


def _rebuilt(values: Mapping[str, Any], version: VersionInfo, inherited: Any, resumable: bool) -> CheckpointContext:  # noqa: FBT001  # pickle's call
    context = CheckpointContext(values, version)
    context._inherited, context._resumable = inherited, resumable  # noqa: SLF001  # of this module
    return context


class CheckpointManager:
    """Saves and restores checkpoints in one store, which is made at the first save

    config: `storage_path` (a folder or the URL of a store; other files in the folder are not touched), and optionally
    `catalog`, `run`, `best`. store: in place of a storage_path, also an opened Store. run: the artifact of contexts
    that name none. best: the metric that moves the alias `best`, as `val_loss` (lower is better) or `accuracy:max`.
    policy: after each save, versions of its run that `Latest(3) | Best(2, "val_loss")` or `--keep-last 3` does not keep
    are retired; bytes that nothing in the store needs are removed when they have waited for the grace, whoever retired
    them. May be used from several threads.
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let connections go; a store that was handed in stays open"""
        with self._lock:
            depot, self._depot = self._depot, None
        if depot is not None:
            depot.close()

    def save_checkpoint(self, context: Any) -> SavedCheckpoint:
        """Store a context: an object or mapping of fields that are to come back

        Known are request_id (one is made where it is missing), phase, step, epoch, metrics, parent, state, run or name,
        license. The state must not change until this returns. Raise Invalid naming the place of a value that cannot be
        stored, NoSpace.
        """
        values = {**_fields(context)}
        if "parent" in values:
            values["parent"] = _plain_parent(values["parent"])
        artifact = ArtifactName(values.get("run") or values.get("name") or self._run or _DEFAULT_RUN)
        request_id = _label(values, "request_id") or uuid.uuid4().hex
        metrics = self._metrics(values.get("metrics"))
        labels = _labels(values, request_id, self._clock())
        tree = _tensors("tree").take_apart(values)
        depot = self._open(create=True)
        links, base = self._links(depot, context, values, artifact)
        best = (self._best,) if self._best and self._best.metric in metrics else ()
        tags = Tags(aliases=(_LATEST,), best=best, metrics=metrics)
        plan = ingest.IngestPlan(artifact, _tensors("save").sources(tree), labels, links, tags)
        report = ingest.run(_guarded(depot, _tensors("save").Unchanged(tree)), plan)
        self._settle(context, artifact, base)
        if self._rules is not None:
            gc.after_save(depot, artifact, self._rules, self._grace)
        version = report.committed.version
        return SavedCheckpoint(
            id=str(version.id),
            ref=version.ref,
            number=version.number,
            request_id=request_id,
            nbytes=version.nbytes,
            new_bytes=report.new_bytes,
            aliases=tuple(str(alias) for alias in version.aliases),
        )

    def restore_checkpoint(self, ref: Any, *, into: Any = None, map_location: Any = None) -> CheckpointContext:
        """The fields of a checkpoint by request id, version id, `name@alias`, `name:number` or name

        into: a mapping of the state's shape, such as `{"model": model, "optimizer": optimizer}`, or one module, loaded
        in place. map_location: the device of restored tensors, by default the CPU. Raise NotFound, Invalid when the
        version is no checkpoint or does not fit `into`, Corrupt when it is damaged.
        """
        depot = self._open(create=False)
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
        found = self._open(create=False).catalog.versions.list(glob=wanted, sort="taken:desc")
        return [version for version in found if version.request_id is not None]

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
            url = _home(self._url, self._settings)
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
            number = _number(value)
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
        parents = values.get("parent")
        base = self._resumed.get(artifact)
        if isinstance(context, CheckpointContext):
            base = context.version if context._resumable else base  # noqa: SLF001  # of this module
            # What it was restored with are the parents of its own version, not of the one to come.
            parents = None if parents == context._inherited else parents  # noqa: SLF001  # as above
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
        if isinstance(context, CheckpointContext):
            context._resumable = False  # noqa: SLF001  # of this module
        with self._lock:
            if base is not None and self._resumed.get(artifact) is base:
                del self._resumed[artifact]


def _tensors(name: Literal["tree", "save", "restore", "into"]) -> Any:
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


def _home(url: str, settings: Settings) -> str:
    folder = depots.folder_of(open_blobs(os.path.expanduser(url), settings))  # noqa: PTH111  # it may be a URL
    try:
        return url if folder is None else str(depots.home(folder))
    except OSError as e:
        raise Denied(f"Cannot look into {url}: {e.strerror}") from e


def _parse_best(text: Any) -> Best:
    """`metric`, `metric:min` or `metric:max`"""
    metric, colon, mode = str(text).rpartition(":")
    if not colon:
        metric, mode = mode, "min"
    if mode not in {"min", "max"}:
        raise Invalid(f"best should be 'val_loss', 'val_loss:min' or 'accuracy:max', found {text!r:.60}", code="best")
    return Best(AliasName("best"), check_label(metric, "metric name"), "max" if mode == "max" else "min")


def _fields(context: Any) -> dict[str, Any]:
    """The fields of any object or mapping, without private ones"""
    if isinstance(context, Mapping):
        values = dict(context)
        if any(not isinstance(name, str) for name in values):
            raise Invalid("The names of a context's fields are strings", code="context")
        return values
    if callable(getattr(context, "_asdict", None)):
        return dict(context._asdict())
    if context is None or isinstance(context, type | str | bytes | int | float | list | tuple | set):
        raise Invalid(
            f"A context is an object or mapping with request_id, step, state …; found {context!r:.60}", code="context"
        )
    names = [*_declared(context), *getattr(context, "__dict__", ()), *_KNOWN]
    found = ((name, getattr(context, name, _ABSENT)) for name in dict.fromkeys(names) if not name.startswith("_"))
    return {name: value for name, value in found if value is not _ABSENT}


def _declared(context: Any) -> Iterator[str]:
    """Names a class declares: of a dataclass, attrs class, pydantic model, or in `__slots__`"""
    if is_dataclass(context):
        yield from (field.name for field in fields(context))
    yield from getattr(type(context), "model_fields", ())
    for kind in reversed(type(context).__mro__):
        slots = vars(kind).get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots
    yield from getattr(context, "__pydantic_extra__", None) or ()


def _labels(values: Mapping[str, Any], request_id: str, created: int) -> ingest.Labels:
    step = values.get("step")
    if isinstance(step, bool) or not (step is None or hasattr(type(step), "__index__")):
        raise Invalid(f"step should be an integer, found {step!r:.60}", code="step")
    epoch = values.get("epoch")
    if epoch is not None and (epoch := _number(epoch)) is None:
        raise Invalid(f"epoch should be a number, found {values['epoch']!r:.60}", code="epoch")
    return ingest.Labels(
        created=created,
        phase=_label(values, "phase"),
        step=None if step is None else check_integer(_index(step), "step"),
        epoch=epoch,
        request_id=request_id,
        license=_label(values, "license"),
    )


def _index(step: Any) -> int:
    try:
        return operator.index(step)
    except (TypeError, RuntimeError) as e:  # a tensor of floats or of many has the method too
        raise Invalid(f"step should be an integer, found {step!r:.60}", code="step") from e


def _label(values: Mapping[str, Any], name: str) -> str | None:
    """A field as the catalog's text; integers are welcome, as phases are often numbered"""
    value: Any = values.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(check_integer(value, name))
    return None if value is None else check_label(value, name.replace("_", " "))


def _number(value: Any) -> float | None:
    """A number, 0-d tensor or NumPy scalar as a float, None for anything else"""
    try:
        if not isinstance(value, int | float) and callable(getattr(value, "item", None)):
            value = value.item()
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None


def _plain_parent(parent: Any) -> Any:
    """A parent as it is kept: references for saved or restored checkpoints"""
    if isinstance(parent, SavedCheckpoint | VersionInfo):
        return str(parent.id)
    if isinstance(parent, CheckpointContext):
        return str(parent.version.id)
    if isinstance(parent, Digest | Relation):
        return str(parent)
    if isinstance(parent, list | tuple):
        return type(parent)([_plain_parent(item) for item in parent])
    return {key: _plain_parent(value) for key, value in parent.items()} if isinstance(parent, Mapping) else parent


def _find(depot: Depot, ref: Any) -> VersionInfo:
    """By request id first, as it is what a trainer knows"""
    text = _plain_parent(ref)
    if not isinstance(text, str):
        raise Invalid(f"A checkpoint is named by a string, found {ref!r:.60}", code="reference")
    versions = depot.catalog.versions
    return versions.by_request(text) or versions.resolve(Reference.parse(text))
