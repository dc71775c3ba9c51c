"""Engine: how bytes get from memory of the CPU into tensors of a device

Copies go through pinned buffers on a stream beside the one that computes; hashing may happen on the device itself.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from threading import get_ident
from typing import Any, Protocol

import torch

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid, Unavailable
from artifactstore.ops.transfer.buffers import BufferPool
from artifactstore.tensors import pinned
from artifactstore.tensors.direct import Reader, gpu_reader

CPU = torch.device("cpu")
_CUDA: Any = torch.cuda  # its functions have no types
Hash = Callable[[torch.Tensor], Digest]
Digests = Callable[[Sequence[torch.Tensor]], list[Digest]]


class Lane(Protocol):
    """What one thread asks of a device, done in the order in which it was asked for"""

    def copy(self, into: torch.Tensor, source: torch.Tensor) -> None:
        """Bytes from the memory of a buffer, perhaps later"""

    def put(self, into: list[torch.Tensor], parts: list[torch.Tensor]) -> None:
        """Bytes that are on the device, each to its place"""

    def settle(self) -> None:
        """Wait until all that was asked for is done"""


class Engine(Protocol):
    """What a load needs of a device"""

    @property
    def device(self) -> torch.device:
        """Where its tensors are"""

    @property
    def pool(self) -> BufferPool:
        """Memory that bytes pass through"""

    @property
    def hash(self) -> Hash | None:
        """BLAKE3 of a contiguous uint8 tensor, computed on the device; None where it cannot"""

    @property
    def direct(self) -> bool:
        """Whether files are read past the page cache"""

    @property
    def reader(self) -> Reader | None:
        """Fills its memory straight from a file, where it can"""

    def free(self) -> int | None:
        """Bytes that new tensors may take, None where nobody knows"""

    def lane(self) -> AbstractContextManager[Lane]:
        """A block of one thread"""


class PlainLane:
    """Copies are done when they return"""

    def copy(self, into: torch.Tensor, source: torch.Tensor) -> None:
        """At once"""
        into.copy_(source)

    def put(self, into: list[torch.Tensor], parts: list[torch.Tensor]) -> None:
        """At once"""
        torch._foreach_copy_(into, parts)  # as optimizers do

    def settle(self) -> None:
        """All is done"""


@dataclass(frozen=True, slots=True)
class PlainEngine:
    """Any device that torch copies to"""

    device: torch.device
    hash: Hash | None = None
    direct: bool = False
    reader: Reader | None = None

    @property
    def pool(self) -> BufferPool:
        """Shared by the process"""
        return pinned.pool(pinned=False)

    def free(self) -> int | None:
        """Torch does not tell"""
        return None

    def lane(self) -> AbstractContextManager[Lane]:
        """Nothing to prepare"""
        return nullcontext(PlainLane())


class CudaLane:
    """A stream beside the one that computes"""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def copy(self, into: torch.Tensor, source: torch.Tensor) -> None:
        """By a copy engine, where the source is pinned"""
        into.copy_(source, non_blocking=True)

    def put(self, into: list[torch.Tensor], parts: list[torch.Tensor]) -> None:
        """In few kernels"""
        torch._foreach_copy_(into, parts)  # as optimizers do

    def settle(self) -> None:
        """Asleep, as others read meanwhile"""
        done = _CUDA.Event(blocking=True)
        done.record(self._stream)
        done.synchronize()


class CudaEngine:
    """A GPU: each thread copies on a stream of its own, behind what the caller has asked of the GPU until now"""

    def __init__(self, device: torch.device, *, direct: bool = False) -> None:
        self.device, self.direct = device, direct
        self.pool = pinned.pool(pinned=True)
        self.reader = gpu_reader() if direct else None
        # memory that is new to the caller may have had users on his stream
        self._begun = _CUDA.current_stream(device).record_event()
        self._streams: dict[int, Any] = {}

    @cached_property
    def hash(self) -> Hash | None:
        """Found out when there is something to hash, as a compiler may be needed for it"""
        digests = digests_on(self.device)
        return None if digests is None else lambda tensor: digests([tensor])[0]

    def free(self) -> int | None:
        """What the driver has, and what torch keeps for tensors to come"""
        free, _ = _CUDA.mem_get_info(self.device)
        return int(free) + int(_CUDA.memory_reserved(self.device)) - int(_CUDA.memory_allocated(self.device))

    @contextmanager
    def lane(self) -> Iterator[Lane]:
        """The stream of this thread"""
        with _CUDA.device(self.device):
            stream = self._streams.get(get_ident())
            if stream is None:
                stream = self._streams[get_ident()] = _CUDA.Stream(self.device)
                stream.wait_event(self._begun)
            with _CUDA.stream(stream):
                yield CudaLane(stream)


def digests_on(device: torch.device) -> Digests | None:
    """BLAKE3 computed on a device; None where it cannot"""
    if device.type != "cuda":
        return None
    kernels = import_module("artifactstore.tensors.device_hash")
    found: Digests | None = kernels.digests if kernels.supported(device) else None
    return found


def parse_device(device: str | torch.device) -> torch.device:
    """A device by name, with its number; raise Invalid for none, Unavailable when this process cannot use it"""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as e:
        raise Invalid(f"{device!r:.40} is no device; say cpu, cuda or cuda:1", code="device") from e
    if found.type == "meta":
        raise Invalid("Tensors on meta have no bytes; choose a device that has memory", code="device")
    if found.type != "cuda":
        try:
            return torch.empty(0, device=found).device
        except (RuntimeError, AssertionError, NotImplementedError) as e:
            raise Unavailable(f"There is no {found} here: {e!s:.200}", code="device") from e
    # in a child of a process that used CUDA
    if _CUDA._is_in_bad_fork():  # noqa: SLF001  # torch has no public name for it
        raise Unavailable(
            "CUDA cannot be used in a process forked from one that used it; start it by spawn or forkserver",
            code="fork",
        )
    if not _CUDA.is_available():
        built = "no GPU is to be seen" if torch.version.cuda else "this torch was built without CUDA"
        raise Unavailable(f"There is no CUDA here: {built}; load to device='cpu'", code="cuda")
    number = _CUDA.current_device() if found.index is None else found.index
    if number >= _CUDA.device_count():
        raise Unavailable(f"There is no {found}, only {_CUDA.device_count()} GPUs", code="cuda")
    return torch.device("cuda", number)


def engine_of(device: torch.device, *, direct: bool = False) -> Engine | None:
    """The engine of a device, for one load; None for the CPU, into whose memory bytes are read"""
    if device.type == "cpu":
        return None
    return CudaEngine(device, direct=direct) if device.type == "cuda" else PlainEngine(device, direct=direct)
