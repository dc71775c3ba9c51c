"""Two real S3 servers keep the contract, also when the network between lies"""

import errno
import gc
import os
import secrets

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from artifactstore.blobs.layout import SETTINGS_KEY, journal_key
from artifactstore.blobs.open import open_blobs
from artifactstore.blobs.remote import RemoteBlobs, open_filesystem, translate
from artifactstore.blobs.wrap import Retrying, Verified
from artifactstore.core.errors import Corrupt, Denied, NoSpace, NoStore, NotFound, Unavailable
from artifactstore.core.settings import Settings
from tests.chaos import FOREVER, chaos_before
from tests.contract.blobs import DATA, key_of, put
from tests.servers import S3_BUCKET, free_port


@pytest.fixture
def proxy(moto_endpoint):
    with chaos_before(moto_endpoint) as proxy:
        yield proxy


@pytest.fixture
def prefix():
    return f"s3://{S3_BUCKET}/{secrets.token_hex(6)}?region=us-east-1&endpoint_url="


@pytest.fixture
def bare(prefix, proxy):
    """The store behind the proxy, without retries"""
    return open_blobs(prefix + proxy.endpoint, Settings())._inner._inner


@pytest.fixture
def direct(prefix, moto_endpoint):
    """The same store without the proxy, to see what is really there"""
    return open_blobs(prefix + moto_endpoint, Settings())


@pytest.fixture
def delays():
    return []


@pytest.fixture
def store(bare, delays):
    return Retrying(bare, 4, delays.append)


class TestMisbehavingServer:
    def test_a_bit_flipped_on_the_way_in_is_seen_and_written_again(self, store, proxy, direct, delays):
        proxy.plan("PUT", "flip")
        [key] = put(store, DATA)
        assert direct.read(key) == DATA
        assert proxy.seen.count("PUT") == 2
        assert delays == []

    def test_a_server_that_always_changes_bytes_is_not_trusted(self, store, proxy, direct):
        proxy.plan("PUT", "flip", FOREVER)
        batch = store.batch("writer")
        key = key_of(DATA)
        with pytest.raises(Corrupt) as error:
            batch.write(key, DATA)
        assert error.value.code == "corrupt.stored"
        assert proxy.seen.count("PUT") == 2
        batch.discard()
        assert list(direct.keys("")) == []

    def test_a_put_that_is_answered_but_not_done_is_seen(self, store, proxy, direct):
        proxy.plan("PUT", "swallow")
        [key] = put(store, DATA)
        assert direct.read(key) == DATA
        proxy.plan("PUT", "swallow", FOREVER)
        with pytest.raises(Corrupt):
            put(store, DATA)

    def test_a_lost_acknowledgement_is_written_again(self, store, proxy, direct, delays):
        proxy.plan("PUT", "lose", 2)
        [key] = put(store, DATA)
        assert direct.read(key) == DATA
        # The HTTP client tries once by itself when a connection that it kept ends.
        assert proxy.seen.count("PUT") == 3
        assert delays

    def test_a_busy_server_is_asked_again_after_longer_and_longer_times(self, store, proxy, direct, delays):
        proxy.plan("PUT", "refuse", 3)
        [key] = put(store, DATA)
        assert direct.read(key) == DATA
        assert len(delays) == 3
        assert all(0.05 * 2**n <= delay <= 0.1 * 2**n for n, delay in enumerate(delays))

    @pytest.mark.parametrize("method", ["PUT", "HEAD", "GET", "DELETE"])
    def test_a_server_that_stays_busy_is_unavailable(self, store, proxy, delays, method):
        [key] = put(store, DATA)
        proxy.plan(method, "refuse", FOREVER)
        call = {
            "PUT": lambda: put(store, DATA),
            "HEAD": lambda: store.size(key),
            "GET": lambda: store.read(key),
            "DELETE": lambda: store.delete(key),
        }
        with pytest.raises(Unavailable) as error:
            call[method]()
        assert error.value.code == "unavailable.server"
        assert error.value.facts["status"] == 503
        assert len(delays) == 4

    @pytest.mark.parametrize("fault", ["cut", "shorten", "lose"])
    def test_a_body_that_comes_short_is_asked_for_again(self, store, proxy, delays, fault):
        [key] = put(store, DATA)
        proxy.plan("GET", fault, 2)
        assert store.read(key) == DATA
        assert proxy.seen.count("GET") == 3
        assert delays
        proxy.plan("GET", fault, FOREVER)
        for read in (lambda: store.read(key), lambda: store.read(key, 10, 100)):
            with pytest.raises(Unavailable):
                read()

    def test_a_bit_flipped_on_the_way_out_is_corrupt(self, store, proxy):
        [key] = put(store, DATA)
        proxy.plan("GET", "flip", FOREVER)
        with pytest.raises(Corrupt):
            Verified(store).read(key)

    def test_denial_and_lack_of_space_are_not_asked_again(self, store, proxy, delays):
        for fault, kind in [("deny", Denied), ("full", NoSpace)]:
            proxy.plan("PUT", fault)
            with pytest.raises(kind):
                put(store, DATA)
        assert delays == []

    def test_a_lost_copy_keeps_the_object_where_it_is(self, store, proxy, direct):
        [key] = put(store, DATA)
        proxy.plan("PUT", "refuse", FOREVER)
        with pytest.raises(Unavailable):
            store.quarantine(key)
        assert direct.read(key) == DATA


