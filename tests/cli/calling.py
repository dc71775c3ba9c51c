"""The command as the tests call it: in this process, or as a process of its own"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

from artstore.main import app
from typer import testing

# To make the tree of all commands takes ten times as long as most of them.
testing._get_command = functools.cache(testing._get_command)

PROGRAM = Path(sys.executable).with_name("artstore")


def call(*arguments, env=None):
    """Its result: exit_code, stdout, stderr"""
    result = testing.CliRunner().invoke(app, [str(one) for one in arguments], env=env)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def done(*arguments):
    """What a command that succeeds prints"""
    result = call(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def document(*arguments):
    """The JSON document of a command that succeeds and says nothing else"""
    result = call(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def refused(code, *arguments, env=None):
    """The one line on stderr of a command that fails with this exit code"""
    result = call(*arguments, env=env)
    assert result.exit_code == code, (result.exit_code, result.stdout, result.stderr)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("artstore: ")
    assert line.isprintable()
    return line.removeprefix("artstore: ")


def process(*arguments, **options):
    """The finished process of the installed command, its streams captured"""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 60}
    return subprocess.run([PROGRAM, *map(str, arguments)], **{**streams, **options})


def contents(folder):
    """Every file below a folder with its size and time, without the log that SQLite reads and writes beside its file"""
    paths = [path for path in Path(folder).rglob("*") if not path.name.startswith("catalog.sqlite-")]
    stamps = [(path, os.lstat(path)) for path in paths]
    return {str(path): path.is_dir() or (status.st_mtime_ns, status.st_size) for path, status in stamps}
