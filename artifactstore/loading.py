"""Loading: the tensors of a version by reference, for a store; torch is imported when one is asked for"""

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from artifactstore.core.errors import Unavailable
from artifactstore.core.reading import Cut
from artifactstore.finding import Finds

if TYPE_CHECKING:
    import torch

    from artifactstore.tensors.handle import Handle
    from artifactstore.tensors.loader import Loaded
    from artifactstore.tensors.prefetch import Prefetch
    from artifactstore.tensors.report import LoadReport
    from artifactstore.tensors.resident import Resident

    Device = str | torch.device

Verify = Literal["once", "always", "never"]


class Loads(Finds):
    """Verbs of a store that give tensors

    device: where they come to be; dtype: what those of floating point become there, by default they stay as they are
    stored. verify: `once` for each file of a machine, as long as it stays as it is, `always` or `never`. All raise
    NotFound; Unavailable without torch, for a device that is not to be had or has no room; Corrupt naming the blob that
    is damaged and lies nowhere else.
    """

    def open_version(
        self, ref: str, *, device: "Device" = "cpu", dtype: "torch.dtype | None" = None, verify: Verify = "once"
    ) -> "Handle":
        """A handle with `keys`, `get_tensor` and `get_slice`, as safetensors' `safe_open` has them"""
        opening = _tensors("opening")
        depot, version = self.find(ref)
        handle: Handle = opening.open_version(
            depot, version.id, opening.loading_of(self.depot.settings, verify, device, dtype)
        )
        return handle

    def load(
        self,
        ref: str,
        *,
        device: "Device" = "cpu",
        names: Iterable[str] | None = None,
        dtype: "torch.dtype | None" = None,
        verify: Verify = "once",
    ) -> "Loaded":
        """Tensors by name, all or those of the names; `report` of what it returns says how they came

        On the CPU they are views of mapped files, private to the caller, and are read when they are used. Raise
        Invalid for names that are not there.
        """
        return self.open_version(ref, device=device, dtype=dtype, verify=verify).load(names)

    def load_into(
        self,
        into: Any,
        ref: str,
        *,
        strict: bool = True,
        names: Mapping[str, str] | None = None,
        device: "Device" = "cpu",
        verify: Verify = "once",
    ) -> "LoadReport":
        """Fill a module or a state dict in place, on whatever devices it is

        names: name here → name in the store, where they differ. strict: also raise Invalid for tensors that are
        missing on either side. device: where those on `meta` come to be. Raise Invalid naming all shapes and dtypes
        that differ, with nothing filled.
        """
        return self.open_version(ref, device=device, verify=verify).load_into(into, strict=strict, names=names)

    def stream(
        self, ref: str, device: "Device" = "cpu", *, dtype: "torch.dtype | None" = None, verify: Verify = "once"
    ) -> "Iterator[tuple[str, torch.Tensor]]":
        """Names and tensors as they are ready"""
        return self.open_version(ref, device=device, dtype=dtype, verify=verify).stream()

    def prefetch(
        self,
        ref: str,
        plan: Mapping[str, Cut] | None = None,
        device: "Device" = "cpu",
        *,
        threads: int = 8,
        dtype: "torch.dtype | None" = None,
        verify: Verify = "once",
    ) -> "Prefetch":
        """Start to read what a plan says; `take(name)` of what it returns waits for a tensor

        plan: name → None for all of it, a slice of dimension 0, or (dimension, start, length).
        """
        return self.open_version(ref, device=device, dtype=dtype, verify=verify).prefetch(plan, threads=threads)

    def state_dict(
        self,
        ref: str,
        part: str | None = None,
        *,
        device: "Device" = "cpu",
        dtype: "torch.dtype | None" = None,
        verify: Verify = "once",
    ) -> dict[str, Any]:
        """What `load_state_dict` of a part takes, by default of the model; a tied weight has all its names

        part: a key of a checkpoint's state, or the path of files without suffix and number of the shard. Raise Invalid,
        naming the parts there are, for one that is not there.
        """
        parts = _tensors("parts")
        depot, version = self.find(ref)
        loading = _tensors("opening").loading_of(self.depot.settings, verify, device, dtype)
        found: dict[str, Any] = parts.state_dict(depot, version.id, loading, part)
        return found

    def switch(
        self,
        into: Any,
        old: str,
        new: str,
        *,
        names: Mapping[str, str] | None = None,
        verify: Verify = "once",
    ) -> "LoadReport":
        """Make a module or state dict that holds one version hold another, by what differs between them, in place

        names: name here → name in the store. verify: with `always` what should be there is hashed where it is. Raise
        Invalid, with nothing filled, when the new version does not fit; after Corrupt, switch once more, or load.
        """
        opening = _tensors("opening")
        before, after = (self.find(ref) for ref in (old, new))
        report: LoadReport = _tensors("switch").switch(
            into,
            opening.source_of(before[0], before[1].id),
            opening.source_of(after[0], after[1].id),
            opening.loading_of(self.depot.settings, verify),
            names,
        )
        return report

    def resident(
        self,
        device: "Device" = "cuda",
        *,
        host: str | PathLike[str] | None = None,
        dtype: "torch.dtype | None" = None,
        verify: Verify = "once",
    ) -> "Resident":
        """A table of what is on a device: versions loaded through it share equal tensors, which nobody may write to

        host: a folder in which another process serves its own (`resident.serve(folder)`), to be shared as well.
        """
        opening = _tensors("opening")
        found: Resident = opening.open_resident(
            self.depot, opening.loading_of(self.depot.settings, verify, device, dtype), host
        )
        return found


def _tensors(room: str) -> Any:
    try:
        return import_module(f"artifactstore.tensors.{room}")
    except ImportError as e:
        raise Unavailable(f"Tensors need {e.name}; run: pip install 'artifactstore[torch]'", code="extra") from e
