"""The wire: one hop at a time, the token never along, at the address that was checked"""

import contextlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from artifactstore.core.errors import Invalid, Unavailable
from artifactstore.upstream.guard import Place
from artifactstore.upstream.patience import Patience
from artifactstore.upstream.reach import Reach, ambient_proxy
from artifactstore.upstream.wire import Wire
from tests.certificates import certified
from tests.servers import free_port
from tests.upstream.conftest import TOKEN

PATH = "/org/tiny/resolve/main/config.json"
LARGE = "/org/tiny/resolve/main/model.safetensors"


@pytest.fixture(autouse=True)
def repo(hub):
    return hub.repo("org/tiny", {"config.json": b"{}", "model.safetensors": b"weights" * 1000})


def wire(url, *, token=None, **reach):
    return Wire(Place.of(url), Reach(**reach), token=token)


def read(made, url, **headers):
    with made.ask(url, headers) as answer:
        return answer.status, answer.body(1 << 20)


def named(hub, host):
    """The hub by a name that only the test knows"""
    return hub.endpoint.replace("127.0.0.1", host)


def test_the_token_goes_to_the_endpoint_and_no_further(hub):
    assert read(wire(hub.endpoint, token=TOKEN), hub.endpoint + LARGE)[1] == b"weights" * 1000
    assert [(one.host, one.authorization) for one in hub.requests] == [("hub", f"Bearer {TOKEN}"), ("cdn", None)]


def test_a_redirect_that_comes_back_brings_no_token(hub):
    hub.fault("redirect", to=hub.cdn + "/away")
    hub.fault("redirect", on="cdn", to=hub.endpoint + PATH)
    assert read(wire(hub.endpoint, token=TOKEN), hub.endpoint + PATH) == (200, b"{}")
    assert [bool(one.authorization) for one in hub.requests] == [True, False, False]


def test_a_redirect_to_another_port_brings_no_token(hub):
    hub.fault("redirect", to=f"{hub.cdn}/x")
    made = wire(hub.endpoint, token=TOKEN)
    with made.ask(hub.endpoint + PATH, {}) as answer:
        assert answer.foreign
        assert answer.place.origin == hub.cdn
    assert hub.requests[-1].authorization is None


def test_a_redirect_within_the_endpoint_keeps_the_token(hub):
    hub.fault("redirect", to=PATH)
    with wire(hub.endpoint, token=TOKEN).ask(hub.endpoint + PATH, {}) as answer:
        assert not answer.foreign
        assert answer.first["X-Repo-Commit"]
    assert [bool(one.authorization) for one in hub.requests] == [True, True]


def test_no_token_no_header(hub):
    read(wire(hub.endpoint), hub.endpoint + PATH)
    assert hub.requests[0].authorization is None
    assert hub.requests[0].headers["Accept-Encoding"] == "identity"


def test_a_token_is_not_sent_in_the_clear_to_a_public_place(hub):
    made = wire("http://hub.example.com", token=TOKEN, proxy=lambda place: hub.endpoint)
    with pytest.raises(Invalid, match="use https") as caught:
        read(made, "http://hub.example.com" + PATH)
    assert TOKEN not in str(caught.value)
    assert hub.requests == []


@pytest.mark.parametrize("token", ["", "hf_a\r\nX: y", "hf a", "hf_é"])
def test_what_is_no_token_is_refused_and_not_repeated(hub, token):
    with pytest.raises(Invalid) as caught:
        wire(hub.endpoint, token=token)
    assert token == "" or token not in str(caught.value)


def test_nothing_of_it_shows_the_token(hub):
    made = wire(hub.endpoint, token=TOKEN)
    assert TOKEN not in repr(made) + str(made)


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("file:///etc/passwd", "Only http and https"),
        ("http://user:hunter2@127.0.0.1/", "name or password"),
        ("http://169.254.169.254/latest/meta-data/", "link-local"),
        ("http://0.0.0.0/", "reserved"),
    ],
)
def test_a_hostile_redirect_is_refused(hub, target, what):
    hub.fault("redirect", to=target)
    with pytest.raises(Invalid, match=what) as caught:
        read(wire(hub.endpoint), hub.endpoint + PATH)
    assert "hunter2" not in str(caught.value)
    assert len(hub.requests) == 1


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/x", "http://localhost/x", "http://10.0.0.1"])
def test_a_public_place_leads_nobody_into_the_house(hub, target):
    hub.fault("redirect", to=target)
    made = wire("http://hub.example.com", proxy=lambda place: hub.endpoint)
    with pytest.raises(Invalid, match=r"http://hub\.example\.com redirects to"):
        read(made, "http://hub.example.com" + PATH)
    assert len(hub.requests) == 1


def test_a_loop_of_redirects_ends(hub):
    hub.fault("loop", times=100)
    with pytest.raises(Unavailable, match="redirects over 8 times") as caught:
        read(wire(hub.endpoint), hub.endpoint + PATH)
    assert caught.value.code == "unavailable.redirects"
    assert not caught.value.facts.get("retryable")


def test_it_connects_to_the_address_that_was_checked(hub):
    """A name that means another address a moment later leads nowhere else"""
    asked = []

    def rebinding(host, port):
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    url = named(hub, "hub.internal")
    made = wire(url, resolver=rebinding)
    assert read(made, url + PATH) == (200, b"{}")
    assert asked == ["hub.internal"]
    assert hub.requests[0].headers["Host"] == url.removeprefix("http://")
    with pytest.raises(Invalid, match="link-local"):
        read(made, url + PATH)
    assert len(hub.requests) == 1


