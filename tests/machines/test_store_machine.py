"""A store against a plain dict: adds, saves, aliases, crashes and reopenings in any order"""

import hashlib
import tempfile
from pathlib import Path

import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from artifactstore.checkpoints import CheckpointManager
from artifactstore.core.errors import NotFound
from artifactstore.store import Store
from tests.crash import harness
from tests.crash.stores import Place
from tests.faults.scale import choose

NAMES = st.sampled_from(["a", "org/b"])
ALIASES = st.sampled_from(["prod", "old"])
CONTENTS = st.dictionaries(st.sampled_from(["x.bin", "d/y.txt", "z"]), st.integers(0, 3), min_size=1)


def data(seed: int) -> bytes:
    return hashlib.shake_256(bytes([seed])).digest(seed * 40_000)


STEPS = [
    (f"save.{step}.{side}", turn)
    for step in ("lease", "pin", "write", "publish", "manifest", "manifest-write", "commit", "drop")
    for side in ("before", "after")
    for turn in (0, 1)
]


class StoreMachine(RuleBasedStateMachine):
    versions = Bundle("versions")

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.place = Place(self.root / "store", None)
        self.place.make()
        self.store = Store(self.place.open())
        self.files: dict[str, dict[str, bytes]] = {}
        self.states: dict[str, int] = {}
        self.aliases: dict[tuple[str, str], str] = {}
        self.count = 0

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()

    def written(self, contents: dict[str, int]) -> tuple[Path, dict[str, bytes]]:
        self.count += 1
        folder = self.root / f"in{self.count}"
        files = {name: data(seed) for name, seed in contents.items()}
        for name, raw in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(raw)
        return folder, files

    @rule(target=versions, name=NAMES, contents=CONTENTS)
    def add(self, name, contents):
        folder, files = self.written(contents)
        ref = self.store.add([folder], name=name).committed.version.ref
        self.files[ref] = files
        return ref

    @rule(ref=versions)
    def add_again_what_is_there(self, ref):
        target = self.root / f"same{self.count}"
        self.count += 1
        self.store.checkout(ref, target)
        before = self.store.status()["stored_bytes"]
        self.store.add([target], name=ref.split(":")[0] + "-copy")
        assert self.store.status()["stored_bytes"] == before

    @rule(seed=st.integers(0, 9))
    def save(self, seed):
        with CheckpointManager(store=self.store) as manager:
            context = {"request_id": f"r{seed}", "step": seed, "state": {"model": {"w": torch.full((7,), seed)}}}
            manager.save_checkpoint(context)
        self.states[f"r{seed}"] = seed

    @rule(target=versions, name=NAMES, contents=CONTENTS, step=st.sampled_from(STEPS))
    def crash_while_adding(self, name, contents, step):
        folder, files = self.written(contents)

        def action(monitor) -> str:
            with self.place.open(monitor) as depot:
                return Store(depot).add([folder], name=name).committed.version.ref

        outcome = harness.run(action, die_at=step)
        if outcome.answer is None:
            return multiple()
        self.files[outcome.answer] = files
        return outcome.answer

    @rule(ref=versions, alias=ALIASES)
    def move_alias(self, ref, alias):
        name = ref.rsplit(":", 1)[0]
        self.store.alias_set(name, alias, ref)
        self.aliases[name, alias] = ref

    @rule(name=NAMES, alias=ALIASES)
    def remove_alias(self, name, alias):
        try:
            self.store.alias_rm(name, alias)
            assert (name, alias) in self.aliases
        except NotFound:
            assert (name, alias) not in self.aliases
        self.aliases.pop((name, alias), None)

    @rule()
    def reopen(self):
        self.store.close()
        self.store = Store(self.place.open())

    @rule(ref=consumes(versions))
    def check_out(self, ref):
        target = self.root / f"out{self.count}"
        self.count += 1
        self.store.checkout(ref, target)
        assert {name: (target / name).read_bytes() for name in self.files[ref]} == self.files[ref]

    @rule()
    def verify(self):
        assert self.store.verify().damaged == ()

    @invariant()
    def aliases_hold(self):
        if hasattr(self, "store"):
            for (name, alias), ref in self.aliases.items():
                assert self.store.resolve(f"{name}@{alias}").ref == ref

    @invariant()
    def checkpoints_restore(self):
        if hasattr(self, "store") and self.states:
            with CheckpointManager(store=self.store) as manager:
                request, seed = next(reversed(self.states.items()))
                assert torch.equal(manager.restore_checkpoint(request).state["model"]["w"], torch.full((7,), seed))


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=choose(10, 200), stateful_step_count=20, deadline=None)
