"""Fetch, push, pull, sync and bundles killed at any moment: a next run moves only the rest, to the bit"""

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from artifactstore.bundles import applying
from artifactstore.core.hub import HubRef
from artifactstore.core.registry import Model
from artifactstore.core.settings import Settings
from artifactstore.lease import clear_dead
from artifactstore.ops import bundle, verify
from artifactstore.provision import plan as planning
from artifactstore.provision import run as running
from artifactstore.provision.plan import FetchOptions
from artifactstore.store import Store
from artifactstore.upstream.partial import Partials
from tests.crash import harness
from tests.crash.test_kills import hashes
from tests.hub import local_hub

MIB = 1 << 20
KILLS = 167 if os.environ.get("SOAK") else 10
TENSORS, NBYTES = 6, 4 * MIB
REPO = "org/model"


@dataclass
class Work:
    """A verb under test. act: what it moved, in bytes; lacking: what it would have to move now"""

    fresh: Callable[[], None]
    act: Callable[[], int]
    lacking: Callable[[], int]
    check: Callable[[], None]


def model(folder: Path) -> Path:
    """Tensors of one blob each, two files, and a text"""
    folder.mkdir(parents=True)
    for number in range(2):
        draw = np.random.default_rng(number)
        tensors = {f"t{number}.{at}": draw.integers(0, 255, NBYTES, dtype=np.uint8) for at in range(TENSORS // 2)}
        save_file(tensors, folder / f"model-{number}.safetensors")
    (folder / "config.json").write_text("{}")
    return folder


def settings(tmp_path: Path) -> Settings:
    return Settings(foreign=str(tmp_path / "foreign"), landing=2 * NBYTES)


def is_whole(place: Path, folder: Path, tmp_path: Path) -> None:
    """Verify finds nothing, nothing is left half done, and the version gives its files back"""
    with Store.open(str(place), settings=settings(tmp_path)) as store:
        assert verify.run(store.depot, verify.plan(store.depot)).damaged == ()
        [version] = store.ls()
        out = place.with_name(f"{place.name}-out-{random.getrandbits(48):x}")
        store.checkout(str(version.id), out)
        assert hashes(out) == hashes(folder)
        # what the next write does first
        store.depot.check_writable()
        clear_dead(store.depot)
        assert store.depot.blobs.owners() == []
        assert store.depot.catalog.journal.pending(1) == []


def emptied(place: Path) -> Path:
    """A name nobody has used: what a killed process wrote may still be on its way"""
    return place.with_name(f"{place.stem}-{random.getrandbits(48):x}{place.suffix}")


@pytest.fixture
def source(tmp_path):
    folder = model(tmp_path / "model")
    with Store.init(str(tmp_path / "source"), settings=settings(tmp_path)) as store:
        store.add([folder], name=REPO, aliases=["prod"])
    return tmp_path / "source", folder


class Ends:
    """The two stores of a transfer; the far one is made anew for each round"""

    def __init__(self, tmp_path: Path, source: tuple[Path, Path]) -> None:
        self.tmp_path, (self.source, self.folder) = tmp_path, source
        self.far = tmp_path / "far"

    def near(self) -> Store:
        return Store.open(str(self.source), settings=settings(self.tmp_path))

    def open_far(self) -> Store:
        return Store.open(str(self.far), settings=settings(self.tmp_path))

    def fresh_mirror(self) -> None:
        self.far = emptied(self.tmp_path / "far")
        with self.near() as store:
            for info, _ in store.remote_ls():
                store.remote_rm(info.name)
            store.remote_add("far", str(self.far))

    def fresh_store(self) -> None:
        self.far = emptied(self.tmp_path / "far")
        with Store.init(str(self.far), settings=settings(self.tmp_path)) as store:
            store.remote_add("near", str(self.source))

    def push(self) -> int:
        with self.near() as store:
            return store.push("far").carried.nbytes

    def sync(self) -> int:
        with self.near() as store:
            return store.sync("far").carried.nbytes

    def pull(self) -> int:
        with self.open_far() as store:
            return store.pull("near").carried.nbytes

    def lacks(self) -> int:
        with self.near() as store:
            return store.plan_push("far").carry.nbytes

    def lacks_here(self) -> int:
        with self.open_far() as store:
            return store.plan_pull("near").carry.nbytes

    def check_mirror(self) -> None:
        with self.near() as store:
            assert store.plan_sync("far")[0].is_empty
            assert len(store.whereis(REPO)) == 2
        # a mirror has no catalog of its own: what its journal says must be enough to read it
        reader = emptied(self.tmp_path / "reader")
        with Store.clone(str(self.far), str(reader), settings=settings(self.tmp_path)) as store:
            store.pull("origin")
        is_whole(reader, self.folder, self.tmp_path)

    def check_store(self) -> None:
        is_whole(self.far, self.folder, self.tmp_path)


@pytest.fixture(params=["push", "pull", "sync", "apply", "create", "fetch"])
def work(request, tmp_path, source):
    ends = Ends(tmp_path, source)
    verbs = {
        "push": lambda: Work(ends.fresh_mirror, ends.push, ends.lacks, ends.check_mirror),
        "sync": lambda: Work(ends.fresh_mirror, ends.sync, ends.lacks, ends.check_mirror),
        "pull": lambda: Work(ends.fresh_store, ends.pull, ends.lacks_here, ends.check_store),
        "apply": lambda: applied(ends),
        "create": lambda: created(ends),
    }
    if request.param != "fetch":
        yield verbs[request.param]()
        return
    with local_hub() as hub:
        hub.repo(REPO, ends.folder)
        yield fetched(ends, hub)


def applied(ends: Ends) -> Work:
    carried = ends.tmp_path / "carried.tar"
    with ends.near() as store:
        bundle.run(store.depot, bundle.plan(store.depot, store.ls(), carried))

    def act() -> int:
        with ends.open_far() as store, applying(store.depot, carried) as application:
            return application.run().nbytes

    def lacking() -> int:
        with ends.open_far() as store, applying(store.depot, carried) as application:
            return application.plan.carry.nbytes

    return Work(ends.fresh_store, act, lacking, ends.check_store)


def created(ends: Ends) -> Work:
    ends.far = ends.tmp_path / "whole.tar"

    def act() -> int:
        with ends.near() as store:
            return bundle.run(store.depot, bundle.plan(store.depot, store.ls(), ends.far)).written_bytes

    act()
    whole = ends.far.read_bytes()

    def fresh() -> None:
        ends.far = emptied(ends.tmp_path / "x.tar")

    def lacking() -> int:
        # a member that was cut off is written again
        there = sum(path.stat().st_size for path in ends.tmp_path.glob(f"{ends.far.name}*"))
        return len(whole) - there + NBYTES + MIB * bool(there)

    def check() -> None:
        assert ends.far.read_bytes() == whole
        ends.far.unlink()

    return Work(fresh, act, lacking, check)


def fetched(ends: Ends, hub) -> Work:
    wanted = Model(name="m", origin=HubRef.parse(f"hf://{REPO}"))

    def options() -> FetchOptions:
        return FetchOptions(partials=ends.far.with_suffix(".partials"), endpoint=hub.endpoint, jobs=2)

    def act() -> int:
        before = len(hub.requests)
        with ends.open_far() as store:
            report = running.run(store.depot, planning.plan(store.depot, [wanted], options()))
            report.check()
        return sum(request.sent for request in hub.requests[before:] if "/api/" not in request.path)

    def fresh() -> None:
        ends.far = emptied(ends.tmp_path / "far")
        Store.init(str(ends.far)).close()

    def lacking() -> int:
        with ends.open_far() as store:
            return running._to_come(  # what the plan reckons with
                planning.plan(store.depot, [wanted], options()).items[0], Partials(options().partials)
            )

    return Work(fresh, act, lacking, ends.check_store)


def test_killed_at_any_moment_it_goes_on_with_the_rest(work):
    draw = random.Random(os.environ.get("SOAK", "ci"))
    work.fresh()
    whole = work.lacking()
    began = time.monotonic()
    work.act()
    seconds = time.monotonic() - began
    work.check()
    work.fresh()
    kills = kept = 0
    # few of so many moments lie between the first landing and the last
    while kills < KILLS or not kept:
        assert kills < 5 * KILLS
        outcome = harness.run(lambda _: str(work.act()), within=draw.uniform(0, 1.2 * seconds))
        kills += outcome.killed
        if outcome.killed and draw.random() < 0.4:
            # killed once more before it is done
            continue
        lacking = work.lacking()
        kept += lacking < whole
        assert work.act() <= lacking
        work.check()
        work.fresh()
