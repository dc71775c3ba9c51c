"""Methods: what each way of merging takes, and within which bounds

Names, defaults and counts are mergekit's (0.1.5), so that its recipes mean here what they mean there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType


class Scope(Enum):
    """What a parameter is of. SOURCES: of every model but the base; ALL: of every model"""

    TENSOR = "tensor"
    SOURCES = "sources"
    ALL = "all"


class Base(Enum):
    """Whether a method starts from a base. PLAIN: the base is a model like the others"""

    NEEDED = "needed"
    OPTIONAL = "optional"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number or a flag of a method. default: None where it has to be given, unless it may be absent

    within: least and greatest number that are taken.
    """

    name: str
    scope: Scope
    default: float | bool | None = None
    flag: bool = False
    within: tuple[float, float] | None = None
    absent: bool = False

    @property
    def needed(self) -> bool:
        """Whether a recipe has to give it"""
        return self.default is None and not self.absent


@dataclass(frozen=True, slots=True)
class Method:
    """A way of merging. models: how many it merges at least and at most

    deltas: it merges what the others differ from the base by, so that the base is none of those that are merged.
    """

    name: str
    base: Base
    parameters: tuple[Parameter, ...]
    models: tuple[int, int | None]
    deltas: bool = False

    def parameter(self, name: str) -> Parameter | None:
        """The one of this name"""
        return next((one for one in self.parameters if one.name == name), None)


_WEIGHT = Parameter("weight", Scope.SOURCES)
_DENSITY = Parameter("density", Scope.SOURCES, default=1.0, within=(0, 1))
_GAMMA = Parameter("gamma", Scope.SOURCES, default=0.01, within=(0, 1))
_EPSILON = Parameter("epsilon", Scope.SOURCES, default=0.15, within=(0, 1))


def _flag(name: str, *, default: bool) -> Parameter:
    return Parameter(name, Scope.TENSOR, default=default, flag=True)


def _arithmetic(name: str, *more: Parameter, normalize: bool = False, rescale: bool = False) -> Method:
    """A method that adds up weighted differences from the base"""
    tensor = (
        _flag("normalize", default=normalize),
        _flag("rescale", default=rescale),
        Parameter("lambda", Scope.TENSOR, default=1.0),
    )
    return Method(name, Base.NEEDED, (*tensor, _WEIGHT, _DENSITY, *more), (1, None), deltas=True)


_ALL = (
    Method("linear", Base.PLAIN, (Parameter("weight", Scope.ALL), _flag("normalize", default=True)), models=(1, None)),
    Method("slerp", Base.NEEDED, (Parameter("t", Scope.TENSOR, within=(0, 1)),), models=(2, 2)),
    Method(
        "nuslerp",
        Base.OPTIONAL,
        (_WEIGHT, _flag("nuslerp_flatten", default=True), _flag("nuslerp_row_wise", default=False)),
        models=(2, 2),
        deltas=True,
    ),
    _arithmetic("task_arithmetic"),
    _arithmetic("ties", normalize=True),
    _arithmetic("dare_ties", rescale=True),
    _arithmetic("dare_linear", rescale=True),
    _arithmetic("breadcrumbs", _GAMMA),
    _arithmetic("breadcrumbs_ties", _GAMMA),
    _arithmetic("della", _EPSILON, normalize=True, rescale=True),
    _arithmetic("della_linear", _EPSILON, rescale=True),
    Method("model_stock", Base.NEEDED, (_flag("filter_wise", default=False),), models=(2, None), deltas=True),
    Method("passthrough", Base.PLAIN, (Parameter("scale", Scope.ALL, absent=True),), models=(1, 1)),
)

METHODS: Mapping[str, Method] = MappingProxyType({method.name: method for method in _ALL})
# names that people write, and what is meant
SYNONYMS: Mapping[str, str] = MappingProxyType({"dare": "dare_ties"})
# mergekit's others
ELSEWHERE = frozenset({"arcee_fusion", "karcher", "multislerp", "nearswap", "ram", "ramplus_tl", "sce"})
# it only changes what mergekit holds in memory
WITHOUT_EFFECT = frozenset({"int8_mask"})
PARAMETERS = frozenset(one.name for method in _ALL for one in method.parameters) | WITHOUT_EFFECT
