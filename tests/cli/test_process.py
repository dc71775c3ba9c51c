"""The installed command as a process: streams, signals, terminals"""

import functools
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading

import pytest

from tests.cli.calling import PROGRAM, document, process

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def on_terminal(*arguments, env=None, both=True):
    """What the command writes to a terminal of 100 columns"""
    leader, follower = pty.openpty()
    command = [PROGRAM, *map(str, arguments)]
    settings = {**os.environ, "COLUMNS": "100", "TERM": "xterm-256color", **(env or {})}
    streams = {"stdout": follower, "stderr": follower} if both else {"stdout": follower, "stderr": subprocess.DEVNULL}
    running = subprocess.Popen(command, stdin=follower, env=settings, **streams)
    os.close(follower)
    said = b""
    while True:
        try:
            chunk = os.read(leader, 65536)
        except OSError:  # Linux says so when the last writer is gone
            break
        if not chunk:
            break
        said += chunk
    os.close(leader)
    return running.wait(60), said.decode()


def test_a_life_of_a_store(place, weights):
    assert process("init").returncode == 0
    assert process("add", weights, "--as", "bert", "--alias", "prod").stdout.startswith("bert:1  10.2 kB")
    assert json.loads(process("ls", "--json").stdout)["versions"][0]["ref"] == "bert:1"
    assert process("checkout", "bert@prod", "out").returncode == 0
    assert (place / "out" / "weights.bin").read_bytes() == weights.read_bytes()
    assert process("verify").returncode == 0
    failed = process("show", "nobody")
    assert (failed.returncode, failed.stdout) == (3, "")
    assert failed.stderr == "artstore: Nothing here is called 'nobody'; see artstore ls\n"


@pytest.mark.parametrize(
    "words", [("ls",), ("show", "bert"), ("du",), ("status",), ("doctor",), ("log",), ("verify",), ("--help",)]
)
def test_redirected_there_is_no_escape(store, words):
    done = process(*words, env={**os.environ, "TERM": "xterm-256color"})
    assert done.returncode == 0
    assert not ESCAPE.search(done.stdout + done.stderr)
    assert "\r" not in done.stdout + done.stderr


@pytest.mark.parametrize("words", [("ls",), ("show", "bert"), ("doctor",), ("verify",), ("add", "--help")])
def test_on_a_terminal_there_are_colours_unless_unwanted(store, words):
    code, said = on_terminal(*words)
    assert code == 0
    assert re.search(r"\x1b\[(?!0?m)[0-9;]*m", said)
    _, plain = on_terminal(*words, env={"NO_COLOR": "1"}, both=False)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9][;m]", plain)


def test_no_number_is_cut_where_a_table_is_too_wide(store):
    _, said = on_terminal("ls", env={"COLUMNS": "12"})
    assert "10.2 kB" in ESCAPE.sub("", said)


def test_a_terminal_shows_progress_on_stderr_alone(store, place):
    (place / "large.bin").write_bytes(os.urandom(20_000_000))
    code, said = on_terminal("add", "large.bin", "--as", "large")
    assert code == 0
    assert "MB/s" in said or "20.0/20.0 MB" in said
    code, said = on_terminal("checkout", "large", "out", both=False)
    assert "MB/s" not in said


def test_a_line_on_a_terminal_stays_one(store, place):
    code, said = on_terminal("show", "x" * 150)
    assert code == 3
    assert len(said.splitlines()) == 1


def test_a_closed_pipe_is_quiet(store):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = process("ls", stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_full_disk_behind_stdout_is_told(store):
    with open("/dev/full", "w") as full:
        done = process("ls", stdout=full)
    assert (done.returncode, done.stderr) == (13, "artstore: No space left on device; make room and run it again\n")


def test_streams_that_are_closed_lend_their_numbers_to_no_file(store, weights):
    done = subprocess.run(["sh", "-c", f"{PROGRAM} add {weights} --as b >&- 2>&-"], timeout=60)
    assert done.returncode == 0
    assert document("show", "b")["number"] == 1
    assert document("verify")["damaged"] == []


def test_a_name_that_the_encoding_lacks_is_no_failure(store):
    process("add", "weights.bin", "--as", "b", "--phase", "épochè")
    done = process("ls", env={**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\xe9poch\\xe8" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_so_and_leaves_nothing(store, place, number):
    large = place / "large.bin"
    with large.open("wb") as file:
        file.truncate(3 << 30)
    heard = functools.partial(signal.signal, number, signal.SIG_DFL)  # a shell lets its background jobs ignore some
    running = subprocess.Popen(
        [PROGRAM, "add", large, "--as", "large", "--jsonl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heard,  # noqa: PLW1509  # it only sets a signal
    )
    assert json.loads(running.stdout.readline())["event"] == "progress"
    running.send_signal(number)
    drain = threading.Thread(target=running.stdout.read)
    drain.start()
    assert running.stderr.read() == "artstore: Interrupted\n"
    drain.join()
    assert running.wait(60) == 130
    assert [version["ref"] for version in document("ls")["versions"]] == ["bert:1"]
    assert list((store / "tmp").iterdir()) == []
    assert document("status")["leases"] == []


def test_completion_answers_a_shell(store):
    settings = {**os.environ, "_ARTSTORE_COMPLETE": "complete_bash", "COMP_WORDS": "artstore al", "COMP_CWORD": "1"}
    assert process(env=settings).stdout.split() == ["alias"]
    assert "--install-completion" in process("--help").stdout


def test_the_module_of_the_reference_runs():
    done = subprocess.run([sys.executable, "-m", "artstore.reference"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "# `artstore`")
