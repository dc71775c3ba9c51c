"""Shards on the disk: whole or not there, checked, and an interrupted run goes on"""

import os
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Busy, Corrupt, Invalid, NoSpace, NotFound, Refused
from artifactstore.core.events import Progress, Step
from artifactstore.derive.shard.plan import plan
from artifactstore.derive.shard.run import run
from tests.ops.trees import contents
from tests.sharded import write_ranks

CEILING = 20_000


@pytest.fixture
def version(store, model):
    return store.resolve("model")


def planned(store, dest, ceiling=CEILING, **options):
    return plan(store.depot, store.resolve("model"), dest, ceiling, **options)


def test_a_second_run_keeps_all(store, version, tmp_path):
    first = run(store.depot, planned(store, tmp_path / "out"))
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    second = run(store.depot, planned(store, tmp_path / "out"))
    assert (first.written_bytes, second.written_bytes) == (sum(file.size for file in first.files), 0)
    assert [file.sha256 for file in first.files] == [file.sha256 for file in second.files]
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert not store.depot.catalog.leases.active()


def test_progress_ends_at_all_bytes(store, version, tmp_path):
    events = []
    report = run(replace(store.depot, monitor=events.append), planned(store, tmp_path / "out"))
    told = [event for event in events if isinstance(event, Progress)]
    assert (told[-1].phase, told[-1].done, told[-1].total) == ("shard", report.written_bytes, report.written_bytes)


CHILD = """
    import os, sys
    from pathlib import Path
    from artifactstore.core.events import Step
    from artifactstore.store import Store
    from artifactstore.derive.shard.plan import plan
    from artifactstore.derive.shard.run import run

    left = int(sys.argv[3])
    def monitor(event):
        global left
        if isinstance(event, Step) and event.name.startswith("shard."):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), 9)

    store = Store.open(sys.argv[1], monitor=monitor)
    run(store.depot, plan(store.depot, store.resolve("model"), Path(sys.argv[2]), 20_000))
"""


@pytest.mark.parametrize("after", [0, 1, 4, 9])
def test_a_killed_run_leaves_no_half_file_and_the_next_goes_on(store, version, tmp_path, after):
    run(store.depot, planned(store, tmp_path / "whole"))
    whole = contents(tmp_path / "whole")
    dest = tmp_path / "out"
    script = [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path / "store"), str(dest), str(after)]
    assert subprocess.run(script, capture_output=True).returncode == -9
    there = {path: raw for path, raw in contents(dest).items() if not path.startswith(".")}
    assert there.items() <= whole.items()
    assert "model.safetensors.index.json" not in there
    report = run(store.depot, planned(store, dest))
    assert sum(file.kept for file in report.files) == len(there)
    assert contents(dest) == whole


def test_what_is_in_the_way_is_refused_or_replaced(store, version, tmp_path):
    dest = tmp_path / "out"
    run(store.depot, planned(store, dest))
    shard = next(dest.glob("model-00002-*"))
    raw = shard.read_bytes()
    shard.write_bytes(bytes([raw[-1] ^ 1]).join([raw[:-1], b""]))
    with pytest.raises(Refused, match=r"model-00002-of-.* is there with other content"):
        run(store.depot, planned(store, dest))
    run(store.depot, planned(store, dest, force=True))
    assert shard.read_bytes() == raw
    (dest / "config.json").write_text("mine")
    with pytest.raises(Refused, match=r"config.json is there with other content"):
        planned(store, dest)


def test_only_some(store, version, tmp_path):
    report = run(store.depot, planned(store, tmp_path / "out", only=["*.json"]))
    assert ([str(file.path) for file in report.files], report.reassembled) == (["config.json"], 0)


def test_shards_of_another_division_are_refused_or_go(store, version, tmp_path):
    dest = tmp_path / "out"
    run(store.depot, planned(store, dest))
    (dest / "model.safetensors.index.json").unlink()
    with pytest.raises(Refused, match="is of another division of the same model"):
        planned(store, dest, 30_000)
    run(store.depot, planned(store, dest, 30_000, force=True))
    run(store.depot, planned(store, tmp_path / "fresh", 30_000))
    assert contents(dest) == contents(tmp_path / "fresh")


def test_the_whole_model_is_not_left_beside_its_shards(store, version, tmp_path, model):
    before = contents(model)
    with pytest.raises(Refused, match=r"model.safetensors is of another division of the same model"):
        planned(store, model)
    assert contents(model) == before
    run(store.depot, planned(store, model, force=True))
    run(store.depot, planned(store, tmp_path / "fresh"))
    assert contents(model) == contents(tmp_path / "fresh")
    run(store.depot, planned(store, model, 10_000_000, force=True))
    assert contents(model) == before


def test_damage_on_the_disk_is_found_before_the_index_is_written(store, version, tmp_path):
    dest = tmp_path / "out"

    def monitor(event):
        if event == Step("shard.rename.after"):
            for shard in dest.glob("model-00001-*"):
                shard.write_bytes(shard.read_bytes()[:-1] + b"?")

    with pytest.raises(Corrupt, match=r"do not give model.safetensors back"):
        run(replace(store.depot, monitor=monitor), planned(store, dest))
    assert not (dest / "model.safetensors.index.json").exists()


def test_one_run_at_a_time(store, version, tmp_path):
    dest = tmp_path / "out"
    tried = []

    def monitor(event):
        if event == Step("shard.rename.before") and not tried:
            tried.append(True)
            with pytest.raises(Busy, match="Another run writes"):
                run(store.depot, planned(store, dest))

    run(replace(store.depot, monitor=monitor), planned(store, dest))
    assert tried


def test_bad_input(store, version, tmp_path):
    with pytest.raises(Invalid, match="Files of 0 bytes hold nothing"):
        planned(store, tmp_path / "out", 0)
    with pytest.raises(Invalid, match=r"Tensor '(lm_head|model.embed_tokens).weight' alone takes 12\.4 kB"):
        planned(store, tmp_path / "out", 5_000)
    with pytest.raises(NotFound, match="No file of model:1 matches nothing"):
        planned(store, tmp_path / "out", only=["nothing"])
    (tmp_path / "file").write_text("")
    with pytest.raises(Invalid, match="is a file; give a folder"):
        planned(store, tmp_path / "file")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_split_is_refused(store, tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"w" * 5000)
    store.add([tmp_path / "weights.bin"], name="other")
    with pytest.raises(
        Invalid, match=r"weights.bin has 5.0 kB, over 4000 bytes, and is of no format that can be split"
    ):
        plan(store.depot, store.resolve("other"), tmp_path / "out", 4000)


def test_what_ranks_wrote_is_refused(store, tmp_path):
    write_ranks(tmp_path / "ranks")
    store.add([tmp_path / "ranks"], name="ranks")
    with pytest.raises(Invalid, match="Ranks wrote ranks:1 in parts"):
        plan(store.depot, store.resolve("ranks"), tmp_path / "out", 4000)


def test_a_full_disk_is_told_before_the_work(store, version, mounted):
    disk = mounted("size=16k")
    with pytest.raises(NoSpace, match=r"to write, .* free at"):
        run(store.depot, planned(store, disk / "models" / "out"))
    assert list(disk.iterdir()) == []


def test_a_part_that_is_a_link_is_not_followed(store, version, tmp_path):
    dest = tmp_path / "out"
    run(store.depot, planned(store, dest))
    target = dest / "config.json"
    target.unlink()
    (dest / f".{Digest.of(b'config.json').hex()[:16]}.part").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Corrupt, match="not a regular file"):
        run(store.depot, planned(store, dest))
    assert not os.path.lexists(tmp_path / "elsewhere")
