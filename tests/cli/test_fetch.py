"""artstore fetch: the words of the old scripts, what they print, and with which code they end"""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.calling import PROGRAM, call, document, done, process, refused
from tests.hub import local_hub
from tests.no_network import NoNetwork
from tests.shelf import registry, total, weights, whole

TOKEN = "hf_" + "b" * 40


@pytest.fixture(autouse=True)
def no_ambient(monkeypatch):
    """No token and no hub of whoever runs the tests"""
    for name in [name for name in os.environ if name.startswith(("HF_", "MODELS_PATH", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9/never")


@pytest.fixture
def hub():
    with local_hub(tokens=(TOKEN,)) as made:
        made.repo("org/one", whole(1), card={"license": "mit"})
        made.repo("org/two", whole(2))
        yield made


@pytest.fixture
def mine(place, hub):
    """The options that say which registry and which hub"""
    file = place / "mine.toml"
    file.write_text(registry("org/one", "org/two", "org/none"))
    done("init", ".artstore")
    return ("--registry", file, "--endpoint", hub.endpoint)


def test_a_model_is_fetched_by_its_name_and_the_second_time_not(mine, hub):
    said = document("fetch", "a", *mine)
    (model,) = said["models"]
    assert (model["name"], model["ref"], model["error"]) == ("a", "org/one:1", None)
    assert said["fetched_bytes"] == total(whole(1)) == hub.sent()
    assert document("fetch", "--model", "a", *mine)["fetched_bytes"] == 0
    assert done("fetch", "a", "-q", *mine).split() == [model["id"]]
    text = done("fetch", "a", *mine)
    assert text.startswith("a  org/one:1  ")
    assert "(nothing to fetch)" in text
    assert hub.sent() == total(whole(1))


def test_a_repository_or_a_file_of_it_is_fetched_by_its_reference(mine, hub, place):
    endpoint = mine[2:]
    said = document("fetch", "hf://org/one/tokenizer.json", "--to", "out", *endpoint)
    assert said["models"][0]["folder"] == "out/org_one"
    assert [path.name for path in (place / "out/org_one").iterdir()] == ["tokenizer.json"]
    document("fetch", "hf://org/one@main", "--include", "*.json", "--exclude", "token*", *endpoint)
    assert [one["path"] for one in document("show", "org/one@main")["files"]] == ["config.json", "tokenizer.json"]
    assert hub.sent() == len(whole(1)["tokenizer.json"]) + len(whole(1)["config.json"])


def test_the_list_is_a_table_and_changes_nothing(mine, hub):
    text = done("fetch", "a", "b", "c", "--list", *mine)
    head, *rows = text.splitlines()
    for title in ("NAME", "DESTINATION", "SOURCE", "LICENSE", "SIZE", "HELD", "FETCH", "DISK AFTER"):
        assert title in head
    assert rows[0].split()[:4] == ["a", "org_one", "hf://org/one", "mit"]
    assert "c: " in text
    assert "to fetch" in rows[-1]
    said = document("fetch", "a", "b", "c", "-n", *mine)
    assert [one["state"] for one in said["models"]] == ["fetch", "fetch", "failed"]
    assert said["free_after_bytes"] == said["free_bytes"] - said["new_bytes"]
    assert hub.sent() == 0
    done("fetch", "a", *mine)
    assert document("fetch", "a", "--list", *mine)["models"][0]["state"] == "held"
    assert done("fetch", "--list", "-q", "a", *mine).split() == ["a"]


def test_the_list_of_all_tells_of_the_shipped_models_without_a_network(mine):
    said = document("fetch", "--list", "--offline", *mine)
    by_name = {one["name"]: one for one in said["models"]}
    clip = by_name["clip"]
    assert (clip["license"], clip["bytes"], clip["destination"]) == ("MIT", 1_700_000_000, "models/clip")
    assert by_name["text-encoder"]["gated"] is True
    assert clip["error"]["error"] == "unavailable.offline"


def test_some_that_fail_end_with_6_and_all_with_their_own_code(mine):
    result = call("fetch", "a", "c", *mine)
    assert result.exit_code == 6
    assert "a  org/one:1" in result.stdout
    assert "1 failed" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("artstore: c: ")
    result = call("fetch", "b", "c", "--json", *mine)
    assert result.exit_code == 6
    assert [one["error"] and one["error"]["error"] for one in json.loads(result.stdout)["models"]] == [
        None,
        "not-found.repo",
    ]
    assert "org/none" in refused(3, "fetch", "c", *mine)


def test_check_says_what_is_here_without_a_network(mine, hub, place):
    assert call("fetch", "a", "--check", *mine).exit_code == 14
    done("fetch", "a", "--to", "out", *mine)
    asked = len(hub.requests)
    said = document("fetch", "a", "--check", "--to", "out", *mine)
    assert (said["models"][0]["state"], said["models"][0]["away"]) == ("held", [])
    result = call("fetch", "a", "b", "--check", *mine)
    assert result.exit_code == 14
    assert "1 missing; artstore fetch --download brings them" in result.stdout
    config = place / "out/org_one/config.json"
    config.write_bytes(config.read_bytes().swapcase())
    assert call("fetch", "a", "--check", "--to", "out", *mine).exit_code == 0
    result = call("fetch", "a", "--verify", "--to", "out", *mine)
    assert result.exit_code == 4
    assert "config.json in its folder" in result.stdout
    config.unlink()
    assert call("fetch", "a", "--check", "--to", "out", *mine).exit_code == 4
    assert len(hub.requests) == asked


def test_verify_reads_the_store_back(mine, store_blob):
    done("fetch", "a", *mine)
    assert document("fetch", "a", "--verify", *mine)["damaged"] == []
    store_blob().write_bytes(b"x")
    result = call("fetch", "a", "--verify", "--json", *mine)
    assert result.exit_code == 4
    assert json.loads(result.stdout)["damaged"]
    assert call("fetch", "a", "--check", *mine).exit_code == 4
    done("fetch", "a", *mine)
    assert document("fetch", "a", "--verify", *mine)["damaged"] == []


@pytest.fixture
def store_blob(place):
    def largest():
        path = max((place / ".artstore/blobs").rglob("*.*"), key=lambda path: path.stat().st_size)
        path.chmod(0o644)
        return path

    return largest


def test_a_store_that_is_not_there_holds_nothing(place):
    assert call("fetch", "clip", "--check").exit_code == 14
    assert not (place.parent / "home/.artstore").exists()


def test_download_and_all_are_for_all_and_clean_up(mine, hub, place):
    alone = ("--registry", place / "only.toml", *mine[2:])
    shipped = Path(__file__).parents[2] / "models/artmodels/registry.toml"
    names = [line[8:-1] for line in shipped.read_text().splitlines() if line.startswith("[models.")]
    text = "".join(f'[models.{name}]\nsource = "hf://org/one"\ndestination = "x"\n' for name in names)
    (place / "only.toml").write_text(text)
    said = document("fetch", "--download", *alone)
    assert {one["ref"] for one in said["models"]} == {"org/one:1"}
    assert len(said["models"]) == len(names)
    assert document("fetch", "--all", "--jobs", "2", *alone)["fetched_bytes"] == 0
    assert document("fetch", "--force", "a", *mine)["fetched_bytes"] == total(whole(1))


def test_cleanup_removes_what_is_half_fetched(mine, hub):
    hub.repo("org/one", whole(1, 4 << 20))
    hub.fault("stall", "model.safetensors", after=2 << 20)
    line = refused(1, "fetch", "a", "--timeout", "1.5", *mine)
    assert "kept" in line or "silent" in line
    hub.go_on()
    said = document("fetch", "--cleanup")
    assert said["removed"] >= 1
    assert said["bytes"] > 1 << 20
    assert document("fetch", "--cleanup") == {"removed": 0, "bytes": 0}
    assert "0 files half fetched removed" in done("fetch", "--cleanup")
    assert document("fetch", "a", "--cleanup", *mine)["models"][0]["ref"] == "org/one:1"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "Name what to fetch, or say --all"),
        (["clop"], 3, "No model is called 'clop'; did you mean clip?"),
        (["clip", "--list", "--check"], 2, "Give only one of --list and --check"),
        (["clip", "--list", "--download"], 2, "Give only one of --list and --download"),
        (["hf://a/b/../c"], 2, "'..'"),
        (["hf://a b/c"], 2, "Not a repository of the hub"),
        (["clip", "--registry", "none.toml"], 3, "No such file: none.toml"),
        (["clip", "--registry", ""], 2, "A path is empty"),
        (["clip", "--endpoint", "file:///etc/passwd"], 2, "Only http and https are read"),
        (["clip", "--endpoint", "https://user:secret@host"], 2, "must not hold a name or password"),
        (["clip", "--jobs", "0"], 2, "--jobs"),
        (["clip", "--timeout", "0"], 2, "--timeout"),
        (["clip", "--offline"], 14, "is not here; bring it by: artstore fetch clip with a network"),
        (["--download", "--offline"], 14, "text-encoder"),
    ],
)
def test_bad_input_is_one_line(place, arguments, code, says):
    line = refused(code, "fetch", *arguments)
    assert says in line
    assert "secret" not in line


