"""A checkout as a cache of the hub: resumed, kept, moved on, and on disks that know no links"""

import os
import subprocess
import sys

import pytest

from artifactstore.core.errors import Invalid, Refused
from artifactstore.core.events import Step
from artifactstore.store import Store
from tests.ops.trees import contents

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Stopped(BaseException):
    """A person pressed Ctrl-C"""


@pytest.fixture
def filled(store, model):
    store.add([model], name="org/m", aliases=["prod"], metadata={"upstream": {"commit": COMMIT}})
    return store


@pytest.fixture
def home(tmp_path):
    return tmp_path / "cache" / "models--org--m" / "snapshots" / COMMIT


def test_the_snapshot_is_the_version(filled, model, home, tmp_path):
    report = filled.checkout("org/m", tmp_path / "cache", layout="hf-cache")
    assert (report.files, report.kept) == (5, 0)
    assert contents(home) == contents(model)
    assert all(path.is_symlink() and not os.path.isabs(path.readlink()) for path in home.rglob("*.*"))
    refs = home.parents[1] / "refs"
    assert contents(refs) == {"main": COMMIT.encode(), "prod": COMMIT.encode()}


def test_equal_files_are_written_once(store, home, tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("same")
    store.add([tmp_path / "a.txt", tmp_path / "b.txt"], name="org/m", metadata={"upstream": {"commit": COMMIT}})
    assert store.checkout("org/m", tmp_path / "cache", layout="hf-cache").written_bytes == 4
    assert contents(home) == {"a.txt": b"same", "b.txt": b"same"}


@pytest.mark.parametrize("point", ["checkout.write.after", "checkout.link.before", "checkout.link.after"])
def test_interrupted_it_goes_on(filled, model, home, tmp_path, point):
    def stop(event):
        if isinstance(event, Step) and event.name == point:
            raise Stopped

    cache = tmp_path / "cache"
    with Store.open(filled.depot.blobs.url, monitor=stop) as other, pytest.raises(Stopped):
        other.checkout("org/m", cache, layout="hf-cache")
    assert not (home.parents[1] / "refs" / "main").exists()
    report = filled.checkout("org/m", cache, layout="hf-cache")
    assert (report.files > 0) == (point == "checkout.write.after")
    assert contents(home) == contents(model)
    assert filled.checkout("org/m", cache, layout="hf-cache").files == 0


def test_a_link_to_something_else_is_refused(filled, model, home, tmp_path):
    cache = tmp_path / "cache"
    filled.checkout("org/m", cache, layout="hf-cache")
    (home / "config.json").unlink()
    (home / "config.json").symlink_to(model / "sub" / "vocab.txt")
    with pytest.raises(Refused, match=r"config\.json is there with other content"):
        filled.checkout("org/m", cache, layout="hf-cache")
    filled.checkout("org/m", cache, layout="hf-cache", force=True)
    assert contents(home) == contents(model)
    assert (model / "sub" / "vocab.txt").read_text() == "a\nb\n" * 1000


def test_a_newer_version_moves_main_and_shares_blobs(filled, model, home, tmp_path):
    cache = tmp_path / "cache"
    filled.checkout("org/m", cache, layout="hf-cache")
    (model / "config.json").write_text("{}")
    filled.add([model], name="org/m")
    report = filled.checkout("org/m", cache, layout="hf-cache")
    assert (report.files, report.written_bytes) == (1, 2)
    commit = str(filled.resolve("org/m").id)[:40]
    assert contents(home.parents[1] / "refs") == {"main": commit.encode(), "prod": COMMIT.encode()}
    assert contents(home.with_name(commit)) == contents(model)


def test_a_folder_that_leads_elsewhere_is_not_followed(filled, home, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    home.parents[1].mkdir(parents=True)
    (home.parents[1] / "snapshots").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Invalid, match="is a link that leaves"):
        filled.checkout("org/m", tmp_path / "cache", layout="hf-cache")
    assert list((tmp_path / "elsewhere").iterdir()) == []


_WITHOUT_LINKS = """
import sys

def refuse(event, _):
    if event == "os.symlink":
        raise PermissionError(1, "Operation not permitted")

sys.addaudithook(refuse)
from artifactstore.store import Store

with Store.open(sys.argv[1]) as store:
    for _ in range(2):
        print(store.checkout("org/m", sys.argv[2], layout="hf-cache").files)
"""


def test_where_there_are_no_links_the_files_stand_in_their_place(filled, model, home, tmp_path):
    url = filled.depot.blobs.url
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_LINKS, url, tmp_path / "cache"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["5", "0"]
    assert contents(home) == contents(model)
    assert not any(path.is_symlink() for path in home.rglob("*"))
    assert not (home.parents[1] / "blobs").exists()
    # a system with links leaves them as they are
    report = filled.checkout("org/m", tmp_path / "cache", layout="hf-cache")
    assert (report.files, report.kept) == (0, 5)
