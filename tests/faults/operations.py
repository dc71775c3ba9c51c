"""What is done to a store while it breaks: a new operation is one more entry at the end"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from artifactstore.checkpoints import CheckpointManager
from artifactstore.core.errors import Conflict, Exists, NotFound
from artifactstore.core.events import Monitor, silent
from artifactstore.core.selection import Rules
from artifactstore.core.settings import Settings
from artifactstore.store import Store
from tests.faults.soundness import acknowledge, assert_settled, sound
from tests.ops.trees import contents


@dataclass(frozen=True, slots=True)
class Operation:
    """prepare: make a store and what else is needed, beside it too. act: do it, in a child that may die at any moment;
    what it returns was acknowledged, None: it said that not all was done. check: what must hold then; None: it died,
    failed or was not done. After that act runs again, to its end. settled: what must hold when nobody is at work.

    `store` is the folder of the store; what lies beside it is copied with it.
    """

    name: str
    prepare: Callable[[Path], None]
    act: Callable[[Path, Monitor], str | None]
    check: Callable[[Path, str | None], None]
    settled: Callable[[Path], None] = assert_settled


# A catalog whose disk fails for ever is waited for; nobody else is at work here.
SETTINGS = Settings(busy=timedelta(seconds=1))


def _open(store: Path, monitor: Monitor) -> Store:
    return Store.open(str(store), settings=SETTINGS, monitor=monitor)


def _files(folder: Path, seed: int) -> Path:
    """A small model whose first tensor never changes, by its name in a blob of its own, and a text beside it"""
    folder.mkdir(parents=True)
    changing = np.full(50_000, seed, dtype=np.uint8)
    save_file({"body": np.arange(1 << 16, dtype=np.int32), "w": changing}, folder / "model.safetensors")
    (folder / "config.json").write_text(f'{{"seed": {seed}}}')
    return folder


def _with_versions(store: Path) -> None:
    """A store with two versions, `prod` on the first, and the files of a third in `next`"""
    with Store.init(str(store)) as opened:
        opened.add([_files(store.parent / "first", 1)], name="model", aliases=["prod"])
        opened.add([_files(store.parent / "second", 2)], name="model")
    _files(store.parent / "next", 3)
    acknowledge(store, "model:1", "model:2")


def _init(store: Path, monitor: Monitor) -> str:
    try:
        opened = Store.init(str(store), settings=SETTINGS, monitor=monitor)
    except Exists:
        opened = _open(store, monitor)
    with opened:
        return opened.depot.info.store_id


def _nothing(store: Path) -> None:
    """Init makes the store"""


def _made(store: Path, answer: str | None) -> None:
    if answer is not None:
        with sound(store) as opened:
            assert opened.depot.info.store_id == answer


def _add(store: Path, monitor: Monitor) -> str:
    with _open(store, monitor) as opened:
        version = opened.add([store.parent / "next"], name="model", aliases=["prod"]).committed.version
        return f"{version.ref} {version.id}"


def _added(store: Path, answer: str | None) -> None:
    with sound(store) as opened:
        prod = opened.resolve("model@prod")
        assert answer in {None, f"{prod.ref} {prod.id}"}
        assert prod.ref in {"model:1", "model:3"}


def _save(store: Path, monitor: Monitor) -> str:
    state = {"model": {"w": torch.arange(1000.0)}, "step": 7}
    context = {"request_id": "r7", "step": 7, "metrics": {"loss": 0.5}, "state": state}
    with (
        _open(store, monitor) as opened,
        CheckpointManager(store=opened, config={"best": "loss"}) as manager,
    ):
        return manager.save_checkpoint(context).id


def _saved(store: Path, answer: str | None) -> None:
    with sound(store) as opened:
        if answer is None:
            return
        with CheckpointManager(store=opened) as manager:
            restored = manager.restore_checkpoint("checkpoints@latest")
            assert str(restored.version.id) == answer
            assert torch.equal(restored.state["model"]["w"], torch.arange(1000.0))


def _move_alias(store: Path, monitor: Monitor) -> str:
    with _open(store, monitor) as opened:
        return str(opened.alias_set("model", "prod", "model:2").generation)


def _moved(store: Path, answer: str | None) -> None:
    with sound(store) as opened:
        assert opened.resolve("model@prod").ref in ({"model:1", "model:2"} if answer is None else {"model:2"})


def _checkout(store: Path, monitor: Monitor) -> str:
    with _open(store, monitor) as opened:
        return str(opened.checkout("model:1", store.parent / "out").files)


def _checked_out(store: Path, answer: str | None) -> None:
    with sound(store):
        pass
    written, wanted = contents(store.parent / "out"), contents(store.parent / "first")
    assert written == wanted or answer is None
    assert {name: raw for name, raw in written.items() if not name.endswith(".part")}.items() <= wanted.items()


def _with_damage(store: Path) -> None:
    """A changed bit in the largest blob, which both versions share; its digest stands beside the store"""
    _with_versions(store)
    path = max((store / "blobs").rglob("*.*"), key=lambda path: path.stat().st_size)
    path.chmod(0o644)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    path.chmod(0o444)
    (store.parent / "damaged").write_text(path.name.split(".")[0])


def _verify(store: Path, monitor: Monitor) -> str | None:
    with _open(store, monitor) as opened:
        found = opened.verify().damaged
    return None if any(damage.kind == "unreadable" for damage in found) else " ".join(str(one.digest) for one in found)


def _verified(store: Path, answer: str | None) -> None:
    """Damage stays found, and only that; the operation after this one mends it"""
    damaged = (store.parent / "damaged").read_text()
    assert answer in {None, damaged}
    with sound(store, damaged={damaged}) as opened:
        assert [str(damage.digest) for damage in opened.verify().damaged] == [damaged]


def _with_quarantine(store: Path) -> None:
    _with_damage(store)
    with Store.open(str(store)) as opened:
        assert len(opened.verify().damaged) == 1


def _repair(store: Path, monitor: Monitor) -> str | None:
    with _open(store, monitor) as opened:
        return None if opened.repair(source=str(store.parent / "first")).left else "healed"


def _repaired(store: Path, answer: str | None) -> None:
    with sound(store, damaged={(store.parent / "damaged").read_text()} if answer is None else ()):
        pass


# What is retired: only the newest version is kept, and what has an alias.
_RULES = Rules.parse("--keep-last 1", stored=True)


def _with_retiring(store: Path) -> None:
    """A store of three versions, of which the second may go, and what a killed save left"""
    _with_versions(store)
    with Store.open(str(store)) as opened:
        opened.add([store.parent / "next"], name="model")
    (store.parent / "acknowledged.json").unlink()
    acknowledge(store, "model:1", "model:3")


def _gc(grace: timedelta) -> Callable[[Path, Monitor], str | None]:
    def act(store: Path, monitor: Monitor) -> str | None:
        with _open(store, monitor) as opened:
            opened.gc(opened.plan_gc(_RULES, grace=grace), force=True)
        return "collected"

    return act


def _retired(store: Path, answer: str | None) -> None:
    """The second version is all there or retired; what is retired can be brought back"""
    with sound(store) as opened:
        active = sorted(version.ref for version in opened.ls())
        assert active == ["model:1", "model:3"] or (answer is None and active == ["model:1", "model:2", "model:3"])


def _swept(store: Path, answer: str | None) -> None:
    """As `_retired`, and once it was said to be done no object is there that no version needs"""
    _retired(store, answer)
    if answer is not None:
        with Store.open(str(store)) as opened:
            rows, blobs = opened.depot.catalog.blobs, opened.depot.blobs
            active = [version.id for version in opened.ls()]
            needed = {place.key for place in (*rows.all(versions=active), *rows.manifests(versions=active))}
            assert {*blobs.keys("blobs/"), *blobs.keys("manifests/")} == needed


def _with_retired(store: Path) -> None:
    _with_retiring(store)
    _gc(timedelta(days=7))(store, silent)


def _undo(store: Path, monitor: Monitor) -> str | None:
    with _open(store, monitor) as opened:
        try:
            opened.undo()
        except NotFound:  # it happened before the kill
            opened.resolve("model:2")
    return "brought back"


def _brought_back(store: Path, answer: str | None) -> None:
    with sound(store) as opened:
        active = sorted(version.ref for version in opened.ls())
        assert active == ["model:1", "model:2", "model:3"] or (answer is None and active == ["model:1", "model:3"])


def _without_catalog(store: Path) -> None:
    _with_retired(store)
    for path in store.glob("catalog.sqlite*"):
        path.unlink()


def _rebuild(store: Path, monitor: Monitor) -> str | None:
    return f"{Store.catalog_rebuild(str(store), settings=SETTINGS, monitor=monitor).versions} versions"


def _rebuilt(store: Path, answer: str | None) -> None:
    """The catalog is whole, or there is none that the store knows, which says so and can be rebuilt"""
    assert answer in {None, "2 versions"}
    try:
        with sound(store) as opened:
            assert opened.resolve("model@prod").ref == "model:1"
    except (NotFound, Conflict) as e:
        assert answer is None, e
        assert "artstore catalog rebuild" in e.message, e


OPERATIONS = (
    Operation("init", _nothing, _init, _made),
    Operation("add", _with_versions, _add, _added),
    Operation("save", _with_versions, _save, _saved),
    Operation("alias", _with_versions, _move_alias, _moved),
    Operation("checkout", _with_versions, _checkout, _checked_out),
    Operation("verify", _with_damage, _verify, _verified),
    Operation("repair", _with_quarantine, _repair, _repaired),
    Operation("retire", _with_retiring, _gc(timedelta(days=7)), _retired),
    Operation("gc", _with_retiring, _gc(timedelta(0)), _swept),
    Operation("undo", _with_retired, _undo, _brought_back),
    Operation("rebuild", _without_catalog, _rebuild, _rebuilt),
)
