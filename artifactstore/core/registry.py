"""The registry: which models there are to be fetched, and which services need them, as TOML says it

[models.clip]                                # its name
source = "hf://openai/clip-vit-large-patch14"  # as core/origin reads it; for https:// also sha256 = "…"
include = ["*.json"]                         # globs of files; exclude = ["*.h5"] leaves out what they match
destination = "models/clip"                  # below the root of the models; by default org_name
license = "MIT"                              # an SPDX expression, or LicenseRef-…
size = "1.7GB"                               # what to expect
kind = "clip"                                # and phase = "…": labels
gated = true                                 # it must be asked for at its source
env = "CLIP_MODEL"                           # the variable that names another source, and that a service reads

[services.search]
models = ["clip"]
command = ["python", "-m", "search"]
"""

import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Self, TypeVar

from artifactstore.core.errors import Invalid, NotFound, StoreError
from artifactstore.core.exports.licenses import spdx_license
from artifactstore.core.hub import HubRef
from artifactstore.core.names import ArtifactName, SafePath, check_label
from artifactstore.core.origin import Origin, StoreRef, artifact_of, parse_origin, parse_override
from artifactstore.core.units import parse_size

T = TypeVar("T")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TABLES = ("models", "services")
_MODEL: Mapping[str, type] = {
    "source": str,
    "sha256": str,
    "include": list,
    "exclude": list,
    "destination": str,
    "license": str,
    "size": str,
    "phase": str,
    "kind": str,
    "gated": bool,
    "env": str,
}
_SERVICE: Mapping[str, type] = {"models": list, "command": list}
_KINDS: Mapping[type, str] = {str: "a text in quotes", list: "a list of texts", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Model:
    """One model to be had. size: bytes to expect. at: where it goes, None for a folder of its source's name

    gated: whether its source gives it to known users only, None where nobody said. declared: a registry names it, so
    it has to be whole.
    """

    name: str
    origin: Origin
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    at: SafePath | None = None
    license: str | None = None
    size: int | None = None
    phase: str | None = None
    kind: str | None = None
    gated: bool | None = None
    env: str | None = None
    declared: bool = True

    @classmethod
    def of(cls, ref: HubRef) -> Self:
        """A repository that no registry names, or one file of it"""
        return cls(str(ref), ref, declared=False)

    @property
    def artifact(self) -> ArtifactName:
        """What its versions are versions of"""
        return artifact_of(self.origin, self.name)

    @property
    def revision(self) -> str | None:
        """What its source calls the version that is meant: a revision of the hub, an alias of a store"""
        if isinstance(self.origin, StoreRef):
            return self.origin.ref.alias
        return self.origin.revision if isinstance(self.origin, HubRef) else None

    @property
    def destination(self) -> SafePath:
        """Its folder below the root of the models"""
        if self.at is not None:
            return self.at
        return SafePath(self.artifact.replace("/", "_"))  # as HubRef.default_destination

    def wants(self, path: str) -> bool:
        """Whether a file of its source belongs to it"""
        if isinstance(self.origin, HubRef) and self.origin.file is not None and path != self.origin.file:
            return False
        return (not self.include or _matches(path, self.include)) and not _matches(path, self.exclude)

    def overridden(self, text: str) -> Self:
        """The same from another source, of which nothing else is known"""
        return replace(self, origin=parse_override(text), include=(), exclude=(), license=None, size=None, gated=None)


@dataclass(frozen=True, slots=True)
class Service:
    """A program and the models it needs"""

    name: str
    models: tuple[str, ...]
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Registry:
    """Models and services by name"""

    models: Mapping[str, Model]
    services: Mapping[str, Service]

    @classmethod
    def read(cls, texts: Iterable[tuple[str, str]], env: Mapping[str, str] | None = None) -> Self:
        """Of (name, TOML): what a later one says of a model or service counts. env: variables that override sources

        Raise Invalid naming the text, the table and the key for what cannot be understood, and for two models that
        would go to one folder.
        """
        models: dict[str, Model] = {}
        services: dict[str, Service] = {}
        for origin, text in texts:
            tables = _tables(text, origin)
            models |= {name: _model(name, table, origin) for name, table in tables["models"].items()}
            services |= {name: _service(name, table, origin) for name, table in tables["services"].items()}
        chosen = {name: _overridden(model, env or {}) for name, model in models.items()}
        _refuse_shared(chosen.values())
        for service in services.values():
            _check_known(service, chosen)
        return cls(MappingProxyType(chosen), MappingProxyType(services))

    def find(self, names: Iterable[str]) -> list[Model]:
        """Models by name, each once, in that order; raise NotFound with close names"""
        return [_find(self.models, name, "model") for name in dict.fromkeys(names)]

    def service(self, name: str) -> Service:
        """By its name; raise NotFound with close names"""
        return _find(self.services, name, "service")


def _matches(path: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(path, f"{glob}*" if glob.endswith("/") else glob) for glob in globs)


def _find(known: Mapping[str, T], name: str, what: str) -> T:
    if name in known:
        return known[name]
    scheme, separator, _ = name.partition("://")
    if separator:
        # the rest may hold a password
        raise Invalid(
            f"What is at a URL of {scheme[:20]!a}:// is fetched by an entry of a registry, which says its sha256; only "
            "hf://org/repo is fetched as it is",
            code="source",
        )
    hint = _close(name, known) or (f"; there are {', '.join(sorted(known))}" if known else "; the registry has none")
    raise NotFound(f"No {what} is called {name[:80]!r}{hint}", code=what, name=name, known=sorted(known))


def _close(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), 2)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _tables(text: str, origin: str) -> dict[str, dict[str, Any]]:
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as e:
        raise Invalid(f"{origin} is not TOML: {e!s:.200}", code="registry", path=origin) from e
    _refuse_unknown(document, _TABLES, origin)
    found = {name: document.get(name, {}) for name in _TABLES}
    for name, table in found.items():
        if not isinstance(table, dict) or not all(isinstance(inner, dict) for inner in table.values()):
            raise _invalid(origin, f"{name} must hold tables, such as [{name}.mine]")
    return found


