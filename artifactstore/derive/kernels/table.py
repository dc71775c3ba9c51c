"""Which kernel does which method"""

from collections.abc import Mapping
from types import MappingProxyType

from artifactstore.derive.kernels.base import Kernel
from artifactstore.derive.kernels.linear import linear, passthrough
from artifactstore.derive.kernels.nuslerp import nuslerp
from artifactstore.derive.kernels.parts import by_rows, last_dimension
from artifactstore.derive.kernels.slerp import slerp
from artifactstore.derive.kernels.sparsify import by_chance, by_magnitude, by_rank, without_outliers
from artifactstore.derive.kernels.stock import model_stock
from artifactstore.derive.kernels.tasks import arithmetic, task_arithmetic

METHODS: Mapping[str, Kernel] = MappingProxyType(
    {
        "linear": linear,
        "passthrough": passthrough,
        "slerp": slerp,
        "nuslerp": nuslerp,
        "task_arithmetic": task_arithmetic,
        "ties": arithmetic(by_magnitude, elect=True),
        "dare_ties": arithmetic(by_chance, elect=True),
        "dare_linear": arithmetic(by_chance, elect=False),
        "breadcrumbs": arithmetic(without_outliers, elect=False),
        "breadcrumbs_ties": arithmetic(without_outliers, elect=True),
        "della": by_rows(arithmetic(by_rank, elect=True), last_dimension),
        "della_linear": by_rows(arithmetic(by_rank, elect=False), last_dimension),
        "model_stock": model_stock,
    }
)
