"""Rows: each row of each model is the token's, however the tensor is cut"""

from types import MappingProxyType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.recipe.vocabulary import Matched, VocabMap
from artifactstore.derive.rows import Rows, promoted


def reader(tensor):
    flat = tensor.reshape(-1)
    return lambda begin, end: flat[begin:end].clone()


def rows(vocabulary, tensors, dtype=torch.float32):
    reads = {model: reader(tensor) for model, tensor in tensors.items()}
    return Rows(vocabulary, reads, next(iter(tensors.values()))[0].numel(), dtype)


def laid(vocabulary, tensors, model, size=1 << 20, dtype=torch.float32):
    read = rows(vocabulary, tensors, dtype).read(model)
    width = next(iter(tensors.values()))[0].numel()
    total = vocabulary.size * width
    return torch.cat([read(at, min(at + size, total)) for at in range(0, total, size)]).view(-1, width)


def plain(vocabulary, tensors, model):
    """The rules row by row"""
    width = tensors[model].shape[1]
    result = torch.zeros(vocabulary.size, width)
    for row in range(vocabulary.tokens):
        own = vocabulary.own[model][row]
        if own >= 0:
            result[row] = tensors[model][own]
        elif vocabulary.given[row]:
            result[row] = sum(tensors[m][r] for m, r in vocabulary.given[row]) / len(vocabulary.given[row])
    result[vocabulary.tokens :] = result[: vocabulary.tokens].double().mean(dim=0).float()
    return result


held = st.lists(st.integers(-1, 9), min_size=1, max_size=40)


@given(held, held, st.integers(0, 5), st.integers(1, 50), st.integers(1, 3))
def test_any_layout(first, second, padding, size, width):
    count = min(len(first), len(second))
    matched = Matched((tuple(first[:count]), tuple(second[:count])), count + padding, {})
    vocabulary = matched.lay([0, 1], 0)
    tensors = {model: torch.randn(10, width) for model in (0, 1)}
    for model in (0, 1):
        expected = plain(vocabulary, tensors, model)
        assert torch.allclose(laid(vocabulary, tensors, model, size), expected, atol=1e-6)


def test_rows_far_apart_are_read_one_by_one():
    asked = []
    tensor = torch.randn(10_000, 4)

    def read(begin, end):
        asked.append(end - begin)
        return tensor.reshape(-1)[begin:end]

    own = (9_999, 0, 5_000)
    mine = Rows(VocabMap(3, 3, (own,), MappingProxyType({})), {0: read}, 4, torch.float32).read(0)
    assert torch.equal(mine(0, 12).view(3, 4), tensor[list(own)])
    assert sum(asked) == 12


def test_a_mean_is_rounded_as_it_is_added_up():
    tensors = {model: torch.randn(1, 64).bfloat16() for model in range(3)}
    vocabulary = VocabMap(1, 1, ((-1,),) * 3, MappingProxyType({0: ((0, 0), (1, 0), (2, 0))}))
    expected = (((torch.zeros(64).bfloat16() + tensors[0][0]) + tensors[1][0]) + tensors[2][0]) / 3
    assert torch.equal(laid(vocabulary, tensors, 1, dtype=torch.bfloat16)[0], expected)


def test_one_dimension_and_mixed_dtypes():
    vocabulary = VocabMap(3, 3, ((2, 0, -1), (0, 1, 2)), MappingProxyType({2: ((1, 2),)}))
    tensors = {0: torch.tensor([1.0, 2.0, 3.0]).half(), 1: torch.tensor([4.0, 5.0, 6.0])}
    assert promoted([torch.float16, torch.float32]) == torch.float32
    assert laid(vocabulary, tensors, 0).flatten().tolist() == [3.0, 1.0, 6.0]


def test_a_row_of_a_model_that_takes_no_part():
    vocabulary = VocabMap(1, 1, ((-1,), ()), MappingProxyType({0: ((1, 0),)}))
    with pytest.raises(Invalid, match="Row 0 is to be taken from model 1"):
        rows(vocabulary, {0: torch.randn(1, 4)})


def test_keys_tell_layouts_apart():
    own, other = ((0, 1, -1),), ((1, 0, -1),)
    maps = [
        VocabMap(3, 3, own, MappingProxyType({2: ()})),
        VocabMap(3, 3, other, MappingProxyType({2: ()})),
        VocabMap(3, 3, own, MappingProxyType({2: ((0, 1),)})),
        VocabMap(4, 3, own, MappingProxyType({2: ()})),
    ]
    keys = [str(rows(vocabulary, {0: torch.randn(3, 2)}).key(0)) for vocabulary in maps]
    assert len(set(keys)) == len(keys)


def test_nothing_is_read_for_nothing():
    vocabulary = VocabMap(2, 2, ((0, 1),), MappingProxyType({}))
    assert rows(vocabulary, {0: torch.randn(2, 2)}).read(0)(2, 2).shape == (0,)
