"""The contract of tests/contract/blobs.py, against every place and every wrapper"""

import os
import secrets

import fsspec
import pytest

from artifactstore.blobs.cache import CachedReader
from artifactstore.blobs.local import LocalBlobs
from artifactstore.blobs.memory import MemoryBlobs
from artifactstore.blobs.open import open_blobs
from artifactstore.blobs.ranged import Ranged
from artifactstore.blobs.remote import RemoteBlobs
from artifactstore.blobs.wrap import Counting, Retrying, Verified
from artifactstore.core.settings import Settings
from tests.contract.blobs import ReaderContract, StoreContract


def never_sleep(seconds):
    raise AssertionError(f"slept {seconds} s although nothing failed")


@pytest.fixture
def local(tmp_path):
    blobs = LocalBlobs(tmp_path / "store")
    blobs.prepare()
    return blobs


@pytest.fixture
def overwrite(tmp_path):
    """Change bytes of the local store behind its back"""

    def change(key, data):
        path = tmp_path / "store" / key
        os.chmod(path, 0o644)
        path.write_bytes(data)

    return change


class TestLocal(StoreContract):
    @pytest.fixture
    def place(self, local):
        return local

    @pytest.fixture
    def tamper(self, overwrite):
        return overwrite


class TestMemory(StoreContract):
    @pytest.fixture
    def place(self):
        return MemoryBlobs("contract")

    @pytest.fixture
    def tamper(self, place):
        return place._objects.__setitem__


class TestRemoteInMemory(StoreContract):
    """A file system that tells no ETag, so that everything is read back"""

    staged = False

    @pytest.fixture
    def place(self):
        return RemoteBlobs(fsspec.filesystem("memory"), f"/{secrets.token_hex(6)}", "test://")

    @pytest.fixture
    def tamper(self, place):
        return lambda key, data: place._fs.pipe_file(f"{place._root}/{key}", data)


class TestS3(StoreContract):
    staged = False

    @pytest.fixture
    def place(self, s3_url):
        return open_blobs(s3_url, Settings())

    @pytest.fixture
    def tamper(self, place):
        return lambda key, data: place._inner._inner._fs.pipe_file(f"{place._inner._inner._root}/{key}", data)

    def test_readers_see_one_or_the_other_while_it_is_replaced(self, place, request):
        if "rclone" in request.node.callspec.id:
            pytest.skip("rclone removes an object before it writes another in its place, S3 does not")
        super().test_readers_see_one_or_the_other_while_it_is_replaced(place)


class TestObstore(TestS3):
    @pytest.fixture
    def place(self, s3_url, request):
        if "rclone" in request.node.callspec.id:
            pytest.skip("rclone answers a range with 200, which obstore takes for an error")
        return open_blobs(f"{s3_url}&transport=obstore", Settings())


class TestRanged(StoreContract):
    @pytest.fixture
    def place(self, local):
        return Ranged(local, 1000, 3)

    @pytest.fixture
    def tamper(self, overwrite):
        return overwrite


class TestRetrying(StoreContract):
    @pytest.fixture
    def place(self, local):
        return Retrying(local, 3, never_sleep)

    @pytest.fixture
    def tamper(self, overwrite):
        return overwrite


class TestCounting(StoreContract):
    @pytest.fixture
    def place(self, local):
        return Counting(local)

    @pytest.fixture
    def tamper(self, overwrite):
        return overwrite


class TestVerified(ReaderContract):
    @pytest.fixture
    def place(self, local):
        return local

    @pytest.fixture
    def reader(self, local):
        return Verified(local)

    @pytest.fixture
    def tamper(self, overwrite):
        return overwrite


class TestCached(ReaderContract):
    @pytest.fixture(params=[0, 100_000, 1 << 30])
    def reader(self, request, local, tmp_path):
        return CachedReader(local, tmp_path / "cache", request.param)

    @pytest.fixture
    def place(self, local):
        return local

    @pytest.fixture
    def tamper(self, overwrite):
        return overwrite
