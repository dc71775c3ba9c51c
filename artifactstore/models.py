"""Models: what a registry names, fetched when it is missing, and found in its folder

manager = create_model_manager("./models")
folder = manager.download_model_if_needed("clip")
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self

from artifactstore import depot as depots
from artifactstore.core.errors import Invalid, NoStore
from artifactstore.core.events import Monitor, silent
from artifactstore.core.hub import ENDPOINT
from artifactstore.core.registry import Model, Registry
from artifactstore.core.settings import Settings
from artifactstore.depot import Depot
from artifactstore.ops.transfer.source import looking_at
from artifactstore.provision import check, plan, run
from artifactstore.provision.check import Standing
from artifactstore.provision.plan import FetchOptions
from artifactstore.upstream.partial import Partials

PARTIALS = "~/.cache/artifactstore/fetch"
_SHIPPED = ("artmodels", "registry.toml")


def read_registry(files: Iterable[str | os.PathLike[str]] = (), env: Mapping[str, str] | None = None) -> Registry:
    """The shipped registry with what these files add and replace; env: variables that override sources

    Raise NotFound, Denied, Invalid naming the file and what in it cannot be understood.
    """
    texts = [(".".join(_SHIPPED), resources.files(_SHIPPED[0]).joinpath(_SHIPPED[1]).read_text("utf-8"))]
    return Registry.read([*texts, *((str(file), _text(Path(file))) for file in files)], env)


def _text(path: Path) -> str:
    with looking_at(path):
        raw = path.read_bytes()
    try:
        return raw.decode()
    except UnicodeDecodeError as e:
        raise Invalid(f"{path} is not UTF-8: {e.reason} at byte {e.start}", code="registry", path=str(path)) from e


class ModelManager:
    """The models of a registry below one folder

    path: the root of their destinations. store: the folder or URL of the store that keeps them, by default `.artstore`
    in `path`; it is made when something is fetched. registry: files that add to the shipped one. env: variables that
    name other sources for models. token: sent to the endpoint and nowhere else. partials: where what is half fetched
    is kept. Nothing is read from the environment. Methods raise what `artstore fetch` says in a line: NotFound for an
    unknown model or repository, Denied for a gated one, Offline, NoSpace, Corrupt for a model that is not whole.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        store: str | os.PathLike[str] | None = None,
        catalog: str | None = None,
        registry: Sequence[str | os.PathLike[str]] = (),
        env: Mapping[str, str] | None = None,
        endpoint: str = ENDPOINT,
        token: str | None = None,
        partials: str | os.PathLike[str] = PARTIALS,
        jobs: int = 4,
        settings: Settings | None = None,
        monitor: Monitor = silent,
    ) -> None:
        root = Path(path).expanduser()
        self.registry = read_registry(registry, env)
        self.options = FetchOptions(Path(partials).expanduser(), root, endpoint, token, jobs)
        self._url, self._catalog = str(root / ".artstore") if store is None else os.fspath(store), catalog
        self._settings, self._monitor = settings or Settings(), monitor
        self._depot: Depot | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let connections go"""
        if self._depot is not None:
            self._depot.close()
            self._depot = None

    def path_of(self, name: str) -> Path:
        """The folder of a model, whether it stands there or not; raise NotFound with close names"""
        [model] = self.registry.find([name])
        return self.options.root / model.destination

    def is_model_downloaded(self, name: str) -> bool:
        """Whether a model is here whole and stands in its folder; by the sizes of its files, without a network"""
        [standing] = self.check([name])
        return standing.is_ready

    def download_model_if_needed(self, name: str) -> Path:
        """The folder of a model, which is fetched and written out first unless it stands there"""
        return self.ensure([name])[name]

    def check(self, names: Sequence[str] | None = None, *, hashed: bool = False) -> list[Standing]:
        """What is here of these models, or of all; hashed: look at the content of files, not only at their sizes"""
        models = self._models(names)
        depot = self._open(make=False)
        if depot is None:
            return [Standing(model, folder=self.options.root / model.destination) for model in models]
        return check.check(depot, models, self.options.root, hashed=hashed)

    def ensure(
        self, names: Sequence[str] | None = None, *, timeout: timedelta | float | None = None
    ) -> dict[str, Path]:
        """The folders of these models, or of all, once each stands there; no socket is opened when none is missing

        timeout: for everything, seconds when it is a number. What came is kept when it raises.
        """
        models = self._models(names)
        standings = {one.model.name: one for one in self.check([model.name for model in models])}
        if all(one.is_ready for one in standings.values()):
            return {model.name: self.options.root / model.destination for model in models}
        if self._settings.offline and self._open(make=False) is None:
            raise run.joined([plan.missing(model) for model in models])
        depot = self._open(make=True)
        assert depot is not None
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        lacking = [model for model in models if standings[model.name].state != "held"]
        for one in standings.values():
            if one.state == "held" and one.away and one.version is not None:
                run.check_out(depot, one.model, one.version, self.options)
        if lacking:
            options = self.options.within(seconds)
            run.run(depot, plan.plan(depot, lacking, options), checked_out=True).check()
        return {model.name: self.options.root / model.destination for model in models}

    def cleanup(self, older: timedelta = timedelta(0)) -> int:
        """Remove what is half fetched and nobody is at, if it is older; how many files"""
        return len(Partials(self.options.partials).clear(older))

    def _models(self, names: Sequence[str] | None) -> list[Model]:
        return self.registry.find(self.registry.models if names is None else names)

    def _open(self, *, make: bool) -> Depot | None:
        if self._depot is None:
            try:
                self._depot = depots.open_depot(
                    self._url, self._catalog, settings=self._settings, monitor=self._monitor
                )
            except NoStore:
                if make:
                    self._depot = depots.init(self._url, self._catalog, settings=self._settings, monitor=self._monitor)
        return self._depot


create_model_manager = ModelManager
