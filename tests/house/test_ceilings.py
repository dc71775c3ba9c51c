"""Ceilings: no room grows past what one head holds"""

import statistics

import pytest

from tests.house.tree import PARTS, ROOT, functions, length, modules


@pytest.mark.parametrize("path", modules(*PARTS), ids=str)
def test_a_file_has_at_most_500_lines(path):
    assert len((ROOT / path).read_bytes().splitlines()) <= 500


@pytest.mark.parametrize("path", modules("artifactstore", "cli", "models"), ids=str)
def test_a_function_has_at_most_50_lines(path):
    assert not {function.name: length(function) for function in functions(path) if length(function) > 50}


def test_half_of_the_functions_have_at_most_10_lines():
    lengths = [length(function) for path in modules("artifactstore") for function in functions(path)]
    assert len(lengths) > 100
    assert statistics.median(lengths) <= 10
