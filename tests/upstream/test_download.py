"""Downloads: whole and verified, whatever happens on the way, and only the rest is asked for again"""

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from artifactstore.core.errors import Busy, Conflict, Corrupt, NoSpace, NotFound, Unavailable
from artifactstore.core.events import Progress, Warn
from artifactstore.core.hub import RemoteFile
from artifactstore.core.names import SafePath
from artifactstore.upstream.download import download, fill
from artifactstore.upstream.partial import PartialKey, Partials
from artifactstore.upstream.patience import Patience
from artifactstore.upstream.reach import Reach

DATA = random.Random(5).randbytes(5_000_000)
FILES = {"config.json": b'{"a": 1}', "empty.txt": b"", "model.safetensors": DATA}
LARGE = "model.safetensors"


@pytest.fixture(autouse=True)
def repo(hub):
    return hub.repo("org/tiny", FILES)


@pytest.fixture
def partials(tmp_path):
    return Partials(tmp_path / "partials")


@pytest.fixture
def files(upstream):
    return {str(file.path): file for file in upstream().list().files}


@pytest.fixture
def get(upstream, partials, files, reach):
    def got(path=LARGE, **changed):
        made = upstream()
        made.list()
        return download(made, files[path], partials, reach=replace(reach, **changed)).read_bytes()

    return got


class StopError(Exception):
    """The test ends a download where it would wait"""


@pytest.fixture
def begin(hub, get):
    """Leave so many bytes of a partial file"""

    def begun(count):
        hub.fault("cut", LARGE, after=count)
        with pytest.raises(StopError):
            get(pause=stop)

    def stop(seconds):
        raise StopError

    return begun


def kept(partials, file):
    """Bytes of the partial file"""
    path = partials.folder / f"{PartialKey.of('hf://org/tiny', file).name}.part"
    return path.stat().st_size if path.exists() else None


@pytest.mark.parametrize("path", FILES)
def test_a_file_comes_whole(hub, get, path):
    assert get(path) == FILES[path]
    assert hub.sent(path) == len(FILES[path])


def test_what_is_whole_is_not_asked_for_again(hub, get):
    for _ in range(2):
        assert {path: get(path) for path in FILES} == FILES
    assert len(hub.gets()) == 2  # of an empty file nothing is asked


def test_after_a_cut_only_the_rest_is_asked_for(hub, get, pauses):
    hub.fault("cut", LARGE, after=2_000_000)
    hub.fault("cut", LARGE, after=4_500_000)
    assert get() == DATA
    assert [one.range for one in hub.gets(LARGE)] == [None, "bytes=2000000-", "bytes=4500000-"]
    assert hub.sent(LARGE) == len(DATA)
    assert len(pauses) == 2


def test_cuts_are_forgotten_when_enough_came_between(hub, get, pauses):
    for after in range(0, 5_000_000, 500_000):
        hub.fault("cut", LARGE, after=after)
    with pytest.raises(Unavailable, match="broke off"):
        get()
    assert len(pauses) == 5
    pauses.clear()
    assert get() == DATA
    assert hub.sent(LARGE) == len(DATA)


def test_a_hub_that_is_busy_is_asked_again_when_it_says(hub, get, pauses):
    hub.fault("status", LARGE, status=503, headers={"Retry-After": "3"})
    hub.fault("status", LARGE, status=429, headers={"RateLimit": '"api";r=0;t=55'})
    hub.fault("status", LARGE, on="cdn", status=500)
    assert get() == DATA
    assert pauses[:2] == [3, 55]
    assert 0 < pauses[2] <= 2


def test_after_so_many_failures_it_is_given_up(hub, get, begin, files, partials, pauses):
    begin(1000)
    hub.fault("status", LARGE, times=100)
    with pytest.raises(Unavailable) as caught:
        get(patience=Patience(retries=3))
    assert caught.value.code == "unavailable.busy"
    assert len(pauses) == 3
    assert kept(partials, files[LARGE]) == 1000


def test_what_will_not_pass_is_not_tried_again(hub, get, pauses):
    hub.fault("redirect", LARGE, to="file:///etc/passwd")
    with pytest.raises(Exception, match="Only http and https"):
        get()
    hub.fault("status", LARGE, status=404, headers={"X-Error-Code": "EntryNotFound"})
    with pytest.raises(NotFound):
        get()
    assert pauses == []


def test_the_monitor_hears_of_bytes_and_of_failures(hub, get):
    heard = []
    hub.fault("cut", LARGE, after=2_000_000)
    get(monitor=heard.append)
    done = [event.done for event in heard if isinstance(event, Progress)]
    assert (done[0], done[-1]) == (0, len(DATA))
    assert done == sorted(done)
    assert {event.total for event in heard if isinstance(event, Progress)} == {len(DATA)}
    (warning,) = (event for event in heard if isinstance(event, Warn))
    assert "broke off; trying again in" in warning.message


