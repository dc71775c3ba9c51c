"""Options of a load"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from artifactstore.core.errors import Invalid
from artifactstore.ops.transfer.attested import Attestations
from artifactstore.tensors.engine import CPU, Engine, engine_of

Verify = Literal["once", "always", "never"]
_VERIFY = ("once", "always", "never")


@dataclass(frozen=True, slots=True)
class Loading:
    """How to load. attestations: what this machine knows of files that were read before; threads: that read

    device: where tensors come to be; dtype: what those of floating point become there, None for as they are stored.
    """

    verify: Verify = "once"
    attestations: Attestations | None = None
    threads: int = 4
    device: torch.device = CPU
    dtype: torch.dtype | None = None
    engine_of: Callable[[torch.device], Engine | None] = engine_of

    def __post_init__(self) -> None:
        if self.verify not in _VERIFY:
            raise Invalid(f"verify is one of {', '.join(_VERIFY)}, not {self.verify!r:.40}", code="verify")
        if self.dtype is not None and not (isinstance(self.dtype, torch.dtype) and self.dtype.is_floating_point):
            raise Invalid(f"dtype is of floating point such as torch.bfloat16, not {self.dtype!r:.40}", code="dtype")
