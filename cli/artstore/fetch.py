"""Fetch: models by name or from a hub, brought into the store and out to their folders"""

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.core.errors import Invalid
from artifactstore.core.hub import ENDPOINT, SCHEME, HubRef
from artstore.arguments import parse_path
from artstore.invocation import Invocation, with_invocation
from artstore.shelf import STALE, check_models, clean_up, fetch_models, tell_plan

if TYPE_CHECKING:
    from artifactstore.core.registry import Model
    from artifactstore.provision.plan import FetchOptions


Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME|hf://ORG/REPO", help="A model of the registry, or hf://org/repo[@revision][/file]."),
]
Named = Annotated[list[str] | None, typer.Option("--model", metavar="NAME", help="The same as NAME. Repeatable.")]
List = Annotated[bool, typer.Option("--list", help="Show what there is, what is held and what would be fetched.")]
Check = Annotated[bool, typer.Option("--check", help="Say what is here, missing or incomplete; uses no network.")]
Verify = Annotated[bool, typer.Option("--verify", help="As --check, and read all of it back; uses no network.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch what is missing; all models without a NAME.")]
Cleanup = Annotated[bool, typer.Option("--cleanup", help="Remove what is half fetched and nobody is at.")]
Every = Annotated[
    bool,
    typer.Option(
        "--all", help="Fetch what is missing, then remove what is half fetched for a week; all without a NAME."
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Fetch what is here once more, and overwrite other content in folders.")
]
Include = Annotated[
    list[str] | None,
    typer.Option("--include", metavar="GLOB", help="Only files whose path matches, in place of the registry's."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="GLOB", help="No files whose path matches, in place of the registry's."),
]
Registries = Annotated[
    list[str] | None,
    typer.Option("--registry", metavar="FILE", help="A registry that adds to the shipped one. Repeatable."),
]
Root = Annotated[
    str | None,
    typer.Option(
        "--to",
        envvar="MODELS_PATH",
        metavar="FOLDER",
        help="Write each model to its destination below this folder, too.",
    ),
]
Endpoint = Annotated[
    str,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="The hub; HF_ENDPOINT is not read. HF_TOKEN, or else the token that huggingface_hub saved, goes to "
        "huggingface.co only; to another hub goes only what ARTSTORE_HUB_TOKEN says.",
    ),
]
Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="S", min=0.001, help="Give up after so many seconds in all.")
]
Jobs = Annotated[int, typer.Option("--jobs", metavar="N", min=1, max=64, help="How many files at once.")]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="As --list: show what would be fetched.")]


@with_invocation
def fetch(
    run: Invocation,
    *,
    name: Names = None,
    named: Named = None,
    list_: List = False,
    check: Check = False,
    verify: Verify = False,
    download: Download = False,
    cleanup: Cleanup = False,
    every: Every = False,
    force: Force = False,
    include: Include = None,
    exclude: Exclude = None,
    registry: Registries = None,
    to: Root = None,
    endpoint: Endpoint = ENDPOINT,
    timeout: Timeout = None,
    jobs: Jobs = 4,
    dry_run: DryRun = False,
) -> None:
    """Fetch models into the store, each as one version with its licence, base models and commit

    Only what is missing is fetched: a file that the store has is taken from there, and an interrupted fetch goes on
    where it ended. A model that fails leaves no version, and the others go on: exit code 6.

    --check and --verify end with exit code 0 when all is here and whole, 4 when something is damaged or incomplete or
    not in its folder as it should be, 14 when something is missing.
    """
    names = [*(name or ()), *(named or ())]
    looks = {"--list": list_, "--check": check, "--verify": verify, "--dry-run": dry_run}
    acts = {"--download": download, "--all": every, "--cleanup": cleanup}
    _refuse_mixed(looks, acts, names, force=force)
    models = _models(names, registry or [], tuple(include or ()), tuple(exclude or ()))
    options = _options(to, endpoint, timeout, jobs, force=force)
    if check or verify:
        check_models(run, models, options, checked_out=to is not None, hashed=verify)
    elif list_ or dry_run:
        tell_plan(run, models, options)
    elif cleanup and not (names or download or every or force):
        clean_up(run, options)
    else:
        older = timedelta(0) if cleanup else STALE if every else None
        fetch_models(run, models, options, checked_out=to is not None, older=older)


def _refuse_mixed(looks: dict[str, bool], acts: dict[str, bool], names: Sequence[str], *, force: bool) -> None:
    looking, acting = ([flag for flag, on in flags.items() if on] for flags in (looks, acts))
    if len(looking) > 1 or (looking and acting):
        raise Invalid(f"Give only one of {' and '.join([*looking, *acting])}", code="usage")
    if not (names or looking or acting or force):
        raise Invalid("Name what to fetch, or say --all; artstore fetch --list shows what there is", code="usage")


def _models(
    names: Sequence[str], registries: Sequence[str], include: tuple[str, ...], exclude: tuple[str, ...]
) -> list["Model"]:
    # what fetches takes a fifth of a second to import, which is not for --help
    from dataclasses import replace  # noqa: PLC0415

    from artifactstore.core.registry import Model  # noqa: PLC0415
    from artifactstore.models import read_registry  # noqa: PLC0415

    registry = read_registry([parse_path(file) for file in registries], os.environ)
    wanted = names or list(registry.models)
    known = {model.name: model for model in registry.find(one for one in wanted if not one.startswith(SCHEME))}
    models = [Model.of(HubRef.parse(one)) if one.startswith(SCHEME) else known[one] for one in dict.fromkeys(wanted)]
    if not include and not exclude:
        return models
    # a part of a model need not be whole
    return [replace(model, include=include, exclude=exclude, size=None, declared=False) for model in models]


def _options(to: str | None, endpoint: str, timeout: float | None, jobs: int, *, force: bool) -> "FetchOptions":
    from artifactstore.models import PARTIALS  # noqa: PLC0415  # as above
    from artifactstore.provision.plan import FetchOptions  # noqa: PLC0415
    from artifactstore.upstream.tokens import find_token  # noqa: PLC0415

    return FetchOptions(
        partials=_partials(PARTIALS),
        root=Path() if to is None else parse_path(to),
        endpoint=endpoint,
        token=find_token(endpoint, os.environ),
        jobs=jobs,
        timeout=timeout,
        force=force,
    )


def _partials(default: str) -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    return Path(default).expanduser() if not cache else Path(cache, *Path(default).parts[2:])
