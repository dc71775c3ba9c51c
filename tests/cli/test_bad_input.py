"""Everything a person can hand in wrong: the exit code, one line, and nothing changed"""

import json
import os
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.cli.calling import call, contents, document, done, refused
from tests.servers import postgres_database

SECRET = "s3cret-never-shown"


@pytest.fixture
def unchanged(store, place):
    """A check, after the test, that neither the folder nor what the store says has changed"""
    files = contents(place)
    yield store
    # an attempt may open a lease and end it, which only the catalog's own file knows
    assert {**contents(place), f"{store}/catalog.sqlite": None} == {**files, f"{store}/catalog.sqlite": None}
    assert [record["serial"] for record in document("log")["records"]] == [1]


NAMES = [
    "",
    ".",
    "..",
    "a/../b",
    "/a",
    "a//b",
    "a/",
    "a\nb",
    "a\0b",
    "a\u202eb",
    "a\\b",
    "C:x",
    "CON",
    "nul.txt",
    "é",
    "-x",
]
NAMES += ["a b", "x" * 300, "a@b", "a:1", "a..b", "a."]


def test_names(unchanged, weights):
    for name in NAMES:
        refused(2, "add", weights, f"--as={name}")
        refused(2, "alias", "set", "--", name, "prod", "bert:1")


def test_aliases(unchanged, weights):
    for alias in ("", "1", "a@b", "a b", "x" * 101, "-x", "a:1", "\u200b"):
        refused(2, "add", weights, "--as", "b", f"--alias={alias}")
        refused(2, "alias", "set", "--", "bert", alias, "bert:1")


REFERENCES = {
    "": 2,
    "nope": 3,
    "bert@nope": 3,
    "bert:9": 3,
    "bert:0": 3,
    "bert@": 2,
    "@x": 2,
    "bert:": 3,
    "deadbeef": 3,
}
REFERENCES |= {"../x": 3, "a\0b": 2, "A" * 300: 2, "bert@1": 2, "bert:99999999999": 3, " bert": 2, "bert\n": 2, "é": 3}


@pytest.mark.parametrize(
    "words", [("show",), ("checkout",), ("metric",), ("verify",), ("repair",), ("alias", "set", "bert", "x")]
)
def test_references(unchanged, words):
    more = {"checkout": ["out"], "metric": ["x=1"]}.get(words[0], [])
    for ref, code in REFERENCES.items():
        refused(code, *words, ref, *more)


@pytest.fixture
def trees(place):
    """Folders that cannot be stored, by what is wrong with them"""
    made = place / "trees"
    for name in (
        "leaves",
        "dangling",
        "upwards",
        "loop",
        "fifo",
        "case",
        "device-name",
        "newline",
        "bytes",
        "forms",
        "empty",
    ):
        (made / name).mkdir(parents=True)
    (made / "leaves" / "link").symlink_to("/etc/passwd")
    (made / "dangling" / "link").symlink_to("nowhere")
    (made / "upwards" / "link").symlink_to("..")
    (made / "loop" / "link").symlink_to("link")
    os.mkfifo(made / "fifo" / "pipe")
    for name in ("Model", "model"):
        (made / "case" / name).write_text(name)
    (made / "device-name" / "CON.txt").write_text("x")
    (made / "newline" / "a\nb").write_text("x")
    Path(os.fsdecode(os.fsencode(made / "bytes") + b"/\xff\xfe")).write_text("x")
    for name in ("e\u0301", "\u00e9"):
        (made / "forms" / name).write_text(name)
    (made / "null").symlink_to("/dev/null")
    (made / "self").symlink_to("self")
    return made


TREES = {
    "leaves": "leaves",
    "dangling": "nothing",
    "upwards": "link to a folder",
    "loop": "nothing",
    "fifo": "regular file",
}
TREES |= {
    "case": "ignores case",
    "device-name": "Windows",
    "newline": "control",
    "bytes": "control",
    "forms": "Two files",
}
TREES |= {"empty": "No files", "null": "regular file"}


def test_trees(trees, unchanged):
    for name, reason in TREES.items():
        assert reason in refused(2, "add", trees / name, "--as", "b")
        assert reason in refused(2, "add", trees / name, "--as", "b", "-n")


PATHS = {
    "": 2,
    "nope": 3,
    "weights.bin/x": 3,
    "trees/self": 3,
    "/dev/null": 2,
    "/dev/zero": 2,
    "trees/fifo/pipe": 2,
    "x" * 5000: 3,
}


def test_paths(trees, unchanged):
    for path, code in PATHS.items():
        refused(code, "add", path, "--as", "b")


def test_two_paths_of_one_name(unchanged, weights):
    assert "Two files would be weights.bin" in refused(2, "add", weights, "./weights.bin", "--as", "b")


