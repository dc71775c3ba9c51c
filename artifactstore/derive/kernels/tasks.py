"""Tasks: what models learned since their base, trimmed, weighted, agreed upon and added to it"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from artifactstore.derive.kernels.base import Chunks, Kernel, Masks, Params
from artifactstore.derive.kernels.deltas import Deltas
from artifactstore.derive.kernels.parts import held, over, rounded, wide
from artifactstore.derive.kernels.sparsify import Bools, Keep, Mask, Sparsify
from artifactstore.derive.kernels.sums import summed, total

# A sum of weights below this divides nothing.
_NO_WEIGHT = 1e-8
# A sum of magnitudes below this is not made up for.
_NO_MAGNITUDE = 1e-7


def arithmetic(sparsify: Sparsify | None, *, elect: bool) -> Kernel:
    """A kernel that adds λ Σ wᵢ(xᵢ - base) to the base (task arithmetic, Ilharco 2022), of what `sparsify` keeps

    elect: of each element only what has the sign of the sum is added (TIES, Yadav 2023); a sum of zero is positive.
    `rescale`: what is kept is brought to the sum of magnitudes that was there. `normalize`: divided by the sum of
    weights of what was added. Steps are rounded to the dtype of the parts; sums are made in single precision.
    A NaN or an infinity in a source makes its element NaN or infinite, and with `rescale` others of the tensor too.
    """

    def kernel(chunks: Chunks, params: Params, sources: Sequence[Params], masks: Masks) -> Iterator[torch.Tensor]:
        deltas = Deltas.of(held(chunks), len(sources))
        mine = [sources[each] for each in deltas.merged]
        keep = _all if sparsify is None else sparsify(deltas, mine, masks)
        factors: list[float | None] = [None] * len(mine)
        if params["rescale"] and sparsify is not None:
            factors = _factors(deltas, keep)
        for begin, base, models in deltas:
            if not models:
                yield base
                continue
            weights = [rounded(float(each["weight"]), base.dtype) for each in mine]
            terms = [_Term(*each) for each in zip(models, weights, keep(begin, base, models), factors, strict=True)]
            yield _added(base, terms, params, elect=elect)

    return kernel


task_arithmetic = arithmetic(None, elect=False)


@dataclass(frozen=True, slots=True)
class _Term:
    """A model's part of the sum"""

    model: torch.Tensor
    weight: float
    mask: Mask | None
    factor: float | None

    def weighted(self, here: slice, base: torch.Tensor) -> torch.Tensor:
        """What it adds to a block, in the dtype of the parts"""
        delta = self.model[here] - base[here]
        if self.mask is not None:
            _masked(delta, self.mask(here, delta))
        if self.factor is not None:
            delta = delta.to(_precise(delta.dtype)).mul_(self.factor).to(delta.dtype)
        return delta.mul_(self.weight) if self.weight != 1 else delta


def _added(base: torch.Tensor, terms: Sequence[_Term], params: Params, *, elect: bool) -> torch.Tensor:
    result = torch.empty_like(base)
    weights = [term.weight for term in terms]
    whole = torch.tensor(weights, dtype=base.dtype).sum()

    def work(here: slice) -> None:
        parts = [term.weighted(here, base) for term in terms]
        change = _sum(parts)
        divisor: torch.Tensor | None = None
        if elect:
            change, divisor = _elected(parts, change, weights, normalize=bool(params["normalize"]))
        elif params["normalize"] and whole.abs() >= _NO_WEIGHT:
            divisor = whole
        change = change.to(base.dtype)
        if divisor is not None:
            change.div_(divisor)
        if params["lambda"] != 1:
            change.mul_(float(params["lambda"]))
        torch.add(base[here], change, out=result[here])

    over(len(base), work)
    return result


def _elected(
    parts: Sequence[torch.Tensor], change: torch.Tensor, weights: Sequence[float], *, normalize: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The sum of what has the sign of `change`, which is the sum of all, and what to divide it by"""
    # numbers, not booleans: torch has no vectors of those
    sign = torch.copysign(torch.ones_like(change), change)
    elected, divisor = torch.zeros_like(change), torch.zeros_like(change)
    for part, weight in zip(parts, weights, strict=True):
        agreeing = (part * sign).clamp_(min=0)
        elected.add_(agreeing)
        if normalize:
            divisor.add_(agreeing.sign_(), alpha=weight)
    elected.mul_(sign).add_(0)
    if not normalize:
        return elected, None
    divisor = divisor.to(parts[0].dtype)
    if min(weights) > 0:
        # where nothing agrees, zero is divided
        return elected, divisor.clamp_(min=torch.finfo(divisor.dtype).tiny)
    return elected, divisor.masked_fill_(divisor == 0, 1)


def _sum(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    # from zero, as -0 + 0 is 0
    change = torch.zeros(len(parts[0]), dtype=wide(parts[0].dtype))
    for part in parts:
        change.add_(part)
    return change


def _factors(deltas: Deltas, keep: Keep) -> list[float | None]:
    """By what each task vector is multiplied to have as much magnitude as before"""
    sums: list[list[tuple[float, float]]] = [[] for _ in deltas.merged]
    dtype = torch.float32
    for begin, base, models in deltas:
        dtype = _precise(base.dtype)
        for found, model, mask in zip(sums, models, keep(begin, base, models), strict=True):
            if mask is not None:
                found.extend(_magnitudes(model, base, mask))
    return [_factor(found, dtype) if found else None for found in sums]


def _magnitudes(model: torch.Tensor, base: torch.Tensor, mask: Mask) -> list[tuple[float, float]]:
    def work(here: slice) -> tuple[float, float]:
        delta = model[here] - base[here]
        kept = mask(here, delta)
        sizes = delta.abs_()
        return summed(sizes), summed(_masked(sizes, kept))

    return over(len(base), work)


def _factor(found: Sequence[tuple[float, float]], dtype: torch.dtype) -> float | None:
    before, after = (torch.tensor(total(each), dtype=dtype) for each in zip(*found, strict=True))
    return None if before < _NO_MAGNITUDE or after < _NO_MAGNITUDE else (before / after).item()


def _precise(dtype: torch.dtype) -> torch.dtype:
    # sums of magnitudes are beyond what half precision holds
    return torch.float32 if dtype == torch.float16 else dtype


def _masked(block: torch.Tensor, mask: Bools) -> torch.Tensor:
    """The block, zero where it is not kept; multiplied, so that what is not a number does not vanish by chance"""
    if block.dtype == torch.bfloat16:
        return block.mul_(torch.from_numpy(mask))
    # numpy has vectors of booleans
    values = block.numpy()
    np.multiply(values, mask, out=values)
    return block


def _all(begin: int, base: torch.Tensor, models: Sequence[torch.Tensor]) -> list[Mask | None]:
    del begin, base
    return [None] * len(models)
