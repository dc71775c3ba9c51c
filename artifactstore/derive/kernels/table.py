"""Which kernel does which method"""

from collections.abc import Mapping
from types import MappingProxyType

from artifactstore.derive.kernels.base import Kernel
from artifactstore.derive.kernels.linear import linear, passthrough
from artifactstore.derive.kernels.slerp import slerp
from artifactstore.derive.kernels.tasks import task_arithmetic

METHODS: Mapping[str, Kernel] = MappingProxyType(
    {
        "linear": linear,
        "passthrough": passthrough,
        "slerp": slerp,
        "task_arithmetic": task_arithmetic,
    }
)
