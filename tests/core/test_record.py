"""Records: canonical bytes of this format only, every field of the right type"""

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.record import Record
from tests.core.manifests import json_values, text

GOOD = {
    "format": 1,
    "catalog": "c",
    "serial": 2,
    "txid": "0" * 32,
    "previous": "1" * 32,
    "at": 7,
    "actions": [{"do": "version", "x": [1.5, 1e17, None]}],
}


def raw(**changes) -> bytes:
    return rfc8785.dumps({key: value for key, value in (GOOD | changes).items() if value is not ...})


def test_a_record_says_what_it_says():
    record = Record.parse(raw())
    assert (record.catalog, record.serial, record.txid, record.previous, record.at) == ("c", 2, "0" * 32, "1" * 32, 7)
    assert (record.actions, record.raw) == (tuple(GOOD["actions"]), raw())
    assert Record.parse(raw(previous=None)).previous is None


@given(st.lists(st.dictionaries(text, json_values, max_size=3).map(lambda action: {**action, "do": "x"}), max_size=3))
def test_whatever_actions_hold_comes_back(actions):
    assert Record.parse(raw(actions=actions)).actions == tuple(actions)


@pytest.mark.parametrize(
    "changes",
    [
        {"serial": "2"},
        {"serial": True},
        {"serial": 1.5},
        {"serial": ...},
        {"at": None},
        {"catalog": 1},
        {"catalog": ""},
        {"txid": None},
        {"previous": 3},
        {"actions": {}},
        {"actions": ["x"]},
        {"actions": [{"x": 1}]},
        {"actions": [{"do": 1}]},
        {"more": 1},
    ],
)
def test_a_wrong_field_is_invalid(changes):
    with pytest.raises(Invalid, match="Not a record") as caught:
        Record.parse(raw(**changes))
    assert caught.value.code == "invalid.record"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"a": 1}',
        b"[" * 100_000,
        raw()[:-1],
        raw() + b"\n",
        raw().replace(b'"c"', b'"\\u0063"'),
        raw().replace(b":2,", b":2.0,"),
        raw().replace(b":7,", b": 7,"),
        raw().replace(b"1.5", b"NaN"),
        raw().replace(b'"at":7', b'"at":7,"at":7'),
    ],
)
def test_other_bytes_are_no_record(data):
    with pytest.raises(Invalid):
        Record.parse(data)


@pytest.mark.parametrize("known", [2, 0, "1", 1.5, True, None])
def test_another_format_says_to_upgrade(known):
    with pytest.raises(Invalid, match="newer artifactstore") as caught:
        Record.parse(raw(format=known))
    assert caught.value.code == "invalid.format"
