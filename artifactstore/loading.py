"""Loading: the tensors of a version by reference, for a store; torch is imported when one is asked for"""

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from artifactstore.core.errors import Unavailable
from artifactstore.core.names import Reference
from artifactstore.core.reading import Cut
from artifactstore.depot import Depot

if TYPE_CHECKING:
    import torch

    from artifactstore.tensors.handle import Handle
    from artifactstore.tensors.loader import Loaded
    from artifactstore.tensors.prefetch import Prefetch
    from artifactstore.tensors.report import LoadReport

Verify = Literal["once", "always", "never"]


class Loads:
    """Verbs of a store that give tensors

    verify: `once` for each file of a machine, as long as it stays as it is, `always` or `never`.
    """

    depot: Depot

    def tensors(self, ref: str, *, verify: Verify = "once") -> "Handle":
        """A handle with `keys`, `get_tensor` and `get_slice`, as safetensors' `safe_open` has them

        Raise NotFound, Unavailable without torch.
        """
        version = self.depot.catalog.versions.resolve(Reference.parse(ref))
        handle: Handle = _opening().open_version(self.depot, version.id, verify)
        return handle

    def load(self, ref: str, *, names: Iterable[str] | None = None, verify: Verify = "once") -> "Loaded":
        """Tensors by name, all or those of the names; `report` of what it returns says how they came

        On the CPU they are views of mapped files, private to the caller, and are read when they are used. Raise
        Invalid for names that are not there, Corrupt naming the blob that is damaged.
        """
        return self.tensors(ref, verify=verify).load(names)

    def load_into(
        self,
        into: Any,
        ref: str,
        *,
        strict: bool = True,
        names: Mapping[str, str] | None = None,
        verify: Verify = "once",
    ) -> "LoadReport":
        """Fill a module or a state dict in place

        names: name here → name in the store, where they differ. strict: also raise Invalid for tensors that are
        missing on either side. Raise Invalid naming all shapes and dtypes that differ, with nothing filled; Corrupt.
        """
        return self.tensors(ref, verify=verify).load_into(into, strict=strict, names=names)

    def stream(self, ref: str, *, verify: Verify = "once") -> "Iterator[tuple[str, torch.Tensor]]":
        """Names and tensors as they are ready; raise Corrupt"""
        return self.tensors(ref, verify=verify).stream()

    def prefetch(
        self, ref: str, plan: Mapping[str, Cut] | None = None, *, threads: int = 8, verify: Verify = "once"
    ) -> "Prefetch":
        """Start to read what a plan says; `take(name)` of what it returns waits for a tensor

        plan: name → None for all of it, a slice of dimension 0, or (dimension, start, length).
        """
        return self.tensors(ref, verify=verify).prefetch(plan, threads=threads)


def _opening() -> Any:
    try:
        return import_module("artifactstore.tensors.opening")
    except ImportError as e:
        raise Unavailable(f"Tensors need {e.name}; run: pip install 'artifactstore[torch]'", code="extra") from e
