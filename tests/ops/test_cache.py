"""The read-through cache of a remote store: the second reading asks the network for nothing"""

import dataclasses

import pytest

from artifactstore.blobs.wrap import Counting
from artifactstore.core.settings import Settings
from artifactstore.store import Store
from tests.ops.trees import contents

# A local store is its own cache.
pytestmark = pytest.mark.parametrize("any_store", ["moto", "rclone"], indirect=True)


@pytest.fixture
def remote(any_store, model):
    any_store.add([model], name="m")
    return any_store


@pytest.mark.parametrize(("size", "asked"), [(10**9, False), (0, True)])
def test_a_second_checkout_reads_from_the_cache(remote, model, tmp_path, size, asked):
    settings = Settings(cache=str(tmp_path / "cache"), cache_size=size)
    for number in (1, 2):
        counting = Counting(remote.depot.blobs)
        store = Store(dataclasses.replace(remote.depot, blobs=counting, settings=settings))
        store.checkout("m", tmp_path / f"out{number}")
        assert contents(tmp_path / f"out{number}") == contents(model)
    assert bool(counting.calls["read"] + counting.calls["read_into"]) is asked


def test_verify_reads_what_is_stored_and_not_the_cache(remote, tmp_path):
    settings = Settings(cache=str(tmp_path / "cache"))
    store = Store(dataclasses.replace(remote.depot, settings=settings))
    store.checkout("m", tmp_path / "out")
    for place in store.depot.catalog.blobs.all():
        store.depot.blobs.delete(place.key)
    assert {damage.kind for damage in store.verify().damaged} == {"missing"}