def test_a_malformed_registry_is_one_line(place):
    (place / "bad.toml").write_text('[models.x]\nsource = "hf://a/b"\nlicence = "MIT"')
    line = refused(2, "fetch", "clip", "--registry", "bad.toml")
    assert line == "bad.toml: [models.x]: unknown key 'licence'; did you mean license?"


def test_a_token_goes_to_another_hub_only_when_it_was_meant_for_it(mine, hub, monkeypatch):
    hub.repo("org/gated", whole(3), gated="auto", granted=(TOKEN,))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert "gated" in refused(12, "fetch", "hf://org/gated", *mine)
    assert not [one for one in hub.requests if one.authorization]
    monkeypatch.setenv("ARTSTORE_HUB_TOKEN", TOKEN)
    result = call("fetch", "hf://org/gated", "--json", *mine)
    assert result.exit_code == 0
    assert TOKEN not in result.stdout + result.stderr
    assert {one.authorization for one in hub.requests if one.host == "cdn"} == {None}


def test_a_variable_names_another_source(mine, hub, place, monkeypatch):
    monkeypatch.setenv("BASIC_MODEL", "org/two")
    monkeypatch.setenv("MODELS_PATH", str(place / "models"))
    said = document("fetch", "basic", *mine)
    assert said["models"][0]["ref"] == "org/two:1"
    assert (place / "models/org_two/config.json").read_bytes() == whole(2)["config.json"]
    assert hub.sent() == total(whole(2))


