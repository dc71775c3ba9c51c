"""One write: fenced by its lease, restarted when it lost it, leaving nothing behind when it fails"""

import dataclasses
import threading
from datetime import timedelta

import pytest

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Conflict, Invalid, LeaseLost, Unavailable
from artifactstore.core.events import Step, Warn
from artifactstore.core.settings import Settings
from artifactstore.lease import Lease, clear_dead, reading
from artifactstore.session import Tags, open_session
from artifactstore.store import Store
from tests.catalog.proxy import proxied
from tests.contract.catalog import manifest_of
from tests.ops.trees import Changed


@pytest.fixture
def source(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"a" * 100_000)
    return tmp_path / "a.bin"


class At:
    """A monitor that acts when a step is first reached"""

    def __init__(self, name, act):
        self.name, self.act, self.done, self.events = name, act, False, []

    def __call__(self, event):
        self.events.append(event)
        if event == Step(self.name) and not self.done:
            self.done = True
            self.act()


@pytest.fixture
def url(tmp_path):
    Store.init(str(tmp_path / "store")).close()
    return str(tmp_path / "store")


def reap_all(url):
    with Store.open(url) as other:
        for lease in other.depot.catalog.leases.active():
            other.depot.catalog.leases.reap(lease.id)
        clear_dead(other.depot)


@pytest.mark.parametrize(
    "step", ["save.pin.before", "save.pin.after", "save.write.after", "save.publish.before", "save.commit.before"]
)
def test_a_save_whose_lease_was_taken_starts_again_and_succeeds(url, source, step):
    monitor = At(step, lambda: reap_all(url))
    with Store.open(url, monitor=monitor) as store:
        report = store.add([source], name="m")
        assert not report.committed.existed
        assert any(isinstance(event, Warn) and "try 2 of 3" in event.message for event in monitor.events)
        assert store.verify().damaged == ()
        assert store.depot.blobs.owners() == []
        assert store.depot.catalog.leases.active() == []


def test_a_save_that_loses_every_lease_gives_up_with_nothing_stored(url, source):
    def always(event):
        if event == Step("save.commit.before"):
            reap_all(url)

    with Store.open(url, monitor=always) as store:
        with pytest.raises(LeaseLost):
            store.add([source], name="m")
        assert store.ls() == []
        assert list(store.depot.blobs.keys("blobs/")) == []
        assert store.depot.blobs.owners() == []


def test_a_repair_whose_lease_was_ended_starts_again(url, source):
    with Store.open(url) as store:
        version = store.add([source], name="m").committed.version.id
        places = [*store.depot.catalog.blobs.all(), *store.depot.catalog.blobs.manifests()]
        store.depot.catalog.blobs.damage(places[:-1])
        store.depot.catalog.blobs.damage_manifests(places[-1:])
    monitor = At("repair.commit.before", lambda: reap_all(url))
    with Store.open(url, monitor=monitor) as store:
        assert store.repair().left == ()
        assert any("try 2 of 3" in message for message in warnings(monitor.events))
        assert store.verify([str(version)]).damaged == ()


def test_two_writers_of_the_same_new_blob_leave_one_copy(url, source):
    def other():
        with Store.open(url) as rival:
            rival.add([source], name="rival")

    monitor = At("save.commit.before", other)
    with Store.open(url, monitor=monitor) as store:
        store.add([source], name="m")
        assert len(list(store.depot.blobs.keys("blobs/"))) == 1
        assert store.verify().damaged == ()


def test_a_store_given_away_meanwhile_does_not_acknowledge(url, source):
    def give_away():
        with Store.open(url) as other:
            info = other.depot.info
            other.depot.blobs.delete("artstore.json")
            batch = other.depot.blobs.batch("thief")
            batch.write("artstore.json", type(info)(info.store_id, "e" * 32).to_bytes())
            batch.publish()

    with Store.open(url, monitor=At("save.commit.after", give_away)) as store, pytest.raises(Conflict):
        store.add([source], name="m")


