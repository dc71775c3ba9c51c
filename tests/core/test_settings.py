"""Settings: what a caller may choose"""

from datetime import timedelta

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.core.settings import MIB, Settings


def test_defaults_are_those_of_the_design():
    assert Settings() == Settings(memory=512 * MIB, lease=timedelta(minutes=15), busy=timedelta(seconds=30))
    assert not Settings().offline


@pytest.mark.parametrize(
    "wrong",
    [
        {"memory": 0},
        {"memory": -1},
        {"lease": timedelta(0)},
        {"reserve": -1},
        {"cache_size": -1},
        {"retries": -1},
        {"busy": timedelta(seconds=-1)},
    ],
)
def test_numbers_without_meaning_are_refused(wrong):
    with pytest.raises(Invalid, match=next(iter(wrong))) as refusal:
        Settings(**wrong)
    assert refusal.value.code == "invalid.settings"


def test_zero_turns_off_what_may_be_off():
    assert Settings(reserve=0, retries=0, busy=timedelta(0)).retries == 0
