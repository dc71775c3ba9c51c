"""Events: values a monitor receives"""

import pickle

import pytest

from artifactstore.core.events import Progress, Step, Warn, silent


@pytest.mark.parametrize("event", [Step("add.d.before"), Progress("write", 1, 2), Warn("Late")])
def test_an_event_travels_to_another_process_and_is_hashable(event):
    assert {pickle.loads(pickle.dumps(event))} == {event}
    assert silent(event) is None
