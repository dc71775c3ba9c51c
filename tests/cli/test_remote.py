"""artstore remote, push, pull, sync, clone and whereis: what a person sees, and what programs read"""

import json
import secrets
import shutil

import pytest

from tests.cli.calling import call, contents, document, done, refused
from tests.servers import S3_BUCKET


@pytest.fixture
def mirror(store, place):
    """The store of this folder with a mirror beside it, empty yet"""
    done("remote", "add", "usb", place / "usb")
    return place / "usb"


@pytest.fixture
def other(place):
    """A store of somebody else"""
    done("init", place / "other")
    (place / "x.bin").write_bytes(b"x" * 5000)
    done("add", place / "x.bin", "--as", "x", "--alias", "prod", "--store", place / "other")
    return place / "other"


def test_a_mirror_is_made_filled_and_listed(store, place):
    assert done("remote", "ls") == "No remotes; artstore remote add NAME URL makes one known\n"
    assert document("remote", "ls") == {"remotes": []}
    told = done("remote", "add", "usb", place / "usb")
    assert told == f"usb is a mirror at {place / 'usb'}; artstore push usb fills it\n"
    planned = done("push", "usb", "-n").splitlines()
    assert planned[0].split() == ["BRING", "bert:1", "10.2", "kB"]
    assert planned[-1] == "Nothing changed (dry run)"
    pushed = done("push", "usb").splitlines()
    assert pushed[0] == "bert:1  10.2 kB"
    assert pushed[-1].startswith("1 version, 1 blob of 10.2 kB to usb  ")
    assert done("push", "usb") == "Nothing to bring; both are in step\n"
    header, row = done("remote", "ls").splitlines()
    assert header.split() == ["NAME", "URL", "KIND", "THERE", "LAST", "USED"]
    assert row.split()[:1] == ["usb"]
    assert row.split()[2:4] == ["mirror", "yes"]
    (one,) = document("remote", "ls")["remotes"]
    assert {"name", "url", "kind", "store", "reachable", "serial", "seen"} == set(one)
    assert done("remote", "ls", "-q") == "usb\n"
    assert done("remote", "rm", "usb") == f"Forgot usb; {place / 'usb'} stays as it is\n"
    assert "forgot remote usb" in done("log")


def test_ids_and_documents(mirror):
    (version,) = document("ls")["versions"]
    assert done("push", "usb", "-n", "-q") == f"{version['id']}\n"
    report = document("push", "usb")
    assert report["versions"] == [{"id": version["id"], "ref": "bert:1", "size": 10240}]
    assert (report["blobs"], report["bytes"], report["healed"], report["aliases"]) == (1, 10240, [], [])
    plan = document("push", "usb", "-n")
    assert (plan["versions"], plan["blobs"], plan["delete"]) == ([], 0, [])
    assert done("push", "usb", "-q") == ""
    done("metric", "bert", "loss=0.25")
    done("alias", "set", "bert", "prod", "bert")
    assert done("sync", "usb", "-n").splitlines() == [
        "Aliases: 1 to move",
        "Metrics of 1 version",
        "Nothing changed (dry run)",
    ]
    assert done("sync", "usb").splitlines() == ["Aliases: 1 moved", "Metrics of 1 version", "Both are in step"]
    assert done("whereis", "bert", "-q") == "here\nusb\n"
    places = document("whereis", "bert")["places"]
    assert [(one["name"], one["state"]) for one in places] == [("here", "here"), ("usb", "reachable")]


def test_pull_and_the_names_it_gives(store, other):
    told = done("remote", "add", "them", other)
    assert told.endswith("it can be pulled from; --remote-catalog lets you push\n")
    done("pull", "them")
    assert "them/prod" in done("ls")
    line = refused(3, "pull", "them", "nope")
    assert line.startswith("Remote them has nothing called 'nope'")
    line = refused(5, "push", "them")
    assert "--remote-catalog" in line
    assert done("pull", "them", "-n").splitlines()[-1] == "Nothing changed (dry run)"
    done("remote", "rm", "them")
    catalog = f"sqlite:///{other}/catalog.sqlite"
    assert "pushed to" in done("remote", "add", "them", other, "--remote-catalog", catalog)
    done("push", "them", "bert", "--aliases")
    assert "bert:1" in done("ls", "--store", other)
    log = done("log")
    assert "remote them holds" in log
    assert " is at " in log


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (2, ["remote", "add", "a b", "usb"]),
        (2, ["remote", "add", "here", "usb"]),
        (2, ["remote", "add", "self", "."]),
        (2, ["remote", "add", "deep", "no/such/folder"]),
        (2, ["remote", "add", "x", "ftp://host/x"]),
        (2, ["remote", "add", "x", "s3://key:secret@bucket/x"]),
        (2, ["remote", "add", "x"]),
        (2, ["remote", "rename", "x"]),
        (3, ["remote", "rm", "nope"]),
        (3, ["push", "nope"]),
        (3, ["push", "usb", "nope"]),
        (3, ["pull", "usb", "nope"]),
        (3, ["whereis", "nope"]),
        (2, ["push"]),
        (2, ["sync", "usb", "--grace", "30"]),
        (10, ["clone", "nothing", "dest"]),
        (2, ["clone", "usb"]),
        (14, ["clone", "s3://bucket/x", "dest", "--offline"]),
        (14, ["remote", "add", "s3", "s3://bucket/x", "--offline"]),
    ],
)
def test_what_is_wrong_is_one_line(mirror, place, code, arguments):
    before = contents(place)
    assert len(refused(code, *arguments)) < 300
    assert contents(place) == before


