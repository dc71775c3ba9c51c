"""Partial files: found again, held by one, cleared when nobody wants them"""

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta

import pytest

from artifactstore.core.errors import Busy, Denied, Invalid, NoSpace, StoreError, Unavailable
from artifactstore.core.hub import RemoteFile
from artifactstore.core.names import SafePath
from artifactstore.upstream.partial import PartialKey, Partials

KEY = PartialKey("hf://org/tiny", "model.safetensors", 10, "sha256:" + "a" * 64)
OTHER = PartialKey("hf://org/tiny", "config.json", 10, "sha256:" + "a" * 64)
HOUR = timedelta(hours=1)


@pytest.fixture
def partials(tmp_path):
    return Partials(tmp_path / "deep" / "partials")


def age(partials, key, hours):
    for suffix in ("part", "json"):
        path = partials.folder / f"{key.name}.{suffix}"
        then = path.stat().st_mtime - hours * 3600
        os.utime(path, (then, then))


def left(partials):
    return sorted(path.name for path in partials.folder.iterdir())


def test_what_was_written_is_there_again(partials):
    with partials.claim(KEY) as partial:
        assert partial.size == 0
        partial.write(b"abc")
        partial.write(b"")
        partial.write(b"def")
    with partials.claim(KEY) as partial:
        assert partial.size == 6
        assert b"".join(partial.pieces()) == b"abcdef"
        partial.write(b"g")
        assert partial.path.read_bytes() == b"abcdefg"
        partial.restart()
        assert (partial.size, partial.path.read_bytes()) == (0, b"")
        partial.write(b"x")
        assert partial.path.read_bytes() == b"x"


def test_another_file_is_another_partial():
    file = RemoteFile(SafePath("a"), 3, git_oid="0" * 40)
    key = PartialKey.of("hf://org/tiny", file)
    assert key == PartialKey("hf://org/tiny", "a", 3, "git:" + "0" * 40)
    keys = [PartialKey(*(value if at == other else "y" for other, value in enumerate("xxxx"))) for at in range(4)]
    assert len({one.name for one in keys}) == 4
    assert PartialKey("xy", "z", 1, "d").name != PartialKey("x", "yz", 1, "d").name
    assert len(key.name) == 64
    assert set(key.name) <= set("0123456789abcdef")


def test_beside_it_lies_what_it_is(partials):
    with partials.claim(KEY) as partial:
        told = json.loads(partial.path.with_suffix(".json").read_text())
    assert (told["source"], told["path"], told["size"], told["digest"]) == (KEY.source, KEY.path, 10, KEY.digest)
    assert told["holder"]["pid"] == os.getpid()


def test_one_holds_it_and_the_other_is_told_who(partials):
    with partials.claim(KEY), partials.claim(OTHER):
        with pytest.raises(Busy, match=f"process {os.getpid()} on") as caught:
            Partials(partials.folder).claim(KEY)
        assert KEY.path in str(caught.value)
    partials.claim(KEY).close()


def test_closing_twice_is_closing_once(partials):
    partial = partials.claim(KEY)
    partial.close()
    other = partials.claim(KEY)
    partial.close()
    with pytest.raises(Busy):
        partials.claim(KEY)
    other.close()


