"""Task vectors: what models learned since their base, weighted and added to it"""

from collections.abc import Iterator, Sequence

import torch

from artifactstore.derive.kernels.base import Chunks, Masks, Params
from artifactstore.derive.kernels.parts import BLOCK, blocks, rounded, wide

# A sum of weights below this divides nothing.
_NO_WEIGHT = 1e-8


def task_arithmetic(chunks: Chunks, params: Params, sources: Sequence[Params], masks: Masks) -> Iterator[torch.Tensor]:
    """The base + λ Σ wᵢ(xᵢ - base), by Ilharco 2022, each step in the dtype of the parts, the sum in single precision

    With `normalize` the sum is divided by that of the weights.
    """
    del masks
    merged = [number for number in range(len(sources)) if number != chunks.base]
    assert chunks.base is not None
    for _, tensors in chunks:
        weights = [rounded(float(sources[each]["weight"]), tensors[0].dtype) for each in merged]
        yield _added(tensors[chunks.base], [tensors[each] for each in merged], weights, params)


def _added(
    base: torch.Tensor, models: Sequence[torch.Tensor], weights: Sequence[float], params: Params
) -> torch.Tensor:
    result = torch.empty_like(base)
    scratch = torch.empty(min(BLOCK, len(base)), dtype=base.dtype)
    sums = torch.empty(len(scratch), dtype=wide(base.dtype))
    for here in blocks(len(base)):
        length = here.stop - here.start
        moved, delta = sums[:length].zero_(), scratch[:length]
        for model, weight in zip(models, weights, strict=True):
            moved.add_(torch.sub(model[here], base[here], out=delta).mul_(weight))
        change = moved.to(base.dtype)
        finish(change, weights, params)
        torch.add(base[here], change, out=result[here])
    return result


def finish(change: torch.Tensor, weights: Sequence[float], params: Params) -> None:
    """Divide a sum of task vectors by that of their weights, if that is wanted, and multiply it by lambda"""
    divisor = torch.tensor(weights, dtype=change.dtype).sum()
    if params["normalize"] and divisor.abs() >= _NO_WEIGHT:
        change.div_(divisor)
    if params["lambda"] != 1:
        change.mul_(float(params["lambda"]))
