"""The error tree: kinds, codes, facts, and the way to another process"""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core import errors
from artifactstore.core.errors import StoreError

TREE = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, StoreError)]
CODES = st.from_regex(r"[a-z][a-z-]{0,20}", fullmatch=True) | st.just("")
FACTS = st.dictionaries(
    st.from_regex(r"[a-z]{1,8}", fullmatch=True).filter(lambda name: name not in {"message", "code", "self"}),
    st.integers() | st.text(),
)


def test_each_class_has_a_kind_of_its_own():
    kinds = [error.kind for error in TREE]
    assert len(set(kinds)) == len(kinds) == 14


def test_the_tree_at_the_head_of_the_file_is_the_tree():
    drawn = {line.strip("│├└─ ").split("  ")[0] for line in errors.__doc__.splitlines()[2:] if line.strip()}
    assert drawn == {error.__name__ for error in TREE}


@pytest.mark.parametrize("error", TREE[1:])
def test_a_kind_stands_in_the_drawing_beside_its_class(error):
    line = next(line for line in errors.__doc__.splitlines() if f" {error.__name__} " in line)
    assert line.split()[-1].removesuffix(".*") == error.kind


@pytest.mark.parametrize("error", TREE)
@given(message=st.text(), code=CODES, facts=FACTS)
def test_an_error_comes_back_from_another_process_as_it_was(error, message, code, facts):
    first = error(message, code=code, **facts)
    for second in (pickle.loads(pickle.dumps(first)), copy.copy(first), pickle.loads(pickle.dumps(copy.copy(first)))):
        assert type(second) is error
        assert (second.message, second.code, second.facts) == (message, first.code, facts)
        assert str(second) == message


def test_a_code_starts_with_its_kind():
    assert errors.NotFound("Gone", code="version", id="ab").code == "not-found.version"
    assert errors.NoStore("Gone").code == "no-store"
    assert errors.LeaseLost("Gone").code == "conflict.lease"
