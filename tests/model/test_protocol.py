"""Every interleaving of small casts, with crashes, pauses and lost leases anywhere, keeps every rule"""

import os
from functools import cache

import pytest

from tests.model.explore import explore
from tests.model.scopes import LARGE, SCOPES
from tests.model.steps import STEPS


@cache
def explored(scope):
    report = explore(scope.starts(), scope.steps, scope.check)
    print(f"{scope.name}: {report}")
    return report


@pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: scope.name)
def test_no_interleaving_breaks_a_rule(scope):
    assert explored(scope).problem is None, str(explored(scope))


@pytest.mark.slow
@pytest.mark.skipif("SOAK" not in os.environ, reason="minutes; make soak runs it")
@pytest.mark.parametrize("scope", LARGE, ids=lambda scope: scope.name)
def test_no_interleaving_of_a_larger_cast_breaks_a_rule(scope):
    assert explored(scope).problem is None, str(explored(scope))


def test_every_step_happens_somewhere():
    assert set().union(*(explored(scope).names for scope in SCOPES)) == set(STEPS)
