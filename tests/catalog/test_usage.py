"""Usage: each byte counted once"""

import pytest

from artifactstore.core.digest import Digest
from tests.contract.catalog import manifest_of, retire, save


@pytest.fixture
def three(catalog):
    made = (
        save(catalog, manifest_of(b"1" * 100, b"2" * 10, name="a", phase="sft")),
        save(catalog, manifest_of(b"2" * 10, b"3", name="a")),
        save(catalog, manifest_of(b"1" * 100, b"4" * 5, name="b", phase="sft")),
    )
    return [one.version.id for one in made]


def table(found):
    return [(row.key, row.versions, row.logical, row.stored, row.unique, row.shared) for row in found]


def test_by_artifact(catalog, three):
    assert table(catalog.usage.by("artifact")) == [("a", 2, 121, 111, 11, 100), ("b", 1, 105, 105, 5, 100)]


def test_by_phase(catalog, three):
    assert table(catalog.usage.by("phase")) == [("sft", 2, 215, 115, 105, 10), ("-", 1, 11, 11, 1, 10)]


def test_in_all(catalog, three):
    assert table([catalog.usage.totals()]) == [("total", 3, 226, 116, 116, 0)]


def test_of_one_version_alone(catalog, three):
    assert catalog.usage.unique([*three, Digest.of(b"none")]) == {
        three[0]: 0,
        three[1]: 1,
        three[2]: 5,
        Digest.of(b"none"): 0,
    }
    assert catalog.usage.unique([]) == {}


def test_what_was_retired_does_not_count(catalog, three):
    retire(catalog, three[2])
    assert table(catalog.usage.by("artifact")) == [("a", 2, 121, 111, 111, 0)]
    assert catalog.usage.totals().versions == 2


def test_of_nothing(catalog):
    assert catalog.usage.by("artifact") == []
    assert table([catalog.usage.totals()]) == [("total", 0, 0, 0, 0, 0)]


def test_a_version_of_an_empty_file_uses_nothing(catalog):
    save(catalog, manifest_of(name="empty"))
    assert table(catalog.usage.by("artifact")) == [("empty", 1, 0, 0, 0, 0)]
