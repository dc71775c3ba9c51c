"""Carry: killed at every step it goes on, and brings only the rest"""

import dataclasses
from pathlib import Path

import pytest

from artifactstore.blobs.wrap import Counting
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Corrupt
from artifactstore.core.events import Progress
from artifactstore.depot import open_depot
from artifactstore.ops import checkout, verify
from artifactstore.ops.transfer import carry
from artifactstore.store import Store
from tests.beside import MIB, ids, meaning
from tests.contract.catalog import manifest_of
from tests.core.formats.gguf_files import gguf, tensor
from tests.crash import harness
from tests.ops.test_verify import replace
from tests.ops.trees import contents


@pytest.fixture
def source(beside):
    store = beside.store()
    store.add([beside.model(1)], name="base")
    store.add([beside.model(2, 4 * MIB)], name="big", parents=[store.link("base", "adapter")], metrics={"loss": 0.5})
    return store


def planned(source, target):
    return carry.plan(source.depot, target.depot, source.depot.catalog.versions.list(sort="taken:asc"))


def run(source, target):
    return carry.run(source.depot, target.depot, planned(source, target))


def test_killed_anywhere_the_next_brings_the_rest(source, beside):
    """Of every step of a carry: what was committed stays, nothing of the rest shows, and both end equal"""
    source.close()

    def action(url):
        def work(monitor):
            settings = beside.with_settings()
            with (
                open_depot(source.depot.blobs.url, settings=settings) as here,
                open_depot(url, settings=settings, monitor=monitor) as there,
            ):
                versions = here.catalog.versions.list(sort="taken:asc")
                report = carry.run(here, there, carry.plan(here, there, versions))
                return str(report.nbytes)

        return work

    first = beside.store()
    first.close()
    outcome = harness.run(action(first.depot.blobs.url))
    points = harness.points(outcome)
    assert ("carry.land.after", 0) in points
    # one store dies again and again, and still gets there
    weary = beside.store()
    weary.close()
    for point in points:
        harness.run(action(weary.depot.blobs.url), die_at=point)
        target = beside.open(weary.depot.blobs.url)
        assert verify.run(target.depot, verify.plan(target.depot)).damaged == ()
        for one in target.ls():
            assert meaning(target) <= meaning(beside.open(source.depot.blobs.url)), one
        target.close()
    final = harness.run(action(weary.depot.blobs.url))
    moved = int(final.answer)
    assert moved < int(outcome.answer)
    target, here = beside.open(weary.depot.blobs.url), beside.open(source.depot.blobs.url)
    assert meaning(target) == meaning(here)
    target.checkout("big", beside.folder / "out")
    assert contents(beside.folder / "out") == contents(beside.model(2, 4 * MIB))
    assert target.depot.blobs.owners() == []


def test_after_a_landing_only_the_rest_is_read(source, beside):
    target = beside.store()
    died = []

    class Died(BaseException):
        pass

    def die(event):
        if getattr(event, "name", "") == "carry.land.after":
            died.append(target.depot.catalog.blobs.totals()[1])
            raise Died

    watched = Store(dataclasses.replace(target.depot, monitor=die))
    with pytest.raises(Died):
        run(source, watched)
    landed = died[0]
    assert landed >= MIB
    counting = Counting(source.depot.blobs)
    rest = planned(source, target)
    whole = sum(place.size for place in source.depot.catalog.blobs.all())
    assert rest.nbytes == whole - landed
    report = run(Store(dataclasses.replace(source.depot, blobs=counting)), target)
    assert report.nbytes == rest.nbytes
    # beside the blobs only headers are read, to see that they say what the manifest says
    headers = 2
    assert counting.calls["read_into"] == report.blobs + headers
    assert report.blobs == rest.blobs


def test_progress_counts_every_byte_once(source, beside):
    target, told = beside.store(), []
    watched = Store(
        dataclasses.replace(target.depot, monitor=lambda e: told.append(e) if type(e) is Progress else None)
    )
    report = run(source, watched)
    assert {event.phase for event in told} == {"copy"}
    assert max(event.done for event in told) == report.nbytes == told[0].total
    assert len(told) == report.blobs


def test_what_two_carry_at_once_is_there_once(source, beside):
    target = beside.store()
    plan = planned(source, target)
    other = beside.open(target.depot.blobs.url)
    run(source, other)
    report = carry.run(source.depot, target.depot, plan)
    assert (report.blobs, len(report.versions)) == (0, 2)
    assert len(list(target.depot.blobs.keys("blobs/"))) == len(list(target.depot.catalog.blobs.all()))


def test_a_blob_that_fails_leaves_nothing_of_its_version(source, beside):
    target = beside.store()
    base = {place.digest for place in source.depot.catalog.blobs.all(versions=[source.resolve("base").id])}
    big = [p for p in source.depot.catalog.blobs.all(versions=[source.resolve("big").id]) if p.digest not in base]
    replace(source, big[-1].key, None)
    with pytest.raises(Corrupt, match="is missing"):
        run(source, target)
    assert ids(target) == {source.resolve("base").id}
    assert target.depot.blobs.owners() == []
    on_disk = {Digest.parse(Path(key).name[:64]) for key in target.depot.blobs.keys("blobs/")}
    assert on_disk == {place.digest for place in target.depot.catalog.blobs.all()}


def test_a_version_of_no_blobs_and_one_that_is_there(beside):
    source, target = beside.store(), beside.store()
    (beside.folder / "empty").write_bytes(b"")
    source.add([beside.folder / "empty"], name="empty")
    assert [one.ref for one in run(source, target).versions] == ["empty:1"]
    assert planned(source, target).is_empty
    report = run(source, target)
    assert (report.versions, report.blobs) == ((), 0)
    assert manifest_of(b"x").blobs


def test_a_checkpoint_of_tensors_travels(beside):
    torch = pytest.importorskip("torch")
    from artifactstore.checkpoints import CheckpointManager

    source, target = beside.store(), beside.store()
    state = {"model": {"w": torch.arange(3000.0), "b": torch.zeros(3)}, "step": 3, "names": ["a"]}
    with CheckpointManager(store=source, run="job") as manager:
        manager.save_checkpoint({"request_id": "r1", "step": 3, "state": state})
    run(source, target)
    assert meaning(target) == meaning(source)
    out = checkout.plan(target.depot, target.ls()[0], beside.folder / "ckpt")
    checkout.run(target.depot, out)


@pytest.mark.parametrize("suffix", ["safetensors", "gguf", "pt", "bin"])
def test_files_of_every_format_pass_the_look_at_their_headers(beside, suffix, formats):
    source, target = beside.store(), beside.store()
    source.add([formats(suffix)], name="m")
    run(source, target)
    assert target.show("m")["files"] == source.show("m")["files"]


@pytest.fixture
def formats(beside):
    def make(suffix):
        path = beside.folder / f"model.{suffix}"
        if suffix == "safetensors":
            return beside.model(1) / "model.safetensors"
        if suffix == "gguf":
            path.write_bytes(gguf(tensors=[tensor("t", (4000,), 0, 0)], data=bytes(16000)))
        elif suffix == "pt":
            torch = pytest.importorskip("torch")
            torch.save({"w": torch.arange(5000.0)}, path)
        else:
            path.write_bytes(bytes(range(256)) * 999)
        return path

    return make
