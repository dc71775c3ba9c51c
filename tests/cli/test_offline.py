"""Offline is a contract: no socket is opened and no name asked for, by a process that tells of whoever tries"""

import json
import subprocess
import sys

import pytest

from tests.cli.calling import PROGRAM, process
from tests.no_network import NoNetwork

_LOAD = """
import sys
from artifactstore import Settings, Store

with Store.open(sys.argv[1], settings=Settings(offline=True, attested=sys.argv[2])) as store:
    print(sum(float(tensor.sum()) for _, tensor in store.stream("model")))
"""


@pytest.fixture
def alone(tmp_path):
    return NoNetwork(tmp_path / "alone", ARTSTORE_OFFLINE="1")


@pytest.fixture
def model(place):
    numpy = pytest.importorskip("safetensors.numpy")
    import numpy as np

    folder = place / "model"
    folder.mkdir()
    numpy.save_file({"w": np.arange(10, dtype=np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    return folder


def ran(alone, *arguments, code=0):
    done = process(*arguments, env=alone.env)
    assert done.returncode == code, done.stderr
    assert alone.tried == []
    return done


@pytest.mark.parametrize(
    "line", ["socket.socket()", "socket.getaddrinfo('localhost', 80)", "socket.gethostbyname('a')"]
)
def test_who_tries_is_seen(alone, line):
    attempt = f"import socket\ntry:\n    {line}\nexcept OSError:\n    pass"
    assert subprocess.run([sys.executable, "-c", attempt], env=alone.env).returncode == 0
    assert len(alone.tried) == 1


def test_a_local_store_needs_no_network(alone, model, place, tmp_path):
    for words in (
        ("init",),
        ("add", "model", "--as", "org/model", "--alias", "prod"),
        ("add", "model", "--as", "model"),
        ("ls",),
        ("show", "model"),
        ("checkout", "model", "files"),
        ("checkout", "org/model@prod", "cache", "--layout", "hf-cache"),
        ("add", "--from", "hf-cache", "cache"),
        ("add", "--from", "dir", place / "files", "-n"),
        ("verify",),
        ("tree", "model"),
        ("du",),
        ("status",),
        ("doctor",),
        ("gc", "--older", "30d", "--yes"),
        ("catalog", "dump"),
        ("export", "checksums", "model"),
    ):
        ran(alone, *words)
    command = [sys.executable, "-c", _LOAD, place / ".artstore", tmp_path / "attested"]
    done = subprocess.run(command, env=alone.env, capture_output=True, text=True)
    assert (done.stdout, done.stderr, alone.tried) == ("45.0\n", "", [])


POSTGRES = [
    "postgresql://user:secret@127.0.0.1/models",
    "postgresql://user@db.example/m",
    "postgresql:///m?host=/run/pg",
]
PLACES = ["s3://bucket/prefix", "s3://bucket/x?transport=obstore", "gs://bucket/x", "az://bucket/x"]


def offline(alone, *arguments):
    """The one line of a command that needed a network"""
    done = ran(alone, *arguments, code=14)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "secret" not in line
    assert "--offline" in line
    return line


@pytest.mark.parametrize("url", PLACES)
def test_a_remote_store_is_told_of(alone, url):
    assert f"artstore: {url.partition('?')[0]}" in offline(alone, "ls", "--store", url)


def test_every_verb_tells_of_it(alone, store, weights):
    offline(alone, "init", PLACES[0], "--catalog", "sqlite:////tmp/never.sqlite")
    offline(alone, "add", weights, "--as", "b", "--store", PLACES[0])
    offline(alone, "repair", "--from", PLACES[0])


@pytest.mark.parametrize("catalog", POSTGRES)
def test_a_catalog_on_a_server_is_told_of(alone, store, catalog):
    assert "is on a server" in offline(alone, "ls", "--store", store, "--catalog", catalog)


def test_no_verb_reaches_for_a_server(alone, store, place):
    offline(alone, "init", place / "new", "--catalog", POSTGRES[0])
    assert not (place / "new").exists()
    offline(alone, "catalog", "rebuild", "--store", store, "--catalog", POSTGRES[0])
    offline(alone, "catalog", "upgrade", "--store", store, "--catalog", POSTGRES[0])


def test_the_option_says_it_as_the_environment_does(alone, store):
    env = {name: value for name, value in alone.env.items() if name != "ARTSTORE_OFFLINE"}
    done = subprocess.run([PROGRAM, "ls", "--store", PLACES[0], "--offline"], env=env, capture_output=True, text=True)
    assert done.returncode == 14
    document = json.loads(
        subprocess.run(
            [PROGRAM, "ls", "--store", PLACES[0], "--offline", "--json"], env=env, capture_output=True, text=True
        ).stderr
    )
    assert document["error"] == "unavailable.offline"
    assert document["facts"] == {"url": PLACES[0]}
    assert alone.tried == []


def test_a_remote_store_is_read_from_its_cache(alone, moto_endpoint, model, place, tmp_path):
    from tests.servers import S3_BUCKET

    url = f"s3://{S3_BUCKET}/{tmp_path.name}?endpoint_url={moto_endpoint}&region=us-east-1"
    there = ("--store", url, "--catalog", f"sqlite:///{place}/rows.sqlite", "--cache", place / "kept")
    assert process("init", url, "--catalog", f"sqlite:///{place}/rows.sqlite").returncode == 0
    for name in ("held", "other"):
        (model / "config.json").write_text(name)
        assert process("add", "model", "--as", name, *there).returncode == 0
    assert process("checkout", "held", "online", *there).returncode == 0
    ran(alone, "ls", *there)
    ran(alone, "show", "held", *there)
    ran(alone, "status", *there)
    ran(alone, "checkout", "held", "out", *there)
    assert (place / "out" / "config.json").read_text() == "held"
    assert "--cache FOLDER" in offline(alone, "checkout", "other", "none", *there)
    assert "--cache FOLDER" in offline(alone, "add", "model", "--as", "third", *there)
    offline(alone, "verify", *there)