def test_the_monitor_hears_of_the_beginning_that_was_there(begin, get):
    begin(3_000_000)
    heard = []
    assert get(monitor=heard.append) == DATA
    done = [event.done for event in heard]
    assert done == sorted(done)
    assert (done[0], done[2], done[-1]) == (1 << 20, 3_000_000, len(DATA))


def test_a_monitor_that_raises_ends_it_and_what_came_is_kept(hub, get, files, partials):
    def ends(event):
        if isinstance(event, Progress) and event.done > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(monitor=ends)
    begun = kept(partials, files[LARGE])
    assert begun > 1_000_000
    assert get() == DATA
    assert hub.gets(LARGE)[-1].range == f"bytes={begun}-"
    assert hub.gets(LARGE)[-1].sent == len(DATA) - begun


def test_the_time_for_all_of_it(hub, get, files, partials, pauses):
    with pytest.raises(Unavailable, match="time is over"):
        get(until=time.monotonic() - 1)
    hub.fault("status", LARGE, headers={"Retry-After": "200"})
    with pytest.raises(Unavailable, match="busy"):
        get(until=time.monotonic() + 100)
    assert pauses == []  # there would be no time left after so long a pause


def test_silence_is_a_failure_like_others(hub, upstream, files, partials, pauses):
    hub.fault("stall", LARGE, after=3_000_000)
    reach = Reach(Patience(read=0.2), pause=pauses.append)
    made = upstream(reach=reach)
    made.list()
    assert download(made, files[LARGE], partials, reach=reach).read_bytes() == DATA
    assert hub.gets(LARGE)[-1].range == "bytes=3000000-"


@pytest.mark.parametrize("path", ["config.json", LARGE])
def test_wrong_bytes_are_thrown_away_and_asked_for_once_more(hub, get, path):
    hub.fault("flip", path, after=3)
    assert get(path) == FILES[path]
    assert [one.range for one in hub.gets(path)] == [None, None]


@pytest.mark.parametrize("path", ["config.json", LARGE])
def test_bytes_that_stay_wrong_are_corrupt(hub, get, files, partials, path):
    hub.fault("flip", path, after=3, times=2)
    with pytest.raises(Corrupt, match="twice") as caught:
        get(path)
    assert caught.value.facts["path"] == path
    assert kept(partials, files[path]) is None
    assert get(path) == FILES[path]


def test_a_damaged_beginning_is_found_when_the_rest_came(hub, get, begin, partials):
    begin(2_000_000)
    (path,) = partials.folder.glob("*.part")
    with path.open("r+b") as file:
        file.write(b"damaged")
    assert get() == DATA
    assert [one.range for one in hub.gets(LARGE)][-2:] == ["bytes=2000000-", None]


def test_a_damaged_whole_is_found_and_fetched_anew(hub, get, partials):
    assert get() == DATA
    (path,) = partials.folder.glob("*.part")
    for damaged in (DATA[:-1] + b"?", DATA + b"?"):
        path.write_bytes(damaged)
        assert get() == DATA


def test_a_file_that_changed_on_the_way_is_a_conflict(hub, get, files, partials):
    hub.fault("cut", LARGE, after=2_000_000)
    with pytest.raises(Conflict) as caught:
        get(pause=lambda seconds: hub.fault("etag", LARGE))
    assert caught.value.code == "conflict.moved"
    assert kept(partials, files[LARGE]) == 2_000_000
    assert get() == DATA
    assert hub.gets(LARGE)[-1].range == "bytes=2000000-"


@pytest.mark.parametrize("by", [-1, 1])
def test_a_rest_of_the_wrong_length_is_what_it_is(hub, get, begin, pauses, by):
    begin(2_000_000)
    hub.fault("length", LARGE, after=2_000_000, by=by)
    assert get() == DATA
    assert len(pauses) == (by < 0)


def test_a_repository_that_moved_keeps_what_is_the_same(hub, repo, begin, upstream, partials, reach):
    begin(2_000_000)
    repo.commit({"config.json": b"[]"})
    made = upstream()
    file = next(file for file in made.list().files if file.path == LARGE)
    assert download(made, file, partials, reach=reach).read_bytes() == DATA
    assert hub.gets(LARGE)[-1].range == "bytes=2000000-"


def test_a_server_without_ranges_sends_the_beginning_again(hub, get):
    hub.fault("cut", LARGE, after=2_000_000)
    hub.fault("whole", LARGE)
    assert get() == DATA
    assert [one.sent for one in hub.gets(LARGE)] == [2_000_000, len(DATA)]


class Given:
    """An upstream whose answers are given, byte for byte"""

    source = "test://given"

    def __init__(self, *answers):
        self.answers = list(answers)
        self.starts = []

    def list(self):
        raise AssertionError("nobody asks")

    def open(self, file, start):
        self.starts.append(start)
        return contextlib.nullcontext(iter(self.answers.pop(0)))


