"""Versions: listed, found, and what each holds"""

import pytest
import sqlalchemy as sa

from artifactstore.catalog.batches import CHUNK
from artifactstore.catalog.tables import artifact
from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.errors import Invalid, NotFound
from artifactstore.core.lineage import Link, Relation
from artifactstore.core.names import AliasName, ArtifactName
from tests.contract.catalog import LATEST, manifest_of, retire, save


@pytest.fixture
def three(catalog):
    made = [
        save(catalog, manifest_of(b"123", name="org/a", created=30, step=1), aliases=(LATEST,), metrics={"loss": 0.5}),
        save(catalog, manifest_of(b"1", name="org/b", created=10, step=3, request_id="r")),
        save(catalog, manifest_of(b"12", name="org/a", created=20, request_id="r"), aliases=(AliasName("best"),)),
    ]
    return [one.version.id for one in made]


def refs(found):
    return [one.ref for one in found]


def test_they_are_listed_in_any_order_with_what_is_missing_last(catalog, three):
    catalog.versions.loaded(three[1], 9)
    orders = {
        "created:desc": ["org/a:1", "org/a:2", "org/b:1"],
        "created": ["org/b:1", "org/a:2", "org/a:1"],
        "size:desc": ["org/a:1", "org/a:2", "org/b:1"],
        "step:desc": ["org/b:1", "org/a:1", "org/a:2"],
        "step:asc": ["org/a:1", "org/b:1", "org/a:2"],
        "name": ["org/a:1", "org/a:2", "org/b:1"],
        "loaded": ["org/b:1", "org/a:1", "org/a:2"],
    }
    assert {sort: refs(catalog.versions.list(sort=sort)) for sort in orders} == orders


@pytest.mark.parametrize("sort", ["", "color", "size:up", "created;drop"])
def test_an_unknown_order_names_the_known_ones(sqlite_catalog, sort):
    with pytest.raises(Invalid, match="created, taken"):
        sqlite_catalog.versions.list(sort=sort)


def test_a_pattern_and_a_limit_narrow_the_list(catalog, three):
    assert refs(catalog.versions.list(glob="org/a")) == ["org/a:1", "org/a:2"]
    assert refs(catalog.versions.list(glob="*/[bc]")) == ["org/b:1"]
    assert refs(catalog.versions.list(glob="ORG/*")) == []
    assert refs(catalog.versions.list(limit=2)) == ["org/a:1", "org/a:2"]
    assert refs(catalog.versions.list(glob="*b", limit=0)) == []
    with pytest.raises(Invalid):
        catalog.versions.list(limit=-1)


def test_a_pattern_may_allow_very_many_artifacts(catalog, three):
    names = [{"name": f"many/{number}"} for number in range(CHUNK + 5)]
    catalog.database.write(lambda connection: connection.execute(sa.insert(artifact), names))
    save(catalog, manifest_of(b"m", name="many/3"))
    assert refs(catalog.versions.list(glob="many/*")) == ["many/3:1"]
    assert refs(catalog.versions.list(glob="*", limit=2)) == ["org/a:1", "org/a:2"]


def test_aliases_and_metrics_stand_beside_each(catalog, three):
    found = {one.ref: one for one in catalog.versions.list()}
    assert found["org/a:1"].aliases == ("latest",)
    assert found["org/a:1"].metrics == {"loss": 0.5}
    assert found["org/a:2"].aliases == ("best",)
    assert found["org/b:1"].aliases == ()
    assert catalog.versions.get(three[0]) == found["org/a:1"]


def test_a_retired_version_is_not_found(catalog, three):
    retire(catalog, three[2])
    assert refs(catalog.versions.list()) == ["org/a:1", "org/b:1"]
    with pytest.raises(NotFound):
        catalog.versions.get(three[2])
    assert catalog.versions.by_request("r").ref == "org/b:1"


def test_what_a_retired_version_held_is_still_told(catalog, three):
    links = (Link(Relation.FINETUNE, "org/a:1", three[0]),)
    gone = save(catalog, manifest_of(b"g", metadata={"k": 1}, parents=links, dtype="F32")).version.id
    about = (catalog.versions.files, catalog.versions.metadata, catalog.versions.tensors, catalog.versions.parents)
    before = [look(gone) for look in about]
    assert all(before)
    retire(catalog, gone)
    assert [look(gone) for look in about] == before
    assert catalog.versions.children(gone) == []
    for look in (*about, catalog.versions.children):
        with pytest.raises(NotFound):
            look(Digest.of(b"none"))


