"""Metrics and pins of versions, after the fact"""

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest

from artifactstore.catalog.notes import to_moment
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid, NotFound
from tests.contract.catalog import bodies, check_chain, manifest_of, save


@pytest.fixture
def version(catalog):
    return save(catalog, manifest_of(b"1"), metrics={"loss": 1.0}).version.id


def test_metrics_are_set_and_replaced(catalog, version):
    catalog.notes.set_metrics(version, {"loss": 0.5, "psnr": 31})
    assert catalog.versions.get(version).metrics == {"loss": 0.5, "psnr": 31.0}
    assert bodies(catalog)[1]["actions"] == [{"do": "metric", "id": str(version), "metrics": {"loss": 0.5, "psnr": 31}}]
    catalog.notes.set_metrics(version, {})
    assert len(bodies(catalog)) == 2
    check_chain(catalog)


@pytest.mark.parametrize(
    "metrics", [{"a": math.nan}, {"a": math.inf}, {"": 1.0}, {"a\n": 1.0}, {"ok": 1.0, "b": -math.inf}]
)
def test_bad_metrics_change_nothing(sqlite_catalog, metrics):
    done = save(sqlite_catalog, manifest_of(b"1"))
    with pytest.raises(Invalid):
        sqlite_catalog.notes.set_metrics(done.version.id, metrics)
    assert sqlite_catalog.versions.get(done.version.id).metrics == {}


def test_notes_need_a_version(catalog):
    none = Digest.of(b"none")
    for note in (
        lambda: catalog.notes.set_metrics(none, {"a": 1.0}),
        lambda: catalog.notes.pin(none, "why"),
        lambda: catalog.notes.unpin(none),
    ):
        with pytest.raises(NotFound):
            note()
    assert catalog.notes.pins() == []


def test_pins_have_reasons_and_ends(catalog, version):
    until = datetime(2031, 5, 1, 12, 0, 0, 7, tzinfo=timezone(timedelta(hours=2)))
    first = catalog.notes.pin(version, "in the paper")
    second = catalog.notes.pin(version, "demo", until)
    assert catalog.notes.pins() == catalog.notes.pins(version) == [first, second]
    assert (first.version, first.why, first.until, second.until) == (version, "in the paper", None, until)
    assert catalog.notes.pins(Digest.of(b"none")) == []
    moved = catalog.notes.pin(version, "demo", None)
    assert catalog.notes.pins() == [first, moved]
    *_, record = bodies(catalog)
    assert to_moment(record["actions"][0]["before"]) == until
    check_chain(catalog)


def test_pins_are_taken_away_by_reason_or_all(catalog, version):
    for why in ("a", "b", "c"):
        catalog.notes.pin(version, why)
    assert catalog.notes.unpin(version, "b") == 1
    with pytest.raises(NotFound):
        catalog.notes.unpin(version, "b")
    assert [pin.why for pin in catalog.notes.pins()] == ["a", "c"]
    assert catalog.notes.unpin(version) == 2
    with pytest.raises(NotFound):
        catalog.notes.unpin(version)
    assert [body["actions"][0] for body in bodies(catalog)[3:]] == [
        {"do": "pin", "id": str(version), "why": "c", "until": None},
        {"do": "unpin", "id": str(version), "why": "b"},
        {"do": "unpin", "id": str(version), "why": None},
    ]


@pytest.mark.parametrize("until", [datetime.fromisoformat("2031-01-01"), datetime(9999, 1, 1, tzinfo=UTC)])
def test_an_end_needs_a_zone_and_a_bound(sqlite_catalog, until):
    done = save(sqlite_catalog, manifest_of(b"1"))
    with pytest.raises(Invalid, match="time zone"):
        sqlite_catalog.notes.pin(done.version.id, "why", until)
    with pytest.raises(Invalid):
        sqlite_catalog.notes.pin(done.version.id, " ")
