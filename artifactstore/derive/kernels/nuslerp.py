"""Nuslerp: between two tensors, or what they differ by from a base, along the arc of their directions"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from artifactstore.derive.kernels.base import Chunks, Masks, Params
from artifactstore.derive.kernels.parts import by_rows, held, last_dimension, over, wide
from artifactstore.derive.kernels.sums import length, norm, summed, total

_NO_WEIGHT = 1e-6
_NO_LENGTH = 1e-7
# 1 - cos² up to which two vectors lie on one line.
_LINE = 1e-16

Pair = tuple[torch.Tensor, torch.Tensor]


def nuslerp(chunks: Chunks, params: Params, sources: Sequence[Params], masks: Masks) -> Iterator[torch.Tensor]:
    """At w₂ / (w₁ + w₂) of the arc, in the dtype of the parts; halfway where the weights come to nothing

    The vectors are whole tensors, or their rows (without `nuslerp_flatten`), or their columns (then with
    `nuslerp_row_wise`, which is what mergekit calls it). A NaN or an infinity makes its whole vector NaN.
    """
    if params["nuslerp_flatten"] or len(chunks.shape) < 2:
        return _of_whole(chunks, params, sources, masks)
    if params["nuslerp_row_wise"]:
        return by_rows(_of_columns, lambda shape: math.prod(shape[1:]))(chunks, params, sources, masks)
    return by_rows(_of_rows, last_dimension)(chunks, params, sources, masks)


@dataclass(frozen=True, slots=True)
class _Vectors:
    """The two of each part, or what they differ by from the base; t: which share of the arc"""

    chunks: Chunks
    merged: tuple[int, int]
    t: float

    @classmethod
    def of(cls, chunks: Chunks, sources: Sequence[Params]) -> "_Vectors":
        first, second = (each for each in range(len(sources)) if each != chunks.base)
        weights = [float(sources[each]["weight"]) for each in (first, second)]
        t = 0.5 if abs(sum(weights)) < _NO_WEIGHT else weights[1] / sum(weights)
        return cls(held(chunks), (first, second), t)

    def __iter__(self) -> Iterator[tuple[torch.Tensor | None, Pair]]:
        for _, tensors in self.chunks:
            base = None if self.chunks.base is None else tensors[self.chunks.base]
            one, other = (tensors[each] if base is None else tensors[each] - base for each in self.merged)
            yield base, (one, other)

    def between(self, base: torch.Tensor | None, pair: Pair, cosine: torch.Tensor) -> torch.Tensor:
        """The product of a part, by the cosines of the angles of its vectors"""
        one, other = pair
        on_a_line = (1 - cosine.square()) <= _LINE
        angle = torch.acos(cosine.masked_fill(on_a_line, 0))
        arc = torch.sin((1 - self.t) * angle) * one + torch.sin(self.t * angle) * other
        product = torch.where(on_a_line, (1 - self.t) * one + self.t * other, arc / torch.sin(angle)).view(-1)
        return product if base is None else base + product


def _of_whole(chunks: Chunks, params: Params, sources: Sequence[Params], masks: Masks) -> Iterator[torch.Tensor]:
    del params, masks
    vectors = _Vectors.of(chunks, sources)
    norms = [both for _, (one, other) in vectors for both in _norms(one, other)]
    lengths = [length(each[number] for each in norms) for number in (0, 1)]
    products = [each for _, (one, other) in vectors for each in _products(one, other, lengths)]
    for base, pair in vectors:
        cosine = torch.tensor([total(products)], dtype=pair[0].dtype).clamp(-1, 1)
        yield vectors.between(base, pair, cosine)


def _norms(one: torch.Tensor, other: torch.Tensor) -> list[tuple[float, float]]:
    return over(len(one), lambda here: (norm(one[here]), norm(other[here])))


def _products(one: torch.Tensor, other: torch.Tensor, lengths: Sequence[float]) -> list[float]:
    first, second = (torch.tensor([each], dtype=one.dtype).clamp(min=_NO_LENGTH) for each in lengths)
    return over(len(one), lambda here: summed(one[here] / first * (other[here] / second)))


def _of_rows(chunks: Chunks, params: Params, sources: Sequence[Params], masks: Masks) -> Iterator[torch.Tensor]:
    del params, masks
    vectors = _Vectors.of(chunks, sources)
    row = last_dimension(chunks.shape)
    for base, (one, other) in vectors:
        pair = one.view(-1, row), other.view(-1, row)
        first, second = (each / torch.norm(each, dim=1, keepdim=True).clamp(min=_NO_LENGTH) for each in pair)
        yield vectors.between(base, pair, (first * second).sum(dim=1, keepdim=True).clamp(-1, 1))


def _of_columns(chunks: Chunks, params: Params, sources: Sequence[Params], masks: Masks) -> Iterator[torch.Tensor]:
    del params, masks
    vectors = _Vectors.of(chunks, sources)
    columns = math.prod(chunks.shape[1:])
    norms = [[_lengths(each.view(-1, columns)) for each in pair] for _, pair in vectors]
    lengths = [torch.linalg.vector_norm(torch.stack(each), dim=0) for each in zip(*norms, strict=True)]
    products = []
    for _, pair in vectors:
        first, second = (
            each.view(-1, columns) / size.to(each.dtype).clamp(min=_NO_LENGTH)
            for each, size in zip(pair, lengths, strict=True)
        )
        products.append((first * second).sum(dim=0, dtype=wide(first.dtype)))
    for base, (one, other) in vectors:
        cosine = torch.stack(products).sum(dim=0).to(one.dtype).clamp(-1, 1)
        yield vectors.between(base, (one.view(-1, columns), other.view(-1, columns)), cosine)


def _lengths(columns: torch.Tensor) -> torch.Tensor:
    lengths: torch.Tensor = torch.linalg.vector_norm(columns, dim=0, dtype=wide(columns.dtype))
    return lengths
