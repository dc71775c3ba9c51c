"""Masks: chance that is the same wherever one begins, and as likely as was said"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.derive.kernels.masks import Philox


@given(begin=st.integers(0, 10_000), count=st.integers(0, 500), chance=st.floats(0, 1))
def test_a_draw_does_not_follow_from_where_it_begins(begin, count, chance):
    chances = torch.full((1,), chance, dtype=torch.float64).expand(10_500)
    whole = Philox(7, "layer").draw(0, 0, chances)
    part = Philox(7, "layer").draw(0, begin, chances[:count])
    assert torch.equal(part, whole[begin : begin + count])


@given(chance=st.floats(0, 1), begin=st.integers(0, 2**40))
def test_one_chance_for_all_is_the_chance_of_each(chance, begin):
    one = torch.full((1,), chance, dtype=torch.float64).expand(100)
    assert torch.equal(Philox(7, "layer").draw(1, begin, one), Philox(7, "layer").draw(1, begin, one.contiguous()))


@pytest.mark.parametrize("chance", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_as_many_are_kept_as_was_said(chance):
    count = 1_000_000
    kept = Philox(3, "layer").draw(0, 0, torch.full((1,), chance).expand(count)).sum().item()
    # five standard deviations
    assert abs(kept - chance * count) <= 5 * (count * chance * (1 - chance)) ** 0.5


def test_seed_name_and_source_each_make_another_mask():
    chances = torch.full((1,), 0.5).expand(1000)
    others = [Philox(1, "a").draw(0, 0, chances), Philox(2, "a").draw(0, 0, chances)]
    others += [Philox(1, "b").draw(0, 0, chances), Philox(1, "a").draw(1, 0, chances)]
    for number, one in enumerate(others):
        for other in others[:number]:
            # of two unrelated masks half the elements agree
            assert 400 < (one == other).sum() < 600


def test_the_numbers_stay_what_they_were():
    """What was merged with a seed once is to be merged so in ten years"""
    assert Philox(0, "model.embed_tokens.weight").numbers(0, 5, 6).tolist() == [
        2054417779,
        4265168775,
        1928843553,
        2788077697,
        3809765634,
        304747895,
    ]
