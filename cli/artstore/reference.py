"""Reference: `python -m artstore.reference` prints docs/cli.md, made from the command itself"""

import sys
from collections.abc import Iterator
from typing import Any

import typer

from artstore.invocation import COMMON
from artstore.main import app

_INTRODUCTION = """\
# `artstore`

{help}

Data goes to stdout, progress and messages to stderr. Where a table names a REF, write `name` (the newest version),
`name@alias`, `name:number`, at least 8 digits of an id, or a request id.

Without `--store`, the store is the one that the nearest `artstore.toml` names (`store = "…"`, `catalog = "…"`), or that
lies in the nearest `.artstore`, in this folder or one above it; else `~/.artstore`, which the first `artstore add`
makes.

{own}

## Exit codes

| code | means |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | usage, or invalid input |
| 3 | not found |
| 4 | damage found |
| 5 | refused, consent needed |
| 6 | partly done |
| 10 | no store there |
| 11 | busy, try again |
| 12 | not allowed |
| 13 | no space |
| 14 | offline, and not held here |
| 130 | interrupted |

An error is one line on stderr; with `--json` it is `{{"error": code, "message": text, "facts": {{}}}}`.

## Options of every command

{common}
"""


def page() -> str:
    """The whole page"""
    root = typer.main.get_command(app)
    commands = list(_walk(root, ("artstore",)))
    shared = next(command for _, command in commands if set(COMMON) <= {option.name for option in command.params})
    common = _table(option for option in shared.params if option.name in COMMON)
    sections = [_INTRODUCTION.format(help=root.help, own=_table(root.params), common=common)]
    sections += [_section(words, command) for words, command in commands[1:]]
    return "\n".join(sections)


def _walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    for name in command.list_commands(None) if hasattr(command, "commands") else ():
        yield from _walk(command.commands[name], (*words, name))


def _section(words: tuple[str, ...], command: Any) -> str:
    parts = [f"## `{' '.join(words)}`", _paragraphs(command.help)]
    own = [parameter for parameter in command.params if parameter.name not in COMMON]
    if not hasattr(command, "commands"):
        parts.append(f"```\n{' '.join([*words, *map(_usage, own)])}\n```")
    if own:
        parts.append(_table(own))
    return "\n\n".join(parts) + "\n"


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _usage(parameter: Any) -> str:
    many = getattr(parameter, "multiple", False) or parameter.nargs == -1
    shown = _spelling(parameter) + ("…" if many else "")
    return shown if parameter.required else f"[{shown}]"


def _spelling(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    name = max(parameter.opts, key=len)
    return name if parameter.is_flag else f"{name} {parameter.metavar}"


def _table(parameters: Any) -> str:
    rows = ["| | |", "|---|---|"]
    rows += [f"| {_names(parameter)} | {_explained(parameter)} |" for parameter in parameters]
    return "\n".join(rows)


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar}`".replace("|", "\\|")
    value = "" if parameter.is_flag else f" {parameter.metavar}"
    return ", ".join(f"`{name}{value if name.startswith('--') else ''}`" for name in parameter.opts).replace("|", "\\|")


def _explained(parameter: Any) -> str:
    text = " ".join(parameter.help.split())
    if getattr(parameter, "envvar", None):
        text += f" Environment: `{parameter.envvar}`."
    if parameter.default not in (None, False, (), []) and not callable(parameter.default):
        text += f" Default: `{getattr(parameter.default, 'value', parameter.default)}`."
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