FILES = {"a.safetensors": b"\x01", "b.safetensors": b"\x02\0\0\0\0\0\0\0[]", "c.safetensors": b"PK\x03\x04" + bytes(40)}


def test_files_that_are_not_what_they_say(place, store):
    for name, raw in FILES.items():
        (place / name).write_bytes(raw)
        assert name in refused(2, "add", name, "--as", "b")
    assert [version["ref"] for version in document("ls")["versions"]] == ["bert:1"]


OPTIONS = [
    ("--metric", "x"),
    ("--metric", "x=abc"),
    ("--metric", "x=nan"),
    ("--metric", "x=1", "--metric", "x=2"),
    ("--step", "-1"),
]
OPTIONS += [
    ("--step", "1.5"),
    ("--step", "9" * 30),
    ("--parent", "bert", "--relation", "cousin"),
    ("--relation", "merge"),
]
OPTIONS += [("--parent", "bert", "--relation", "merge", "--relation", "merge"), ("--parent", "bert", "--weight", "nan")]
OPTIONS += [
    ("--weight", "x"),
    ("--license", ""),
    ("--license", "a\nb"),
    ("--phase", ""),
    ("--phase", " x"),
    ("--meta", "x"),
]
OPTIONS += [("--meta", "created=30d"), ("--meta", "created=9999-01-01"), ("--parent", "hf://x\n"), ("--json", "-q")]


def test_labels(unchanged, weights):
    for options in OPTIONS:
        result = call("add", weights, "--as", "b", *options)
        assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 1), options


SPANS = ["", "30", "30m", "1h30", "0s", "-1h", "1d1d", "1d1y", "1 d", "9999y", "9" * 400 + "d", "P", "P1"]
SIZES = ["", "5", "0", "0%", "101%", "-5%", "nan%", "5 percent", "1.5.5GB", "10XB", "9" * 400, "1e9", "∞"]
LISTS = [("ls", "--limit", "0"), ("ls", "--limit", "x"), ("ls", "--sort", "colour"), ("ls", "--sort", "size:up")]


def test_durations_sizes_and_lists(unchanged):
    for span in SPANS:
        refused(2, "verify", f"--for={span}")
    for size in SIZES:
        refused(2, "verify", f"--sample={size}")
    for words in (*LISTS, ("log", "--limit", "-1")):
        refused(2, *words)


WHERES = ["", " ", "step", "step >", "> 3", "step = abc", "size > 30d", "age > 10GB", "age > 30m", "(", "not", "\\"]
WHERES += ["phase = 'x", "phase = x y", "x = 1", "step = 1 or", "a\nb", "phase = a\0", "phase = \udcff", "\u202e"]
WHERES += ["name = x; DROP TABLE version", "step = " + "9" * 400, "relation = uncle", "id = 12", "(" * 999, "x" * 9999]


def test_filters(unchanged):
    for where in WHERES:
        refused(2, "ls", "--where", "step > 0", f"--where={where}")
    told = call("ls", "--where", "phase = \udcff", "--json")
    assert (told.exit_code, told.stdout, json.loads(told.stderr)["error"]) == (2, "", "invalid.filter")


def test_a_duration_without_a_unit_says_why(store):
    assert "minutes, days or months?" in refused(2, "verify", "--for", "30m")


DESTINATIONS = {"": 2, "weights.bin": 2, "/dev/null": 2, "weights.bin/x": 1, "/proc/nowhere": 1}


def test_destinations(place, unchanged):
    for dest, code in DESTINATIONS.items():
        refused(code, "checkout", "bert", dest)


def test_a_destination_with_other_content(place, store):
    (place / "full").mkdir()
    (place / "full" / "weights.bin").write_text("mine")
    refused(5, "checkout", "bert", "full")
    assert (place / "full" / "weights.bin").read_text() == "mine"


STORES = {
    "": 2,
    "a\nb": 2,
    "file:x": 2,
    "file://host/x": 2,
    "gopher://x": 2,
    "ftp://x/y": 2,
    "http://x": 2,
    "data:abc": 2,
}
STORES |= {"s3://": 2, "s3://AB": 2, "s3://ab": 2, "s3://bucket/../x": 2, "s3://bucket//x": 2, "s3://bucket/x#y": 2}
STORES |= {f"s3://u:{SECRET}@bucket/x": 2, f"s3://bucket/x?secret={SECRET}": 2, "s3://bucket?endpoint_url=localhost": 2}
STORES |= {
    "s3://bucket?endpoint_url=http://localhost:99999": 2,
    "nope": 10,
    "foreign": 10,
    "weights.bin": 10,
    "broken": 2,
    "newer": 2,
}


