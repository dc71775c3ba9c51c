"""Aliases: moved by compare and set, remembered, journaled"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.core.digest import Digest
from artifactstore.core.errors import Conflict, Invalid, NotFound
from artifactstore.core.names import AliasName, ArtifactName
from tests.contract.catalog import bodies, check_chain, manifest_of, retire, save

NAME = ArtifactName("org/m")
PROD, BEST = AliasName("prod"), AliasName("best")


@pytest.fixture
def ids(catalog):
    return [save(catalog, manifest_of(b"%d" % number)).version.id for number in range(3)]


def test_each_move_counts_and_is_remembered(catalog, ids):
    for number in (0, 1, 0):
        catalog.aliases.set(NAME, PROD, ids[number])
    info = catalog.aliases.get(NAME, PROD)
    assert (info.version, info.generation) == (ids[0], 3)
    moves = catalog.aliases.history(NAME, PROD)
    assert [(move.generation, move.version) for move in moves] == [(3, ids[0]), (2, ids[1]), (1, ids[0])]
    assert moves[0] == info
    assert [body["actions"][0]["generation"] for body in bodies(catalog)[3:]] == [1, 2, 3]
    check_chain(catalog)


def test_pointing_where_it_points_is_no_move(catalog, ids):
    first = catalog.aliases.set(NAME, PROD, ids[0])
    assert catalog.aliases.set(NAME, PROD, ids[0], expected=1) == first
    assert len(bodies(catalog)) == 4


def test_compare_and_set(catalog, ids):
    catalog.aliases.set(NAME, PROD, ids[0], expected=0)
    catalog.aliases.set(NAME, PROD, ids[1], expected=1)
    for expected in (0, 1, 3, -1, 1 << 70):
        with pytest.raises(Conflict) as caught:
            catalog.aliases.set(NAME, PROD, ids[2], expected=expected)
        assert (caught.value.facts["expected"], caught.value.facts["actual"]) == (expected, 2)
    assert catalog.aliases.get(NAME, PROD).version == ids[1]


def test_a_removed_alias_is_gone_and_its_count_goes_on(catalog, ids):
    catalog.aliases.set(NAME, PROD, ids[0])
    removed = catalog.aliases.remove(NAME, PROD)
    assert (removed.version, removed.generation) == (None, 2)
    with pytest.raises(NotFound):
        catalog.aliases.get(NAME, PROD)
    with pytest.raises(NotFound):
        catalog.aliases.remove(NAME, PROD)
    assert catalog.aliases.list() == []
    assert catalog.aliases.set(NAME, PROD, ids[0], expected=2).generation == 3
    assert [move.version for move in catalog.aliases.history(NAME, PROD)] == [ids[0], None, ids[0]]
    assert bodies(catalog)[4]["actions"] == [
        {"do": "alias", "artifact": "org/m", "alias": "prod", "version": None, "generation": 2}
    ]


def test_it_names_a_version_that_is_here_and_of_its_artifact(catalog, ids):
    other = save(catalog, manifest_of(b"x", name="org/n")).version.id
    with pytest.raises(Invalid, match="another artifact"):
        catalog.aliases.set(NAME, PROD, other)
    with pytest.raises(NotFound):
        catalog.aliases.set(NAME, PROD, Digest.of(b"none"))
    with pytest.raises(NotFound):
        catalog.aliases.set(ArtifactName("no/such"), PROD, ids[0])
    retire(catalog, ids[2])
    with pytest.raises(NotFound):
        catalog.aliases.set(NAME, PROD, ids[2])
    assert catalog.aliases.list() == []


def test_they_are_listed_by_name(catalog, ids):
    other = save(catalog, manifest_of(b"x", name="a")).version.id
    for name, alias, target in ((NAME, PROD, ids[0]), (NAME, BEST, ids[1]), (ArtifactName("a"), PROD, other)):
        catalog.aliases.set(name, alias, target)
    assert [(one.artifact, one.name) for one in catalog.aliases.list()] == [
        ("a", "prod"),
        ("org/m", "best"),
        ("org/m", "prod"),
    ]
    assert [one.name for one in catalog.aliases.list(NAME)] == ["best", "prod"]
    assert catalog.aliases.list(ArtifactName("none")) == catalog.aliases.history(NAME, AliasName("none")) == []


def test_any_history_leads_where_a_plain_table_leads(sqlite_catalog):
    ids = [save(sqlite_catalog, manifest_of(b"%d" % number)).version.id for number in range(3)]
    names = st.sampled_from([PROD, BEST])
    held: dict[AliasName, Digest] = {}
    moves: dict[AliasName, int] = {}

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.tuples(names, st.none() | st.sampled_from(ids)), max_size=8))
    def holds(steps):
        for name, target in steps:
            if target is not None:
                sqlite_catalog.aliases.set(NAME, name, target, expected=moves.get(name, 0))
            elif name in held:
                sqlite_catalog.aliases.remove(NAME, name)
            if held.get(name) != target:
                moves[name] = moves.get(name, 0) + 1
            held.pop(name, None)
            held.update({name: target} if target is not None else {})
            assert {one.name: one.version for one in sqlite_catalog.aliases.list()} == held
            assert len(sqlite_catalog.aliases.history(NAME, name)) == moves.get(name, 0)

    holds()
    check_chain(sqlite_catalog)
