"""Context: the fields of a checkpoint, as trainers hand them in and get them back, and as the catalog has them"""

import operator
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from artifactstore.catalog.base import VersionInfo
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid
from artifactstore.core.lineage import Relation
from artifactstore.core.names import check_label
from artifactstore.core.numbers import check_integer
from artifactstore.ops.ingest import Labels

_KNOWN = ("request_id", "phase", "step", "epoch", "metrics", "parent", "state", "run", "name", "license")
_ABSENT = object()


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


def base_of(context: Any, otherwise: VersionInfo | None) -> VersionInfo | None:
    """What a context was restored from and goes on from, until it is saved"""
    return context._version if isinstance(context, CheckpointContext) and context._resumable else otherwise  # noqa: SLF001  # of this module


def parents_of(context: Any, values: Mapping[str, Any]) -> Any:
    """Parents a context names; those it was restored with are of its own version, not of the one to come"""
    parents = values.get("parent")
    inherited = context._inherited if isinstance(context, CheckpointContext) else None  # noqa: SLF001  # as above
    return None if parents == inherited else parents


def note_saved(context: Any) -> None:
    """What a context was restored from has its successor"""
    if isinstance(context, CheckpointContext):
        context._resumable = False  # noqa: SLF001  # of this module


def fields_of(context: Any) -> dict[str, Any]:
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


def labels_of(values: Mapping[str, Any], request_id: str, created: int) -> Labels:
    """What the catalog is told; raise Invalid naming the field that is not what it should be"""
    step = values.get("step")
    if isinstance(step, bool) or not (step is None or hasattr(type(step), "__index__")):
        raise Invalid(f"step should be an integer, found {step!r:.60}", code="step")
    epoch = values.get("epoch")
    if epoch is not None and (epoch := number_of(epoch)) is None:
        raise Invalid(f"epoch should be a number, found {values['epoch']!r:.60}", code="epoch")
    return Labels(
        created=created,
        phase=label_of(values, "phase"),
        step=None if step is None else check_integer(_index(step), "step"),
        epoch=epoch,
        request_id=request_id,
        license=label_of(values, "license"),
    )


def _index(step: Any) -> int:
    try:
        return operator.index(step)
    except (TypeError, RuntimeError) as e:  # a tensor of floats or of many has the method too
        raise Invalid(f"step should be an integer, found {step!r:.60}", code="step") from e


def label_of(values: Mapping[str, Any], name: str) -> str | None:
    """A field as the catalog's text; integers are welcome, as phases are often numbered"""
    value: Any = values.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(check_integer(value, name))
    return None if value is None else check_label(value, name.replace("_", " "))


def number_of(value: Any) -> float | None:
    """A number, 0-d tensor or NumPy scalar as a float, None for anything else"""
    try:
        if not isinstance(value, int | float) and callable(getattr(value, "item", None)):
            value = value.item()
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None


def plain_parent(parent: Any) -> Any:
    """A parent as it is kept: references for saved or restored checkpoints"""
    if isinstance(parent, SavedCheckpoint | VersionInfo):
        return str(parent.id)
    if isinstance(parent, CheckpointContext):
        return str(parent.version.id)
    if isinstance(parent, Digest | Relation):
        return str(parent)
    if isinstance(parent, list | tuple):
        return type(parent)([plain_parent(item) for item in parent])
    return {key: plain_parent(value) for key, value in parent.items()} if isinstance(parent, Mapping) else parent
