"""Writers and readers that are in the middle of their work while other things happen"""

from contextlib import ExitStack

from artifactstore.core.errors import Conflict, StoreError
from artifactstore.lease import reading
from artifactstore.session import Session, open_session
from tests.machines.acts import Draft
from tests.machines.look import look, read_back
from tests.machines.model import LEASE, Use, Version
from tests.machines.world import World


class Writer:
    """Has written its blobs and not committed; `began` is False when it was refused"""

    def __init__(self, world: World, draft: Draft, name: str) -> None:
        self._world, self._draft, self._name = world, draft, name
        draft.lend(world)
        self._renewed = world.renewed
        self._depot = world.another()
        self._stack = ExitStack()
        refused = draft.refused(world.model)
        world.model.reap(world.now())
        try:
            self._session: Session = self._stack.enter_context(open_session(self._depot, "save"))
            self._written = draft.write(self._session)
        except StoreError as e:
            assert e.code in refused
            self.began = False
            self.leave()
        else:
            assert not refused
            self.began = True
            world.model.uses[name] = Use(world.now() + LEASE, draft.needs(world.model))

    def finish(self) -> None:
        """Commit; it must, while its lease is active and nobody found damage in what it relies on"""
        model, rows = self._world.model, look(self._depot).objects
        incs = {row.digest: row.inc for row in rows if row.kind == "blob" and row.state != "damaged"}
        shaken = any(not one.grant.upload and incs.get(one.grant.digest) != one.grant.inc for one in self._written)
        renewed = self._renewed != self._world.renewed
        must_fail = self._name not in model.uses and not renewed
        try:
            self._session.commit(self._draft.document, self._written, self._draft.tags, self._world.now())
        except Conflict:
            assert must_fail or shaken or renewed
            if look(self._world.depot).told != model.visible():
                # committed, and then not acknowledged
                self._draft.committed(model)
        else:
            assert not must_fail
            self._draft.committed(model)
            self._world.durable = None
        finally:
            self.leave()

    def leave(self) -> None:
        """Give it up, where it is not committed"""
        self._stack.close()
        self._world.close(self._depot)
        self._world.model.uses.pop(self._name, None)


class Reader:
    """Holds a version"""

    def __init__(self, world: World, version: Version, name: str) -> None:
        self._world, self._version, self._name = world, version, name
        self._depot = world.another()
        self._stack = ExitStack()
        try:
            self._stack.enter_context(reading(self._depot, version.id))
        except StoreError as e:
            assert e.code == "not-found.version"
            assert version.state != "active"
            self.began = False
            self.leave()
        else:
            assert version.state == "active"
            self.began = True
            world.model.uses[name] = Use(world.now() + LEASE, frozenset([version.id]))

    def leave(self) -> None:
        self._stack.close()
        self._world.close(self._depot)
        self._world.model.uses.pop(self._name, None)

    def read(self) -> None:
        """The right bytes; or none, once its lease has ended or what it reads is damaged"""
        held = self._name in self._world.model.uses
        broken = self._version.objects & (self._world.model.damaged | self._world.model.lost)
        try:
            raw, content = read_back(self._depot, self._version.id)
        except StoreError as e:
            assert broken or not held, e
        else:
            assert (raw, content) == (self._version.document.raw, b"".join(self._version.contents))