def test_the_newest_commit_of_a_request_counts(catalog, three):
    assert catalog.versions.by_request("r").ref == "org/a:2"
    assert catalog.versions.by_request("r", "org/b*").ref == "org/b:1"
    assert catalog.versions.by_request("r", "none/*") is None
    assert catalog.versions.by_request("R") is None


def test_files_and_tensors_of_a_version(catalog):
    done = save(catalog, manifest_of(b"12", dtype="BF16", path="sub/model.safetensors"))
    [file] = catalog.versions.files(done.version.id)
    assert (file.path, file.size, file.sha256, file.format) == (
        "sub/model.safetensors",
        2,
        Sha256.of(b"12"),
        "safetensors",
    )
    [summary] = catalog.versions.tensors(done.version.id)
    assert (summary.dtype, summary.count, summary.nbytes) == ("BF16", 1, 2)


def test_metadata_comes_back_as_it_was_given(catalog):
    given = {"note": "ü", "nested": {"list": [1, 2.5, None, True]}}
    done = save(catalog, manifest_of(b"1", metadata=given))
    assert catalog.versions.metadata(done.version.id) == given
    with pytest.raises(NotFound):
        catalog.versions.metadata(Digest.of(b"none"))


def test_links_up_and_down(catalog, three):
    links = (
        Link(Relation.MERGE, "org/a:1", three[0], 0.25, {"method": "ties"}),
        Link(Relation.MERGE, "hf://elsewhere", None, 0.75),
    )
    child = save(catalog, manifest_of(b"c", name="org/c", parents=links)).version.id
    first, second = catalog.versions.parents(child)
    assert (first.child, first.position, first.relation, first.ref) == (child, 0, "merge", "org/a:1")
    assert (first.parent, first.weight, first.params, first.declared) == (three[0], 0.25, {"method": "ties"}, False)
    assert (second.position, second.parent, second.ref, second.params) == (1, None, "hf://elsewhere", {})
    assert catalog.versions.children(three[0]) == [first]
    assert catalog.versions.children(child) == catalog.versions.parents(three[0]) == []


def test_versions_that_hold_a_file_or_need_a_blob(catalog, three):
    save(catalog, manifest_of(b"1", b"more", name="org/a"))
    one, other = Digest.of(b"1"), Digest.of(b"123")
    assert refs(catalog.versions.holding(Sha256.of(b"1"))) == ["org/b:1"]
    assert catalog.versions.holding(Sha256.of(b"none")) == []
    assert catalog.versions.with_blobs([one, other, Digest.of(b"none")]) == {
        one: ["org/a:3", "org/b:1"],
        other: ["org/a:1"],
    }
    assert catalog.versions.with_blobs([]) == {}
    assert [catalog.versions.get(found).ref for found in catalog.versions.ids_with_blob(one)] == ["org/b:1", "org/a:3"]


def test_references_of_ids_in_any_state(catalog, three):
    catalog.retirements.retire({three[0]: "test"})
    assert catalog.versions.refs([three[0], three[1], Digest.of(b"none")]) == {three[0]: "org/a:1", three[1]: "org/b:1"}
    assert catalog.versions.refs([]) == {}


def test_the_place_of_a_manifest(catalog):
    done = save(catalog, manifest_of(b"1"))
    place = catalog.versions.manifest_place(done.version.id)
    assert (place.digest, place.state, place.start) == (done.version.id, "live", 0)
    assert place.key == f"manifests/xx/{place.digest}.{place.inc}.json"
    with pytest.raises(NotFound):
        catalog.versions.manifest_place(Digest.of(b"none"))


def test_loading_is_remembered(catalog, three):
    assert catalog.versions.get(three[0]).last_load is None
    for at in (7, 9):
        catalog.versions.loaded(three[0], at)
    assert catalog.versions.get(three[0]).last_load == 9
    with pytest.raises(NotFound):
        catalog.versions.loaded(Digest.of(b"none"), 1)


def test_names_that_match_exactly_only(catalog, three):
    assert refs(catalog.versions.list(glob=ArtifactName("org/b"))) == ["org/b:1"]
