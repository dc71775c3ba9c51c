"""Aliases and metrics after the commit: journaled, compared before they move"""

import pytest

from artifactstore.core.errors import Conflict, Invalid, NotFound
from artifactstore.store import Store


@pytest.fixture
def two(any_store, tmp_path):
    for text in ("a", "b"):
        (tmp_path / "x.txt").write_text(text)
        any_store.add([tmp_path / "x.txt"], name="m")
    return any_store


def test_an_alias_moves_and_remembers(two):
    assert two.alias_set("m", "prod", "m:1").generation == 1
    assert two.alias_set("m", "prod", "m:2", expected=1).generation == 2
    with pytest.raises(Conflict) as conflict:
        two.alias_set("m", "prod", "m:1", expected=1)
    assert conflict.value.facts["expected"] == 1
    assert two.resolve("m@prod").number == 2
    two.alias_rm("m", "prod")
    with pytest.raises(NotFound):
        two.resolve("m@prod")
    with pytest.raises(NotFound):
        two.alias_rm("m", "prod")
    history = two.alias_log("m", "prod")
    assert sorted(info.generation for info in history) == [1, 2, 3]
    assert two.depot.catalog.journal.pending(10) == []


def test_an_alias_names_a_version_of_its_own_artifact(two, tmp_path):
    two.add([tmp_path / "x.txt"], name="other")
    with pytest.raises(Invalid):
        two.alias_set("m", "prod", "other:1")
    with pytest.raises(NotFound):
        two.alias_set("m", "prod", "m:9")


def test_metrics_are_set_and_replaced(two):
    two.metric("m:1", {"loss": 1.0, "acc": 0.5})
    assert dict(two.metric("m:1", {"loss": 0.5}).metrics) == {"loss": 0.5, "acc": 0.5}
    with pytest.raises(Invalid):
        two.metric("m:1", {"loss": float("nan")})


def test_a_read_only_store_is_not_annotated(store, tmp_path):
    (tmp_path / "x.txt").write_text("a")
    store.add([tmp_path / "x.txt"], name="m")
    with Store.open(store.depot.blobs.url, read_only=True) as reader, pytest.raises(Invalid, match="read-only"):
        reader.alias_set("m", "prod", "m:1")
