"""One file on the web as an upstream"""

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from artifactstore.core.digest import Sha256
from artifactstore.core.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from artifactstore.core.names import SafePath
from artifactstore.upstream.patience import Patience
from artifactstore.upstream.reach import Reach
from artifactstore.upstream.web import WebUpstream

DATA = bytes(range(256)) * 40


class Web(ThreadingHTTPServer):
    """Gives DATA, in whatever manner the test asks for"""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/models/a%20b.bin?signature=hunter2"
        self.tag, self.head, self.ranges, self.length, self.refuse = '"one"', True, True, True, []
        self.headers, self.seen = {}, []


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        """Tests read what was seen"""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        web = self.server
        web.seen.append((self.command, self.headers.get("Range"), self.headers.get("If-Range")))
        if web.refuse or (self.command == "HEAD" and not web.head):
            self.send_response(web.refuse.pop(0) if web.refuse else 405)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        asked = self.headers.get("Range") if web.ranges and self.headers.get("If-Range") in {None, web.tag} else None
        begin, _, end = (asked or "bytes=0-").removeprefix("bytes=").partition("-")
        body = DATA[int(begin) : int(end or len(DATA)) + 1]
        self.send_response(206 if asked else 200)
        told = {"Content-Range": f"bytes {begin}-{int(begin) + len(body) - 1}/{len(DATA)}"} if asked else {}
        told |= {"ETag": web.tag} if web.tag else {}
        told |= {"Content-Length": str(len(body))} if web.length else {}
        for name, value in (told | web.headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def web():
    with Web() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def made(web, reach):
    return WebUpstream(web.url, Sha256.of(DATA), reach=reach)


def read(made, file, start=0):
    with made.open(file, start) as chunks:
        return b"".join(chunks)


def test_the_one_file_it_lists(web, made):
    listing = made.list()
    (file,) = listing.files
    assert (file.path, file.size, file.sha256) == ("a b.bin", len(DATA), Sha256.of(DATA))
    assert (listing.commit, listing.license, listing.gated) == (None, None, False)
    assert listing.source == made.source == web.url.partition("?")[0]
    for start in (0, 1, len(DATA) - 1):
        assert read(made, file, start) == DATA[start:]
    assert web.seen[-1] == ("GET", f"bytes={len(DATA) - 1}-", '"one"')


def test_a_name_of_ones_own(web):
    made = WebUpstream(web.url, Sha256.of(DATA), path=SafePath("weights/x.bin"))
    assert made.list().files[0].path == "weights/x.bin"


def test_a_server_that_knows_no_head(web, made):
    web.head = False
    assert made.list().files[0].size == len(DATA)
    assert web.seen[-1] == ("GET", "bytes=0-0", None)
    web.ranges = False
    assert made.list().files[0].size == len(DATA)
    web.length = False
    with pytest.raises(Unavailable, match="does not tell the size"):
        made.list()


def test_a_server_without_ranges_gives_the_rest_too(web, made):
    (file,) = made.list().files
    web.ranges = False
    assert read(made, file, 100) == DATA[100:]


@pytest.mark.parametrize("tag", [None, 'W/"weak"', "bare"])
def test_a_tag_that_says_nothing_is_not_asked_for(web, made, tag):
    web.tag = tag
    (file,) = made.list().files
    assert read(made, file, 5) == DATA[5:]
    assert web.seen[-1] == ("GET", "bytes=5-", None)


@pytest.mark.parametrize("start", [0, 5])
def test_another_tag_than_was_listed_is_a_change(web, made, start):
    (file,) = made.list().files
    web.tag = '"two"'
    with pytest.raises(Conflict) as caught:
        read(made, file, start)
    assert caught.value.code == "conflict.moved"


def test_other_bytes_than_were_asked_for(web, made):
    (file,) = made.list().files
    for value in ("bytes 4-9/10240", "bytes", "bytes 5-x/10240"):
        web.headers = {"Content-Range": value}
        with pytest.raises(Unavailable, match="other bytes"):
            read(made, file, 5)
    web.headers = {"Content-Range": "bytes 5-9/10"}
    with pytest.raises(Conflict, match="it has 10 bytes"):
        read(made, file, 5)
    web.headers = {"Content-Range": f"bytes 5-{len(DATA) - 1}/*"}
    assert read(made, file, 5) == DATA[5:]


def test_a_body_that_was_compressed_unasked(web, made):
    (file,) = made.list().files
    web.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(Unavailable, match="compresses"):
        read(made, file)


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (404, NotFound, "not-found.file"),
        (410, NotFound, "not-found.file"),
        (401, Denied, "unavailable.denied.token"),
        (403, Denied, "unavailable.denied.token"),
        (418, Unavailable, "unavailable.refused"),
    ],
)
def test_what_a_server_refuses(web, made, pauses, status, kind, code):
    (file,) = made.list().files
    for refused in (made.list, lambda: read(made, file)):
        web.refuse = [status, status]
        with pytest.raises(kind) as caught:
            refused()
        assert caught.value.code == code
        assert "hunter2" not in f"{caught.value} {caught.value.facts}"
        web.refuse = []
    assert pauses == []


def test_a_busy_server_is_asked_again(web, made, pauses):
    web.refuse = [503, 503, 429, 429]
    assert made.list().files[0].size == len(DATA)
    assert len(pauses) == 2


def test_a_server_that_stays_busy(web, made):
    web.refuse = [503] * 100
    with pytest.raises(Unavailable, match="busy"):
        made.list()


def test_silence(web):
    silent = Reach(Patience(read=0.05, retries=1), pause=lambda seconds: None)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/x.bin"
        with pytest.raises(Unavailable, match="silent"):
            WebUpstream(url, Sha256.of(DATA), reach=silent).list()


@pytest.mark.parametrize(
    "url",
    [
        "file:///x.bin",
        "https://me:hunter2@host/x.bin",
        "https://host/",
        "https://host/a/..",
        "https://host/%2e%2e",
        "x",
    ],
)
def test_what_is_no_url_of_a_file(url):
    with pytest.raises(Invalid) as caught:
        WebUpstream(url, Sha256.of(DATA))
    assert caught.value.code == "invalid.url"
    assert "hunter2" not in str(caught.value)


def test_a_public_name_does_not_lead_into_the_house(web):
    url = web.url.replace("127.0.0.1", "files.example.com")
    made = WebUpstream(url, Sha256.of(DATA), reach=Reach(resolver=lambda host, port: ["127.0.0.1"]))
    with pytest.raises(Invalid, match="loopback"):
        made.list()
    assert web.seen == []