def test_another_process_holds_it_until_it_is_killed(partials):
    program = (
        "import sys\nfrom pathlib import Path\nfrom artifactstore.upstream.partial import PartialKey, Partials\n"
        f"held = Partials(Path({str(partials.folder)!r})).claim({KEY!r})\n"
        "held.write(b'abc')\nprint('held', flush=True)\nsys.stdin.read()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], **pipes) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(Busy, match=f"process {process.pid} "):
            partials.claim(KEY)
        assert partials.clear(timedelta(0)) == []
        process.send_signal(signal.SIGKILL)
    with partials.claim(KEY) as partial:
        assert partial.path.read_bytes() == b"abc"


def test_of_many_at_once_one_holds_it(partials):
    """Also when who held it before removes it meanwhile"""
    held, overlaps = [], []

    def work():
        for _ in range(150):
            try:
                with partials.claim(KEY) as partial:
                    held.append(1)
                    overlaps.append(len(held))
                    partial.write(b"x")
                    held.pop()
                    partial.discard()
            except Busy:
                continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that they meet between any two calls
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert set(overlaps) == {1}
    assert left(partials) == []


def test_what_was_taken_in_is_removed(partials):
    with partials.claim(KEY) as partial:
        partial.write(b"abc")
        partial.discard()
        partial.discard()
    assert left(partials) == []


def test_stale_ones_are_told_and_cleared(partials):
    for key, hours in ((KEY, 3), (OTHER, 5)):
        with partials.claim(key) as partial:
            partial.write(b"abc")
        age(partials, key, hours)
    (partials.folder / "notes.txt").write_text("not ours")
    assert [one.key for one in partials.stale(HOUR)] == [OTHER, KEY]
    assert [one.nbytes for one in partials.stale(4 * HOUR)] == [3]
    assert partials.stale(4 * HOUR)[0].age >= 5 * HOUR
    assert [one.key for one in partials.clear(4 * HOUR)] == [OTHER]
    assert left(partials) == sorted([f"{KEY.name}.json", f"{KEY.name}.part", "notes.txt"])
    assert [one.key for one in partials.clear(HOUR)] == [KEY]
    assert left(partials) == ["notes.txt"]


def test_one_in_use_is_never_cleared(partials):
    with partials.claim(KEY) as partial:
        partial.write(b"abc")
        age(partials, KEY, 1000)
        assert [one.key for one in partials.stale(HOUR)] == [KEY]
        assert partials.clear(HOUR) == []
        assert partial.path.read_bytes() == b"abc"


def test_claiming_an_old_one_makes_it_young(partials):
    partials.claim(KEY).close()
    age(partials, KEY, 1000)
    partials.claim(KEY).close()
    assert partials.stale(HOUR) == []


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b'{"source": "x"}', b'{"holder": 3}', b"\xff"])
def test_one_that_says_nothing_is_cleared_too(partials, document):
    partials.claim(KEY).close()
    (partials.folder / f"{KEY.name}.json").write_bytes(document)
    assert [one.key for one in partials.stale(timedelta(0))] == [None]
    assert len(partials.clear(timedelta(0))) == 1
    assert left(partials) == []


def test_a_holder_that_says_nothing_is_another_process(partials):
    with partials.claim(KEY) as partial:
        partial.path.with_suffix(".json").write_bytes(b"{}")
        with pytest.raises(Busy, match="another process"):
            partials.claim(KEY)


def test_no_folder_no_partials(partials):
    assert partials.stale(timedelta(0)) == partials.clear(timedelta(0)) == []
    assert not partials.folder.exists()


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(Invalid, match="name another folder"):
            Partials(folder).claim(KEY)


@pytest.mark.parametrize("suffix", ["part", "json"])
@pytest.mark.parametrize("kind", ["link", "folder"])
def test_what_is_no_file_is_not_written_through(partials, tmp_path, suffix, kind):
    partials.folder.mkdir(parents=True)
    path = partials.folder / f"{KEY.name}.{suffix}"
    precious = tmp_path / "precious"
    precious.write_text("precious")
    path.symlink_to(precious) if kind == "link" else path.mkdir()
    for _ in range(2):
        with pytest.raises(StoreError):
            partials.claim(KEY)
    assert precious.read_text() == "precious"
    partials.claim(OTHER).close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(Denied):
        Partials(tmp_path / "partials").claim(KEY)


def test_a_full_disk_keeps_what_came(mounted):
    partials = Partials(mounted("size=256k"))
    with partials.claim(KEY) as partial:
        with pytest.raises(NoSpace, match="what came so far is kept"):
            partial.write(b"x" * (1 << 20))
        assert 0 < partial.size < 1 << 20
        assert partial.path.read_bytes() == b"x" * partial.size


@pytest.mark.parametrize("free", [0, 1, 2])
def test_a_disk_that_is_full_before_it_begins(mounted, free):
    folder = mounted(f"size=8k,nr_inodes={free + 1}" if free < 2 else "size=4k")
    if free == 2:
        (folder / "filler").write_bytes(b"x" * 4096)
    for _ in range(2):
        with pytest.raises(NoSpace):
            Partials(folder).claim(KEY)


def test_a_disk_that_may_not_be_written(mounted):
    with pytest.raises(Denied, match="Read-only"):
        Partials(mounted("ro")).claim(KEY)


def test_one_that_becomes_shorter_while_it_is_read(partials):
    with partials.claim(KEY) as partial:
        partial.write(b"abc")
        os.truncate(partial.path, 1)
        with pytest.raises(Unavailable, match="became shorter"):
            list(partial.pieces())
