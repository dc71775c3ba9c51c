"""What a bundle says of itself"""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.bundle import (
    MAX_PARTS,
    Binding,
    Carried,
    Holdings,
    Label,
    Named,
    Seal,
    count_parts,
    incarnation,
    part_name,
    to_record,
    txid,
)
from artifactstore.core.digest import Digest, check_incarnation
from artifactstore.core.errors import Invalid
from artifactstore.core.names import AliasName, ArtifactName
from artifactstore.core.record import Record

A, B = Digest.of(b"a"), Digest.of(b"b")
DIGESTS = st.binary(min_size=32, max_size=32).map(Digest)
HERO = Carried(
    A,
    ArtifactName("studio/hero"),
    3,
    1_760_000_000_000_000,
    {"loss": 0.5, "bad": math.nan},
    (AliasName("prod"),),
    (Binding(0, B, "hash"),),
)


def text(holdings):
    return "\n".join(holdings.lines()).encode()


@given(st.lists(DIGESTS, max_size=5))
def test_holdings_are_read_as_they_were_written(versions):
    holdings = Holdings("ab" * 16, tuple(versions))
    assert Holdings.parse(text(holdings)) == holdings


def test_holdings_of_many_versions_stay_small():
    holdings = Holdings("ab" * 16, tuple(Digest.of(b"%d" % n) for n in range(10_000)))
    assert len(text(holdings)) < 70 * 10_000


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "does not say"),
        (b'{"kind": "artstore bundle"}', "does not say"),
        (b'{"kind": "artstore have", "format": 1}', "unknown or missing keys"),
        (b'{"kind": "artstore have", "format": 1, "store": "a", "versions": ["x"]}', "64 lower-case hex"),
        (b'{"kind": "artstore have", "format": 1, "store": "a", "versions": 1}', "not iterable"),
        (b'{"kind": "artstore have", "format": 1, "store": "", "versions": []}', "a text is none"),
    ],
)
def test_what_is_no_holdings_is_refused(raw, message):
    with pytest.raises(Invalid, match=message):
        Holdings.parse(raw)


def test_a_newer_format_asks_for_an_upgrade():
    with pytest.raises(Invalid, match="upgrade") as caught:
        Holdings.parse(b'{"kind": "artstore have", "format": 2, "store": "a", "versions": []}')
    assert caught.value.code == "invalid.format"


@given(st.lists(DIGESTS, max_size=4, unique=True), st.lists(DIGESTS, max_size=4, unique=True))
def test_a_label_is_read_as_it_was_written(versions, base):
    label = Label("ab" * 16, tuple(Named(one, "hero:1") for one in versions), tuple(Named(one, "x:2") for one in base))
    assert Label.parse(label.to_bytes()) == label


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found | {"more": 1},
        lambda found: found | {"versions": [[str(A), "a:1"], [str(A), "a:1"]]},
        lambda found: found | {"versions": [[str(A)]]},
        lambda found: found | {"base": [[str(A), "a\nb"]]},
        lambda found: found | {"base": {}},
        lambda found: found | {"kind": "another"},
    ],
)
def test_a_label_that_says_anything_else_is_refused(change):
    found = json.loads(Label("ab" * 16, (Named(A, "a:1"),)).to_bytes())
    with pytest.raises(Invalid):
        Label.parse(json.dumps(change(found), sort_keys=True, separators=(",", ":")).encode())


def test_a_label_in_another_form_is_refused():
    with pytest.raises(Invalid, match="canonical"):
        Label.parse(Label("ab" * 16, ()).to_bytes() + b"\n")


def test_a_record_is_one_of_a_journal():
    raw = to_record("c" * 32, 2, HERO.taken, HERO.actions([B, A]))
    record = Record.parse(raw)
    assert (record.serial, record.txid, record.previous) == (2, txid("c" * 32, 2), txid("c" * 32, 1))
    version, metric, link, alias = record.actions
    assert version["blobs"] == [[str(B), incarnation(B), "set"], [str(A), incarnation(A), "set"]]
    assert metric["metrics"] == {"bad": "nan", "loss": 0.5}
    assert (link["parent"], link["position"], link["evidence"]) == (str(B), 0, "hash")
    assert (alias["alias"], alias["generation"]) == ("prod", 1)
    assert HERO.named == (A, "studio/hero:3")


def test_the_first_record_follows_nothing():
    assert Record.parse(to_record("c" * 32, 1, 0, [])).previous is None


def seal(*records, label=None):
    made = Seal()
    for serial, (at, actions) in enumerate(records, 1):
        made.add(serial, at, actions)
    return made.close(label or Label("ab" * 16, ()))


def test_the_names_of_store_and_catalog_follow_from_all_that_is_said():
    one = (1, HERO.actions([B]))
    names = {
        seal(one),
        seal((2, one[1])),
        seal((1, HERO.actions([A]))),
        seal(one, one),
        seal(one, label=Label("b", ())),
    }
    assert len(names) == 5
    assert seal(one) == seal(one)
    assert all(len(name) == 32 for pair in names for name in pair)


def test_the_size_of_a_record_is_known_before_its_names():
    actions = HERO.actions([A, B])
    assert Seal().add(12, 5, actions) == len(to_record("c" * 32, 12, 5, actions))


@given(DIGESTS)
def test_an_incarnation_in_a_bundle_follows_from_the_digest(digest):
    assert check_incarnation(incarnation(digest)) == incarnation(Digest(bytes(digest)))
    assert incarnation(digest) != digest.hex()[:16]


def test_parts_are_counted_and_numbered():
    assert [count_parts(10, part) for part in (None, 3, 5, 10, 11)] == [1, 4, 2, 1, 1]
    assert [part_name("x.tar", number) for number in (1, 12)] == ["x.tar.001", "x.tar.012"]


@pytest.mark.parametrize("part", [0, -1, 1])
def test_parts_that_would_be_too_many_are_refused(part):
    with pytest.raises(Invalid, match=f"more than {MAX_PARTS} files"):
        count_parts(MAX_PARTS + 1, part)
