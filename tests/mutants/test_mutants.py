"""Each seeded mistake still finds the place it belongs to, and the test it is for"""

import ast
from functools import cache

import pytest

from tests.house.tree import ROOT, modules, parsed
from tests.mutants.mutants import MUTANTS


@cache
def names_of_tests():
    """Of classes and functions; a class may have its tests from a contract in another file"""
    nodes = (node for path in modules("tests") for node in ast.walk(parsed(path)))
    return {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef)}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mistake_fits_the_code(mutant):
    ast.parse(mutant.seed((ROOT / mutant.file).read_text()))
    file, *names = mutant.test.split("[")[0].split("::")
    assert (ROOT / file).exists()
    assert set(names) <= names_of_tests()
