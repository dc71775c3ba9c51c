"""Engine: how bytes get from memory of the CPU into tensors of a device

Copies go through pinned buffers on a stream beside the one that computes; hashing may happen on the device itself.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
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

    def lane(self) -> AbstractContextManager[None]:
        """A block of one thread whose copies are done when it ends"""


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

    def lane(self) -> AbstractContextManager[None]:
        """Copies are done when they return"""
        return nullcontext()


class CudaEngine:
    """A GPU: each thread copies on a stream of its own, behind what its caller has asked of the GPU before"""

    def __init__(self, device: torch.device, *, direct: bool = False) -> None:
        self.device, self.direct = device, direct
        self.reader = gpu_reader() if direct else None
        self.pool = pinned.pool(pinned=True)
        digests = digests_on(device)
        self.hash = None if digests is None else lambda tensor: digests([tensor])[0]
        self._behind = _CUDA.current_stream(device)

    def free(self) -> int | None:
        """What the driver has, and what torch keeps for tensors to come"""
        free, _ = _CUDA.mem_get_info(self.device)
        return int(free) + int(_CUDA.memory_reserved(self.device)) - int(_CUDA.memory_allocated(self.device))

    @contextmanager
    def lane(self) -> Iterator[None]:
        """A stream that waits for the memory's last users, and is waited for"""
        stream = _CUDA.Stream(self.device)
        stream.wait_stream(self._behind)
        with _CUDA.device(self.device), _CUDA.stream(stream):
            try:
                yield
            finally:
                # also after a failure: the buffer is another's next
                stream.synchronize()


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
    except RuntimeError as e:
        raise Invalid(f"{device!r:.40} is no device; say cpu, cuda or cuda:1", code="device") from e
    if found.type == "meta":
        raise Invalid("Tensors on meta have no bytes; choose a device that has memory", code="device")
    if found.type != "cuda":
        return found
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
