"""Bundles: written as planned to the byte, the same from the same versions, finished wherever they were cut"""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifactstore.blobs.parts import Parts, find_parts
from artifactstore.blobs.tar import TarBlobs
from artifactstore.core.bundle import Holdings
from artifactstore.core.digest import Digest
from artifactstore.core.errors import Busy, Corrupt, Denied, Invalid, NotFound, Refused
from artifactstore.ops import bundle
from artifactstore.ops.transfer.tarball import Tarball
from artifactstore.store import Store
from tests.crash.harness import points, run
from tests.ops.trees import contents

MIB = 1 << 20


@pytest.fixture
def full(store, model, tmp_path):
    """hero:1, hero:2 that shares most of it, base:1 and an adapter of it"""
    store.add([model], name="studio/hero", aliases=["prod"], metrics={"loss": 0.5}, license="MIT")
    (model / "config.json").write_text('{"hidden_size": 9}')
    store.add([model], name="studio/hero", aliases=["best", "new"])
    small = tmp_path / "small.bin"
    for name, data in (("base", b"b" * 5000), ("adapter", b"a" * 3000)):
        small.write_bytes(data)
        parents = [store.link("base", "adapter")] if name == "adapter" else []
        store.add([small], name=name, parents=parents)
    return store


def plan(store, dest, *refs, **options):
    return bundle.plan(store.depot, [store.resolve(ref) for ref in refs], dest, **options)


def make(store, dest, *refs, **options):
    plan_options = {name: options.pop(name) for name in ("have", "part") if name in options}
    return bundle.run(store.depot, plan(store, dest, *refs, **plan_options), **options)


def joined(path):
    with Parts(find_parts(path)) as parts:
        return parts.read(0, parts.size)


BOTH = ("studio/hero:1", "studio/hero:2")


def test_what_is_planned_is_what_is_written(full, tmp_path):
    planned = plan(full, tmp_path / "x.tar", *BOTH)
    report = bundle.run(full.depot, planned)
    assert report.paths == (tmp_path / "x.tar",)
    assert (report.written_bytes, report.resumed_bytes) == (planned.nbytes, 0)
    assert (tmp_path / "x.tar").stat().st_size == planned.nbytes
    document = planned.to_json()
    assert [one["ref"] for one in document["versions"]] == list(BOTH)
    assert document["versions"][1]["bytes"] < 5000
    assert (document["parts"], document["held"], document["base"], document["along"]) == (1, [], [], [])


def test_the_same_versions_give_the_same_bytes(full, tmp_path):
    make(full, tmp_path / "x.tar", *BOTH)
    make(full, tmp_path / "y.tar", *reversed(BOTH), "studio/hero@prod")
    assert joined(tmp_path / "x.tar") == joined(tmp_path / "y.tar")
    make(full, tmp_path / "z.tar", BOTH[0])
    assert joined(tmp_path / "z.tar") != joined(tmp_path / "x.tar")


def untarred(path, folder, *, whole=True):
    folder.mkdir()
    done = subprocess.run(["tar", "xf", path, "-C", folder], capture_output=True)
    assert (done.returncode == 0) == whole
    return folder


def test_what_the_tar_of_the_system_unpacks_is_a_store(full, model, tmp_path):
    make(full, tmp_path / "x.tar", *BOTH, "adapter")
    folder = untarred(tmp_path / "x.tar", tmp_path / "out")
    report = Store.catalog_rebuild(str(folder))
    assert (report.versions, report.lost, report.uncommitted) == (4, (), ())
    with Store.open(str(folder)) as copy:
        assert not copy.verify().damaged
        assert {info.ref: info.aliases for info in copy.depot.catalog.versions.list()} == {
            info.ref: info.aliases for info in full.depot.catalog.versions.list()
        }
        assert copy.resolve("studio/hero@prod").metrics == {"loss": 0.5}
        copy.checkout("studio/hero:2", tmp_path / "files")
        assert contents(tmp_path / "files") == contents(model)
        (link,) = copy.depot.catalog.versions.parents(copy.resolve("adapter").id)
        assert link.parent == copy.resolve("base").id
        (tmp_path / "new").write_bytes(b"new")
        copy.add([tmp_path / "new"], name="studio/hero")
        assert copy.resolve("studio/hero").number == 3


