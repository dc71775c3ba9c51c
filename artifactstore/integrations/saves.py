"""Saves: the checkpoints that another library's trainer makes in a store, each with the one before as its parent"""

from collections.abc import Mapping
from concurrent.futures import Future
from types import ModuleType
from typing import Any

from packaging.version import Version

from artifactstore.background import Ticket
from artifactstore.checkpoints import CheckpointManager
from artifactstore.context import CheckpointContext, SavedCheckpoint
from artifactstore.core.errors import Invalid, Unavailable

Fields = Mapping[str, Any] | None


class Saves:
    """Through a manager, which has the policy, in the name of a library; `best` is the id of the best, else the newest

    fields: what else every checkpoint says of itself, such as phase and license; its `parent` is of the first only.
    wait: whether a save returns when it is durable, or when the state is copied.
    """

    def __init__(self, library: str, manager: CheckpointManager, fields: Fields = None, *, wait: bool = False) -> None:
        if not isinstance(manager, CheckpointManager):
            raise Invalid(f"Give a CheckpointManager, found a {type(manager).__name__}", code="manager")
        self._library, self._manager, self._wait = library, manager, wait
        self._fields = dict(fields or {})
        self.best = ""
        self._ranked = False

    def save(self, state: Mapping[str, Any], **fields: Any) -> None:
        """Store a state; raise what a save raises, also the one before"""
        context = {**self._fields, **fields, "saved_by": self._library, "state": state}
        saved: SavedCheckpoint | Ticket
        if self._wait:
            saved = self._manager.save_checkpoint(context)
            self._note(saved)
        else:
            saved = self._manager.save_checkpoint(context, wait=False)
            saved.durable.add_done_callback(self._note_done)
        self._fields["parent"] = saved.request_id

    def _note_done(self, durable: "Future[SavedCheckpoint]") -> None:
        if durable.exception() is None:
            self._note(durable.result())

    def _note(self, saved: SavedCheckpoint) -> None:
        ranked = "best" in saved.aliases
        if ranked or not self._ranked:
            self.best, self._ranked = saved.id, ranked

    def restore(self, ref: str) -> CheckpointContext:
        """A checkpoint of the same library, from which the next save goes on; raise NotFound, Invalid, Corrupt"""
        context = self._manager.restore_checkpoint(ref)
        saved_by = context.get("saved_by", "something else")
        if saved_by != self._library:
            raise Invalid(
                f"{context.version.ref} was saved by {saved_by!s:.40}; {self._library} resumes its own checkpoints",
                code="saved-by",
            )
        self._fields.pop("parent", None)
        return context

    def flush(self) -> None:
        """Wait until all is durable; raise what went wrong"""
        self._manager.flush()


def need(library: ModuleType, version: str) -> None:
    """Raise Unavailable unless a library has this version or a later one"""
    found, name = str(library.__version__), library.__name__.partition(".")[0]
    if Version(found) < Version(version):
        raise Unavailable(f"{name} {found} is too old; run: pip install '{name}>={version}'", code="version")