FILE = RemoteFile(SafePath("x"), 6, git_oid="8a0d2ebeffce63b6ea68ee97e5d74dff9f5c9ba6")


def git_oid(data):
    done = subprocess.run(["git", "hash-object", "--stdin"], input=data, capture_output=True, check=True)
    return done.stdout.decode().strip()


def test_git_agrees_on_the_digest_of_a_regular_file(partials):
    file = replace(FILE, git_oid=git_oid(b"abcdef"))
    assert download(Given([b"abc", b"def"]), file, partials).read_bytes() == b"abcdef"


def test_an_answer_that_ends_early_is_a_cut(partials, reach, pauses):
    file = replace(FILE, git_oid=git_oid(b"abcdef"))
    made = Given([b"ab"], [], [b"cdef"])
    assert download(made, file, partials, reach=reach).read_bytes() == b"abcdef"
    assert made.starts == [0, 2, 2]
    assert len(pauses) == 2


def test_an_answer_that_is_too_long_is_thrown_away(partials, reach):
    file = replace(FILE, git_oid=git_oid(b"abcdef"))
    assert download(Given([b"abcdefg"], [b"abcdef"]), file, partials, reach=reach).read_bytes() == b"abcdef"
    made = Given([b"abc", b"defg", b"never read"], [b"abcdefgh"])
    with pytest.raises(Corrupt):
        download(made, replace(file, path=SafePath("y")), partials, reach=reach)


def test_two_at_once_do_not_write_one_file(hub, upstream, files, partials, get):
    hub.fault("stall", LARGE, after=1_000_000)
    made = upstream()
    made.list()
    first = threading.Thread(target=download, args=(made, files[LARGE], partials))
    first.start()
    hub.await_sent(1_000_000, LARGE)
    with pytest.raises(Busy, match=f"process {os.getpid()} on"):
        get()
    hub.go_on()
    first.join()
    assert get() == DATA
    assert hub.sent(LARGE) == len(DATA)


def test_a_hold_may_last_longer_than_the_download(upstream, files, partials, get):
    made = upstream()
    made.list()
    with partials.claim(PartialKey.of(made.source, files[LARGE])) as partial:
        assert fill(made, files[LARGE], partial).read_bytes() == DATA
        with pytest.raises(Busy):
            get()
        partial.discard()
    assert not list(partials.folder.iterdir())


def test_a_full_disk_ends_it_and_what_came_is_kept(hub, upstream, files, mounted, reach):
    partials = Partials(mounted("size=2m"))
    made = upstream()
    made.list()
    with pytest.raises(NoSpace):
        download(made, files[LARGE], partials, reach=reach)
    begun = kept(partials, files[LARGE])
    assert begun > 1_000_000
    with pytest.raises(NoSpace):
        download(made, files[LARGE], partials, reach=reach)
    assert hub.gets(LARGE)[-1].range == f"bytes={begun}-"


PROGRAM = """
import sys
from pathlib import Path
from artifactstore.core.hub import HubRef
from artifactstore.upstream.download import download
from artifactstore.upstream.hub import HubUpstream
from artifactstore.upstream.partial import Partials

upstream = HubUpstream(HubRef.parse("hf://org/tiny"), endpoint=sys.argv[1])
for file in upstream.list().files:
    download(upstream, file, Partials(Path(sys.argv[2])))
"""


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_only_the_rest_is_asked_for(hub, files, partials, get, seed):
    """The process is killed where no handler runs; its successor asks for what is not on disk and nothing else"""
    moment = random.Random(seed).randrange(1, len(DATA))
    hub.fault("stall", LARGE, after=moment)
    command = [sys.executable, "-c", PROGRAM, hub.endpoint, str(partials.folder)]
    with subprocess.Popen(command) as process:
        hub.await_sent(moment, LARGE)
        deadline = time.monotonic() + 60
        while kept(partials, files[LARGE]) != moment and time.monotonic() < deadline:
            time.sleep(0.01)  # what another process reads is not ours to order
        process.kill()
    assert kept(partials, files[LARGE]) == moment
    hub.go_on()
    before = len(hub.gets())
    subprocess.run(command, check=True)
    (request,) = hub.gets()[before:]
    assert (request.file, request.range, request.sent) == (LARGE, f"bytes={moment}-", len(DATA) - moment)
    assert {path: get(path) for path in FILES} == FILES
    assert len(hub.gets()) == before + 1


def test_the_same_repository_of_another_hub_ends_what_one_began(hub, begin, upstream, files, partials):
    begin(3_000_000)
    made = upstream(endpoint=hub.endpoint + "/")
    made.list()
    assert download(made, files[LARGE], partials).read_bytes() == DATA
    assert hub.gets(LARGE)[-1].range == "bytes=3000000-"
