"""Linear: the weighted mean of all sources, and the copy of one"""

from collections.abc import Iterator, Sequence

import torch

from artifactstore.derive.kernels.base import Chunks, Masks, Params
from artifactstore.derive.kernels.parts import over, wide


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
    divisor = weights.sum().item() if normalize else 1.0
    terms = list(zip(weights.tolist(), tensors, strict=False))

    def work(here: slice) -> None:
        total = torch.zeros(here.stop - here.start, dtype=weights.dtype)
        for weight, tensor in terms:
            # one rounding: torch multiplies and adds here in one instruction
            total.add_(tensor[here].to(weights.dtype), alpha=weight)
        result[here] = total if divisor == 1 else total.div_(divisor)

    over(len(result), work)
    return result
