"""Reading: which bytes of which pieces make up the tensors that are asked for, whole or in part

A piece is what lies together: a blob of a version, or a file of a plain folder.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import prod
from operator import index
from typing import NamedTuple

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Invalid
from artifactstore.core.formats.safetensors import DTYPE_BITS
from artifactstore.core.manifest import Extent, Manifest
from artifactstore.core.pairing import named

Cut = None | slice | tuple[int, int, int]
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor at rest: its bytes in C order are those of the extents, whose `blob` is the number of a piece

    dtype is that of safetensors, shape counts its elements.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    extents: tuple[Extent, ...]

    @property
    def nbytes(self) -> int:
        """Its bytes"""
        return self.extents[0].length if len(self.extents) == 1 else sum(extent.length for extent in self.extents)


class Run(NamedTuple):
    """`length` bytes from `start` of a piece, for the bytes from `at` of the tensor number `tensor`"""

    start: int
    length: int
    tensor: int
    at: int


def stored(manifest: Manifest) -> dict[str, Stored]:
    """The tensors of a version by name; one whose name occurs in several files is told with its file"""
    return {one.name: Stored(one.name, one.info.dtype, one.info.shape, one.extents) for one in named(manifest)}


Content = tuple[str, tuple[int, ...], tuple[tuple[Digest, int, int], ...]]


def content(tensor: Stored, digests: Sequence[Digest | None]) -> Content | None:
    """What tells that two tensors are equal without reading them; None where nobody knows the bytes of a piece

    digests: of each piece. Equal tensors in other blobs, gathered with other neighbours, have another.
    """
    parts = []
    for extent in tensor.extents:
        digest = digests[extent.blob]
        if digest is None:
            return None
        parts.append((digest, extent.start, extent.length))
    return tensor.dtype, tensor.shape, tuple(parts)


def choose(tensors: Mapping[str, Stored], names: Iterable[str] | None) -> list[Stored]:
    """Those of the names, in the order of the pieces they begin in; all of them without names

    Raise Invalid with every name that is not there.
    """
    wanted = list(tensors) if names is None else list(names)
    if isinstance(names, str) or not all(isinstance(name, str) for name in wanted):
        raise Invalid(f"names are several strings, such as ['a', 'b'], not {names!r:.80}", code="names")
    wanted = list(dict.fromkeys(wanted))
    missing = [name for name in wanted if name not in tensors]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise Invalid(f"There are no tensors named {', '.join(missing[:_SHOWN])}{more}", code="names", names=missing)
    return sorted((tensors[name] for name in wanted), key=_place)


def planned(tensors: Mapping[str, Stored], plan: Mapping[str, Cut]) -> list[Stored]:
    """What a plan names, and of each the part that it says; raise Invalid as `choose` and `narrow` do"""
    if not isinstance(plan, Mapping):
        raise Invalid(f"A plan maps names to parts, it is not a {type(plan).__name__}", code="plan")
    return [narrow(one, plan[one.name]) for one in choose(tensors, plan)]


def _place(tensor: Stored) -> tuple[int, int]:
    first = tensor.extents[0] if tensor.extents else Extent(-1, 0, 0)
    return first.blob, first.start


def narrow(tensor: Stored, cut: Cut) -> Stored:
    """The part of a tensor that a plan asks for: None for all, a slice of dimension 0, or (dimension, start, length)

    Raise Invalid for a part that leaves the tensor, has steps, or begins inside a byte.
    """
    if cut is None:
        return tensor
    dim, start, length = _checked(tensor, cut)
    size = tensor.shape[dim]
    if length == size:
        return tensor
    inner = prod(tensor.shape[dim + 1 :]) * DTYPE_BITS[tensor.dtype]
    if inner * start % 8 or inner * length % 8 or inner * size % 8:
        raise Invalid(f"{tensor.name}: {cut!r} begins or ends inside a byte of {tensor.dtype}", code="cut")
    row, first, count = inner * size // 8, inner * start // 8, inner * length // 8
    rows = ((at * row + first, at * row + first + count) for at in range(prod(tensor.shape[:dim])))
    shape = (*tensor.shape[:dim], length, *tensor.shape[dim + 1 :])
    return replace(tensor, shape=shape, extents=tuple(joined(ranges(tensor.extents, rows))))


def _checked(tensor: Stored, cut: slice | tuple[int, int, int]) -> tuple[int, int, int]:
    shape = tensor.shape
    try:
        if isinstance(cut, slice):
            if not shape or cut.step not in (None, 1):
                raise Invalid(f"{tensor.name}: {cut!r:.80} is no run of rows of shape {list(shape)}", code="cut")
            start, stop, _ = cut.indices(shape[0])
            return 0, start, max(stop - start, 0)
        dim, start, length = map(index, cut)
    except (TypeError, ValueError) as e:
        raise Invalid(f"{tensor.name}: a part is a slice or (dim, start, length), not {cut!r:.80}", code="cut") from e
    dim = dim + len(shape) if dim < 0 else dim
    if not 0 <= dim < len(shape) or not 0 <= start <= start + length <= shape[dim]:
        raise Invalid(f"{tensor.name}: {cut!r:.80} leaves shape {list(shape)}", code="cut")
    return dim, start, length


def ranges(extents: Sequence[Extent], wanted: Iterable[tuple[int, int]]) -> Iterator[Extent]:
    """What holds the bytes [begin, end) of all that the extents make up, for each that is wanted"""
    starts = list(accumulate((extent.length for extent in extents), initial=0))
    for begin, end in wanted:
        for at in range(bisect_right(starts, begin) - 1, len(extents)):
            low, high = max(begin, starts[at]), min(end, starts[at + 1])
            if low >= high:
                break
            yield Extent(extents[at].blob, extents[at].start + low - starts[at], high - low)


def joined(extents: Iterable[Extent]) -> Iterator[Extent]:
    """The same with neighbours as one"""
    last: Extent | None = None
    for one in extents:
        if last is not None and (last.blob, last.start + last.length) == (one.blob, one.start):
            last = replace(last, length=last.length + one.length)
            continue
        if last is not None:
            yield last
        last = one
    if last is not None:
        yield last


def runs(tensors: Sequence[Stored]) -> dict[int, list[Run]]:
    """What is to be read of each piece, in the order of its bytes"""
    found: dict[int, list[Run]] = defaultdict(list)
    for number, tensor in enumerate(tensors):
        at = 0
        for extent in tensor.extents:
            found[extent.blob].append(Run(extent.start, extent.length, number, at))
            at += extent.length
    for of_piece in found.values():
        of_piece.sort(key=lambda run: run.start)
    return dict(sorted(found.items()))


def portions(wanted: Sequence[Run], limit: int) -> Iterator[list[Run]]:
    """The same runs, in order, with at most `limit` bytes in each list: what one thread does at a time"""
    if sum(run.length for run in wanted) <= limit:
        yield from [list(wanted)] if wanted else []
        return
    portion: list[Run] = []
    room = limit
    for run in wanted:
        done = 0
        while done < run.length:
            length = min(run.length - done, room)
            portion.append(Run(run.start + done, length, run.tensor, run.at + done))
            done, room = done + length, room - length
            if not room:
                yield portion
                portion, room = [], limit
    if portion:
        yield portion


def near(wanted: Sequence[Run], *, gap: int, most: int, count: int) -> Iterator[list[Run]]:
    """Runs that lie one behind the other, at most `gap` bytes apart and `most` from first to last, up to `count`"""
    group: list[Run] = []
    end = 0
    for run in wanted:
        fits = 0 <= run.start - end <= gap and run.start + run.length - group[0].start <= most if group else True
        if not fits or len(group) == count:
            yield group
            group = []
        group.append(run)
        end = run.start + run.length
    if group:
        yield group
