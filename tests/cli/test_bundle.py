"""The command for bundles: have, create, inspect, apply"""

import json
import os

import pytest

from artifactstore.blobs.tar import TarBlobs
from tests.cli.calling import call, document, done, refused
from tests.keys import make_pair


@pytest.fixture
def other(place):
    """A store at the other side"""
    done("init", place / "other")
    return place / "other"


@pytest.fixture
def made(store, place):
    done("alias", "set", "bert", "prod", "bert:1")
    done("bundle", "create", "bert", "-o", "x.tar")
    return place / "x.tar"


def test_a_version_is_carried_from_one_store_to_another(made, other, weights, place):
    assert "bert:1" in done("bundle", "inspect", made)
    said = done("bundle", "apply", made, "--store", other)
    assert "bert@x/prod → " in said
    assert "bert:1" in said
    done("checkout", "bert@x/prod", "out", "--store", other)
    assert (place / "out/weights.bin").read_bytes() == weights.read_bytes()
    assert "1 version here already" in done("bundle", "apply", made, "--store", other)


def test_what_is_made_is_told_as_json(store, place):
    found = document("bundle", "create", "bert", "-o", "x.tar")
    (version,) = found["versions"]
    size = os.path.getsize(place / "x.tar")
    assert (version["ref"], found["bytes"], found["written_bytes"]) == ("bert:1", size, size)
    assert (found["files"], found["signed"], found["resumed_bytes"]) == (["x.tar"], False, 0)
    assert document("bundle", "create", "bert", "-o", "x.tar")["resumed_bytes"] == size
    assert done("bundle", "create", "bert", "-o", "x.tar", "-q").strip() == version["id"]


def test_a_dry_run_writes_nothing(store, other, made, place):
    assert "Nothing changed (dry run)" in done("bundle", "create", "bert", "-o", "y.tar", "-n")
    assert document("bundle", "create", "bert", "-o", "y.tar", "-n")["parts"] == 1
    assert not list(place.glob("y.tar*"))
    assert "Nothing changed (dry run)" in done("bundle", "apply", made, "--store", other, "-n")
    found = document("bundle", "apply", made, "--store", other, "-n")
    assert ([one["ref"] for one in found["versions"]], found["held"]) == (["bert:1"], 0)
    assert document("ls", "--store", other) == {"versions": []}


def test_parts_are_written_and_found_by_any_of_them(store, other, place):
    said = done("bundle", "create", "bert", "-o", "x.tar", "--split", "4kB")
    parts = sorted(place.glob("x.tar.*"))
    assert len(parts) == 5
    assert "x.tar.001 … x.tar.005" in said
    assert "files      5" in done("bundle", "inspect", parts[3])
    done("bundle", "apply", "x.tar", "--store", other)
    parts[1].unlink()
    assert "x.tar.002 of the bundle is missing" in refused(3, "bundle", "inspect", "x.tar")


def test_a_delta_leaves_out_what_the_other_side_has(store, other, place):
    (place / "large.bin").write_bytes(bytes(range(256)) * 20_000)
    done("add", "large.bin", "--as", "large")
    done("bundle", "create", "large", "-o", "x.tar")
    done("bundle", "apply", "x.tar", "--store", other)
    assert "1 version" in done("bundle", "have", "-o", "have.json", "--store", other)
    (place / "more.bin").write_bytes(b"more" * 500)
    done("add", "large.bin", "more.bin", "--as", "large")
    said = done("bundle", "create", "large:1", "large:2", "-o", "d.tar", "--delta", "have.json")
    assert "A delta: it counts on large:1 at the other side" in said
    assert "1 version the other side has already" in said
    assert "counts on  large:1" in done("bundle", "inspect", "d.tar")
    assert document("bundle", "inspect", "d.tar")["complete"] is False
    done("init", "third")
    assert "counts on blobs of large:1" in refused(3, "bundle", "apply", "d.tar", "--store", "third")
    assert document("bundle", "apply", "d.tar", "--store", other)["bytes"] == 2000


def test_what_is_held_is_written_anew_but_over_nothing_else(store, place):
    found = document("bundle", "have", "-o", "have.json")
    assert found["versions"] == 1
    assert json.loads((place / "have.json").read_text())["versions"] == [
        done("bundle", "have", "-o", "have.json", "-q").strip()
    ]
    assert "is something else" in refused(1, "bundle", "have", "-o", "weights.bin")
    assert "Not a file of 'artstore have'" in refused(
        2, "bundle", "create", "bert", "-o", "x", "--delta", "weights.bin"
    )


