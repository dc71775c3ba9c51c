"""A hub on loopback: the read API of the Hugging Face hub over real sockets, with faults on demand"""

import argparse
import contextlib
import fnmatch
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.hub_repos import Content, Held, HubRepo, in_lfs

_PIECE = 4 << 20
_MODEL = re.compile(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree|refs)(?:/(.*))?)?")
_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/(.+)")
_CDN = re.compile(r"/repos/([^/]+/[^/]+)/([0-9a-f]{40})/(.+)")
_SPECIAL = re.compile(r"(refs/[^/]+/[^/]+)(?:/(.*))?")
_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)")
_SHOWN = "X-Repo-Commit,X-Linked-Size,X-Linked-ETag,ETag,Content-Range,Accept-Ranges,X-Error-Code,Link"


@dataclass
class Request:
    """One request as it came, from the port `peer`; `sent` counts the bytes of its body that went out"""

    host: str
    method: str
    path: str
    range: str | None
    authorization: str | None
    headers: dict[str, str]
    peer: int
    file: str | None = None
    status: int = 0
    sent: int = 0


@dataclass
class Fault:
    """What goes wrong with the next `times` requests of `method` for a file (or a URL path) like `path`

    Wherever a body is sent (`after` so many of its bytes): cut, stall (until `LocalHub.go_on`), slow (`rate` bytes a
    second), flip (a bit of the byte there), length (Content-Length is wrong by `by`), whole (a range is not honoured).
    At the hub, or at the other host with `on="cdn"`: status (with `headers`), etag, redirect (to `to`), loop.
    """

    kind: str
    path: str = "*"
    method: str = "GET"
    times: int = 1
    after: int = 0
    rate: int = 0
    by: int = 0
    status: int = 503
    to: str = ""
    on: str = "hub"
    headers: Mapping[str, str] | None = None


_OF_BODY = {"cut", "stall", "slow", "flip", "length"}
_ANYWHERE = _OF_BODY | {"whole"}


