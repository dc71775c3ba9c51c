"""A child killed at every step: nothing acknowledged is lost, verify is clean, a second try succeeds"""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from artifactstore.checkpoints import CheckpointManager
from artifactstore.core.names import AliasName, ArtifactName, Reference
from artifactstore.ops import annotate, checkout, repair, verify
from artifactstore.store import Store
from tests.crash import harness
from tests.crash.stores import Place


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, tmp_path):
    catalog = None if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    place = Place(tmp_path / "store", catalog)
    place.make()
    return place


def sources(folder: Path, seed: int) -> Path:
    """A small model whose first tensor never changes, by its name in a blob of its own, and a text beside it"""
    folder.mkdir(parents=True, exist_ok=True)
    changing = np.random.default_rng(seed).integers(0, 255, 50_000, dtype=np.uint8)
    save_file({"body": np.arange(1 << 16, dtype=np.int32), "w": changing}, folder / "model.safetensors")
    (folder / "config.json").write_text(f'{{"seed": {seed}}}')
    return folder


def hashes(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".part"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def assert_whole(place: Place, expected: dict[str, Path], out: Path) -> None:
    """Verify finds nothing, and every acknowledged version gives its files back"""
    with place.open() as depot:
        report = verify.run(depot, verify.plan(depot))
        assert report.damaged == ()
        for number, (ref, folder) in enumerate(expected.items()):
            target = out / str(number)
            checkout.run(depot, checkout.plan(depot, depot.catalog.versions.resolve(Reference.parse(ref)), target))
            assert hashes(target) == hashes(folder)


def assert_no_leftovers(place: Place) -> None:
    with place.open() as depot:
        assert depot.blobs.owners() == []
        assert depot.catalog.journal.pending(10) == []
        assert depot.catalog.leases.active() == []


def every_step(action) -> list[tuple[int, harness.Point]]:
    """Run it once whole; the points it went through, numbered"""
    outcome = harness.run(action)
    assert outcome.answer is not None
    assert len(outcome.steps) > 1
    return list(enumerate(harness.points(outcome)))


def add(place: Place, folder: Path):
    def action(monitor) -> str:
        with place.open(monitor) as depot:
            return Store(depot).add([folder], name="model").committed.version.ref

    return action


def test_add(place, tmp_path):
    for number, point in every_step(add(place, sources(tmp_path / "in", 10_000))):
        folder = sources(tmp_path / f"in{number}", number)
        outcome = harness.run(add(place, folder), die_at=point)
        assert outcome.killed
        known = {outcome.answer: folder} if outcome.answer else {}
        assert_whole(place, known, tmp_path / f"out{number}")
        again = harness.run(add(place, folder))
        assert_whole(place, {again.answer: folder}, tmp_path / f"again{number}")
        assert_no_leftovers(place)


def test_save_checkpoint(place):
    def save(seed: int):
        def action(monitor) -> str:
            with place.open(monitor) as depot, CheckpointManager(store=Store(depot)) as manager:
                state = {"model": {"w": torch.full((3, 1000), float(seed))}, "step": seed}
                context = {"request_id": f"r{seed}", "step": seed, "metrics": {"loss": -seed}, "state": state}
                return manager.save_checkpoint(context).id

        return action

    for number, point in every_step(save(10_000)):
        outcome = harness.run(save(number), die_at=point)
        assert outcome.killed
        answers = [answer for answer in (outcome.answer, harness.run(save(number)).answer) if answer]
        with place.open() as depot, CheckpointManager(store=Store(depot)) as manager:
            assert verify.run(depot, verify.plan(depot)).damaged == ()
            for reference in (*answers, f"r{number}"):
                restored = manager.restore_checkpoint(reference)
                assert restored.step == number
                assert torch.equal(restored.state["model"]["w"], torch.full((3, 1000), float(number)))
            assert manager.restore_checkpoint("checkpoints@latest").step == number
        assert_no_leftovers(place)


def test_alias_set(place, tmp_path):
    refs = [harness.run(add(place, sources(tmp_path / f"in{seed}", seed))).answer for seed in (1, 2)]

    def move(ref: str):
        def action(monitor) -> str:
            with place.open(monitor) as depot:
                version = depot.catalog.versions.resolve(Reference.parse(ref))
                moved = annotate.set_alias(depot, ArtifactName("model"), AliasName("prod"), version)
                return str(moved.generation)

        return action

    for number, point in every_step(move(refs[0])):
        before = refs[number % 2]
        harness.run(move(before))
        wanted = refs[(number + 1) % 2]
        outcome = harness.run(move(wanted), die_at=point)
        assert outcome.killed
        with place.open() as depot:
            found = depot.catalog.versions.resolve(Reference.parse("model@prod")).ref
            assert found == wanted if outcome.answer else found in {before, wanted}
        harness.run(move(wanted))
        with place.open() as depot:
            assert depot.catalog.versions.resolve(Reference.parse("model@prod")).ref == wanted
        assert_no_leftovers(place)


def test_checkout(place, tmp_path):
    folder = sources(tmp_path / "in", 1)
    ref = harness.run(add(place, folder)).answer

    def write(target: Path):
        def action(monitor) -> str:
            with place.open(monitor) as depot:
                version = depot.catalog.versions.resolve(Reference.parse(ref))
                return str(checkout.run(depot, checkout.plan(depot, version, target)).files)

        return action

    for number, point in every_step(write(tmp_path / "whole")):
        target = tmp_path / f"out{number}"
        assert harness.run(write(target), die_at=point).killed
        for path in hashes(target):
            assert hashes(target)[path] == hashes(folder)[path]
        harness.run(write(target))
        assert hashes(target) == hashes(folder)
        assert not list(target.rglob("*.part"))
    assert_whole(place, {ref: folder}, tmp_path / "after")


def test_repair(place, tmp_path):
    folder = sources(tmp_path / "in", 1)
    ref = harness.run(add(place, folder)).answer

    def mend(monitor) -> str:
        with place.open(monitor) as depot:
            return str(len(repair.run(depot, repair.plan(depot), files=folder).healed))

    def damage() -> None:
        with place.open() as depot:
            for found in depot.catalog.blobs.all():
                path = place.folder / found.key
                path.chmod(0o644)
                raw = bytearray(path.read_bytes())
                raw[len(raw) // 2] ^= 1
                path.write_bytes(raw)
            assert verify.run(depot, verify.plan(depot)).damaged

    damage()
    for number, point in every_step(mend):
        damage()
        assert harness.run(mend, die_at=point).killed
        harness.run(mend)
        assert_whole(place, {ref: folder}, tmp_path / f"out{number}")
        assert_no_leftovers(place)
