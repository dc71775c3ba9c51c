"""python -m artmodels.start: a service starts once its models are there, and not before"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub import local_hub
from tests.no_network import NoNetwork
from tests.shelf import registry, total, whole

SERVICE = 'import os; print(os.environ["A_MODEL"], os.environ["MODELS_PATH"], os.getpid())'


@pytest.fixture
def hub():
    with local_hub() as made:
        made.repo("org/one", whole(1))
        made.repo("org/two", whole(2))
        yield made


@pytest.fixture
def start(hub, tmp_path):
    """Runs the module in a folder of its own"""
    file = tmp_path / "mine.toml"
    command = json.dumps([sys.executable, "-c", SERVICE])
    models = ('source = "hf://org/one"\nenv = "A_MODEL"', "org/two")
    file.write_text(registry(*models, greet=f'models = ["a"]\ncommand = {command}', both='models = ["a", "b"]'))
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "ARTSTORE_", "MODELS_"))}
    env |= {"HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9/never"}

    def run(*arguments, env=env, **more):
        own = ["--registry", str(file), "--to", str(tmp_path / "models"), "--endpoint", hub.endpoint]
        program = [sys.executable, "-m", "artmodels.start", *own, *arguments]
        return subprocess.run(program, capture_output=True, text=True, env={**env, **more}, cwd=tmp_path, timeout=120)

    run.env = env
    return run


def said(result, code):
    assert result.returncode == code, (result.stdout, result.stderr)
    assert "Traceback" not in result.stderr
    lines = result.stderr.splitlines()
    return lines[-1] if lines else ""


def test_a_service_finds_its_models_where_the_variables_say(start, hub, tmp_path):
    result = start("greet")
    said(result, 0)
    folder, root, _ = result.stdout.split()
    assert (folder, root) == (str(tmp_path / "models/org_one"), str(tmp_path / "models"))
    assert {path.name for path in Path(folder).iterdir()} == set(whole(1))
    assert hub.sent() == total(whole(1))
    asked = len(hub.requests)
    said(start("greet"), 0)
    assert len(hub.requests) == asked


def test_when_nothing_is_missing_no_socket_is_opened(start, hub, tmp_path):
    said(start("greet"), 0)
    quiet = NoNetwork(tmp_path / "quiet")
    assert said(start("greet", env=quiet.env | start.env | {"PYTHONPATH": quiet.env["PYTHONPATH"]}), 0) == ""
    assert said(start("--self-test", "greet", env=quiet.env), 0) == ""
    assert "org/two" in said(start("both", "--offline", "--", "true", env=quiet.env), 14)
    assert quiet.tried == []


def test_a_command_may_be_given_and_its_code_is_the_one_it_ends_with(start):
    assert start("both", "--", sys.executable, "-c", "raise SystemExit(7)").returncode == 7
    result = start("greet", "--", sys.executable, "-c", "import sys; print(sys.argv[1:])", "--list", "--", "x")
    assert result.stdout.strip() == "['--list', '--', 'x']"


@pytest.mark.skipif(os.name != "posix", reason="there a process cannot be replaced")
def test_the_service_takes_the_place_of_the_process(start, hub, tmp_path):
    said(start("greet"), 0)
    own = ["--registry", tmp_path / "mine.toml", "--to", tmp_path / "models"]
    code = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(60)"
    program = [sys.executable, "-m", "artmodels.start", *own, "greet", "--", sys.executable, "-c", code]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=start.env) as running:
        assert int(running.stdout.readline()) == running.pid
        running.send_signal(signal.SIGTERM)
    assert running.returncode == -signal.SIGTERM


def test_nothing_is_fetched_for_a_service_that_cannot_be_started(start, hub):
    assert "did you mean greet?" in said(start("gret"), 3)
    assert "Nobody says how both is started" in said(start("both"), 2)
    assert "No program is called 'no-such-program'" in said(start("both", "--", "no-such-program"), 3)
    assert "Name the service to start: one of" in said(start(), 2)
    assert hub.requests == []


def test_what_is_missing_is_named_and_nothing_starts(start, tmp_path):
    line = said(start("greet", ARTSTORE_OFFLINE="1"), 14)
    assert "a (hf://org/one) is not here; bring it by: artstore fetch a with a network" in line
    assert not (tmp_path / "models").exists()
    assert "No such file" in said(start("greet", "--registry", "none.toml"), 3)


def test_another_source_may_be_named(start, tmp_path):
    result = start("greet", A_MODEL="org/two")
    said(result, 0)
    assert result.stdout.split()[0] == str(tmp_path / "models/org_two")


def test_the_self_test_reads_all_back_and_starts_nothing(start, tmp_path):
    assert start("greet", "--self-test").returncode == 14
    said(start("greet"), 0)
    result = start("greet", "--self-test")
    said(result, 0)
    assert json.loads(result.stdout)["state"] == "held"
    config = tmp_path / "models/org_one/config.json"
    config.write_bytes(config.read_bytes().swapcase())
    result = start("greet", "--self-test")
    said(result, 4)
    assert json.loads(result.stdout)["lacking"] == ["config.json"]
    names = [json.loads(line)["name"] for line in start("--self-test").stdout.splitlines()]
    assert {"a", "b", "clip", "basic"} <= set(names)


def test_services_are_listed(start):
    lines = start("--list").stdout.splitlines()
    assert "translation: basic, medium, premium" in lines
    assert "greet: a" in lines
