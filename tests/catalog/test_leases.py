"""Leases and pins: step A, and who is still at work"""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from artifactstore.catalog.tables import lease, lease_hold, lease_pin
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Exists, LeaseLost, NotFound
from tests.catalog.conftest import opened
from tests.contract.catalog import begin, drafted, inc, manifest_of, retire, rows, save

INSTANT = timedelta(microseconds=1)


def states(catalog):
    return [row.state for row in rows(catalog, lease)]


def test_a_lease_is_open_until_its_end(catalog):
    catalog.leases.open("a", host="h/1", pid=7, kind="save")
    [info] = catalog.leases.active()
    assert (info.id, info.host, info.pid, info.kind, info.state) == ("a", "h/1", 7, "save", "active")
    assert catalog.leases.extend("a")
    catalog.leases.finish("a")
    catalog.leases.finish("a")
    assert catalog.leases.active() == []
    assert states(catalog) == ["done"]
    assert not catalog.leases.extend("a")
    assert not catalog.leases.reap("a")
    assert not catalog.leases.is_reaped("a")


def test_a_reaped_lease_is_told_from_one_that_is_done(catalog):
    lease_id = begin(catalog)
    assert not catalog.leases.is_reaped(lease_id)
    assert catalog.leases.reap(lease_id)
    assert catalog.leases.is_reaped(lease_id)
    assert not catalog.leases.is_reaped("none")


def test_an_id_is_used_once(catalog):
    catalog.leases.open("a", host="h", pid=1, kind="save")
    catalog.leases.open("a", host="h", pid=1, kind="save")  # the same asked twice is one
    with pytest.raises(Exists):
        catalog.leases.open("a", host="h", pid=2, kind="save")
    catalog.leases.reap("a")
    with pytest.raises(Exists):
        catalog.leases.open("a", host="h", pid=1, kind="save")


def test_a_heartbeat_moves_the_end(url):
    short, long = opened(url, lease=INSTANT), opened(url, lease=timedelta(hours=1))
    short.leases.open("a", host="h", pid=1, kind="save")
    [before] = short.leases.active()
    assert long.leases.extend("a")
    [after] = long.leases.active()
    assert after.expires >= before.expires + 3_600_000_000
    assert long.leases.expire() == []
    short.close()
    long.close()


def test_expiry_takes_effect_when_written_and_once(url):
    catalog = opened(url, lease=INSTANT)
    ids = sorted(begin(catalog) for _ in range(3))
    catalog.leases.pin(ids[0], [(Digest.of(b"1"), inc())])  # past its time and still active
    assert len(catalog.leases.active()) == 3
    assert catalog.leases.expire() == ids
    assert catalog.leases.expire() == []
    assert states(catalog) == ["reaped"] * 3
    with pytest.raises(LeaseLost):
        catalog.leases.pin(ids[0], [(Digest.of(b"1"), inc())])
    catalog.close()


def test_what_ended_long_ago_is_forgotten(catalog):
    catalog.leases.finish(begin(catalog))
    active = begin(catalog)
    week = sa.update(lease).values(expires_at=lease.c.expires_at - timedelta(days=8) // timedelta(microseconds=1))
    catalog.database.write(lambda connection: connection.execute(week))
    assert catalog.leases.expire() == [active]
    assert states(catalog) == ["reaped"]
    assert catalog.leases.expire() == []
    assert states(catalog) == []


def test_a_lease_that_a_clock_opened_that_ran_ahead_ends_within_a_day(catalog):
    lease_id, day = begin(catalog), timedelta(days=1) // timedelta(microseconds=1)
    year = sa.update(lease).values(expires_at=lease.c.expires_at + 400 * day)
    catalog.database.write(lambda connection: connection.execute(year))
    assert catalog.leases.expire() == []
    [info] = catalog.leases.active()
    assert (info.id, info.expires <= catalog.now() + day) == (lease_id, True)


@pytest.mark.parametrize("end", ["finish", "reap"])
def test_pins_and_holds_end_with_the_lease(catalog, end):
    done = save(catalog, manifest_of(b"1"))
    lease_id = drafted(catalog, begin(catalog), manifest_of(b"2")).lease
    catalog.leases.hold(lease_id, done.version.id)
    assert len(rows(catalog, lease_pin)) == 2
    assert len(rows(catalog, lease_hold)) == 1
    getattr(catalog.leases, end)(lease_id)
    assert rows(catalog, lease_pin) == rows(catalog, lease_hold) == []


def test_a_reader_holds_a_version(catalog):
    done = save(catalog, manifest_of(b"1"))
    lease_id = begin(catalog, "read")
    catalog.leases.hold(lease_id, done.version.id)
    catalog.leases.hold(lease_id, done.version.id)
    assert len(rows(catalog, lease_hold)) == 1


def test_only_what_is_here_can_be_held_by_who_is_active(catalog):
    done = save(catalog, manifest_of(b"1"))
    lease_id = begin(catalog, "read")
    with pytest.raises(NotFound):
        catalog.leases.hold(lease_id, Digest.of(b"other"))
    catalog.leases.finish(lease_id)
    with pytest.raises(LeaseLost):
        catalog.leases.hold(lease_id, done.version.id)
    retire(catalog, done.version.id)
    with pytest.raises(NotFound):
        catalog.leases.hold(begin(catalog, "read"), done.version.id)
