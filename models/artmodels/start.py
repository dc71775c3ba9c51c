"""Start: a service begins once the models it needs are in their folders

`python -m artmodels.start SERVICE -- COMMAND …`: what is missing is fetched first; when nothing is, no socket is
opened. The program finds the folder of each model in the variable that the registry names for it, and their root in
MODELS_PATH.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from artifactstore.core.errors import Invalid, NotFound, StoreError
from artifactstore.core.events import Event, Warn
from artifactstore.core.exits import DAMAGED, INTERRUPTED, MISSING, exit_code
from artifactstore.core.hub import ENDPOINT
from artifactstore.core.registry import Registry, Service
from artifactstore.core.settings import Settings
from artifactstore.models import ModelManager
from artifactstore.upstream.tokens import find_token

ROOT = "MODELS_PATH"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m artmodels.start",
        usage="%(prog)s [options] SERVICE [-- COMMAND …]",
        description="Start a service once the models it needs are in their folders.",
        epilog="The service finds the folder of each model in the variable that the registry names for it. "
        "COMMAND stands in for that of the registry.",
        allow_abbrev=False,
    )
    env = os.environ
    parser.add_argument("service", nargs="?", metavar="SERVICE", help="as the registry names it")
    parser.add_argument("--list", action="store_true", help="show services and their models")
    parser.add_argument("--self-test", action="store_true", help="read all models back and start nothing")
    parser.add_argument("--registry", action="append", default=[], metavar="FILE", help="adds to the shipped one")
    parser.add_argument("--to", default=env.get(ROOT) or ".", metavar="FOLDER", help=f"root of the models [{ROOT}]")
    parser.add_argument("--store", default=env.get("ARTSTORE_STORE") or None, help="their store [ARTSTORE_STORE]")
    parser.add_argument("--catalog", default=env.get("ARTSTORE_CATALOG") or None, help="its catalog [ARTSTORE_CATALOG]")
    parser.add_argument("--endpoint", default=ENDPOINT, metavar="URL", help="the hub; HF_ENDPOINT is not read")
    parser.add_argument("--timeout", type=float, metavar="S", help="give up fetching after so many seconds")
    parser.add_argument(
        "--offline", action="store_true", default=_is_on(env.get("ARTSTORE_OFFLINE")), help="no network"
    )
    return parser


def _is_on(text: str | None) -> bool:
    return (text or "").strip().lower() in {"1", "true", "yes", "on", "y", "t"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and return the exit code where this process is not replaced by the service"""
    given = list(sys.argv[1:] if arguments is None else arguments)
    own, command = (given[: given.index("--")], given[given.index("--") + 1 :]) if "--" in given else (given, [])
    options = _parser().parse_args(own)
    try:
        return _run(options, command)
    except StoreError as e:
        print(f"artmodels: {e.message}", file=sys.stderr)
        return exit_code(e)
    except KeyboardInterrupt:
        print("artmodels: Interrupted", file=sys.stderr)
        return INTERRUPTED


def _run(options: argparse.Namespace, command: list[str]) -> int:
    with _manager(options) as manager:
        if options.list:
            _show(manager.registry)
            return 0
        services = _services(manager.registry, options.service, every=options.self_test)
        if options.self_test:
            return _self_test(manager, services)
        [service] = services
        program = _program(service, command)
        folders = manager.ensure(service.models, timeout=options.timeout)
        variables = {ROOT: str(Path(options.to).absolute())}
        for model in manager.registry.find(service.models):
            if model.env is not None:
                variables[model.env] = str(folders[model.name].absolute())
    return _start(program, {**os.environ, **variables})


def _manager(options: argparse.Namespace) -> ModelManager:
    return ModelManager(
        options.to,
        store=options.store,
        catalog=options.catalog,
        registry=options.registry,
        env=os.environ,
        endpoint=options.endpoint,
        token=find_token(options.endpoint, os.environ),
        settings=Settings(offline=options.offline),
        monitor=_tell,
    )


def _tell(event: Event, /) -> None:
    if isinstance(event, Warn):
        print(f"artmodels: {event.message}", file=sys.stderr)


def _show(registry: Registry) -> None:
    for service in registry.services.values():
        print(f"{service.name}: {', '.join(service.models)}")


def _services(registry: Registry, name: str | None, *, every: bool) -> list[Service]:
    if name is not None:
        return [registry.service(name)]
    if every:
        return list(registry.services.values())
    known = ", ".join(sorted(registry.services))
    raise Invalid(f"Name the service to start: one of {known}", code="usage")


def _program(service: Service, command: Sequence[str]) -> list[str]:
    """What is run, looked for before anything is fetched for it"""
    chosen = list(command or service.command)
    if not chosen:
        raise Invalid(
            f"Nobody says how {service.name} is started: python -m artmodels.start {service.name} -- COMMAND …, or "
            "command = […] in a registry",
            code="command",
        )
    found = shutil.which(chosen[0])
    if found is None:
        raise NotFound(f"No program is called {chosen[0]!r}; {service.name} is started by it", code="command")
    return [found, *chosen[1:]]


def _self_test(manager: ModelManager, services: Sequence[Service]) -> int:
    """Whether all models stand in their folders as they are in the store, byte by byte"""
    names = dict.fromkeys(name for service in services for name in service.models)
    standings = manager.check(list(names), hashed=True)
    for one in standings:
        lost = [*one.lacking, *(one.away or ())]
        print(json.dumps({"name": one.model.name, "state": one.state, "lacking": lost, "folder": str(one.folder)}))
    if any(one.lacking or one.away for one in standings):
        return DAMAGED
    return MISSING if any(one.version is None for one in standings) else 0


def _start(program: list[str], env: Mapping[str, str]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "posix":
        os.execve(program[0], program, env)  # noqa: S606  # the service takes this process's place, and its signals
    return subprocess.run(program, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