def test_a_piece_of_a_bundle_unpacked_holds_whole_versions(full, tmp_path):
    planned = plan(full, tmp_path / "x.tar", *BOTH, "adapter")
    bundle.run(full.depot, planned)
    with TarBlobs(tmp_path / "x.tar") as blobs:
        second = sorted(blobs.keys("journal/"))[1]
        end = blobs.offset(second) + blobs.size(second)
    (tmp_path / "cut.tar").write_bytes(joined(tmp_path / "x.tar")[: end + 3000])
    report = Store.catalog_rebuild(str(untarred(tmp_path / "cut.tar", tmp_path / "out", whole=False)))
    assert report.lost == ()
    assert report.versions == 2


def test_what_a_version_needs_comes_along(full, tmp_path):
    planned = plan(full, tmp_path / "x.tar", "adapter")
    assert [one.version.named.ref for one in planned.load.cargo] == ["base:1", "adapter:1"]
    assert [one.ref for one in planned.load.along] == ["base:1"]


def test_no_version_at_all_is_a_bundle_too(full, tmp_path):
    have = bundle.holdings(full.depot)
    planned = plan(full, tmp_path / "x.tar", *BOTH, have=have)
    assert [one.ref for one in planned.load.held] == list(BOTH)
    bundle.run(full.depot, planned)
    with TarBlobs(tmp_path / "x.tar") as blobs:
        assert list(blobs.keys("")) == ["artstore.json", "bundle.json"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=5)
@given(part=st.integers(40_000, 20 * MIB))
def test_parts_of_any_size_are_the_same_stream(full, tmp_path, part):
    if not (tmp_path / "x.tar").exists():
        make(full, tmp_path / "x.tar", *BOTH)
    shutil.rmtree(tmp_path / "parts", ignore_errors=True)
    (tmp_path / "parts").mkdir()
    report = make(full, tmp_path / "parts/x.tar", *BOTH, part=part)
    assert sorted((tmp_path / "parts").iterdir()) == list(report.paths)
    assert joined(tmp_path / "parts/x.tar") == joined(tmp_path / "x.tar")
    assert make(full, tmp_path / "parts/x.tar", *BOTH, part=part).written_bytes == 0


