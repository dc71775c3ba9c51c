"""Main: the command and its tree"""

import atexit
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import artifactstore
from artstore import (
    add,
    alias,
    build,
    bundle,
    cache,
    catalog,
    checkout,
    diff,
    evaluate,
    export,
    fetch,
    health,
    init,
    integrity,
    journal,
    keep,
    lineage,
    merge,
    metric,
    policy,
    quantize,
    remote,
    shard,
    sweep,
    usage,
    versions,
)
from artstore import gc as gc_
from artstore.failure import INTERRUPTED, USAGE, report


class Root(TyperGroup):
    """The command group at the top, where every error ends as one line and an exit code"""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """As Click calls it; the exit code when not standalone"""
        given = list(sys.argv[1:] if args is None else args)
        options = given[: given.index("--")] if "--" in given else given
        try:
            code = super().main(
                args,
                prog_name or "artstore",
                complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
        except Exception as e:  # noqa: BLE001  # no traceback ever reaches a person who did not ask
            code = report(e, as_json="--json" in options, debug="--debug" in options)
        if code == INTERRUPTED:
            print("artstore: Interrupted", file=sys.stderr)  # noqa: T201  # the command speaks on stderr
        if standalone_mode:
            sys.exit(code)
        return code

    def list_commands(self, _: Any) -> list[str]:
        """In the order of their tree, where typer puts groups last"""
        return sorted(self.commands, key=[name for _, name, _ in _TREE].index)

    def format_commands(self, _: Any, formatter: Any) -> None:
        """Under the headings that a terminal shows as panels"""
        width = max(map(len, self.commands))
        for panel, tree in groupby(_TREE, key=lambda one: one[0]):
            with formatter.section(panel):
                formatter.write_dl(
                    [(f"{name:<{width}}", self.commands[name].get_short_help_str(100)) for _, name, _ in tree]
                )


_INOUT, _MAKE, _LOOK, _LABEL, _ROOM, _OTHERS, _STORE = (
    *("In and out", "New from old", "Look", "Label"),
    *("Make room", "Other stores", "The store"),
)
_TREE: tuple[tuple[str, str, Callable[..., None] | typer.Typer], ...] = (
    (_INOUT, "add", add.add),
    (_INOUT, "fetch", fetch.fetch),
    (_INOUT, "checkout", checkout.checkout),
    (_INOUT, "bundle", bundle.app),
    (_INOUT, "export", export.export),
    (_INOUT, "import", export.import_app),
    (_MAKE, "merge", merge.merge),
    (_MAKE, "merge-sweep", sweep.merge_sweep),
    (_MAKE, "quantize", quantize.quantize),
    (_MAKE, "shard", shard.shard),
    (_MAKE, "build", build.build),
    (_MAKE, "evaluate", evaluate.evaluate),
    (_MAKE, "run", evaluate.run_),
    (_MAKE, "benchmark", evaluate.benchmark),
    (_LOOK, "ls", versions.ls),
    (_LOOK, "show", versions.show),
    (_LOOK, "search", versions.search),
    (_LOOK, "tree", lineage.tree),
    (_LOOK, "diff", diff.diff),
    (_LOOK, "log", journal.log),
    (_LABEL, "alias", alias.app),
    (_LABEL, "metric", metric.metric),
    (_LABEL, "pin", keep.pin),
    (_LABEL, "unpin", keep.unpin),
    (_ROOM, "du", usage.du),
    (_ROOM, "why", lineage.why),
    (_ROOM, "gc", gc_.gc),
    (_ROOM, "undo", keep.undo),
    (_ROOM, "policy", policy.app),
    (_ROOM, "cache", cache.app),
    (_OTHERS, "remote", remote.app),
    (_OTHERS, "push", remote.push),
    (_OTHERS, "pull", remote.pull),
    (_OTHERS, "sync", remote.sync),
    (_OTHERS, "clone", remote.clone),
    (_OTHERS, "whereis", remote.whereis),
    (_STORE, "init", init.init),
    (_STORE, "status", health.status),
    (_STORE, "doctor", health.doctor),
    (_STORE, "verify", integrity.verify),
    (_STORE, "repair", integrity.repair),
    (_STORE, "catalog", catalog.app),
)


def _rich() -> bool:
    """Help is drawn with boxes and colours on a terminal only; they take longer than all the rest"""
    return sys.stdout is not None and sys.stdout.isatty()


app = typer.Typer(
    name="artstore",
    cls=Root,
    help="Store model checkpoints, fine-tunes, merges and quantized variants, each byte once.",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if _rich() else None,
    context_settings={"help_option_names": ["--help", "-h"]},
)
for panel, name, command in _TREE:
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name, rich_help_panel=panel)
    else:
        app.command(name, rich_help_panel=panel)(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"artstore {artifactstore.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  # its callback answers
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(USAGE)


def main() -> None:
    """The entry point of the command"""
    # a stream that was closed from outside would lend its number to the next file that is opened
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115  # for as long as the process
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115  # as above
    # what this short process leaves behind goes with it; by default a tenth of its time went into collecting that
    gc.set_threshold(200_000, 20, 20)
    # as did the collections of an interpreter that ends: they skip what is frozen
    atexit.register(gc.freeze)
    # a session that ends releases its lease and clears its files, so it must end and not be cut off
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # a name that the terminal's encoding lacks is no reason to fail
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app()