def test_killed_in_the_middle_it_goes_on_with_the_rest(mine, hub, place):
    files = whole(1, 24 << 20)
    hub.repo("org/one", files)
    hub.fault("stall", "model.safetensors", after=16 << 20)
    command = [PROGRAM, "fetch", "a", *map(str, mine)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        hub.await_sent(16 << 20, "model.safetensors")
        running.send_signal(signal.SIGKILL)
    hub.go_on()
    kept = sum(path.stat().st_size for path in (place.parent / "home").rglob("*.part"))
    assert kept > 1 << 20
    assert document("ls")["versions"] == []
    before = hub.sent()
    assert document("fetch", "a", *mine)["models"][0]["ref"] == "org/one:1"
    assert hub.sent() - before == total(files) - kept
    assert list((place.parent / "home").rglob("*.part")) == []
    done("checkout", "org/one", "out")
    assert {path: (place / "out" / path).read_bytes() for path in files} == files
    before = hub.sent()
    done("fetch", "a", *mine)
    assert hub.sent() == before


def test_what_is_here_opens_no_socket(mine, hub, place):
    done("fetch", "a", "--to", "out", *mine)
    quiet = NoNetwork(place / "quiet", ARTSTORE_OFFLINE="1", MODELS_PATH="out")
    for arguments, code in (
        (["a"], 0),
        (["a", "--check"], 0),
        (["a", "--verify"], 0),
        (["a", "--list"], 0),
        (["b"], 14),
    ):
        result = process("fetch", *arguments, "--json", *mine, env=quiet.env)
        assert result.returncode == code, result.stderr
        assert "Traceback" not in result.stderr
    assert "artstore fetch b with a network" in json.loads(result.stderr)["message"]
    assert quiet.tried == []


def test_progress_is_told_as_events(mine):
    events = [json.loads(line) for line in done("fetch", "a", "--jsonl", *mine).splitlines()]
    assert {one["phase"] for one in events if one["event"] == "progress"} >= {"fetch", "add"}
    assert events[-1]["event"] == "result"


def test_a_local_model_is_taken_from_its_folder(place, mine, weights_folder):
    (place / "mine.toml").write_text('[models.v]\nsource = "./own"\nlicense = "LicenseRef-Own"\n')
    assert document("fetch", "v", "--registry", "mine.toml", "--offline")["models"][0]["ref"] == "v:1"
    assert document("show", "v")["license"] == "LicenseRef-Own"


@pytest.fixture
def weights_folder(place):
    (place / "own").mkdir()
    (place / "own/video.safetensors").write_bytes(weights(9))