def _refuse_unknown(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    unknown = sorted(table.keys() - set(known))
    if unknown:
        hint = _close(unknown[0], known) or f"; it takes {', '.join(known)}"
        raise _invalid(where, f"unknown key {unknown[0][:80]!r}{hint}", key=unknown[0])


def _checked(name: str, table: Mapping[str, Any], kinds: Mapping[str, type], where: str) -> None:
    try:
        ArtifactName(name)
    except Invalid as e:
        raise _invalid(where, e.message) from e
    _refuse_unknown(table, kinds, where)
    for key, value in table.items():
        kind = kinds[key]
        if not isinstance(value, kind) or not (kind is bool or _are_texts(value)):
            raise _invalid(where, f"{key} must be {_KINDS[kind]}, found {value!r:.40}", key=key)


def _are_texts(value: Any) -> bool:
    return all(isinstance(one, str) and one for one in (value if isinstance(value, list) else [value]))


def _model(name: str, table: Mapping[str, Any], origin: str) -> Model:
    where = f"{origin}: [models.{name}]"
    _checked(name, table, _MODEL, where)
    if "source" not in table:
        raise _invalid(where, 'no source; write source = "hf://org/name"', key="source")
    given = dict(table)
    source = _said(where, "source", parse_origin, given.pop("source"), given.pop("sha256", None))
    parse: dict[str, Callable[[str], Any]] = {
        "destination": _folder,
        "license": _license,
        "size": parse_size,
        "env": _variable,
    }
    labels = dict.fromkeys(("phase", "kind"), check_label)
    fields: dict[str, Any] = {key: _said(where, key, parse[key], given[key]) for key in parse if key in given}
    fields |= {key: _said(where, key, labels[key], given[key], key) for key in labels if key in given}
    at = fields.pop("destination", None)
    fields |= {key: tuple(given[key]) for key in ("include", "exclude") if key in given}
    model = Model(name, source, at=at, gated=given.get("gated"), **fields)
    _said(where, "destination", lambda: model.destination)
    return model


def _service(name: str, table: Mapping[str, Any], origin: str) -> Service:
    where = f"{origin}: [services.{name}]"
    _checked(name, table, _SERVICE, where)
    if not table.get("models"):
        raise _invalid(where, 'no models; write models = ["name"]', key="models")
    return Service(name, tuple(table["models"]), tuple(table.get("command", ())))


def _said(where: str, key: str, parse: Any, *values: Any) -> Any:
    try:
        return parse(*values)
    except StoreError as e:
        raise _invalid(where, f"{key}: {e.message}", key=key) from e


def _folder(text: str) -> SafePath:
    return SafePath(text.removeprefix("./").removesuffix("/"))


def _license(text: str) -> str:
    found = spdx_license(text)
    if found is None:
        raise Invalid(f"{text[:80]!r} is no SPDX licence expression; one without an SPDX id is LicenseRef-…")
    return found


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise Invalid(f"{text[:80]!r} is no name of a variable; use letters, digits and _")
    return text


def _overridden(model: Model, env: Mapping[str, str]) -> Model:
    text = env.get(model.env, "") if model.env else ""
    if not text:
        return model
    try:
        found = model.overridden(text)
        found.destination  # noqa: B018  # raises for what is no folder
    except Invalid as e:
        raise Invalid(f"{model.env}: {e.message}", code="override", variable=model.env) from e
    return found


def _refuse_shared(models: Iterable[Model]) -> None:
    """Two models in one folder, unless they are the same files; nor one in the folder of another"""
    homes: dict[str, Model] = {}
    for model in models:
        folder = _folded(model.destination)
        other = homes.setdefault(folder, model)
        if other is not model and not _is_same(model, other):
            raise Invalid(
                f"Models {other.name} and {model.name} would both go to {model.destination}; give one another "
                "destination",
                code="destination",
                models=[other.name, model.name],
            )
    for folder, model in homes.items():
        above = next((homes[path] for path in _above(folder) if path in homes), None)
        if above is not None:
            raise Invalid(
                f"Model {model.name} would go to {model.destination}, inside the folder of {above.name}; give it "
                "another destination",
                code="destination",
                models=[above.name, model.name],
            )


def _folded(path: str) -> str:
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def _above(folder: str) -> Iterable[str]:
    parts = folder.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def _is_same(one: Model, other: Model) -> bool:
    return (one.origin, one.include, one.exclude) == (other.origin, other.include, other.exclude)


def _check_known(service: Service, models: Mapping[str, Model]) -> None:
    for name in service.models:
        if name not in models:
            hint = _close(name, models)
            raise Invalid(
                f"Service {service.name} needs the model {name[:80]!r}, which no registry names{hint}",
                code="registry",
                service=service.name,
                model=name,
            )


def _invalid(where: str, what: str, **facts: Any) -> Invalid:
    return Invalid(f"{where}: {what}", code="registry", **facts)
