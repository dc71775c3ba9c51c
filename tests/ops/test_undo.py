"""Undo: a record taken back whole, or refused with the reason"""

import dataclasses
import os
from datetime import UTC, datetime, timedelta

import pytest

from artifactstore.core.errors import NotFound, Refused
from artifactstore.core.events import Step
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
    assert report.changes == ("m:1 is back", "m:2 is back")
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


def test_pins_that_were_taken_off_come_back_with_their_ends(line):
    end = datetime(2100, 1, 1, tzinfo=UTC)
    for why, until in (("old", None), ("paper", None), ("paper", end), ("demo", None)):
        line.pin("m:3", why, until)
    line.unpin("m:3", "old")
    line.unpin("m:3")
    serial = line.log(1)[0]["serial"]
    assert set(undo.run(line.depot).changes) == {"pin 'demo' is back", "pin 'paper' is back"}
    assert {pin.why: pin.until for pin in line.depot.catalog.notes.pins()} == {"demo": None, "paper": end}
    with pytest.raises(Refused, match="is there again"):
        undo.run(line.depot, serial)
    assert undo.run(line.depot, serial - 1).changes == ("pin 'old' is back",)
    line.unpin("m:3")
    line.pin("m:3", "new")
    line.unpin("m:3")
    assert undo.run(line.depot).changes == ("pin 'new' is back",)


def test_what_is_left_of_a_pin_is_nothing_to_take_back(line):
    undo.run(line.depot)
    line.alias_set("m", "prod", "m:3")
    line.pin("m:1", "paper")
    serial = line.log(1)[0]["serial"]
    line.unpin("m:1")
    with pytest.raises(Refused, match="has changed since"):
        undo.run(line.depot, serial)
    line.gc(line.plan_gc(Rules.parse("--where 'number = 1'")), force=True)
    collect.run(line.depot, timedelta(0), force=True)
    with pytest.raises(Refused, match="or the version is gone"):
        undo.run(line.depot, serial + 1)
    assert undo.run(line.depot).changes == ("alias m@prod removed",)


def test_other_records_are_refused(line):
    with pytest.raises(Refused, match="cannot be taken back"):
        undo.run(line.depot, 1)
    with pytest.raises(NotFound, match="No record 99"):
        undo.run(line.depot, 99)


def test_what_needs_a_version_that_is_retired_does_not_come_back_alone(any_store, tmp_path):
    file = tmp_path / "w.bin"

    def add(name, created, parents=()):
        file.write_bytes(os.urandom(1000))
        return any_store.add([file], name=name, created=created, parents=parents)

    add("base", 1)
    add("style", 2, [any_store.link("base:1", "adapter")])
    add("base", 3)
    add("style", 4)
    retire = any_store.depot.catalog.retirements.retire
    child, parent = (any_store.resolve(ref).id for ref in ("style:1", "base:1"))
    first, second = retire({child: "test"}).serial, retire({parent: "test"}).serial
    with pytest.raises(Refused, match="base:1") as caught:
        undo.run(any_store.depot, first)
    assert caught.value.code == "refused.parent"
    assert any_store.show("style:1")["state"] == "retired"
    undo.run(any_store.depot, second)
    assert undo.run(any_store.depot, first).changes == ("style:1 is back",)
    assert first == retire({child: "test", parent: "test"}).serial - 4
    assert undo.run(any_store.depot).changes == ("base:1 is back", "style:1 is back")


def test_a_pin_that_was_moved_goes_back_to_where_it_ended(line):
    line.pin("m:3", "paper")
    line.pin("m:3", "paper", until=datetime(2100, 1, 1, tzinfo=UTC))
    moved = line.log(1)[0]["serial"]
    assert undo.run(line.depot).changes == ("pin 'paper' back as it was",)
    [pin] = line.depot.catalog.notes.pins()
    assert pin.until is None
    with pytest.raises(Refused, match="has changed since"):
        undo.run(line.depot, moved)


def test_what_a_collector_is_just_removing_is_told_as_swept(line):
    serial = next(r["serial"] for r in line.log(20) if r["actions"][0]["do"] == "retire")

    def die(event):
        if isinstance(event, Step) and event.name == "gc.drop.before":
            raise RuntimeError

    with pytest.raises(RuntimeError):
        collect.run(dataclasses.replace(line.depot, monitor=die), timedelta(0), force=True)
    with pytest.raises(Refused, match="was swept"):
        undo.run(line.depot, serial)
