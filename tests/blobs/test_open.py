"""URLs: the place each one names, and those that name none"""

import subprocess
import sys
from pathlib import Path

import pytest

from artifactstore.blobs.local import LocalBlobs
from artifactstore.blobs.memory import MemoryBlobs
from artifactstore.blobs.open import open_blobs
from artifactstore.blobs.wrap import Retrying
from artifactstore.core.errors import Invalid, Offline
from artifactstore.core.settings import Settings
from tests.contract.blobs import DATA, put

SETTINGS = Settings()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/a/b", "/a/b"),
        ("file:///a/b%20c", "/a/b c"),
        ("file://localhost/a", "/a"),
        ("FILE:///a", "/a"),
        ("/a/b?c#d", "/a/b?c#d"),
        ("/a//b", "/a/b"),
    ],
)
def test_paths_are_local(url, path):
    store = open_blobs(url, SETTINGS)
    assert isinstance(store, LocalBlobs)
    assert store.url == path


@pytest.mark.parametrize("url", ["models", "./models", "C:\\models", "run:7"])
def test_relative_paths_and_colons_are_local(url):
    assert open_blobs(url, SETTINGS).url == str(Path.cwd() / url)


def test_opening_makes_nothing(tmp_path):
    open_blobs(str(tmp_path / "store"), SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_memory_is_shared_by_name():
    one, same, other = (open_blobs(f"memory://{name}", SETTINGS) for name in ("shared-1", "shared-1", "shared-2"))
    assert isinstance(one, MemoryBlobs)
    assert one is same
    assert one is not other
    assert one.url == "memory://shared-1"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a\0b",
        "s3://bucket/a\nb",
        "http://host/x",
        "https://host/x",
        "http:x",
        "ftp://host/x",
        "sftp://host/x",
        "gopher://host/x",
        "data:text/plain,x",
        "postgresql://host/db",
        "nosuch://x",
        "simplecache::s3://bucket/x",
        "file:relative",
        "file://otherhost/x",
        "file:///a?b=c",
        "file:///a%00b",
        "file:///a#b",
        "memory://",
        "memory:x",
        "memory://a/b",
        "memory://a?b=c",
        "s3://",
        "s3:bucket",
        "s3:///key",
        "s3://Bucket/x",
        "s3://ab/x",
        "s3://a..b/x",
        "s3://-bucket/x",
        "s3://under_score/x",
        "s3://bucket:80/x",
        "s3://bucket:notaport/x",
        "s3://[/x",
        "s3://bucket//x",
        "s3://bucket//",
        "s3://bucket/a//b",
        "s3://bucket/a//",
        "s3://bucket/../x",
        "s3://bucket/a/./b",
        "s3://bucket/a/..",
        "s3://bucket/a%2e%2e/b",
        "s3://bucket/a*b",
        "s3://bucket/a\\b",
        "s3://bucket/x#y",
        "s3://bucket/x#",
        "s3://bucket/x?nosuch=1",
        "s3://bucket/x?anon=maybe",
        "s3://bucket/x?region=",
        "s3://bucket/x?region=a/b",
        "s3://bucket/x?region=eu-1&region=eu-2",
        "s3://bucket/x?endpoint_url=127.0.0.1:9000",
        "s3://bucket/x?endpoint_url=localhost:9000",
        "s3://bucket/x?endpoint_url=ftp://host",
        "s3://bucket/x?endpoint_url=http://",
        "s3://bucket/x?endpoint_url=http://host:99999",
        "s3://bucket/x?endpoint_url=http://host?x=y",
        "s3://bucket/x?endpoint_url=http://[",
        "s3://bucket/x?endpoint_url=",
        "gs://bucket/x?project=y",
    ],
)
def test_what_names_no_place_is_invalid(url):
    with pytest.raises(Invalid) as error:
        open_blobs(url, SETTINGS)
    assert str(error.value).startswith("The URL of a store ")


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIAEXAMPLE:hunter2hunter2@bucket/x",
        "s3://hunter2@bucket/x",
        "s3://bucket/x?key=AKIAEXAMPLE&secret=hunter2",
        "s3://bucket/x?aws_secret_access_key=hunter2",
        "s3://bucket/x?access_key=hunter2",
        "s3://bucket/x?SessionToken=hunter2",
        "s3://bucket/x?password=hunter2",
        "s3://bucket/x?X-Amz-Signature=hunter2",
        "s3://bucket/x?endpoint_url=http://user:hunter2@host",
        "gs://hunter2@bucket/x",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(url):
    with pytest.raises(Invalid, match="credentials") as error:
        open_blobs(url, SETTINGS)
    assert error.value.code == "invalid.credentials"
    assert "hunter2" not in repr(error.value) + repr(error.value.facts)


def test_an_odd_option_is_named_without_its_value():
    with pytest.raises(Invalid, match="nosuch") as error:
        open_blobs("s3://bucket/x?nosuch=hunter2", SETTINGS)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["s3://bucket/x", "s3://bucket?endpoint_url=http://127.0.0.1:1", "gs://bucket", "az://bucket/x"]
)
def test_remote_places_are_refused_offline(url):
    with pytest.raises(Offline):
        open_blobs(url, Settings(offline=True))


def test_local_places_are_open_offline(tmp_path):
    assert open_blobs(str(tmp_path), Settings(offline=True)).url == str(tmp_path)


def test_a_remote_place_is_retried_and_says_where_it_is():
    url = "s3://bucket/some/prefix/?region=eu-central-1&anon=true"
    store = open_blobs(url, SETTINGS)
    assert isinstance(store._inner, Retrying)
    assert store.url == url
    assert store._inner._inner._fs.anon is True
    assert store._inner._inner._fs.client_kwargs == {"region_name": "eu-central-1"}
    assert store._inner._inner._root == "bucket/some/prefix"


def test_a_bucket_alone_is_a_place(s3_url):
    store = open_blobs(s3_url.replace("/" + s3_url.split("?")[0].rpartition("/")[2], ""), SETTINGS)
    assert store._inner._inner._root == "store-tests"
    [key] = put(store, DATA)
    assert store.read(key) == DATA
    assert key in list(store.keys("blobs/"))
    store.delete(key)


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_a_local_store_opens_without_fsspec():
    code = "import sys, artifactstore.blobs.open as o; from artifactstore.core.settings import Settings; o.open_blobs('/x', Settings()); print('fsspec' in sys.modules)"
    assert run(code) == "False"


def test_a_missing_s3fs_says_what_to_install():
    code = """
import sys
sys.modules["s3fs"] = None
from artifactstore.blobs.open import open_blobs
from artifactstore.core.errors import Unavailable
from artifactstore.core.settings import Settings
try:
    open_blobs("s3://bucket/x", Settings())
except Unavailable as e:
    print(e.code, e)
"""
    assert run(code).startswith("unavailable.extra s3:// needs a package")
    assert 'pip install "artifactstore[s3]"' in run(code)


def test_a_transport_is_chosen_by_the_url():
    url = "s3://bucket/prefix?endpoint_url=http://127.0.0.1:9&region=us-east-1&transport=obstore"
    fs = open_blobs(url, SETTINGS)._inner._inner._fs
    assert fs.storage_options["config"] == {
        "region": "us-east-1",
        "endpoint": "http://127.0.0.1:9",
        "skip_signature": False,
        "virtual_hosted_style_request": False,
    }
    with pytest.raises(Invalid, match="transport"):
        open_blobs("s3://bucket/prefix?transport=carrier-pigeon", SETTINGS)
