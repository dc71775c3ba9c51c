"""Report: what a load did, for whoever asks why it took so long"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from artifactstore.core.reading import Stored
from artifactstore.core.units import format_size


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did. nbytes: of the tensors; read_bytes: read before it returned, in `reads` calls; seconds: it took

    verified: bytes of blobs by how they are known to be right: `hashed` now; `attested`, hashed before by this machine
    and unchanged since; `none`, not at all. What is mapped and was not hashed now is read when it is used.
    """

    source: str
    tensors: int
    nbytes: int
    reads: int
    read_bytes: int
    verified: Mapping[str, int]
    seconds: float

    @property
    def skipped_bytes(self) -> int:
        """Bytes of tensors that were not read"""
        return max(self.nbytes - self.read_bytes, 0)

    @property
    def gbps(self) -> float:
        """Gigabytes (10⁹ bytes) of tensors a second"""
        return self.nbytes / self.seconds / 1e9 if self.seconds else 0.0

    def of(self, tensors: Sequence[Stored]) -> "LoadReport":
        """The same work, told of all these tensors: what was not read was there"""
        return replace(self, tensors=len(tensors), nbytes=sum(one.nbytes for one in tensors))

    def plus(self, other: "LoadReport") -> "LoadReport":
        """Both, one after the other"""
        return LoadReport(
            self.source,
            self.tensors + other.tensors,
            self.nbytes + other.nbytes,
            self.reads + other.reads,
            self.read_bytes + other.read_bytes,
            Counter(self.verified) + Counter(other.verified),
            self.seconds + other.seconds,
        )

    def __str__(self) -> str:
        known = ", ".join(f"{format_size(nbytes)} {how}" for how, nbytes in sorted(self.verified.items()))
        return (
            f"{self.source}: {self.tensors} tensors, {format_size(self.nbytes)} in {self.seconds:.2f} s "
            f"({self.gbps:.1f} GB/s), {self.reads} reads; {known or 'nothing to verify'}"
        )


@dataclass
class Tally:
    """What was done so far"""

    began: float = field(default_factory=time.perf_counter)
    reads: int = 0
    read_bytes: int = 0
    verified: Counter[str] = field(default_factory=Counter)

    def report(self, source: str, tensors: Sequence[Stored]) -> LoadReport:
        """All of it, now"""
        nbytes = sum(one.nbytes for one in tensors)
        seconds = time.perf_counter() - self.began
        return LoadReport(source, len(tensors), nbytes, self.reads, self.read_bytes, dict(self.verified), seconds)
