"""Checkout: resumable, refusing to overwrite, never writing elsewhere"""

import dataclasses
import errno
import json
import os
import threading

import numpy as np
import pytest

from artifactstore.core.errors import Busy, Corrupt, Invalid, NoSpace, NotFound, Refused, Unavailable
from artifactstore.core.events import Step, Warn
from artifactstore.ops import checkout
from artifactstore.ops.checkout import part_name
from artifactstore.store import Store
from tests.ops.trees import Changed, contents


@pytest.fixture
def filled(store, model):
    store.add([model], name="m")
    return store


class Stopped(BaseException):
    """A person pressed Ctrl-C"""


def test_only_some_files(filled, model, tmp_path):
    filled.checkout("m", tmp_path / "out", only=["*.json", "sub/*"])
    assert set(contents(tmp_path / "out")) == {"config.json", "sub/vocab.txt"}
    with pytest.raises(NotFound, match="No file of m:1 matches"):
        filled.checkout("m", tmp_path / "out", only=["*.gguf"])


def test_what_is_there_is_kept_and_other_content_refused(filled, model, tmp_path):
    out = tmp_path / "out"
    filled.checkout("m", out)
    (out / "config.json").write_text("mine")
    with pytest.raises(Refused, match="--force"):
        filled.checkout("m", out)
    assert (out / "config.json").read_text() == "mine"
    report = filled.checkout("m", out, force=True)
    assert (report.files, report.kept) == (1, 4)
    assert contents(out) == contents(model)


def test_an_interrupted_checkout_goes_on_where_it_ended(filled, model, tmp_path):
    out, seen = tmp_path / "out", []

    def stop(event):
        if isinstance(event, Step) and event.name == "checkout.write.after":
            seen.append(event)
            if len(seen) == 6:
                raise Stopped

    with Store.open(filled.depot.blobs.url, monitor=stop) as other, pytest.raises(Stopped):
        other.checkout("m", out)
    assert any(name.endswith(".part") for name in contents(out))
    report = filled.checkout("m", out)
    assert report.resumed_bytes > 0
    assert contents(out) == contents(model)


def test_a_spoiled_part_is_noticed_and_the_next_try_starts_over(filled, model, tmp_path):
    out = tmp_path / "out"
    filled.checkout("m", out)
    target = out / "data.bin"
    plan = filled.plan_checkout("m", tmp_path / "elsewhere", only=["data.bin"])
    (out / part_name(plan.write[0])).write_bytes(bytes(target.stat().st_size))
    target.unlink()
    with pytest.raises(Corrupt, match="another sha256"):
        filled.checkout("m", out)
    filled.checkout("m", out)
    assert contents(out) == contents(model)


def test_a_damaged_blob_stops_it_and_is_named(filled, tmp_path):
    place = max(filled.depot.catalog.blobs.all(), key=lambda place: place.size)
    path = filled.depot.blobs.root / place.key
    path.chmod(0o644)
    path.write_bytes(bytes(place.size))
    with pytest.raises(Corrupt, match=place.digest.hex()[:12]) as error:
        filled.checkout("m", tmp_path / "out")
    assert error.value.facts["digest"] == str(place.digest)
    path.unlink()
    with pytest.raises(Corrupt, match="missing"):
        filled.checkout("m", tmp_path / "out")


def test_a_damaged_manifest_is_told(filled, tmp_path):
    place = filled.depot.catalog.versions.manifest_place(filled.resolve("m").id)
    path = filled.depot.blobs.root / place.key
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"config", b"konfig"))
    with pytest.raises(Corrupt, match="does not match its id"):
        filled.checkout("m", tmp_path / "out")
    path.unlink()
    with pytest.raises(Corrupt, match="manifest of"):
        filled.checkout("m", tmp_path / "out")


def test_a_link_in_the_target_leads_nowhere(filled, tmp_path):
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    out.mkdir()
    (out / "sub").symlink_to(outside)
    with pytest.raises(Invalid, match="a link that leaves"):
        filled.checkout("m", out)
    assert list(outside.iterdir()) == []


