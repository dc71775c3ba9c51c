"""Keys: exactly what differs, from one document to the other and back"""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artifactstore.core.keys import Keys, compare, parse
from tests.core.manifests import json_values

documents = st.dictionaries(st.sampled_from(["a", "b", "a.b", "", '"']), json_values, max_size=4)


def text(value):
    return json.dumps(value, sort_keys=True)


@given(documents, documents)
@example({"a": 1}, {"a": True})
@example({"a": 1}, {"a": 1.0})
def test_what_differs_one_way_differs_the_other_way(old, new):
    there, back = compare(old, new), compare(new, old)
    assert set(map(text, there.added)) == set(map(text, back.removed))
    assert set(map(text, there.removed)) == set(map(text, back.added))
    assert {text(one) for one in there.changed} == {text((path, old, new)) for path, new, old in back.changed}
    assert bool(there) == (text(old) != text(new))


@given(documents, documents)
def test_paths_lead_to_the_values(old, new):
    found = compare(old, new)
    for path, value in found.added:
        assert value == follow(new, path)
    for path, value in found.removed:
        assert value == follow(old, path)
    for path, before, after in found.changed:
        assert (before, after) == (follow(old, path), follow(new, path))


def follow(value, path):
    while path:
        if path[0] == '"':
            part, end = json.JSONDecoder().raw_decode(path)
        else:
            part, end = path.partition(".")[0], len(path.partition(".")[0])
        value = value[int(part)] if isinstance(value, list) else value[part]
        path = path[end + 1 :]
    return value


def test_added_and_removed_parts_are_told_whole():
    old = {"model": {"hidden": 8, "bits": {"low": 4}}, "names": ["a", "b"]}
    new = {"model": {"hidden": 16}, "names": ["a", "c", "d"], "x": None}
    assert compare(old, new).to_json() == {
        "added": [{"key": "names.2", "value": "d"}, {"key": "x", "value": None}],
        "removed": [{"key": "model.bits", "value": {"low": 4}}],
        "changed": [{"key": "model.hidden", "old": 8, "new": 16}, {"key": "names.1", "old": "b", "new": "c"}],
        "omitted": 0,
    }


def test_a_value_of_another_kind_is_a_change():
    assert compare({"a": {}}, {"a": []}) == Keys(changed=(("a", {}, []),))
    assert not compare({"a": {}}, {"a": {}})


def test_keys_that_would_break_a_path_are_quoted_and_long_ones_cut():
    found = compare({}, {"a.b": 1, "": 2, 'q"': 3, "k" * 500: 4})
    assert [path for path, _ in found.added] == ['"a.b"', '""', '"q\\""', "k" * 200 + "…"]


def test_of_too_many_changes_the_rest_is_counted():
    found = compare({}, {str(n): n for n in range(12_345)})
    assert (len(found.added), found.omitted) == (10_000, 2345)


def test_what_is_read_can_be_written():
    read = parse(b'\xef\xbb\xbf{"a": NaN, "b": -Infinity, "c": 1e999, "d": 1.5}')
    assert read == {"a": "NaN", "b": "-Infinity", "c": "1e999", "d": 1.5}
    assert json.dumps(read, allow_nan=False)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"1", b'"a"', b"null", b"\xff", b'{"a": 1}x', b"[" * 101 + b"]" * 101, b"[" * 100_000, b"9" * 5000],
)
def test_what_is_no_document_is_none(raw):
    assert parse(raw) is None


def test_a_document_may_be_nested_deeper_than_any_configuration():
    assert parse(b"[" * 99 + b"]" * 99)
