"""Memos of the catalog"""

from artifactstore.core.digest import Digest

ONE, TWO = Digest.of(b"1"), Digest.of(b"2")


def test_what_is_put_is_there(catalog):
    assert catalog.memos.get([ONE, TWO]) == {}
    catalog.memos.put({ONE: b"one", TWO: b"two"})
    assert catalog.memos.get([ONE]) == {ONE: b"one"}
    catalog.memos.put({ONE: b"other"})
    assert catalog.memos.get([ONE, TWO]) == {ONE: b"other", TWO: b"two"}


def test_many_at_once(catalog):
    many = {Digest.of(str(n).encode()): str(n).encode() for n in range(1203)}
    catalog.memos.put(many)
    assert catalog.memos.get(many) == many


def test_the_first_value_stays(catalog):
    assert catalog.memos.first(ONE, b"a") == b"a"
    assert catalog.memos.first(ONE, b"b") == b"a"


def test_nothing_to_put_writes_nothing(catalog):
    before = list(catalog.dump())
    catalog.memos.put({})
    assert list(catalog.dump()) == before