class LocalHub:
    """A hub at `endpoint` that sends files of LFS from another host

    tokens: those it knows; a request with another is refused. cdn: the address of the other host; None to send all files
    itself. page: nodes of a tree in one answer.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        cdn: str | None = "127.0.0.2",
        tokens: tuple[str, ...] = (),
        page: int = 1000,
    ) -> None:
        self.folder = folder
        self.tokens = frozenset(tokens)
        self.page = page
        self.repos: dict[str, HubRepo] = {}
        self.faults: list[Fault] = []
        self._requests: list[Request] = []
        self._changed = threading.Condition()
        self._go_on = threading.Event()
        self._servers = {"hub": _Server(self, "hub", "127.0.0.1", port)}
        if cdn is not None:
            self._servers["cdn"] = _Server(self, "cdn", cdn, 0)
        self.endpoint = self._servers["hub"].url

    @property
    def cdn(self) -> str | None:
        """The other host, as a URL"""
        return self._servers["cdn"].url if "cdn" in self._servers else None

    def repo(
        self,
        name: str,
        content: Content,
        *,
        card: Mapping[str, Any] | None = None,
        gated: str | bool = False,
        private: bool = False,
        granted: tuple[str, ...] = (),
        lfs: Callable[[str, int], bool] = in_lfs,
    ) -> HubRepo:
        """A new repository with one commit on `main`; `granted`: the tokens that may read it when it is gated"""
        made = HubRepo(name, self.folder, card, gated, private, frozenset(granted), lfs)
        made.commit(content)
        self.repos[name.lower()] = made
        return made

    def fault(self, kind: str, path: str = "*", **details: Any) -> None:
        """Let something go wrong, see `Fault`"""
        with self._changed:
            self.faults.append(Fault(kind, path, **details))

    def go_on(self) -> None:
        """End every stall"""
        self._go_on.set()

    @property
    def requests(self) -> list[Request]:
        """All so far"""
        with self._changed:
            return list(self._requests)

    def gets(self, path: str = "*") -> list[Request]:
        """Requests for bytes of files like `path`, without those that were sent to the other host"""
        return [one for one in self.requests if one.method == "GET" and _like(one.file, path) and one.status != 302]

    def sent(self, path: str = "*") -> int:
        """Bytes of files like `path` that went out"""
        return sum(one.sent for one in self.gets(path))

    def await_sent(self, count: int, path: str = "*", seconds: float = 60) -> None:
        """Return when so many bytes of files like `path` went out"""
        deadline = time.monotonic() + seconds
        while self.sent(path) < count:
            with self._changed:
                assert self._changed.wait(deadline - time.monotonic()), f"{self.sent(path)} of {count} bytes went out"

    def taken(self, kinds: set[str], method: str, on: str, *names: str | None) -> Fault | None:
        """The fault planned for a request, if there is one"""
        with self._changed:
            for fault in self.faults:
                if (
                    fault.kind in kinds
                    and fault.times > 0
                    and fault.method == method
                    and (fault.on == on or fault.kind in _ANYWHERE)
                    and any(_like(name, fault.path) for name in names)
                ):
                    fault.times -= 1
                    return fault
        return None

    def note(self, request: Request, **seen: Any) -> None:
        """Record a request, or what became of it"""
        with self._changed:
            if not seen:
                self._requests.append(request)
            for name, value in seen.items():
                setattr(request, name, value)
            self._changed.notify_all()

    def stall(self) -> None:
        """Wait until the test says to go on"""
        self._go_on.wait()

    def close(self) -> None:
        """Stop both servers"""
        self._go_on.set()
        for server in self._servers.values():
            server.stop()


def _like(name: str | None, pattern: str) -> bool:
    return name is not None and fnmatch.fnmatchcase(name, pattern)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, hub: LocalHub, part: str, address: str, port: int) -> None:
        super().__init__((address, port), _Handler)
        self.hub, self.part = hub, part
        self.url = f"http://{address}:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def handle_error(self, request, client_address) -> None:
        """A client that went away is what the tests want"""

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *args) -> None:
        """Tests read the records"""

    def handle_read(self) -> None:
        hub = self.server.hub
        self.url = urlsplit(self.path)
        self.query = parse_qs(self.url.query, keep_blank_values=True)
        seen = self.headers
        self.record = Request(
            host=self.server.part,
            method=self.command,
            path=self.path,
            range=seen.get("Range"),
            authorization=seen.get("Authorization"),
            headers=dict(seen),
            peer=self.client_address[1],
        )
        if self.path == "/_hub/requests":
            self.answer(200, json.dumps([asdict(one) for one in hub.requests]).encode())
            return
        hub.note(self.record)
        self.file = self._file_asked_for()
        self.record.file = self.file
        if not self._disturbed():
            self._route()

    do_GET = do_HEAD = handle_read  # noqa: N815  # http.server looks for these names

    def _file_asked_for(self) -> str | None:
        if found := _RESOLVE.fullmatch(self.url.path):
            return unquote(_split(found[2])[1])
        found = _CDN.fullmatch(self.url.path)
        return unquote(found[3]) if found else None

    def _disturbed(self) -> bool:
        """Whether a fault answered in place of the hub"""
        fault = self._fault({"status", "redirect", "loop"})
        if fault is None:
            return False
        if fault.kind == "status":
            self.answer(fault.status, b'{"error": "planned"}', dict(fault.headers or {}))
        else:
            self.answer(302, b"", {"Location": fault.to if fault.kind == "redirect" else self.path})
        return True

    def _fault(self, kinds: set[str]) -> Fault | None:
        return self.server.hub.taken(kinds, self.command, self.server.part, self.file, unquote(self.url.path))

    def _route(self) -> None:
        path = self.url.path
        if self.server.part == "cdn":
            self._cdn(_CDN.fullmatch(path))
        elif found := _MODEL.fullmatch(path):
            self._model(unquote(found[1]), found[2], found[3] or "")
        elif found := _RESOLVE.fullmatch(path):
            self._resolve(unquote(found[1]), found[2])
        else:
            self.refuse(404, None, "Not here")

    def _cdn(self, found: re.Match[str] | None) -> None:
        repo = self.server.hub.repos.get(found[1].lower()) if found else None
        held = repo.commits.get(found[2], {}).get(unquote(found[3])) if repo and found else None
        if held is None:
            self.refuse(403, None, "AccessDenied")
        else:
            self.send_body(held, {"ETag": f'"cdn-{held.sha256[:24]}"'})

    def _allowed(self, name: str, *, files: bool) -> HubRepo | None:
        """The repository, None when the request was refused"""
        hub = self.server.hub
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        repo = hub.repos.get(name.lower())
        if token and token not in hub.tokens:
            self.refuse(401, None, "Invalid credentials in Authorization header")
        elif repo is None or (repo.private and not token):
            self.refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        elif files and repo.gated and token not in repo.granted:
            self.refuse(403 if token else 401, "GatedRepo", f"Access to model {repo.id} is restricted")
        else:
            return repo
        return None

    def _found(self, repo: HubRepo, revision: str) -> str | None:
        sha = repo.resolve(unquote(revision))
        if sha is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {unquote(revision)}")
        return sha

    def _model(self, name: str, what: str | None, rest: str) -> None:
        repo = self._allowed(name, files=False)
        if repo is None:
            return
        if what == "refs":
            branches = [
                {"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": sha} for ref, sha in repo.refs.items()
            ]
            self.answer(200, json.dumps({"branches": branches, "tags": [], "converts": []}).encode())
            return
        revision, folder = _split(rest) if what == "tree" else (rest or "main", "")
        sha = self._found(repo, revision)
        if sha is not None and what == "tree":
            self._tree(repo, sha, unquote(folder))
        elif sha is not None:
            blobs = self.query.get("blobs", [""])[0].lower() in {"true", "1"}
            self.answer(200, json.dumps(repo.info(sha, blobs=blobs)).encode())

    def _tree(self, repo: HubRepo, sha: str, folder: str) -> None:
        flags = {name: self.query.get(name, [""])[0].lower() in {"true", "1"} for name in ("recursive", "expand")}
        nodes = repo.tree(sha, folder, **flags)
        if nodes is None:
            self.refuse(404, "EntryNotFound", f"{folder} does not exist", {"X-Repo-Commit": sha})
            return
        begin, page = int(self.query.get("cursor", ["0"])[0]), self.server.hub.page
        headers = {}
        if begin + page < len(nodes):
            kept = "".join(f"{name}=true&" for name, on in flags.items() if on)
            headers["Link"] = f'<{self.server.url}{self.url.path}?{kept}cursor={begin + page}>; rel="next"'
        self.answer(200, json.dumps(nodes[begin : begin + page]).encode(), headers)

    def _resolve(self, name: str, rest: str) -> None:
        repo = self._allowed(name, files=True)
        revision, path = _split(rest)
        sha = self._found(repo, revision) if repo else None
        if repo is None or sha is None:
            return
        held = repo.commits[sha].get(unquote(path))
        if held is None:
            self.refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": sha})
            return
        tag = "0" * len(held.etag) if self._fault({"etag"}) else held.etag
        headers = {"X-Repo-Commit": sha, "ETag": f'"{tag}"', "Access-Control-Expose-Headers": _SHOWN}
        if held.lfs:
            headers |= {"X-Linked-ETag": f'"{tag}"', "X-Linked-Size": str(held.size)}
        if held.lfs and self.server.hub.cdn is not None:
            target = f"{self.server.hub.cdn}/repos/{repo.id}/{sha}/{quote(held.path)}?signature=of-the-tests"
            self.answer(302, b"Found. Redirecting", headers | {"Location": target, "Accept-Ranges": "bytes"})
        else:
            self.send_body(held, headers)

    def send_body(self, held: Held, headers: dict[str, str]) -> None:
        start, end, status = 0, held.size, 200
        asked = _RANGE.fullmatch(self.headers.get("Range") or "")
        if asked and not self._fault({"whole"}) and self.headers.get("If-Range") in {None, headers["ETag"]}:
            start, end, status = int(asked[1]), min(int(asked[2] or held.size - 1) + 1, held.size), 206
            if start >= held.size or end <= start:
                self.answer(416, b"", headers | {"Content-Range": f"bytes */{held.size}"})
                return
            headers = headers | {"Content-Range": f"bytes {start}-{end - 1}/{held.size}"}
        fault = self._fault(_OF_BODY)
        length = end - start + (fault.by if fault and fault.kind == "length" else 0)
        headers = headers | {"Content-Length": str(length), "Accept-Ranges": "bytes"}
        self._head(status, headers | {"Content-Type": "application/octet-stream"})
        if self.command != "HEAD":
            self._stream(held, start, end, fault)

    def _stream(self, held: Held, start: int, end: int, fault: Fault | None) -> None:
        """The bytes, through the kernel, but for what a fault does at one place"""
        special = fault is not None and start <= fault.after < end
        self.close_connection = self.close_connection or (fault is not None and fault.kind == "length")
        with held.local.open("rb") as file:
            if fault is None or not special:
                self._send(file, start, end)
                return
            rate = fault.rate if fault.kind == "slow" else 0
            self._send(file, start, fault.after)
            if fault.kind == "cut":
                self.close_connection = True
                return
            if fault.kind == "stall":
                self.server.hub.stall()
            if fault.kind == "flip":
                byte = os.pread(file.fileno(), 1, fault.after)[0] ^ 4
                self.wfile.write(bytes([byte]))
                self.server.hub.note(self.record, sent=self.record.sent + 1)
            self._send(file, fault.after + (fault.kind == "flip"), end, rate)

    def _send(self, file, start: int, end: int, rate: int = 0) -> None:
        while start < end:
            count = os.sendfile(self.connection.fileno(), file.fileno(), start, min(end - start, rate or _PIECE))
            start += count
            self.server.hub.note(self.record, sent=self.record.sent + count)
            if rate:
                time.sleep(count / rate)

    def refuse(self, status: int, code: str | None, message: str, headers: Mapping[str, str] | None = None) -> None:
        told = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.answer(status, json.dumps({"error": message}).encode(), told | dict(headers or {}))

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        told = {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(body))}
        self._head(status, told | dict(headers or {}))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.server.hub.note(self.record, status=status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _split(rest: str) -> tuple[str, str]:
    """A revision, quoted or a special one with its slashes, and the path after it"""
    special = _SPECIAL.fullmatch(rest)
    if special:
        return special[1], special[2] or ""
    revision, _, path = rest.partition("/")
    return revision, path


@contextlib.contextmanager
def local_hub(**options: Any) -> Iterator[LocalHub]:
    """A hub without repositories, gone with the block"""
    with tempfile.TemporaryDirectory(prefix="artstore-hub-") as folder:
        hub = LocalHub(Path(folder), **options)
        try:
            yield hub
        finally:
            hub.close()


def main() -> None:
    """Serve `FOLDER/org/name` as repositories until it is ended; the endpoint is the first line printed"""
    options = argparse.ArgumentParser(prog="python -m tests.hub", description=main.__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--cdn", default="127.0.0.2", help="address of the other host; empty for none")
    options.add_argument("--token", action="append", default=[])
    chosen = options.parse_args()
    with local_hub(port=chosen.port, cdn=chosen.cdn or None, tokens=tuple(chosen.token)) as hub:
        for folder in sorted(chosen.folder.glob("*/*/")):
            hub.repo(f"{folder.parent.name}/{folder.name}", folder)
        print(hub.endpoint, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
