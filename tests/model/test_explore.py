"""The explorer finds what there is to find, by the shortest way"""

import pytest

from tests.model.explore import explore


def dial(state):
    """Three digits, each turned on by one"""
    for at in range(3):
        yield ("turn", at), (*state[:at], (state[at] + 1) % 4, *state[at + 1 :])


def test_it_sees_every_state_once():
    report = explore([(0, 0, 0)], dial, lambda state: None)
    assert (report.states, report.steps, report.depth, report.problem) == (64, 192, 9, None)
    assert report.names == {"turn"}


def test_a_trace_is_the_shortest_and_leads_there():
    report = explore([(0, 0, 0)], dial, lambda state: "open" if state == (1, 0, 2) else None)
    assert report.problem == "open"
    assert len(report.trace) == 3
    state = (0, 0, 0)
    for label in report.trace:
        state = dict(dial(state))[label]
    assert state == report.last == (1, 0, 2)
    assert "turn 0" in str(report)


def test_a_start_may_be_wrong_already():
    report = explore([(0, 0, 0)], dial, lambda state: "locked")
    assert (report.states, report.trace) == (1, ())


def test_a_scope_without_end_is_refused():
    with pytest.raises(OverflowError, match="too large"):
        explore([0], lambda state: [(("up",), state + 1)], lambda state: None, limit=10)
