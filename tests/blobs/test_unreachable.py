"""A remote place while no network may be used"""

import pytest

from artifactstore.blobs.unreachable import Unreachable
from artifactstore.core.errors import Offline

PLACE = Unreachable("s3://bucket/x")


@pytest.mark.parametrize(
    "ask",
    [
        lambda: PLACE.size("key"),
        lambda: PLACE.read("key"),
        lambda: PLACE.read_into("key", memoryview(bytearray(1))),
        lambda: PLACE.batch("owner"),
        lambda: PLACE.replace("key", b""),
        lambda: PLACE.keys("blobs/"),
        lambda: PLACE.sizes("blobs/"),
        lambda: PLACE.quarantine("key"),
        lambda: PLACE.delete("key"),
        lambda: PLACE.trash("key"),
        PLACE.purge,
        PLACE.owners,
        lambda: PLACE.drop("owner"),
        PLACE.prepare,
    ],
)
def test_whatever_is_asked_is_refused_with_what_would_bring_it(ask):
    with pytest.raises(Offline, match=r"lies in s3://bucket/x .* --cache FOLDER"):
        ask()


def test_what_it_knows():
    assert (PLACE.url, PLACE.free()) == ("s3://bucket/x", None)