class TestS3:
    @pytest.fixture
    def store(self, s3_url):
        return open_blobs(s3_url, Settings())

    def test_a_missing_bucket_is_no_store(self, s3_url):
        store = open_blobs(s3_url.replace(S3_BUCKET, "never-made"), Settings())
        with pytest.raises(NoStore, match="never-made"):
            put(store, DATA)

    def test_a_forked_child_can_read_and_write_and_leaves_the_parent_its_connections(self, store):
        bare = store._inner._inner
        [key] = put(bare, DATA)
        child = os.fork()
        if child == 0:
            done = False
            try:
                done = bare.read(key) == DATA and bare.read(put(bare, b"child")[0]) == b"child"
                gc.collect()
            finally:
                os._exit(0 if done else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert bare.read(key) == DATA

    def test_a_folder_is_no_object(self, store):
        [key] = put(store, DATA)
        with pytest.raises(NotFound):
            store.size(key.rpartition("/")[0])


def test_nobody_listening_is_unavailable_and_the_secret_is_not_shown(s3_credentials):
    url = f"s3://bucket/x?endpoint_url=http://127.0.0.1:{free_port()}"
    delays = []
    store = Retrying(open_blobs(url, Settings())._inner._inner, 2, delays.append)
    with pytest.raises(Unavailable) as error:
        store.read(key_of(DATA))
    assert error.value.facts["retryable"]
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(error.value)
    assert len(delays) == 2


class Odd(MemoryFileSystem):
    """A file system in which one verb fails, or which tells an ETag of its own"""

    cachable = False

    def __init__(self, *, fail=None, tag=None, copies=True):
        super().__init__()
        self.fail, self.tag, self.copies = fail or {}, tag, copies

    def info(self, path, **kwargs):
        return {**super().info(path, **kwargs), **({"ETag": self.tag} if self.tag else {})}

    def pipe_file(self, path, value, **kwargs):
        super().pipe_file(path, value[:-1] if "keep" in self.fail else value, **kwargs)

    def cat_file(self, path, start=None, end=None, **kwargs):
        if "cat" in self.fail:
            raise self.fail["cat"]
        return super().cat_file(path, start, end, **kwargs)

    def cp_file(self, path1, path2, **kwargs):
        self.pipe_file(path2, self.cat_file(path1) if self.copies else b"")

    def find(self, path, **kwargs):
        if "find" in self.fail:
            raise self.fail["find"]
        return super().find(path, **kwargs)


def odd(**options):
    return RemoteBlobs(Odd(**options), f"/{secrets.token_hex(6)}", "odd://x")


def test_a_tag_that_is_no_md5_of_the_bytes_is_settled_by_reading_back():
    store = odd(tag='"' + "0" * 32 + '"')
    [key] = put(store, DATA)
    assert store.read(key) == DATA


def test_a_server_that_keeps_less_than_it_got_is_not_trusted():
    with pytest.raises(Corrupt) as error:
        put(odd(fail={"keep": True}), DATA)
    assert error.value.code == "corrupt.stored"


def test_after_a_fork_the_file_system_is_made_anew():
    store = odd(tag="tag")
    [key] = put(store, DATA)
    before = store._fs
    store._pid = -1  # what a child finds
    assert store.read(key) == DATA
    assert store._fs is not before
    assert store._fs.tag == "tag"


def test_a_copy_that_is_not_whole_keeps_the_object_where_it_is():
    store = odd(copies=False)
    [key] = put(store, DATA)
    with pytest.raises(Unavailable) as error:
        store.quarantine(key)
    assert error.value.code == "unavailable.copy"
    assert store.read(key) == DATA


def test_a_missing_folder_lists_nothing():
    assert list(odd(fail={"find": FileNotFoundError("x")}).keys("blobs/")) == []


def test_a_mistake_of_ours_is_not_dressed_up():
    store = odd(fail={"cat": ZeroDivisionError("ours")})
    with pytest.raises(ZeroDivisionError):
        put(store, DATA)


def test_a_range_behind_the_end_is_corrupt_whatever_the_server_calls_it():
    store = odd()
    [key] = put(store, DATA)
    error = OSError(errno.EINVAL, "The requested range is not satisfiable")
    error.__cause__ = _ClientError(416)
    store._fs.fail = {"cat": error}
    with pytest.raises(Corrupt) as caught:
        store.read(key, len(DATA), 1)
    assert caught.value.code == "corrupt.truncated"
    with pytest.raises(Unavailable):
        store.read(key, 0, 1)


class _ClientError(Exception):
    def __init__(self, status):
        super().__init__("said the server")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


class NoCredentialsError(Exception):
    pass


def _behind(status):
    error = OSError(errno.EIO, "x")
    error.__cause__ = _ClientError(status)
    return error


@pytest.mark.parametrize(
    ("error", "kind", "code", "retryable"),
    [
        (FileNotFoundError("x"), NotFound, "not-found", None),
        (PermissionError("x"), Denied, "unavailable.denied", None),
        (NoCredentialsError("Unable to locate credentials"), Denied, "unavailable.denied", None),
        (OSError(errno.ENOSPC, "x"), NoSpace, "unavailable.space", None),
        (_behind(507), NoSpace, "unavailable.space", None),
        (_behind(500), Unavailable, "unavailable.server", True),
        (_behind(429), Unavailable, "unavailable.server", True),
        (_behind(400), Unavailable, "unavailable.server", False),
        (TimeoutError(), Unavailable, "unavailable.network", True),
        (fsspec.exceptions.FSTimeoutError(), Unavailable, "unavailable.network", True),
        (ConnectionResetError("x"), Unavailable, "unavailable.network", True),
    ],
)
def test_what_a_foreign_error_means(error, kind, code, retryable):
    found = translate(error, "Cannot read x", "s3://bucket", key="x")
    assert type(found) is kind
    assert found.code == code
    assert found.facts["key"] == "x"
    assert found.facts.get("retryable") is retryable
    assert str(found).startswith("Cannot read x: ")


def test_errors_of_http_clients_are_passing():
    import aiohttp
    import botocore.exceptions

    for error in (aiohttp.ClientPayloadError("cut"), botocore.exceptions.ReadTimeoutError(endpoint_url="x")):
        assert translate(error, "Cannot read x", "s3://bucket").facts["retryable"]
    assert isinstance(translate(botocore.exceptions.NoCredentialsError(), "Cannot read x", "s3://b"), Denied)
    assert translate(KeyError("x"), "Cannot read x", "s3://bucket") is None


def test_a_scheme_whose_package_is_missing_says_what_to_install():
    with pytest.raises(Unavailable, match="oci://") as error:
        open_filesystem("oci", {})
    assert error.value.code == "unavailable.extra"


def test_a_batch_that_fails_removes_no_name_that_another_may_have_written():
    store = odd()
    shared = [SETTINGS_KEY, journal_key("c" * 32, 7, "d" * 32)]
    private = key_of(DATA)
    batch = store.batch("exporter")
    for key in (*shared, private):
        batch.write(key, DATA)
    batch.discard()
    assert sorted(store.keys("")) == sorted(shared)