def test_stores(place, weights):
    texts = {"foreign/latest.pt": "x", "broken/artstore.json": "{", "newer/artstore.json": '{"format": 99}'}
    for name, text in texts.items():
        (place / name).parent.mkdir()
        (place / name).write_text(text)
    before = contents(place)
    for url, code in STORES.items():
        for words in (("ls",), ("add", weights, "--as", "b"), ("verify",), ("catalog", "upgrade")):
            assert SECRET not in refused(code, *words, "--store", url)
        if url != "nope":
            assert SECRET not in refused(2, "init", url)
    assert contents(place) == before


def test_a_name_too_long_for_the_disk(place):
    for words in (("ls", "--store"), ("init",)):
        assert call(*words, "x" * 5000).exit_code in {1, 2}
    assert contents(place) == {}


CATALOGS = {"": 2, "nonsense": 2, "sqlite://": 2, "sqlite:///": 2, "sqlite:///:memory:": 2, "sqlite:////etc/passwd": 2}
CATALOGS |= {"sqlite:////dev/null": 2, "sqlite:////": 2, "postgres://u@h/d": 2, "mysql://x": 2, "postgresql://": 2}
CATALOGS |= {
    "postgresql://h:notaport/d": 2,
    f"postgresql://u:{SECRET}@x@h/d": 2,
    f"postgresql://u:{SECRET}@h:99999/d": 2,
}
CATALOGS |= {
    f"postgresql://u:{SECRET}@127.0.0.1:1/d": 1,
    f"postgresql://u:{SECRET}/x@no-such-host.invalid/d": 1,
    f"oracle://u:{SECRET}@h/d": 2,
}


def test_catalogs(place, unchanged):
    for url, code in CATALOGS.items():
        assert SECRET not in refused(code, "ls", "--catalog", url)
        assert SECRET not in refused(code, "init", "new", "--catalog", url)
        assert SECRET not in call("ls", "--catalog", url, "--json").stderr


def test_a_catalog_in_no_folder(store, place):
    refused(3, "ls", "--catalog", "sqlite:////nonexistent/c.sqlite")
    refused(2, "init", "new", "--catalog", "sqlite:////nonexistent/c.sqlite")
    assert not (place / "new").exists()


def test_a_catalog_of_another_store(store, place):
    done("init", "other")
    before = contents(place)
    catalog = f"sqlite:///{place}/other/catalog.sqlite"
    assert "belongs to another store" in refused(1, "ls", "--catalog", catalog)
    assert "belongs to another store" in refused(1, "init", "new", "--catalog", catalog)
    assert contents(place) == before


@contextmanager
def guarded(url):
    """A role of this server that must give a password"""
    role = "guarded_by_the_command"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{SECRET}-right'")
        ((name,),) = connection.execute("SHOW hba_file").fetchall()
        rules = Path(name).read_text()
        Path(name).write_text(f"host all {role} all scram-sha-256\n{rules}")
        connection.execute("SELECT pg_reload_conf()")
        yield role
        Path(name).write_text(rules)
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(f"DROP OWNED BY {role} CASCADE")
        connection.execute(f"DROP ROLE {role}")


def test_postgres_with_a_wrong_password_or_name(store, place, postgres_server):
    with postgres_database(postgres_server) as url, guarded(url) as role:
        host = url.partition("@")[2]
        right = f"postgresql://{role}:{SECRET}-right@{host}"
        wrong = f"postgresql://{role}:{SECRET}@{host}"
        before = contents(place)
        line = refused(12, "ls", "--catalog", wrong)
        assert "refuses this user or password" in line
        assert SECRET not in line
        assert SECRET not in call("init", "new", "--catalog", wrong, "--json").stderr
        assert SECRET not in call("init", "new", "--catalog", wrong, "--debug").stderr
        refused(3, "init", "new", "--catalog", f"postgresql://postgres@{host.partition('/')[0]}/nowhere")
        assert contents(place) == before
        assert SECRET not in done("init", "new", "--catalog", right)
        assert document("status", "--store", "new", "--catalog", right)["catalog"].count("***") == 1


def test_offline_what_needs_a_network_ends_so(place, store):
    away = ("--store", "s3://bucket/x", "--catalog", f"sqlite:///{place}/.artstore/catalog.sqlite")
    refused(14, "checkout", "bert", "out", *away, "--offline")
    refused(14, "checkout", "bert", "out", *away, env={"ARTSTORE_OFFLINE": "1"})
    assert document("ls", *away, "--offline")["versions"] != []
    refused(14, "repair", "--from", "s3://bucket/x", "--offline")
    assert document("ls", "--offline")["versions"] != []