def test_the_next_address_is_tried_when_one_does_not_answer(hub):
    url = named(hub, "hub.internal")
    assert read(wire(url, resolver=lambda host, port: ["127.0.0.3", "127.0.0.1"]), url + PATH) == (200, b"{}")


def test_an_address_of_the_sixth_version():
    with contextlib.closing(socket.socket(socket.AF_INET6)) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
    server = _SixServer(("::1", 0), _Hello)
    with serving(server):
        url = f"http://[::1]:{server.server_port}"
        assert read(wire(url), url) == (200, b"hello")


def test_connections_are_kept(hub):
    made = wire(hub.endpoint)
    for _ in range(3):
        read(made, hub.endpoint + PATH)
    assert len({one.peer for one in hub.requests}) == 1


def test_a_connection_with_much_left_on_it_is_closed(hub):
    made = wire(hub.endpoint)
    for _ in range(2):
        with made.ask(hub.endpoint + PATH, {}) as answer:
            assert answer.status == 200
    assert len({one.peer for one in hub.requests}) == 2


def test_nobody_there():
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable, match="cannot be reached") as caught:
        read(wire(url), url)
    assert caught.value.facts["retryable"]


def test_a_body_that_breaks_off(hub):
    hub.fault("cut", "config.json", after=1)
    with pytest.raises(Unavailable, match="broke off") as caught:
        read(wire(hub.endpoint), hub.endpoint + PATH)
    assert caught.value.facts["retryable"]


def test_silence_is_waited_for_only_so_long(hub):
    hub.fault("stall", "config.json", after=1)
    with pytest.raises(Unavailable, match="silent") as caught:
        read(wire(hub.endpoint, patience=Patience(read=0.05)), hub.endpoint + PATH)
    assert caught.value.facts["retryable"]


def test_nothing_is_asked_when_the_time_is_over(hub):
    with pytest.raises(Unavailable, match="time is over"):
        read(wire(hub.endpoint, until=time.monotonic() - 1), hub.endpoint + PATH)
    assert hub.requests == []


def test_a_body_over_its_limit(hub):
    with wire(hub.endpoint).ask(hub.endpoint + LARGE, {}) as answer, pytest.raises(Unavailable, match="over 100 bytes"):
        answer.body(100)


def test_a_proxy_is_asked_in_place_of_the_host(hub):
    proxy = hub.endpoint.replace("http://", "http://me:hunter2@")
    made = wire("http://hub.example.com", proxy=lambda place: proxy)
    assert read(made, "http://hub.example.com" + PATH) == (200, b"{}")
    (request,) = hub.requests
    assert request.path == "http://hub.example.com" + PATH
    assert request.headers["proxy-authorization"] == "Basic bWU6aHVudGVyMg=="
    assert request.headers["Host"] == "hub.example.com"


def test_a_proxy_that_is_not_there():
    made = wire("http://hub.example.com", proxy=lambda place: f"127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable) as caught:
        read(made, "http://hub.example.com/x")
    assert caught.value.facts["retryable"]


def test_a_proxy_of_another_kind():
    made = wire("http://hub.example.com", proxy=lambda place: "socks5://me:hunter2@127.0.0.1:1")
    with pytest.raises(Invalid, match="proxy") as caught:
        read(made, "http://hub.example.com/x")
    assert "hunter2" not in str(caught.value)


def test_the_environment_names_proxies(monkeypatch):
    for name in ("HTTP_PROXY", "ALL_PROXY", "all_proxy", "http_proxy", "https_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "inner.example.com")
    assert ambient_proxy(Place.of("https://huggingface.co")) == "http://proxy:3128"
    assert ambient_proxy(Place.of("http://huggingface.co")) is None
    assert ambient_proxy(Place.of("https://inner.example.com")) is None


class _Hello(BaseHTTPRequestHandler):
    def log_message(self, *args):
        """Tests read the answers"""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")


class _HelloServer(HTTPServer):
    def handle_error(self, request, client_address):
        """A client that trusts nobody hangs up"""


class _SixServer(_HelloServer):
    address_family = socket.AF_INET6


@contextlib.contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def secure(tmp_path):
    """A server whose certificate is for hub.internal, and the file that makes it trusted"""
    chain, context = certified(tmp_path)
    server = _HelloServer(("127.0.0.1", 0), _Hello)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        yield server.server_port, chain


def test_a_certificate_is_checked_for_the_name_not_the_address(secure, monkeypatch):
    port, chain = secure

    def ask(host):
        url = f"https://{host}:{port}"
        return read(wire(url, resolver=lambda host, port: ["127.0.0.1"]), url)

    with pytest.raises(Unavailable, match="no certificate that is trusted") as caught:
        ask("hub.internal")
    assert caught.value.code == "unavailable.tls"
    assert not caught.value.facts["retryable"]
    monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    assert ask("hub.internal") == (200, b"hello")
    assert ask("127.0.0.1") == (200, b"hello")
    with pytest.raises(Unavailable) as caught:
        ask("other.internal")
    assert caught.value.code == "unavailable.tls"
