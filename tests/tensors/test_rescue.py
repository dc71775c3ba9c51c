"""What is damaged or taken away while it is loaded: told, set aside, and read from a mirror where there is one"""

import dataclasses
import shutil
from datetime import timedelta

import pytest
import torch
from safetensors.torch import save_file

from artifactstore.core.errors import Corrupt, NotFound
from artifactstore.core.events import Warn
from artifactstore.core.selection import Rules
from artifactstore.core.settings import Settings
from artifactstore.store import Store
from artifactstore.tensors import mapping
from artifactstore.tensors.engine import PlainEngine
from artifactstore.tensors.opening import loading_of, open_version
from tests.tensors.states import is_same, random_tensor


@pytest.fixture(params=["mapped", "read", "sent"])
def way(request, monkeypatch):
    if request.param == "read":
        monkeypatch.setattr(mapping, "supported", lambda: False)
    return {"engine_of": PlainEngine} if request.param == "sent" else {}


@pytest.fixture
def tensors():
    return {"large": random_tensor(torch.bfloat16, (9 << 20,)), "small": random_tensor(torch.float32, (70,), 1)}


@pytest.fixture
def place(tmp_path, tensors):
    """A store, and a copy of it"""
    save_file(tensors, tmp_path / "m.safetensors")
    with Store.init(str(tmp_path / "store")) as store:
        store.add([tmp_path / "m.safetensors"], name="m")
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    return tmp_path


def opened(place, told, mirrors=(), **how):
    settings = Settings(attested=str(place / "attested.sqlite"), mirrors=tuple(map(str, mirrors)))
    return Store.open(str(place / "store"), settings=settings, monitor=told.append, **how)


def largest(place):
    return max((place / "store" / "blobs").rglob("*.*"), key=lambda path: path.stat().st_size)


def spoil(path):
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def load(store, how):
    loading = dataclasses.replace(loading_of(store.depot.settings), **how)
    return open_version(store.depot, store.resolve("m").id, loading).load()


def warnings(told):
    return [event.message for event in told if isinstance(event, Warn)]


@pytest.mark.parametrize("harm", [spoil, lambda path: path.unlink()], ids=["spoiled", "gone"])
def test_a_damaged_blob_is_set_aside_and_read_from_a_mirror(place, tensors, way, harm):
    digest = largest(place).name.partition(".")[0]
    harm(largest(place))
    told = []
    with opened(place, told, [place / "gone", place / "copy"]) as store:
        assert is_same(dict(sorted(load(store, way).items())), tensors)
        assert any(digest[:12] in text and "read from a mirror" in text for text in warnings(told))
        # the next load finds it set aside, and still in the mirror
        assert is_same(dict(sorted(load(store, way).items())), tensors)
        assert [str(damage.digest) for damage in store.verify().damaged] == [digest]


def test_without_a_mirror_it_is_named_and_saved_anew_by_the_next_save(place, tensors, way):
    digest = largest(place).name.partition(".")[0]
    spoil(largest(place))
    with opened(place, []) as store:
        with pytest.raises(Corrupt) as failed:
            load(store, way)
        assert failed.value.facts["digest"] == digest
        assert list((place / "store" / "quarantine").rglob(f"{digest}.*"))
        store.add([place / "m.safetensors"], name="again")
        assert is_same(dict(sorted(load(store, way).items())), tensors)


def test_who_may_not_write_sets_nothing_aside(place, tensors, way):
    spoil(largest(place))
    with opened(place, [], [place / "copy"], read_only=True) as store:
        assert is_same(dict(sorted(load(store, way).items())), tensors)
    assert largest(place).stat().st_size == 18 << 20


def retired_and_swept(store):
    """Collect the first version, at once where nothing holds it"""
    store.add([store.depot.blobs.root.parent / "other"], name="m")
    store.gc(store.plan_gc(Rules.parse("--keep-last 1"), grace=timedelta(0)), force=True)


def test_a_version_that_was_collected_before_is_told(place):
    (place / "other").write_text("something")
    with opened(place, []) as store:
        handle = store.open("m")
        retired_and_swept(store)
        assert not largest(place).stat().st_size > 1 << 20
        with pytest.raises(NotFound):
            handle.load()


def test_nothing_is_collected_while_it_is_loaded(place, tensors):
    (place / "other").write_text("something")
    with opened(place, []) as store:
        with store.open("m") as handle:
            retired_and_swept(store)
            assert largest(place).stat().st_size == 18 << 20
            assert is_same(dict(sorted(handle.load().items())), tensors)
        assert store.depot.catalog.leases.active() == []
