"""Linear: the weighted mean of all sources, and the copy of one"""

from collections.abc import Iterator, Sequence

import torch

from artifactstore.derive.kernels.base import Chunks, Masks, Params
from artifactstore.derive.kernels.parts import BLOCK, blocks, wide


def linear(chunks: Chunks, params: Params, sources: Sequence[Params], masks: Masks) -> Iterator[torch.Tensor]:
    """Σ wᵢxᵢ / Σ wᵢ, in single precision with one rounding a term; without `normalize`, the sum alone"""
    del masks
    weights = torch.tensor([float(each["weight"]) for each in sources], dtype=torch.float64)
    for _, tensors in chunks:
        yield _mean(tensors, weights.to(wide(tensors[0].dtype)), normalize=bool(params["normalize"]))


def passthrough(chunks: Chunks, params: Params, sources: Sequence[Params], masks: Masks) -> Iterator[torch.Tensor]:
    """The only source as it is, times its `scale` where it has one"""
    del params, masks
    scale = sources[0].get("scale")
    for _, tensors in chunks:
        yield tensors[0] if scale is None else tensors[0] * scale


def _mean(tensors: Sequence[torch.Tensor], weights: torch.Tensor, *, normalize: bool) -> torch.Tensor:
    result = torch.empty_like(tensors[0])
    scratch = torch.empty(2, min(BLOCK, len(result)), dtype=weights.dtype)
    divisor = weights.sum().item() if normalize else 1.0
    for here in blocks(len(result)):
        total, term = scratch[:, : here.stop - here.start]
        total.zero_()
        for weight, tensor in zip(weights.tolist(), tensors, strict=False):
            # one rounding: torch multiplies and adds here in one instruction
            total.add_(term.copy_(tensor[here]), alpha=weight)
        result[here] = total if divisor == 1 else total.div_(divisor)
    return result
