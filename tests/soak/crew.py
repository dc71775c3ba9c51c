"""Processes at work on one store: writers, readers and collectors, each logging outside what was acknowledged"""

import json
import os
import random
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from artifactstore.core.errors import Conflict, Corrupt, LeaseLost, NotFound, Refused, StoreError
from artifactstore.core.events import Event, Warn
from artifactstore.core.selection import Rules
from artifactstore.core.settings import Settings
from artifactstore.store import Store
from tests.ops.trees import contents

# So short that whoever is stopped for a moment loses it
LEASE = timedelta(seconds=2)
SETTINGS = Settings(lease=LEASE, reserve=0)
RULES = ("--keep-last 2", "--keep-last 1 --keep-best 1:loss", "--keep-every 7 --keep-last 1")
SHARED = 12


@dataclass(frozen=True)
class Post:
    """Who does what where, and until when by the monotonic clock"""

    role: str
    number: int
    url: str
    catalog: str | None
    folder: Path
    until: float

    @property
    def log(self) -> Path:
        return self.folder / f"{self.role}-{self.number}.log"


def serve(post: Post) -> None:
    """The life of one process; what goes wrong is told as `failed`"""
    # tests beside this one go first: how much it does in its time is not held
    os.nice(10)
    told = os.open(post.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(what: str, **facts: Any) -> None:
        os.write(told, json.dumps({"what": what, **facts}).encode() + b"\n")

    def monitor(event: Event) -> None:
        if isinstance(event, Warn):
            tell("warned", why=event.message)

    try:
        with Store.open(post.url, post.catalog, settings=SETTINGS, monitor=monitor) as store:
            work = {"writer": write, "reader": read, "collector": collect}[post.role]
            for _ in work(store, post, tell):
                if time.monotonic() > post.until:
                    return
    except BaseException:
        tell("failed", why=traceback.format_exc())
        raise


def files(seed: int) -> dict[str, bytes]:
    """What the version with this seed holds: bytes that many share, and bytes of its own"""
    dice = random.Random(seed)
    shared = {f"shared{n}.bin": bytes([dice.randrange(SHARED)]) * 5000 for n in range(2)}
    return {**shared, "own.bin": dice.randbytes(2000)}


@contextmanager
def scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def write(store: Store, post: Post, tell: Any) -> Iterator[None]:
    """Save; then move an alias, pin, or build on what is pinned"""
    name, pinned, count = f"run/{post.number}", None, 0
    while True:
        count += 1
        seed = random.SystemRandom().randrange(1 << 40)
        parents = [store.link(pinned, "adapter")] if pinned is not None and seed % 3 == 0 else []
        with scratch() as folder:
            for path, raw in files(seed).items():
                (folder / path).write_bytes(raw)
            try:
                saved = store.add(
                    [folder],
                    name=name,
                    step=count,
                    metadata={"seed": seed},
                    metrics={"loss": seed % 7},
                    parents=parents,
                ).committed.version
            except LeaseLost:
                tell("gave up")
                continue
        tell("saved", id=str(saved.id), ref=saved.ref, seed=seed, parents=[str(link.id) for link in parents])
        try:
            if seed % 5 == 0:
                tell("aliasing", name=name, id=str(saved.id))
                store.alias_set(name, "prod", saved.ref)
                tell("aliased", name=name, id=str(saved.id))
            if seed % 11 == 0:
                store.pin(saved.ref, "kept")
                tell("pinned", id=str(saved.id))
                pinned = saved.ref
        except NotFound:
            # nothing held it since its save: a collector retired it
            tell("came too late")
        yield


def read(store: Store, post: Post, tell: Any) -> Iterator[None]:
    """Take a version out and compare its bytes"""
    while True:
        versions = store.ls(limit=50)
        if versions:
            version = random.choice(versions)
            try:
                seed = store.depot.catalog.versions.metadata(version.id)["seed"]
                with scratch() as folder:
                    store.checkout(version.ref, folder / "out")
                    assert contents(folder / "out") == files(seed), version.ref
                tell("read", bytes=version.nbytes)
            except (NotFound, Corrupt, KeyError):
                # right only for one that was retired before it was held, or after this process lost its hold
                with_it = [one for one in store.ls() if one.id == version.id]
                assert not with_it, f"{version.ref} is listed and cannot be read: {traceback.format_exc()}"
                tell("was gone")
            except LeaseLost:
                tell("gave up")
        yield


def collect(store: Store, post: Post, tell: Any) -> Iterator[None]:
    """Retire by rules and sweep what goes, at once"""
    while True:
        try:
            plan = store.plan_gc(Rules.parse(random.choice(RULES)), grace=timedelta(0))
            report = store.gc(plan, force=True)
            retired = () if report.retired is None else report.retired.versions
            tell(
                "collected",
                retired=len(retired),
                removed=report.swept.removed.count,
                orphans=report.swept.orphans.count,
            )
        except LeaseLost:
            tell("gave up")
        except (Refused, Conflict) as e:
            tell("refused", why=str(e))
        except StoreError as e:
            if e.code != "invalid.rule":
                raise
        yield