def test_after_a_commit_whose_outcome_is_unknown_nothing_is_removed(tmp_path, postgres_url):
    with proxied(postgres_url) as proxy:
        url, quick = str(tmp_path / "store"), Settings(busy=timedelta(seconds=0.3))
        Store.init(url, proxy.url, settings=quick).close()
        with Store.open(url, proxy.url, settings=quick) as store:
            blobs = store.depot.blobs

            def batch(owner):
                made = blobs.batch(owner)
                # the server is back when the session clears up
                return Changed(made, discard=lambda: (proxy.back(), made.discard()))

            monitor = At("save.commit.before", lambda: proxy.cut(b"COMMIT\0", stay_down=True))
            depot = dataclasses.replace(store.depot, blobs=Changed(blobs, batch=batch), monitor=monitor)
            with pytest.raises(Unavailable) as caught:
                save_one(depot)
            assert caught.value.code == "unavailable.commit-unknown"
            # it may have taken place, and be exported, in a catalog that was put back while it was away
            assert len(list(blobs.keys("blobs/"))) == 1


def save_one(depot):
    with open_session(depot, "save") as session:
        [grant] = session.want([Digest.of(b"1")])
        session.commit(manifest_of(b"1"), [session.write(grant, b"1")], Tags(), 1)


def test_a_failure_leaves_nothing_behind(url, source):
    def fail():
        raise Invalid("stop here")

    for step in ("save.pin.after", "save.write.after", "save.manifest.after", "save.publish.after"):
        with Store.open(url, monitor=At(step, fail)) as store:
            with pytest.raises(Invalid, match="stop here"):
                store.add([source], name="m")
            assert list(store.depot.blobs.keys("blobs/")) == []
            assert list(store.depot.blobs.keys("manifests/")) == []
            assert store.depot.blobs.owners() == []
            assert store.depot.catalog.leases.active() == []


def test_want_may_be_asked_many_times_and_pins_what_is_there(url):
    with Store.open(url) as store, open_session(store.depot, "test") as session:
        digest = Digest.of(b"x")
        first, second = session.want([digest])[0], session.want([digest])[0]
        assert first.upload
        assert second.upload
        assert first.inc != second.inc


def test_the_heartbeat_keeps_a_lease_and_notices_its_end(url):
    quick = Settings(lease=timedelta(seconds=0.3))
    with Store.open(url, settings=quick) as store, Lease(store.depot, "test") as lease:
        until = threading.Event()
        until.wait(0.8)
        store.depot.catalog.leases.expire()
        lease.check()
        assert [row.id for row in store.depot.catalog.leases.active()] == [lease.id]
        store.depot.catalog.leases.reap(lease.id)
        for _ in range(100):
            if lease.lost:
                break
            until.wait(0.05)
        with pytest.raises(LeaseLost):
            lease.check()


def test_a_reader_holds_its_version_and_lets_go(url, source):
    with Store.open(url) as store:
        version = store.add([source], name="m").committed.version
        with reading(store.depot, version.id):
            assert [lease.kind for lease in store.depot.catalog.leases.active()] == ["read"]
        assert store.depot.catalog.leases.active() == []
    with Store.open(url, read_only=True) as store, reading(store.depot, version.id):
        assert store.depot.catalog.leases.active() == []


def away(*_):
    raise Unavailable("the network is away", code="network")


def warnings(events):
    return [event.message for event in events if isinstance(event, Warn)]


def test_a_needless_copy_that_cannot_be_removed_is_a_warning(url, source):
    def other():
        with Store.open(url) as rival:
            rival.add([source], name="rival")

    monitor = At("save.commit.before", other)
    with Store.open(url, monitor=monitor) as store:
        blobs = Changed(store.depot.blobs, delete=away)
        report = Store(dataclasses.replace(store.depot, blobs=blobs)).add([source], name="m")
        assert report.committed.version.ref == "m:1"
        assert any("a collection will" in message for message in warnings(monitor.events))
        assert store.depot.catalog.journal.pending(10) == []
        assert store.verify().damaged == ()


def test_a_failure_to_clear_up_does_not_hide_that_the_lease_was_lost(url, source):
    def reap():
        with Store.open(url) as other:
            for lease in other.depot.catalog.leases.active():
                other.depot.catalog.leases.reap(lease.id)

    monitor = At("save.commit.before", reap)
    with Store.open(url, monitor=monitor) as store:
        real = store.depot.blobs

        def batch(owner):
            return Changed(real.batch(owner), **({} if owner.startswith("journal-") else {"discard": away}))

        failing = Store(dataclasses.replace(store.depot, blobs=Changed(real, batch=batch)))
        assert not failing.add([source], name="m").committed.existed
        assert any("could not be cleared" in message for message in warnings(monitor.events))
        assert any("try 2 of 3" in message for message in warnings(monitor.events))
        assert [version.ref for version in store.ls()] == ["m:1"]
        assert store.verify().damaged == ()
