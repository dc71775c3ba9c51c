"""Obstore as the transport of an S3 store: what servers say is told as by s3fs, and forks are refused"""

import os

import pytest

from artifactstore.blobs.open import open_blobs
from artifactstore.core.errors import Corrupt, Denied, NoStore, NotFound, Unavailable
from artifactstore.core.settings import Settings
from tests.contract.blobs import DATA, key_of, put
from tests.servers import S3_BUCKET


def opened(endpoint, path):
    url = f"s3://{path}?endpoint_url={endpoint}&region=us-east-1&transport=obstore"
    return open_blobs(url, Settings(retries=0))


def test_what_the_server_says_is_told(moto_endpoint):
    place = opened(moto_endpoint, f"{S3_BUCKET}/told")
    [key] = put(place, DATA)
    with pytest.raises(NotFound):
        place.read(key_of(b"never written"))
    with pytest.raises(Corrupt):
        place.read(key, 0, len(DATA) + 1)
    with pytest.raises(NoStore, match="bucket"):
        put(opened(moto_endpoint, "no-such-bucket/x"), DATA)


def test_a_server_that_is_not_there():
    with pytest.raises(Unavailable):
        opened("http://127.0.0.1:9", f"{S3_BUCKET}/none").read(key_of(DATA))


def test_a_server_that_does_ranges_otherwise_is_told(rclone_endpoint):
    place = opened(rclone_endpoint, f"{S3_BUCKET}/ranges")
    [key] = put(place, DATA)
    with pytest.raises(Unavailable, match="leave out transport=obstore"):
        place.read(key, 3, 5)


def test_wrong_credentials(moto_endpoint, monkeypatch):
    from obstore.exceptions import PermissionDeniedError

    place = opened(moto_endpoint, f"{S3_BUCKET}/denied")

    def refuse(*args, **options):
        raise PermissionDeniedError("status code: 403")

    monkeypatch.setattr(place._inner._inner._fs._verbs, "head", refuse)
    with pytest.raises(Denied, match="credentials"):
        place.size(key_of(DATA))


def test_a_process_that_was_forked_is_refused(moto_endpoint):
    place = opened(moto_endpoint, f"{S3_BUCKET}/fork")
    [key] = put(place, DATA)
    pid = os.fork()
    if pid == 0:
        try:
            place.read(key)
        except Unavailable as e:
            os._exit(7 if e.code == "unavailable.forked" else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
