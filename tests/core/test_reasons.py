"""Reasons: texts that know their ground"""

import copy
import json
import pickle

from artifactstore.core.reasons import Ground, Reason


def test_a_reason_is_its_text():
    reason = Reason(Ground.ALIAS, "alias prod")
    assert reason == "alias prod"
    assert (reason.ground, hash(reason), json.dumps([reason])) == ("alias", hash("alias prod"), '["alias prod"]')
    assert f"{reason}; {reason}" == "alias prod; alias prod"


def test_a_copy_keeps_its_ground():
    reason = Reason(Ground.PIN, "pinned: paper")
    for other in (pickle.loads(pickle.dumps(reason)), copy.copy(reason), copy.deepcopy(reason)):
        assert (other, other.ground, type(other)) == (reason, Ground.PIN, Reason)
