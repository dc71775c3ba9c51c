"""Undo: a record taken back whole, or refused with the reason"""

import os
from datetime import timedelta

import pytest

from artifactstore.core.errors import NotFound, Refused
from artifactstore.core.selection import Rules
from artifactstore.ops import collect, undo
from tests.ops.trees import contents


@pytest.fixture
def line(any_store, tmp_path):
    """Three versions, two of them retired by one record"""
    folder = tmp_path / "m"
    folder.mkdir()
    for n in range(3):
        (folder / "w.bin").write_bytes(os.urandom(100_000))
        any_store.add([folder], name="m", created=n)
    any_store.gc(any_store.plan_gc(Rules.parse("--keep-last 1")), force=True)
    return any_store


def test_everything_comes_back_bit_for_bit(line, tmp_path):
    report = undo.run(line.depot)
    assert set(report.changes) == {"m:1 is back", "m:2 is back"}
    assert len(report.versions) == 2
    line.checkout("m:1", tmp_path / "out")
    assert [len(raw) for raw in contents(tmp_path / "out").values()] == [100_000]
    assert line.verify().damaged == ()
    assert collect.run(line.depot, timedelta(0)).removed.count == 0


def test_a_second_undo_finds_nothing(line):
    undo.run(line.depot)
    with pytest.raises(NotFound, match="Nothing was done lately"):
        undo.run(line.depot)


def test_what_was_swept_is_refused_by_name(line):
    serial = next(r["serial"] for r in line.log(20) if r["actions"][0]["do"] == "retire")
    collect.run(line.depot, timedelta(0), force=True)
    with pytest.raises(Refused, match="was swept"):
        undo.run(line.depot, serial)
    with pytest.raises(NotFound):
        undo.run(line.depot)


def test_an_alias_goes_back_and_a_new_one_goes_away(line):
    undo.run(line.depot)
    line.alias_set("m", "prod", "m:1")
    line.alias_set("m", "prod", "m:2")
    assert undo.run(line.depot).changes == ("alias m@prod back at m:1",)
    line.alias_rm("m", "prod")
    assert undo.run(line.depot).changes == ("alias m@prod back at m:1",)
    line.alias_set("m", "new", "m:1")
    assert undo.run(line.depot).changes == ("alias m@new removed",)


def test_an_alias_that_has_moved_on_is_left(line):
    line.alias_set("m", "prod", "m:3")
    serial = line.log(1)[0]["serial"]
    line.alias_rm("m", "prod")
    with pytest.raises(Refused, match="has moved on"):
        undo.run(line.depot, serial)


def test_a_pin_goes(line):
    line.pin("m:3", "paper")
    assert undo.run(line.depot).changes == ("pin 'paper' removed",)
    assert line.show("m:3")["pins"] == []


def test_other_records_are_refused(line):
    with pytest.raises(Refused, match="cannot be taken back"):
        undo.run(line.depot, 1)
    with pytest.raises(NotFound, match="No record 99"):
        undo.run(line.depot, 99)
