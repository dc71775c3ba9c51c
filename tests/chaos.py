"""A loopback HTTP proxy that misbehaves on demand, to stand before an S3 server"""

import contextlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

FOREVER = 1 << 30
_SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate</Message></Error>"
)
_OWN_HEADERS = {"transfer-encoding", "connection", "content-length", "expect", "date", "server"}


class Chaos(ThreadingHTTPServer):
    """Passes requests on to `upstream`, but for the faults that were planned

    refuse: answer 503. deny: 403. full: 507. flip: change a bit of the body on its way. lose: do it, say nothing, hang up.
    cut: hang up in the middle of the body. shorten: leave out the last byte and say so. swallow: say 200, do nothing.
    """

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.seen: list[str] = []
        self._plans: list[list] = []
        self._lock = threading.Lock()

    def plan(self, method: str, what: str, times: int = 1) -> None:
        """Do `what` to the next `times` requests of `method`, after the faults planned for it before"""
        self._plans.append([method, what, times])

    def take(self, method: str) -> str | None:
        with self._lock:
            self.seen.append(method)
            for plan in self._plans:
                if plan[0] == method and plan[2] > 0:
                    plan[2] -= 1
                    return plan[1]
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Chaos

    def log_message(self, *args) -> None:
        """Tests read their own faults"""

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.take(self.command)
        refusals = {"refuse": 503, "deny": 403, "full": 507, "swallow": 200}
        if fault in refusals:
            self.answer(refusals[fault], {}, _SLOW_DOWN if fault == "refuse" else b"")
            return
        if fault == "flip" and body:
            body = _flipped(body)
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=30)
        with contextlib.closing(upstream):
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN_HEADERS}
            upstream.request(self.command, self.path, body, headers)
            response = upstream.getresponse()
            data = response.read()
        if fault == "lose":
            self.close_connection = True
            return
        if data and fault in {"flip", "shorten"}:
            data = _flipped(data) if fault == "flip" else data[:-1]
        length = response.headers.get("Content-Length") if self.command == "HEAD" else None
        self.answer(response.status, dict(response.headers), data, cut=fault == "cut", length=length)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815  # http.server looks for these names

    def answer(self, status: int, headers: dict, data: bytes, *, cut: bool = False, length: str | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _OWN_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = self.close_connection or cut


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


@contextlib.contextmanager
def chaos_before(upstream: str) -> Iterator[Chaos]:
    """A proxy before `upstream`, gone with the block"""
    with Chaos(upstream) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
