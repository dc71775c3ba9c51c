"""Writers, readers and collectors on one store, killed and stopped at random: what was acknowledged stays"""

import json
import multiprocessing
import os
import random
import secrets
import shutil
import signal
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from artifactstore.catalog.dump import dump
from artifactstore.core.digest import Digest
from artifactstore.core.lineage import Relation
from artifactstore.core.verdict import NEEDED
from artifactstore.ops import rebuild
from artifactstore.store import Store
from tests.faults.scale import SOAK, choose
from tests.machines.look import assert_bare, assert_there, look
from tests.servers import S3_BUCKET
from tests.soak import crew

SECONDS = float(os.environ.get("CONCURRENCY_SECONDS", choose(60, 600)))
CREW = {"writer": 6, "reader": 3, "collector": 2}
_SPAWN = multiprocessing.get_context("forkserver")
_SPAWN.set_forkserver_preload(["tests.soak.crew", "artifactstore.blobs.remote", "psycopg"])


@dataclass
class Worker:
    """A place in the crew, and the process that fills it now"""

    post: crew.Post
    process: object = None
    asleep_until: float | None = None

    def start(self) -> None:
        self.process = _SPAWN.Process(target=crew.serve, args=(self.post,), daemon=True)
        self.process.start()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.start()

    def stop(self, seconds: float) -> None:
        self._signal(signal.SIGSTOP)
        self.asleep_until = time.monotonic() + seconds

    def wake(self) -> None:
        self._signal(signal.SIGCONT)
        self.asleep_until = None

    def _signal(self, number: int) -> None:
        # near the end it may have done its work
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)


@dataclass
class Story:
    """What the logs tell"""

    seeds: dict[str, int] = field(default_factory=dict)
    pinned: set[str] = field(default_factory=set)
    # the last acknowledged move, and attempts since then
    aliases: dict[str, list[str]] = field(default_factory=dict)
    aliased: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def disturb(workers: list[Worker], until: float) -> Counter:
    """Kill and stop them at random; all are awake at the end"""
    dice, done = random.SystemRandom(), Counter()
    lease = crew.LEASE.total_seconds()
    while time.monotonic() < until:
        time.sleep(dice.uniform(0.05, 0.4))
        worker = dice.choice(workers)
        if worker.asleep_until is None:
            if dice.random() < 0.5:
                worker.kill()
                done["killed"] += 1
            else:
                worker.stop(dice.uniform(0.1, 2 * lease))
                done["stopped"] += 1
        for sleeper in workers:
            if sleeper.asleep_until is not None and sleeper.asleep_until < time.monotonic():
                sleeper.wake()
    for sleeper in workers:
        if sleeper.asleep_until is not None:
            sleeper.wake()
    return done


def hear(folder: Path) -> Story:
    story = Story()
    for log in folder.glob("*.log"):
        for line in log.read_text().splitlines():
            told = json.loads(line)
            story.counts[f"{log.name.split('-')[0]} {told['what']}"] += 1
            match told["what"]:
                case "saved":
                    story.seeds[told["id"]] = told["seed"]
                case "pinned":
                    story.pinned.add(told["id"])
                case "aliasing":
                    story.aliases.setdefault(told["name"], []).append(told["id"])
                case "aliased":
                    story.aliases[told["name"]] = [told["id"]]
                    story.aliased.add(told["name"])
                case "failed":
                    story.failures.append(told["why"])
    return story


@pytest.fixture
def folder():
    path = Path(tempfile.mkdtemp(prefix="artstore-soak-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=["sqlite and disk", "postgres and disk", "postgres and s3"])
def place(request, folder):
    """(url, catalog)"""
    if request.param != "sqlite and disk" and not SOAK:
        pytest.skip("make soak does this")
    url, catalog = str(folder / "store"), None
    if "postgres" in request.param:
        catalog = request.getfixturevalue("postgres_url")
    if "s3" in request.param:
        endpoint = request.getfixturevalue("rclone_endpoint")
        url = f"s3://{S3_BUCKET}/{secrets.token_hex(6)}?endpoint_url={endpoint}&region=us-east-1"
    Store.init(url, catalog).close()
    return url, catalog


def test_nothing_acknowledged_is_lost(place, folder):
    logs = folder / "logs"
    logs.mkdir()
    until = time.monotonic() + SECONDS
    posts = [crew.Post(role, n, *place, logs, until) for role, count in CREW.items() for n in range(count)]
    workers = [Worker(post) for post in posts]
    for worker in workers:
        worker.start()
    done = disturb(workers, until)
    for worker in workers:
        worker.process.join(120)
        assert worker.process.exitcode is not None, f"{worker.post.role} {worker.post.number} does not end"
    story = hear(logs)
    tell(story, done)
    assert story.failures == []
    assert story.counts["writer saved"] > 0
    assert story.counts["collector collected"] > 0
    with Store.open(*place) as store:
        assert_kept(store, story)
        settle(store)
        assert_kept(store, story)
        told = list(dump(store.depot.catalog.database))
    rebuild.run(rebuild.plan(*place))
    with Store.open(*place) as store:
        assert list(dump(store.depot.catalog.database)) == told
        assert_kept(store, story)


def tell(story: Story, done: Counter) -> None:
    print()
    for what, count in sorted((story.counts + done).items()):
        print(f"{count:8} {what:24} {count / SECONDS:8.1f} /s")


def assert_kept(store: Store, story: Story) -> None:
    """What was acknowledged is there, or was retired and might be"""
    seen = look(store.depot)
    assert_there(store.depot, seen.objects)
    assert store.verify().damaged == ()
    versions = {str(one): (ref, state) for one, (ref, state, _) in seen.told["versions"].items()}
    assert story.seeds.keys() <= versions.keys()
    active = {one for one, (_, state) in versions.items() if state == "active"}
    assert story.pinned <= active
    assert_lineage(store, active)
    for name in story.aliased:
        assert str(store.resolve(f"{name}@prod").id) in story.aliases[name]
    for name in {ref.rpartition(":")[0] for ref, _ in versions.values()}:
        assert any(versions[one][0].startswith(f"{name}:") for one in active)
    for one in active & story.seeds.keys():
        with crew.scratch() as out:
            store.checkout(versions[one][0], out / "out")
            assert crew.contents(out / "out") == crew.files(story.seeds[one])


def assert_lineage(store: Store, active: set[str]) -> None:
    """What an active version needs is active"""
    for one in active:
        for link in store.depot.catalog.versions.parents(Digest.parse(one)):
            assert Relation(link.relation) not in NEEDED or str(link.parent) in active


def settle(store: Store) -> None:
    """Nobody is at work any more: what is left over goes"""
    for lease in store.depot.catalog.leases.active():
        store.depot.catalog.leases.reap(lease.id)
    for _ in range(2):
        store.gc(store.plan_gc(grace=timedelta(0)), force=True)
    assert_bare(store.depot)
    assert store.depot.catalog.journal.pending(1) == []