def test_only_what_a_trusted_key_signed_is_taken(store, other, place, made):
    private, _ = make_pair(place, "studio", password="word")
    assert "cannot sign" in refused(2, "bundle", "create", "bert", "-o", "s.tar", "--sign", private)
    result = call("bundle", "create", "bert", "-o", "s.tar", "--sign", private, env={"ARTSTORE_SIGN_PASSWORD": "word"})
    assert (result.exit_code, "signed" in result.stdout) == (0, True)
    assert "not checked; see --trusted-keys" in done("bundle", "inspect", "s.tar")
    assert "valid, by studio.pem" in done("bundle", "inspect", "s.tar", "--trusted-keys", place / "studio")
    assert "not signed" in refused(5, "bundle", "apply", made, "--store", other, "--trusted-keys", place / "studio")
    make_pair(place, "thief")
    assert "none of those in" in refused(
        5, "bundle", "apply", "s.tar", "--store", other, "--trusted-keys", place / "thief"
    )
    said = done("bundle", "apply", "s.tar", "--store", other, "--trusted-keys", place / "studio")
    assert "signature valid, by studio.pem" in said


def test_aliases_are_named_as_asked(made, other):
    assert "give --as or --aliases" in refused(2, "bundle", "apply", made, "--store", other, "--as", "a", "--aliases")
    assert "bert@april/prod" in done("bundle", "apply", made, "--store", other, "--as", "april")
    assert "bert@prod" in done("bundle", "apply", made, "--store", other, "--aliases")


def test_damage_is_found_when_every_blob_is_read(made):
    with TarBlobs(made) as blobs:
        at = blobs.offset(next(iter(blobs.keys("blobs/"))))
    raw = bytearray(made.read_bytes())
    raw[at] ^= 1
    made.write_bytes(raw)
    assert call("bundle", "inspect", made).exit_code == 0
    result = call("bundle", "inspect", made, "--verify")
    assert (result.exit_code, f"at byte {at}" in result.stdout) == (4, True)
    assert json.loads(call("bundle", "inspect", made, "--verify", "--json").stdout)["damaged"][0]["offset"] == at


def test_no_damage_is_said_too(made):
    assert "no damage" in done("bundle", "inspect", made, "--verify")


@pytest.mark.parametrize(
    ("code", "message", "arguments"),
    [
        (2, "--output", ["create", "bert"]),
        (2, "A path is empty", ["create", "bert", "-o", ""]),
        (2, "more than 500 files", ["create", "bert", "-o", "y", "--split", "5", "-n"]),
        (2, "more than 500 files", ["create", "bert", "-o", "y", "--split", "0kB"]),
        (2, "Not a size", ["create", "bert", "-o", "y", "--split", "much"]),
        (3, "Nothing here is called 'none'", ["create", "none", "-o", "y"]),
        (2, "No such file", ["create", "bert", "-o", "y", "--delta", "none"]),
        (3, "none", ["create", "bert", "-o", "y", "--sign", "none"]),
        (2, "weights.bin cannot sign", ["create", "bert", "-o", "y", "--sign", "weights.bin"]),
        (2, "no folder; make it first", ["create", "bert", "-o", "none/y"]),
        (5, "is there with other content", ["create", "bert", "-o", "weights.bin"]),
        (4, "is no bundle of a store: at byte 0 it is no header", ["inspect", "weights.bin"]),
        (3, "No bundle at none", ["inspect", "none"]),
        (4, "is no bundle of a store: at byte 0", ["apply", "weights.bin"]),
        (3, "No bundle at none", ["apply", "none"]),
        (2, "holds the parts of 0 bundles", ["apply", "."]),
        (2, "Missing", ["apply"]),
    ],
)
def test_bad_input_is_one_line(store, weights, code, message, arguments):
    assert message in refused(code, "bundle", *arguments)


def test_another_file_is_overwritten_when_asked(store, place, weights):
    done("bundle", "create", "bert", "-o", "weights.bin", "--force")
    assert "bert:1" in done("bundle", "inspect", "weights.bin")
