"""Space: what does not fit is told before it is begun"""

import pytest

from artifactstore.core.errors import NoSpace
from artifactstore.ops.transfer.space import check_space


def test_what_does_not_fit_is_told_with_both_numbers(tmp_path):
    check_space(1, tmp_path)
    with pytest.raises(NoSpace, match="make room or go elsewhere") as caught:
        check_space(1 << 62, tmp_path)
    assert caught.value.facts["free"] < caught.value.facts["need"] == 1 << 62
