"""Every interleaving of small casts, with crashes, pauses and lost leases anywhere, keeps every rule"""

import os

import pytest

from tests.model.explore import explore
from tests.model.scopes import LARGE, SCOPES


def check(scope):
    report = explore(scope.starts(), scope.steps, scope.check)
    print(f"{scope.name}: {report}")
    assert report.problem is None, str(report)


@pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: scope.name)
def test_no_interleaving_breaks_a_rule(scope):
    check(scope)


@pytest.mark.slow
@pytest.mark.skipif("SOAK" not in os.environ, reason="minutes; make soak runs it")
@pytest.mark.parametrize("scope", LARGE, ids=lambda scope: scope.name)
def test_no_interleaving_of_a_larger_cast_breaks_a_rule(scope):
    check(scope)
