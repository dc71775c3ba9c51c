"""Compare: how far the tensors of two versions are apart, read side by side in small pieces

All sums are taken in float64: neither memory nor error grows with the tensors.
"""

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import torch

from artifactstore.core.errors import Corrupt
from artifactstore.core.events import Progress
from artifactstore.core.manifest import Manifest
from artifactstore.core.pairing import Pair, Placed
from artifactstore.depot import Depot
from artifactstore.ops.diff import Measured, Numbers
from artifactstore.ops.transfer.fetch import Fetch, FilePiece
from artifactstore.tensors.dtypes import TORCH, view_bytes

_BLOCK = 1 << 18  # elements taken at a time
# Elements summed at a time: their float64 copies stay in the processor's cache, and torch sums so few in this thread
# alone. With more it would wait for a thread of its own at each sum, which on a busy machine takes far longer.
_SLICE = 1 << 14
_WIDEST = 8  # bytes of an element
_PACKED = "F4"  # known to torch, but only as pairs in a byte
_LONG = ("I64", "U64")  # more digits than a float64 has
_LOW = (1 << 32) - 1


def measure(depot: Depot, old: Manifest, new: Manifest, pairs: Sequence[Pair]) -> list[Measured]:
    """Read pairs of one shape, save those that are known to differ and of a dtype that holds no plain numbers

    At most `Settings.memory` is held, a blob of each side at the least. Raise Corrupt when one is damaged.
    """
    # In the order of a file, so that a blob which holds several tensors is read once.
    order = sorted(range(len(pairs)), key=lambda at: (pairs[at].old.file.path, pairs[at].old.info.begin))
    wanted = [at for at in order if pairs[at].same is None or _reason(pairs[at]) is None]
    told = {at: Measured(same=False, reason=_reason(pairs[at])) for at in set(order).difference(wanted)}
    reader = _Reader(depot, old, new, sum(pairs[at].old.nbytes + pairs[at].new.nbytes for at in wanted))
    for batch in _batches([(at, pairs[at]) for at in wanted], old, new, depot.settings.memory // 4):
        told.update(zip(batch, reader.read([pairs[at] for at in batch]), strict=True))
    return [told[at] for at in range(len(pairs))]


def _reason(pair: Pair) -> str | None:
    """Why there can be no numbers, None when there can"""
    dtypes = (pair.old.info.dtype, pair.new.info.dtype)
    foreign = next((dtype for dtype in dtypes if dtype == _PACKED or dtype not in TORCH), None)
    return foreign and f"values of dtype {foreign} are not read"


def _batches(pairs: Iterable[tuple[int, Pair]], old: Manifest, new: Manifest, limit: int) -> Iterator[list[int]]:
    """Numbers of pairs that are read together: the blobs they have in common stay in memory, within `limit` a side"""
    batch: list[int] = []
    held: list[dict[int, int]] = [{}, {}]
    for at, pair in pairs:
        more = [_shared(old, pair.old), _shared(new, pair.new)]
        both = [one | other for one, other in zip(held, more, strict=True)]
        if batch and max(sum(sizes.values()) for sizes in both) > limit:
            yield batch
            batch, both = [], more
        batch.append(at)
        held = both
    if batch:
        yield batch


def _shared(manifest: Manifest, tensor: Placed) -> dict[int, int]:
    """The blobs that hold more than this tensor, with their sizes"""
    sizes = ((extent, manifest.blobs[extent.blob].size) for extent in tensor.extents)
    return {extent.blob: size for extent, size in sizes if extent.length < size}


class _Reader:
    """Both versions while they are read"""

    def __init__(self, depot: Depot, old: Manifest, new: Manifest, total: int) -> None:
        self._depot, self._total, self._done = depot, total, 0
        # A quarter for what each side reads ahead; the others are for the blobs that a batch has in common.
        share = replace(depot, settings=replace(depot.settings, memory=max(depot.settings.memory // 4, 1)))
        self._old, self._new = Fetch(share, old), Fetch(share, new)
        self._work = torch.empty((3, 2 * _SLICE), dtype=torch.float64)

    def read(self, pairs: Sequence[Pair]) -> list[Measured]:
        """What each pair has in common, and by how much it differs"""
        olds, news = (_pieces(self._old, (p.old for p in pairs)), _pieces(self._new, (p.new for p in pairs)))
        with closing(olds), closing(news):
            old, new = _Stream(olds), _Stream(news)
            return [self._measure(pair, old, new) for pair in pairs]

    def _measure(self, pair: Pair, old: "_Stream", new: "_Stream") -> Measured:
        reason, same = _reason(pair), pair.like
        sums = None if reason else _Sums(pair, self._work)
        widths = (1, 1) if reason else (_width(pair.old), _width(pair.new))
        count = pair.old.nbytes // widths[0]
        for begin in range(0, count, _BLOCK):
            length = min(_BLOCK, count - begin)
            one, other = old.take(length * widths[0]), new.take(length * widths[1])
            same = same and torch.equal(one, other)
            if sums is not None:
                sums.add(one, other)
            self._done += len(one) + len(other)
            self._depot.monitor(Progress("compare", self._done, self._total))
        if same:
            return Measured(same=True)
        return Measured(same=False, numbers=None if sums is None else sums.numbers(), reason=reason)


def _width(tensor: Placed) -> int:
    """Bytes of an element; raise Corrupt when dtype, shape and size do not agree"""
    info = tensor.info
    width = TORCH[info.dtype].itemsize
    if math.prod(info.shape) * width != tensor.nbytes:
        raise Corrupt(
            f"{tensor.file.path}: {tensor.nbytes} bytes are no {info.dtype} tensor of shape {list(info.shape)!s:.80}",
            code="tensor",
            file=str(tensor.file.path),
        )
    return width


def _pieces(fetch: Fetch, tensors: Iterable[Placed]) -> Generator[FilePiece, None, None]:
    """The bytes of tensors alone: to a fetch, each is a file"""
    yield from fetch.pieces((replace(one.file, size=one.nbytes, extents=one.extents), 0) for one in tensors)


class _Stream:
    """Tensors one after the other, taken in any lengths"""

    def __init__(self, pieces: Iterator[FilePiece]) -> None:
        self._pieces = pieces
        self._piece: FilePiece | None = None
        self._at = 0
        self._taken = torch.empty(_BLOCK * _WIDEST, dtype=torch.uint8)
        self._view = view_bytes(self._taken)

    def take(self, nbytes: int) -> torch.Tensor:
        """The next bytes, good until the next call"""
        filled = 0
        while filled < nbytes:
            piece = self._piece = self._piece or next(self._pieces)
            part = piece.data[self._at : self._at + nbytes - filled]
            self._view[filled : filled + len(part)] = part
            filled += len(part)
            self._at += len(part)
            if self._at == len(piece.data):
                self._piece, self._at = None, 0
                piece.release()
        return self._taken[:nbytes]


class _Sums:
    """What the numbers of one pair are made of, while its elements come"""

    def __init__(self, pair: Pair, work: torch.Tensor) -> None:
        self._names = (pair.old.info.dtype, pair.new.info.dtype)
        dtypes = [TORCH[name] for name in self._names]
        self._work = work
        self._complex = any(dtype.is_complex for dtype in dtypes)
        real = any(dtype.is_complex or dtype.is_floating_point for dtype in dtypes)
        self._long = not real and any(name in _LONG for name in self._names)
        self._count = self._old_nonfinite = self._new_nonfinite = self._left_out = 0
        self._old_squares = self._new_squares = self._products = self._squares = self._total = self._most = 0.0

    def add(self, old: torch.Tensor, new: torch.Tensor) -> None:
        """The bytes of the next elements of both"""
        olds, news = map(_values, self._names, (old, new))
        for begin in range(0, len(olds), _SLICE):
            self._add(olds[begin : begin + _SLICE], news[begin : begin + _SLICE])

    def _add(self, old_values: torch.Tensor, new_values: torch.Tensor) -> None:
        count = old_values.numel()
        old, new, gap = (self._room(row, count) for row in self._work)
        old.copy_(old_values)
        new.copy_(new_values)
        norms = _norm(old), _norm(new)
        # Looking at each element for what is not finite takes longer than all the rest; the norms tell.
        if not all(map(math.isfinite, norms)):
            count -= self._leave_out(old, new)
            norms = _norm(old), _norm(new)
        self._count += count
        self._old_squares += norms[0] * norms[0]
        self._new_squares += norms[1] * norms[1]
        self._products += _inner(old, new, gap)
        if self._long:
            _subtract_long(self._names, old_values, new_values, gap)
        else:
            torch.sub(new, old, out=gap)
        far = _norm(gap)
        self._squares += far * far
        distance = gap.abs() if self._complex else gap.abs_()
        self._most = max(self._most, distance.max().item())
        self._total += distance.sum().item()

    def _room(self, row: torch.Tensor, count: int) -> torch.Tensor:
        return torch.view_as_complex(row[: 2 * count].view(count, 2)) if self._complex else row[:count]

    def _leave_out(self, old: torch.Tensor, new: torch.Tensor) -> int:
        """Make places that are not finite zero in both; how many there were"""
        old_bad, new_bad = old.isfinite().logical_not_(), new.isfinite().logical_not_()
        self._old_nonfinite += int(old_bad.sum())
        self._new_nonfinite += int(new_bad.sum())
        bad = old_bad | new_bad
        old[bad] = 0
        new[bad] = 0
        return int(bad.sum())

    def numbers(self) -> Numbers:
        """None where there is no number: nothing is finite, one of them is zero, or a float64 cannot hold it"""
        some = self._count > 0
        old, new, gap = map(_root, (self._old_squares, self._new_squares, self._squares))
        cosine = _number(self._products / old / new) if old and new else None
        return Numbers(
            max_abs=_number(self._most) if some else None,
            mean_abs=_number(self._total / self._count) if some else None,
            rel_l2=_number(gap / old) if old else 0.0 if some and gap == 0 else None,
            cosine=None if cosine is None else max(-1.0, min(1.0, cosine)),
            nonfinite_old=self._old_nonfinite,
            nonfinite_new=self._new_nonfinite,
        )


def _root(square: float) -> float:
    return math.sqrt(square) if math.isfinite(square) else math.nan


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _values(name: str, raw: torch.Tensor) -> torch.Tensor:
    # A bool whose byte is neither 0 nor 1 is nothing that torch computes with.
    return raw.ne(0) if name == "BOOL" else raw.view(TORCH[name])


def _norm(values: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(values))


def _inner(one: torch.Tensor, other: torch.Tensor, room: torch.Tensor) -> float:
    """The inner product, of complex numbers its real part; not torch.dot, which starts threads for any length"""
    if one.is_complex():
        one, other, room = (torch.view_as_real(values) for values in (one, other, room))
    return float(torch.mul(one, other, out=room).sum())


def _subtract_long(names: Sequence[str], old: torch.Tensor, new: torch.Tensor, gap: torch.Tensor) -> None:
    """The difference rounded once, where integers fit no float64 and their difference no int64"""
    (old_high, old_low), (new_high, new_low) = map(_halves, names, (old, new))
    gap.copy_(new_high - old_high).mul_(1 << 32).add_(new_low - old_low)


def _halves(name: str, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Integers as high · 2^32 + low"""
    whole = values.view(torch.int64) if name == "U64" else values.to(torch.int64)
    high = whole >> 32
    return high & _LOW if name == "U64" else high, whole & _LOW
