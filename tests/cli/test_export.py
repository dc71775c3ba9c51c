"""artstore export and artstore import checksums"""

import json

import pytest

from tests.cli.calling import call, document, done, process, refused

KINDS = ["model-card", "cyclonedx", "spdx", "prov", "checksums"]


@pytest.mark.parametrize("kind", KINDS)
def test_to_stdout_and_to_a_file_it_is_the_same(store, place, kind):
    said = done("export", kind, "bert")
    assert done("export", kind, "bert", "-o", "document").startswith("bert:1 → document  ")
    assert (place / "document").read_text() == said
    assert said.endswith("\n")


@pytest.mark.parametrize("kind", KINDS)
def test_as_json(store, kind):
    told = document("export", kind, "bert")
    said = done("export", kind, "bert")
    shown = document("show", "bert")
    if kind in {"model-card", "checksums"}:
        assert told == {"id": shown["id"], "ref": "bert:1", "kind": kind, "text": said}
    else:
        assert told == json.loads(said)
    event = json.loads(done("export", kind, "bert", "--jsonl"))
    assert event == {"event": "result", **told}
    assert done("export", kind, "bert", "-q") == f"{shown['id']}\n"
    written = document("export", kind, "bert", "--output", "document")
    nbytes = len(said.encode())
    assert written == {"id": shown["id"], "ref": "bert:1", "kind": kind, "file": "document", "bytes": nbytes}


def test_a_file_that_is_there_is_overwritten_only_by_force(store, place):
    (place / "README.md").write_text("mine")
    assert "--force" in refused(5, "export", "model-card", "bert", "-o", "README.md")
    assert (place / "README.md").read_text() == "mine"
    done("export", "model-card", "bert", "-o", "README.md", "--force")
    assert (place / "README.md").read_text().startswith("---\nlicense: mit\n")


def test_what_is_not_there(store):
    refused(3, "export", "spdx", "nope")
    refused(2, "export", "pdf", "bert")
    refused(2, "export", "spdx", "bert", "-o", "")
    refused(2, "export", "spdx", "bert", "-o", "none/document")
    refused(3, "import", "checksums", "none", "bert")
    refused(2, "import", "checksums", "", "bert")
    refused(2, "import", "checksums", ".", "bert")
    assert refused(2, "import") == "Missing command; see artstore import --help"


def test_stdout_has_the_bytes_whatever_the_terminal_speaks(store, place, weights):
    (place / "ä").write_text("x")
    done("add", place / "ä", "--as", "umlaut")
    env = {"PYTHONIOENCODING": "latin-1", "HOME": str(place)}
    said = process("export", "checksums", "umlaut", text=False, env=env)
    assert (said.returncode, said.stdout[64:]) == (0, "  ä\n".encode())


def test_checksums_out_and_in(store, place, weights):
    done("export", "checksums", "bert", "-o", "CHECKSUMS.sha256")
    shown = document("show", "bert")
    told = document("import", "checksums", "CHECKSUMS.sha256", "bert")
    assert told == {
        "id": shown["id"],
        "ref": "bert:1",
        "matched": 1,
        "mismatched": [],
        "missing": [],
        "unlisted": [],
    }
    assert done("import", "checksums", "CHECKSUMS.sha256", "bert") == "bert:1  1 file matched\n"


def test_differences_are_exit_code_4(store, place):
    recorded = document("show", "bert")["files"][0]["sha256"]
    (place / "list").write_text(f"{'0' * 64}  weights.bin\n{'1' * 64}  gone\n")
    result = call("import", "checksums", "list", "bert", "--json")
    assert (result.exit_code, result.stderr) == (4, "")
    told = json.loads(result.stdout)
    assert told["mismatched"] == [{"path": "weights.bin", "listed": "0" * 64, "recorded": recorded}]
    assert (told["matched"], told["missing"]) == (0, ["gone"])
    result = call("import", "checksums", "list", "bert")
    assert result.exit_code == 4
    lines = result.stdout.splitlines()
    assert lines[1].split() == ["mismatched", "weights.bin", "0" * 64, recorded]
    assert lines[2].split() == ["missing", "gone"]
    assert lines[-1] == "bert:1  0 files matched  1 mismatched  1 missing"


def test_files_that_a_list_leaves_out_are_no_failure(store, place, weights):
    (place / "more.bin").write_text("x")
    done("add", weights, place / "more.bin", "--as", "two")
    sums = done("export", "checksums", "bert")
    (place / "list").write_text(sums)
    assert done("import", "checksums", "list", "two") == "two:1  1 file matched  1 unlisted\n"


def test_junk_is_refused_with_its_line(store, place):
    (place / "list").write_text("hello\n")
    assert refused(2, "import", "checksums", "list", "bert").startswith("Line 1: ")


def test_nothing_is_written(store, place, weights):
    serial = document("status")["serial"]
    sums = done("export", "checksums", "bert")
    (place / "list").write_text(sums)
    done("import", "checksums", "list", "bert")
    assert document("status")["serial"] == serial