def test_a_name_that_is_taken(mirror, other, place):
    assert "artstore remote rm usb" in refused(1, "remote", "add", "usb", other)
    assert "artstore remote rm usb" in refused(1, "remote", "add", "usb", place / "new")
    assert not (place / "new").exists()
    # the same store under its name again, as when it is mounted elsewhere
    moved = mirror.rename(place / "moved")
    assert "mirror" in done("remote", "add", "usb", moved)
    done("push", "usb")


def test_a_mirror_that_is_away(mirror, place):
    done("push", "usb")
    away = mirror.rename(place / "away")
    for arguments in (["push", "usb"], ["pull", "usb"], ["sync", "usb", "--delete", "--yes"], ["push", "usb", "-n"]):
        assert "mount its disk" in refused(1, *arguments)
    assert done("remote", "ls").splitlines()[1].split()[3] == "no"
    assert done("whereis", "bert").splitlines()[2].split()[1] == "away"
    assert "usb away now" in done("doctor")
    away.rename(mirror)
    assert "1 known, all there" in done("doctor")


def test_sync_asks_before_it_lets_go(mirror, place):
    for step in range(11, 31):
        (place / "weights.bin").write_bytes(bytes([step]) * 10240)
        done("add", place / "weights.bin", "--as", "bert", "--step", step)
    done("push", "usb")
    done("gc", "--where", "number = 2", "--yes")
    planned = done("sync", "usb", "--delete", "-n")
    assert "RETIRE  bert:2  10.2 kB  not in the store it mirrors" in planned
    assert done("sync", "usb") == "Nothing to bring; both are in step\n"
    assert "--yes" in refused(5, "sync", "usb", "--delete")
    told = done("sync", "usb", "--delete", "--yes")
    assert "1 version retired in usb" in told
    assert done("sync", "usb", "--delete", "--yes") == "Nothing to bring; both are in step\n"
    done("gc", "--where", "number > 2 and number < 15", "--yes", "--force")
    assert "--force" in refused(5, "sync", "usb", "--delete", "--yes")
    document("sync", "usb", "--delete", "--yes", "--force")


def test_a_clone_is_used_as_if_it_held_all(store, place):
    told = done("clone", store, "copy")
    assert told == f"copy reads 1 version of {store}; artstore pull origin holds it\n"
    where = ["--store", "copy"]
    assert done("ls", *where).splitlines()[1].split()[-1] == "origin"
    assert document("ls", *where)["versions"][0]["at"] == "origin"
    assert done("ls", *where, "-q") == done("ls", "-q")
    assert "bert:1" in done("search", "bert", *where)
    assert "MIT" in done("show", "bert", *where)
    assert "bert:1" in done("tree", "bert", *where)
    assert "bert:1 stays" in done("why", "bert", *where)
    assert done("diff", "bert", "bert:1", *where)
    assert "weights.bin" in done("export", "checksums", "bert", *where)
    done("checkout", "bert", "out", *where)
    assert (place / "out/weights.bin").read_bytes() == (place / "weights.bin").read_bytes()
    assert done("whereis", "bert", *where).splitlines()[1].split()[0] == "origin"
    assert "Nothing changed" in done("pull", "origin", "-n", *where)
    done("pull", "origin", *where)
    shutil.rmtree(store)
    assert done("ls", *where).splitlines()[1].split()[0] == "bert:1"
    done("checkout", "bert", "out2", *where)
    result = call("ls", *where)
    assert result.exit_code == 0
    assert "mount its disk" in result.stderr


def test_repair_from_a_remote_by_its_name(mirror, store):
    done("push", "usb")
    for blob in (store / "blobs").rglob("*.*"):
        blob.unlink()
    assert call("verify").exit_code == 4
    assert "healed" in done("repair", "--from", "usb")
    done("verify")


def test_gc_keeps_what_too_few_others_hold(mirror, place):
    for step in range(11, 21):
        (place / "weights.bin").write_bytes(bytes([step]) * 10240)
        done("add", place / "weights.bin", "--as", "bert", "--step", step)
    done("push", "usb", "bert:1", "bert:2")
    plan = json.loads(done("gc", "--where", "number < 4", "--min-copies", "1", "-n", "--json"))
    told = {item["ref"]: (item["action"], item["reasons"]) for item in plan["items"]}
    assert [told[f"bert:{n}"][0] for n in (1, 2, 3)] == ["retire", "retire", "keep"]
    assert told["bert:3"][1] == ["none of 1 copy elsewhere"]
    done("policy", "set", "bert", "--where 'number < 4' --min-copies 2")
    shown = done("policy", "test", "bert")
    assert "only 1 of 2 copies elsewhere (usb)" in shown


def test_a_mirror_elsewhere_is_read_by_its_journal(store, place, moto_endpoint):
    url = f"s3://{S3_BUCKET}/{secrets.token_hex(6)}?endpoint_url={moto_endpoint}&region=us-east-1"
    done("remote", "add", "cloud", url)
    done("push", "cloud")
    assert done("ls", "--store", url).splitlines()[1].split()[0] == "bert:1"
    assert document("show", "bert", "--store", url)["ref"] == "bert:1"
    done("checkout", "bert", place / "out", "--store", url)
    done("checkout", "bert", place / "here")
    assert (place / "out/weights.bin").read_bytes() == (place / "here/weights.bin").read_bytes()