def test_a_file_as_target(filled, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(Invalid, match="is a file"):
        filled.checkout("m", tmp_path / "out")


def test_the_plan_is_a_document_and_a_read_only_store_can_be_read(filled, model, tmp_path):
    with Store.open(filled.depot.blobs.url, read_only=True) as reader:
        plan = reader.plan_checkout("m", tmp_path / "out")
        assert json.loads(json.dumps(plan.to_json()))["bytes"] == plan.nbytes
        reader.checkout("m", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(model)
    assert filled.resolve("m").last_load is None
    filled.checkout("m", tmp_path / "again")
    assert filled.resolve("m").last_load is not None


def watched(store, monitor):
    return Store(dataclasses.replace(store.depot, monitor=monitor))


def test_a_second_checkout_of_a_file_that_is_under_way_is_refused(filled, model, tmp_path):
    out, refused = tmp_path / "out", []

    def rival(event):
        if event == Step("checkout.write.after") and not refused:
            with pytest.raises(Busy, match="Another checkout"):
                filled.checkout("m", out, only=["data.bin"])
            refused.append(event)

    watched(filled, rival).checkout("m", out, only=["data.bin"])
    assert refused
    assert contents(out) == {"data.bin": (model / "data.bin").read_bytes()}


def test_a_part_that_became_the_target_before_it_was_locked_is_left_alone(filled, model, tmp_path, monkeypatch):
    out, lock, finished = tmp_path / "out", checkout._lock, []

    def late(fd, path):
        if not finished:
            finished.append(path)
            filled.checkout("m", out, only=["data.bin"])
        lock(fd, path)

    monkeypatch.setattr(checkout, "_lock", late)
    with pytest.raises(Busy):
        filled.checkout("m", out, only=["data.bin"])
    assert contents(out) == {"data.bin": (model / "data.bin").read_bytes()}


def test_a_part_that_another_made_shorter_is_not_gone_on_with(filled, model, tmp_path, monkeypatch):
    out, lock = tmp_path / "out", checkout._lock
    out.mkdir()
    (file,) = filled.plan_checkout("m", out, only=["data.bin"]).write
    raw, part = (model / "data.bin").read_bytes(), out / part_name(file)
    part.write_bytes(raw)

    def late(fd, path):
        lock(fd, path)
        path.write_bytes(b"")

    with monkeypatch.context() as patch:
        patch.setattr(checkout, "_lock", late)
        with pytest.raises(Busy):
            filled.checkout("m", out, only=["data.bin"])
    filled.checkout("m", out, only=["data.bin"])
    assert contents(out) == {"data.bin": raw}


def test_a_disk_that_filled_up_between_two_pieces_leaves_nothing_at_the_wrong_place(store, tmp_path, monkeypatch):
    source = tmp_path / "in" / "data.bin"
    source.parent.mkdir()
    source.write_bytes(np.random.default_rng(1).bytes(40 << 20))
    store.add([source], name="m")
    write, count = os.write, []

    def full_once(fd, data):
        if threading.current_thread().name.startswith("artstore-write"):
            count.append(len(data))
            if len(count) == 3:
                write(fd, data[: len(data) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", full_once)
    with pytest.raises(NoSpace, match="what was written is kept"):
        store.checkout("m", tmp_path / "out")
    assert store.checkout("m", tmp_path / "out").resumed_bytes == sum(count[:2])
    assert contents(tmp_path / "out") == contents(source.parent)


def test_long_names_come_back(store, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("\u6a21" * 80 + ".bin", "x" * 185 + "a", "x" * 185 + "b"):
        (folder / name).write_bytes(bytes(300_000))
    store.add([folder], name="m")
    plan = store.plan_checkout("m", tmp_path / "out")
    assert len({part_name(file) for file in plan.write}) == 3
    checkout.run(store.depot, plan)
    assert contents(tmp_path / "out") == contents(folder)


def test_no_folder_is_made_behind_a_link(store, tmp_path):
    (tmp_path / "in/a/b").mkdir(parents=True)
    (tmp_path / "in/a/b/x.txt").write_text("x")
    store.add([tmp_path / "in"], name="m")
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    out.mkdir()
    (out / "a").symlink_to(outside)
    with pytest.raises(Invalid, match="a link that leaves"):
        store.checkout("m", out)
    assert list(outside.iterdir()) == []
    (out / "a").unlink()
    (out / "a").symlink_to("a")
    with pytest.raises(Invalid, match="a link to itself"):
        store.checkout("m", out)


def test_a_fifo_where_a_part_should_be_is_refused_without_waiting(filled, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (file,) = filled.plan_checkout("m", out, only=["data.bin"]).write
    os.mkfifo(out / part_name(file))
    with pytest.raises(Invalid, match="no regular file"):
        filled.checkout("m", out)


def test_a_load_that_cannot_be_noted_is_a_warning(filled, model, tmp_path):
    def away(*_):
        raise Unavailable("the database is away")

    told = []
    catalog = Changed(filled.depot.catalog, versions=Changed(filled.depot.catalog.versions, loaded=away))
    store = Store(dataclasses.replace(filled.depot, catalog=catalog, monitor=told.append))
    assert store.checkout("m", tmp_path / "out").files == 5
    assert [event for event in told if isinstance(event, Warn) and "the database is away" in event.message]
    assert contents(tmp_path / "out") == contents(model)


def test_few_files_are_open_while_they_wait_for_a_slow_disk(store, tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(100):
        (folder / str(number)).write_text(str(number))
    store.add([folder], name="m")
    begun, done, most, slow = [], [], [], threading.Event()

    def watch(event):
        if event == Step("checkout.write.before"):
            begun.append(event)
            most.append(len(begun) - len(done))
        elif event == Step("checkout.rename.before"):
            # Long enough for all that may be begun meanwhile; once only.
            slow.wait(0.3)
            slow.set()
        elif event == Step("checkout.rename.after"):
            done.append(event)

    monkeypatch.setattr(checkout, "_UNSYNCED", 8)
    watched(store, watch).checkout("m", tmp_path / "out")
    assert max(most) <= 9
    assert contents(tmp_path / "out") == contents(folder)