def test_a_stream_that_fills_its_last_part_to_the_byte(full, tmp_path):
    nbytes = plan(full, tmp_path / "x.tar", *BOTH).nbytes
    for number in (1, 2, 4):
        report = make(full, tmp_path / f"{number}.tar", *BOTH, part=nbytes // number)
        assert len(report.paths) == number
        assert [path.stat().st_size for path in report.paths] == [nbytes // number] * number
        assert make(full, tmp_path / f"{number}.tar", *BOTH, part=nbytes // number).written_bytes == 0
    assert not list(tmp_path.glob("*.part"))


def test_parts_too_small_are_refused_before_anything_is_written(full, tmp_path):
    with pytest.raises(Invalid, match="more than 500 files"):
        plan(full, tmp_path / "x.tar", *BOTH, part=1000)


class TestDelta:
    def test_it_leaves_out_what_the_other_side_has(self, full, tmp_path):
        have = Holdings("ab" * 16, (full.resolve("studio/hero:1").id, Digest.of(b"unknown here")))
        planned = plan(full, tmp_path / "x.tar", *BOTH, have=have)
        assert [one.version.named.ref for one in planned.load.cargo] == ["studio/hero:2"]
        assert [one.ref for one in planned.load.label.base] == ["studio/hero:1"]
        assert planned.nbytes < 20_000
        assert planned.left_out > 15 * MIB
        bundle.run(full.depot, planned)
        with TarBlobs(tmp_path / "x.tar") as blobs:
            assert [one.ref for one in blobs.label.base] == ["studio/hero:1"]

    def test_unpacked_it_lacks_what_was_left_out_and_a_repair_brings_it(self, full, tmp_path):
        make(full, tmp_path / "x.tar", BOTH[1], have=Holdings("ab" * 16, (full.resolve(BOTH[0]).id,)))
        folder = untarred(tmp_path / "x.tar", tmp_path / "out")
        lost = Store.catalog_rebuild(str(folder)).lost
        assert {one.kind for one in lost} == {"missing"}
        with Store.open(str(folder)) as copy:
            report = copy.repair([], source=full.depot.blobs.url)
            assert (len(report.healed), report.left) == (len(lost), ())

    def test_the_nearest_version_that_has_it_stands_as_the_base(self, full, model, tmp_path):
        full.add([model], name="another", metrics={"x": 1.0})
        there = [full.resolve(ref).id for ref in ("another:1", "studio/hero:1")]
        planned = plan(full, tmp_path / "x.tar", BOTH[1], have=Holdings("ab" * 16, tuple(there)))
        assert "studio/hero:1" in [one.ref for one in planned.load.label.base]

    def test_what_is_damaged_is_not_counted_on(self, full):
        whole = bundle.holdings(full.depot)
        assert len(whole.versions) == 4
        hurt(full, "base", b"b" * 5000)
        full.verify()
        assert full.resolve("base").id not in bundle.holdings(full.depot).versions
        assert len(bundle.holdings(full.depot).versions) == 3

    def test_a_version_whose_manifest_is_damaged_is_not_counted_on(self, full):
        place = full.depot.catalog.versions.manifest_place(full.resolve("base").id)
        overwrite(full, place.key, b"{}")
        full.verify()
        assert len(bundle.holdings(full.depot).versions) == 3


def overwrite(store, key, data):
    path = Path(store.depot.blobs.url) / key
    path.chmod(0o644)
    path.write_bytes(data)


def hurt(store, ref, data):
    digest = Digest.of(data)
    place = store.depot.catalog.blobs.places([digest])[digest]
    overwrite(store, place.key, data[:-1] + b"?")
    return place


class TestDamage:
    def test_known_damage_is_told_before_anything_is_written(self, full, tmp_path):
        hurt(full, "base", b"b" * 5000)
        full.verify()
        with pytest.raises(Corrupt, match="repair"):
            plan(full, tmp_path / "x.tar", "base")

    def test_damage_found_on_the_way_leaves_no_bundle(self, full, tmp_path):
        hurt(full, "base", b"b" * 5000)
        with pytest.raises(Corrupt, match="corrupt"):
            make(full, tmp_path / "x.tar", "base")
        assert not (tmp_path / "x.tar").exists()
        with pytest.raises(NotFound, match="unfinished"):
            find_parts(tmp_path / "x.tar")


class TestWhatIsThere:
    def test_a_finished_bundle_is_left_as_it_is(self, full, tmp_path):
        first = make(full, tmp_path / "x.tar", *BOTH)
        stamp = (tmp_path / "x.tar").stat().st_mtime_ns
        again = make(full, tmp_path / "x.tar", *BOTH)
        assert (again.written_bytes, again.resumed_bytes) == (0, first.written_bytes)
        assert (tmp_path / "x.tar").stat().st_mtime_ns == stamp

    @pytest.mark.parametrize("part", [None, 5 * MIB])
    def test_another_file_is_not_overwritten_unasked(self, full, tmp_path, part):
        make(full, tmp_path / "x.tar", "base", part=part)
        path = find_parts(tmp_path / "x.tar")[0]
        before = path.read_bytes()
        with pytest.raises(Refused, match="is there with other content"):
            make(full, tmp_path / "x.tar", *BOTH, part=part)
        assert path.read_bytes() == before
        make(full, tmp_path / "x.tar", *BOTH, part=part, force=True)
        assert joined(tmp_path / "x.tar") != before
        assert make(full, tmp_path / "x.tar", *BOTH, part=part).written_bytes == 0

    def test_parts_of_another_size_are_not_overwritten_unasked(self, full, tmp_path):
        make(full, tmp_path / "x.tar", *BOTH, part=5 * MIB)
        for part in (4 * MIB, 6 * MIB):
            with pytest.raises(Refused, match=r"x\.tar\.001 is there"):
                make(full, tmp_path / "x.tar", *BOTH, part=part)

    def test_one_process_writes_it_at_a_time(self, full, tmp_path):
        with Tarball(tmp_path / "x.tar") as other:
            other.hold()
            with pytest.raises(Busy, match="Another process writes"):
                make(full, tmp_path / "x.tar", *BOTH)

    def test_a_folder_that_is_not_there_is_said(self, full, tmp_path):
        with pytest.raises(Invalid, match="no folder; make it first"):
            make(full, tmp_path / "none/x.tar", *BOTH)

    @pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
    def test_what_is_no_file_is_not_written_to(self, full, tmp_path, kind):
        path = tmp_path / "x.tar.part"
        if kind == "link":
            path.symlink_to(tmp_path / "victim")
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            path.mkdir()
        with pytest.raises((Corrupt, Denied)):
            make(full, tmp_path / "x.tar", *BOTH)
        assert not (tmp_path / "victim").exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=12)
@given(data=st.data(), part=st.sampled_from([None, 3 * MIB]))
def test_from_any_piece_with_any_damage_it_is_finished_to_the_same_bytes(full, tmp_path, data, part):
    whole = tmp_path / "whole.tar"
    if not whole.exists():
        make(full, whole, *BOTH)
    raw = whole.read_bytes()
    keep = data.draw(st.integers(0, len(raw)))
    flaw = data.draw(st.none() | st.integers(0, max(keep - 1, 0)))
    piece = bytearray(raw[:keep])
    # a part that has its last name is not made anew unasked
    full_parts = 0 if part is None else keep // part * part
    if flaw is not None and full_parts <= flaw < keep:
        piece[flaw] ^= 1
    else:
        flaw = None
    folder = tmp_path / "resumed"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    size = part or len(raw) + 1
    for number, start in enumerate(range(0, keep, size), 1):
        name = f"x.tar.{number:03d}" if part else "x.tar"
        ending = "" if start + size <= keep else ".part"
        (folder / f"{name}{ending}").write_bytes(piece[start : start + size])
    if part is None and keep == len(raw):
        (folder / "x.tar.part").replace(folder / "x.tar")
        if flaw is not None:
            with pytest.raises(Refused, match="other content"):
                make(full, folder / "x.tar", *BOTH)
            return
    report = make(full, folder / "x.tar", *BOTH, part=part)
    assert joined(folder / "x.tar") == raw
    assert report.written_bytes + report.resumed_bytes == len(raw)
    assert report.resumed_bytes <= (keep if flaw is None else flaw)
    assert report.resumed_bytes > (keep if flaw is None else flaw) - 17 * MIB
    assert not list(folder.glob("*.part"))


def read_all(monitored, dest, part):
    """An action for a child: the bundle made by a store opened anew"""

    def action(monitor):
        with Store.open(monitored, monitor=monitor) as store:
            report = make(store, dest, *BOTH, part=part)
            return f"{report.written_bytes} {report.resumed_bytes}"

    return action


@pytest.mark.parametrize("part", [None, 4 * MIB])
def test_killed_anywhere_it_goes_on_and_ends_bit_for_bit(full, tmp_path, part):
    url = full.depot.blobs.url
    make(full, tmp_path / "whole.tar", *BOTH)
    raw = joined(tmp_path / "whole.tar")
    full.close()
    seen = run(read_all(url, tmp_path / "first.tar", part))
    places = [point for point in points(seen) if point[0].startswith("bundle.")]
    count = seen.steps.count("bundle.write.after")
    places += [("bundle.write.after", number) for number in range(2, count, 5)]
    for step, number in places:
        for path in tmp_path.glob("x.tar*"):
            path.unlink()
        assert run(read_all(url, tmp_path / "x.tar", part), die_at=(step, number)).killed
        with pytest.raises((NotFound, Corrupt)) if step != "bundle.finish.after" else pytest.MonkeyPatch.context():
            TarBlobs(tmp_path / "x.tar").close()
        before = sum(path.stat().st_size for path in tmp_path.glob("x.tar*"))
        written, resumed = map(int, run(read_all(url, tmp_path / "x.tar", part)).answer.split())
        assert written + resumed == len(raw)
        assert before - 1024 <= resumed <= before
        assert joined(tmp_path / "x.tar") == raw


MEASURE = """
import resource, sys
from pathlib import Path
from artifactstore.ops import bundle
from artifactstore.store import Store
from artifactstore.bundles import applying
with Store.open(sys.argv[1]) as store:
    planned = bundle.plan(store.depot, [store.resolve("big")], Path(sys.argv[2]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bundle.run(store.depot, planned)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_does_not_grow_with_the_bundle(store, tmp_path):
    path = tmp_path / "big.bin"
    with path.open("wb") as file:
        for _ in range(75):
            file.write(os.urandom(4 * MIB))
    store.add([path], name="big")
    path.unlink()
    command = [sys.executable, "-c", MEASURE, store.depot.blobs.url, str(tmp_path / "x.tar")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (tmp_path / "x.tar").stat().st_size > 300 * MIB
    assert int(done.stdout) < 120


def test_a_full_disk_is_told_before_anything_is_written(full, mounted):
    small = mounted("size=4m")
    with pytest.raises(Exception, match="make room") as caught:
        make(full, small / "x.tar", *BOTH)
    assert caught.value.code == "unavailable.space"
    assert sum(path.stat().st_size for path in small.iterdir()) == 0


def test_a_write_that_fails_is_told_and_gone_on_with(full, mounted, tmp_path):
    disk = mounted("size=40m")
    planned = plan(full, disk / "x.tar", *BOTH)
    (disk / "other").write_bytes(bytes(disk_free(disk) - planned.nbytes - 100_000))

    def eat(event):
        if getattr(event, "name", "") == "bundle.write.after" and not (disk / "more").exists():
            (disk / "more").write_bytes(bytes(2 * MIB))

    with (
        Store.open(full.depot.blobs.url, monitor=eat) as store,
        pytest.raises(Exception, match="no space left") as caught,
    ):
        bundle.run(store.depot, planned)
    assert caught.value.facts["errno"] == errno.errorcode[errno.ENOSPC]
    (disk / "more").unlink()
    report = bundle.run(full.depot, planned)
    assert report.resumed_bytes > 0
    make(full, tmp_path / "x.tar", *BOTH)
    assert joined(disk / "x.tar") == joined(tmp_path / "x.tar")


def disk_free(path):
    return shutil.disk_usage(path).free


def test_it_is_made_of_a_store_elsewhere_too(any_store, model, tmp_path):
    any_store.add([model], name="studio/hero", aliases=["prod"])
    make(any_store, tmp_path / "x.tar", "studio/hero@prod")
    Store.catalog_rebuild(str(untarred(tmp_path / "x.tar", tmp_path / "out")))
    with Store.open(str(tmp_path / "out")) as copy:
        copy.checkout("studio/hero@prod", tmp_path / "files")
    assert contents(tmp_path / "files") == contents(model)


def test_a_reader_without_the_right_to_write_makes_one(full, tmp_path):
    url = full.depot.blobs.url
    full.close()
    with Store.open(url, read_only=True) as store:
        assert make(store, tmp_path / "x.tar", "base").written_bytes
        assert bundle.holdings(store.depot).versions
