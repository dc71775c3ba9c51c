"""Fetching one file of the web, known by its sha256"""

import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from artifactstore.core.digest import Sha256
from artifactstore.core.errors import Corrupt, NotFound
from tests.certificates import certified
from tests.shelf import weights


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        self.server.asked.append(self.command)


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A server of the files in `web`; `asked` are the methods of its requests"""
    folder = tmp_path / "web"
    folder.mkdir()
    chain, context = certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: _Handler(*args, directory=folder))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.asked, server.folder = [], folder
    server.url = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def entry(web, name, sha256):
    return f'source = "{web.url}/{name}?signature=secret"\nsha256 = "{sha256}"\nlicense = "MIT"'


def test_a_file_is_fetched_once_and_keeps_its_name(fetching, web):
    data = weights(1)
    (web.folder / "video 19b.safetensors").write_bytes(data)
    models = fetching.models(entry(web, "video%2019b.safetensors", Sha256.of(data)))
    version = fetching.version(models, checked_out=True)
    assert (version.ref, version.license, version.aliases) == ("a:1", "MIT", ("latest",))
    assert (fetching.options.root / "a/video 19b.safetensors").read_bytes() == data
    said = fetching.depot.catalog.versions.metadata(version.id)["upstream"]
    assert said == {"source": f"{web.url}/video%2019b.safetensors"}
    web.asked.clear()
    [item] = fetching.plan(models).items
    assert (item.state, item.version.id, web.asked) == ("held", version.id, ["HEAD"])


def test_bytes_that_are_others_are_refused(fetching, web):
    (web.folder / "w.safetensors").write_bytes(weights(1))
    other, gone = fetching.run(
        fetching.models(entry(web, "w.safetensors", "00" * 32), entry(web, "gone.safetensors", "00" * 32))
    )
    assert type(other.error) is Corrupt
    assert type(gone.error) is NotFound
    assert "secret" not in other.error.message + gone.error.message
    assert fetching.versions() == []


def test_what_another_model_brought_is_taken_from_the_store(fetching, web, hub):
    data = weights(1)
    hub.repo("org/one", {"model.safetensors": data, "config.json": b"{}"})
    (web.folder / "w.safetensors").write_bytes(data)
    fetching.version(fetching.models("org/one"))
    web.asked.clear()
    assert fetching.version(fetching.models(entry(web, "w.safetensors", Sha256.of(data)))).ref == "a:1"
    assert web.asked == ["HEAD"]


def test_two_models_of_one_file_are_each_a_version_and_move_it_once(fetching, web):
    data = weights(1)
    (web.folder / "w.safetensors").write_bytes(data)
    models = fetching.models(*[entry(web, "w.safetensors", Sha256.of(data))] * 2)
    first, second = fetching.run(models[:1]), fetching.run(models)
    assert [one.version.ref for one in (*first, *second)] == ["a:1", "a:1", "b:1"]
    assert [one.fetched_bytes for one in (*first, *second)] == [len(data), 0, 0]
    assert web.asked.count("GET") == 1
