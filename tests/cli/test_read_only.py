"""A store that this user may read and not write"""

import encodings.utf_16_be  # noqa: F401  # sqlite wants it, and a child without rights could no longer import it
import json
import os
import pwd
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.cli.calling import call, done


@pytest.fixture
def public(weights):
    """A store that everybody may reach and read"""
    folder = Path(tempfile.mkdtemp(prefix="artstore-"))
    done("init", folder / "store")
    done("add", weights, "--as", "bert", "--store", folder / "store")
    done("checkout", "bert", folder / "warm", "--store", folder / "store")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder / "store"
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(folder)


def unprivileged(*commands):
    """(exit code, stderr) of each command, run in a forked child that gave root's rights up"""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                nobody = pwd.getpwnam("nobody")
                os.setgroups([])
                os.setgid(nobody.pw_gid)
                os.setuid(nobody.pw_uid)
            os.chdir("/")
            results = [call(*command) for command in commands]
            os.write(writer, json.dumps([(one.exit_code, one.stderr) for one in results]).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return json.loads(said)


def test_what_reads_works_and_what_writes_is_not_allowed(public):
    at = ("--store", public)
    out = Path(tempfile.mkdtemp(prefix="artstore-"))
    out.chmod(0o777)
    reading = [("ls",), ("show", "bert"), ("search", "bert"), ("du",), ("status",), ("log",), ("doctor",), ("verify",)]
    reading.append(("checkout", "bert", out / "x"))
    writing = [
        ("add", public.parent / "warm", "--as", "b"),
        ("alias", "set", "bert", "x", "bert"),
        ("metric", "bert", "x=1"),
    ]
    try:
        codes = unprivileged(*((*one, *at) for one in reading), *((*one, *at) for one in writing))
        assert codes[: len(reading)] == [[0, ""]] * len(reading)
        assert [code for code, _ in codes[len(reading) :]] == [12] * len(writing)
        assert (out / "x" / "weights.bin").stat().st_size == 10_240
    finally:
        shutil.rmtree(out)
