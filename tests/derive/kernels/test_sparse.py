"""Trimmed and elected task vectors: mergekit's bits, with its own chance where there is chance"""

import pytest
import torch

from artifactstore.derive.kernels.masks import Philox
from tests.derive.kernels.cutting import models, ours, same_bits, theirs

DTYPES = (torch.bfloat16, torch.float16, torch.float32)


class Replay:
    """Chance as torch has it after a seed, in the order in which it is asked for"""

    def __init__(self, seed: int, dtype: torch.dtype) -> None:
        torch.manual_seed(seed)
        self._dtype = torch.bfloat16 if dtype == torch.bfloat16 else torch.float32

    def draw(self, source: int, begin: int, chances: torch.Tensor) -> torch.Tensor:
        return torch.bernoulli(chances.to(self._dtype).contiguous()).bool()


def distinct(count: int, *shape: int, dtype: torch.dtype, seed: int = 0) -> list[torch.Tensor]:
    """Models none of whose elements moved as far as another one of its model, so that no rule for ties is asked for"""
    total = torch.Size(shape).numel()
    generator = torch.Generator().manual_seed(seed)
    moved = [torch.randperm(total, generator=generator) + 1 for _ in range(count - 1)]
    signs = [torch.randint(0, 2, (total,), generator=generator) * 2 - 1 for _ in moved]
    # any number of a half type that is no subnormal, from one to as many as there are
    first = {torch.bfloat16: 0x3000, torch.float16: 0x0800, torch.float32: 0x38000000}[dtype]
    kind = torch.int32 if dtype == torch.float32 else torch.int16
    deltas = [(first + order).to(kind).view(dtype) * sign for order, sign in zip(moved, signs, strict=True)]
    return [torch.zeros(shape, dtype=dtype), *(delta.view(shape) for delta in deltas)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["ties", "breadcrumbs", "breadcrumbs_ties"])
@pytest.mark.parametrize("densities", [(0, 0.5, 0.2), (0, 1.0, 0.7), (0, 0.0, 0.01), (0, 0.995, 0.5)])
@pytest.mark.parametrize("params", [{}, {"normalize": False, "lambda": 0.7}, {"rescale": True, "normalize": True}])
def test_every_bit_is_mergekits(dtype, method, densities, params):
    tensors, each = distinct(3, 64, 48, dtype=dtype), {"weight": (0, 0.6, 0.3), "density": densities}
    expected, result = theirs(method, tensors, 0, each=each, **params), ours(method, tensors, 0, each=each, **params)
    # mergekit sums magnitudes in half precision, which a large tensor is too much for
    assert same_bits(result, expected) or (dtype == torch.float16 and "rescale" in params)
    assert result.isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["dare_ties", "dare_linear", "della", "della_linear"])
@pytest.mark.parametrize("densities", [(0, 0.5, 0.3), (0, 1.0, 0.7)])
@pytest.mark.parametrize("params", [{}, {"normalize": True, "lambda": 0.7}, {"rescale": False}])
def test_every_bit_is_mergekits_with_its_chance(dtype, method, densities, params):
    tensors, each = distinct(3, 64, 48, dtype=dtype), {"weight": (0, 0.6, 0.3), "density": densities}
    torch.manual_seed(5)
    expected = theirs(method, tensors, 0, each=each, **params)
    assert same_bits(ours(method, tensors, 0, each=each, masks=Replay(5, dtype), **params), expected)


@pytest.mark.parametrize("method", ["ties", "dare_ties", "dare_linear", "breadcrumbs", "breadcrumbs_ties"])
def test_signs_of_zeros_and_sums_of_nothing(method):
    base = torch.tensor([-0.0, 0.0, -0.0, 1.0, 2.0, 3.0])
    tensors = [base, base.clone(), -base]
    each = {"weight": (0, -1, 1), "density": (0, 1.0, 1.0)}
    assert same_bits(ours(method, tensors, 0, each=each), theirs(method, tensors, 0, each=each))


@pytest.mark.parametrize("method", ["ties", "breadcrumbs_ties", "dare_ties", "dare_linear"])
@pytest.mark.parametrize("size", [96, 1000, 40_000])
def test_a_cut_changes_at_most_a_step_where_there_is_a_sum(method, size):
    tensors, each = models(3, 500, 96), {"weight": (0, 0.6, 0.3), "density": (0, 0.5, 0.2)}
    whole = ours(method, tensors, 0, each=each)
    cut = ours(method, tensors, 0, each=each, size=size)
    assert (cut - whole).abs().max() <= (1e-6 if method.startswith("dare") else 0)


@pytest.mark.parametrize("method", ["della", "della_linear"])
@pytest.mark.parametrize("size", [96, 960, 100])
def test_ranks_are_of_whole_rows_however_they_are_cut(method, size):
    tensors, each = models(3, 50, 96), {"weight": (0, 0.6, 0.3), "density": (0, 0.5, 0.2), "epsilon": (0, 0.1, 0.1)}
    whole = ours(method, tensors, 0, each=each)
    assert (ours(method, tensors, 0, each=each, size=size) - whole).abs().max() < 1e-6


def test_ties_at_the_threshold_are_few_and_the_only_difference():
    """bf16 fine-tunes of one model: mergekit's sort takes any of the equal ones, we take the first"""
    tensors = [each.float() for each in models(3, 200, 256, dtype=torch.bfloat16)]
    each = {"weight": (0, 0.6, 0.3), "density": (0, 0.5, 0.5)}
    differ = ours("ties", tensors, 0, each=each) != theirs("ties", tensors, 0, each=each)
    assert differ.float().mean() < 0.02
    at_threshold = torch.zeros_like(differ)
    for model in tensors[1:]:
        moved = (model - tensors[0]).abs()
        at_threshold |= moved == moved.view(-1).sort(descending=True).values[moved.numel() // 2 - 1]
    assert not (differ & ~at_threshold).any()


def test_as_much_magnitude_remains_as_there_was():
    tensors, each = models(2, 300, 300), {"weight": (0, 1), "density": (0, 0.3)}
    result = ours("dare_linear", tensors, 0, each=each, size=9000)
    moved, before = ((each - tensors[0]).abs() for each in (result, tensors[1]))
    assert moved.sum().item() == pytest.approx(before.sum().item(), rel=1e-5)
    assert (moved == 0).float().mean().item() == pytest.approx(0.7, abs=0.01)


def test_a_seed_makes_another_product():
    tensors, each = models(2, 30, 30), {"weight": (0, 1), "density": (0, 0.3)}
    one, other = (ours("dare_linear", tensors, 0, each=each, masks=Philox(seed, "a")) for seed in (1, 2))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("method", ["ties", "breadcrumbs", "della_linear", "dare_ties"])
def test_not_a_number_does_not_vanish(method):
    tensors, each = models(2, 20, 30), {"weight": (0, 1), "density": (0, 0.3)}
    tensors[1][3, 4] = torch.nan
    result = ours(method, tensors, 0, each=each, rescale=False)
    assert result.isnan().nonzero().tolist() == [[3, 4]]


def test_the_base_alone_is_the_product():
    (base,) = models(1, 3, 4)
    assert same_bits(ours("ties", [base], 0, each={"weight": (1,), "density": (0.5,)}), base)
