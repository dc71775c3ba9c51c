"""Stock: the base and the mean of its fine-tunes, mixed by how far these agree"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import torch

from artifactstore.derive.kernels.base import Chunks, Masks, Params
from artifactstore.derive.kernels.deltas import Deltas
from artifactstore.derive.kernels.parts import by_rows, held, last_dimension, over
from artifactstore.derive.kernels.sums import length, norm, summed, total

_NO_LENGTH = 1e-6
# A divisor of the share below this tells that there is none: the fine-tunes oppose each other.
_OPPOSED = 1e-6


def model_stock(chunks: Chunks, params: Params, sources: Sequence[Params], masks: Masks) -> Iterator[torch.Tensor]:
    """t·mean(xᵢ) + (1 - t)·base with t = N cos / (1 + (N - 1) cos), cos that of two task vectors (Jang 2024)

    In the dtype of the parts; the cosine is the mean of all pairs, of the whole tensors or, with `filter_wise`, of each
    row. A NaN or an infinity in a source makes the whole tensor, or the row, NaN.
    """
    kernel = by_rows(_of_rows, last_dimension) if params["filter_wise"] else _of_whole
    return kernel(chunks, params, sources, masks)


def _of_whole(chunks: Chunks, params: Params, sources: Sequence[Params], masks: Masks) -> Iterator[torch.Tensor]:
    del params, masks
    deltas = Deltas.of(held(chunks), len(sources))
    pairs = list(combinations(range(len(deltas.merged)), 2))
    found: list[tuple[list[float], list[float]]] = []
    for _, base, models in deltas:
        found += _measured(base, models, pairs)
    norms = [length(each) for each in zip(*(norms for norms, _ in found), strict=True)]
    products = [total(each) for each in zip(*(products for _, products in found), strict=True)]
    for _, base, models in deltas:
        sizes = [torch.tensor(each, dtype=base.dtype) for each in norms]
        cosines = [
            _cosine(torch.tensor(product, dtype=base.dtype), sizes[one], sizes[other])
            for product, (one, other) in zip(products, pairs, strict=True)
        ]
        yield _mixed(base, models, cosines)


def _measured(
    base: torch.Tensor, models: Sequence[torch.Tensor], pairs: Sequence[tuple[int, int]]
) -> list[tuple[list[float], list[float]]]:
    def work(here: slice) -> tuple[list[float], list[float]]:
        moved = [model[here] - base[here] for model in models]
        return [norm(each) for each in moved], [summed(moved[one] * moved[other]) for one, other in pairs]

    return over(len(base), work)


def _of_rows(chunks: Chunks, params: Params, sources: Sequence[Params], masks: Masks) -> Iterator[torch.Tensor]:
    del params, masks
    row = last_dimension(chunks.shape)
    for _, flat, flats in Deltas.of(chunks, len(sources)):
        base, models = flat.view(-1, row), [each.view(-1, row) for each in flats]
        moved = [model - base for model in models]
        norms = [torch.norm(each, dim=-1) for each in moved]
        cosines = [
            _cosine((moved[one] * moved[other]).sum(dim=-1), norms[one], norms[other])
            for one, other in combinations(range(len(moved)), 2)
        ]
        yield _mixed(base, models, cosines).view(-1)


def _cosine(product: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (product / (one * other).clamp(min=_NO_LENGTH)).clamp(-1, 1)


def _mixed(base: torch.Tensor, models: Sequence[torch.Tensor], cosines: Sequence[torch.Tensor]) -> torch.Tensor:
    cosine = torch.stack(list(cosines)).mean(dim=0).unsqueeze(-1)
    divisor = 1 + (len(models) - 1) * cosine
    opposed = divisor.abs() < _OPPOSED
    share = (len(models) * cosine / divisor.masked_fill(opposed, 1)).masked_fill(opposed, 0)
    mean = models[0] + 0
    for model in models[1:]:
        mean += model
    return share * mean.div_(len(models)) + (1 - share) * base
