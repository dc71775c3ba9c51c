"""What a bundle carries, told without a store"""

import os

import pytest

from artifactstore.blobs.tar import TarBlobs
from artifactstore.core.bundle import Holdings
from artifactstore.core.errors import Corrupt, NotFound, Refused
from artifactstore.core.events import Progress
from artifactstore.ops import bundle, inspect
from artifactstore.ops.transfer.signature import Signer
from tests.keys import make_pair


@pytest.fixture
def made(store, model, tmp_path):
    store.add([model], name="hero", aliases=["prod"], license="MIT")
    (model / "config.json").write_text("{}")
    store.add([model], name="hero")
    return tmp_path / "x.tar"


def make(store, path, *refs, have=(), signer=None):
    held = Holdings("ab" * 16, tuple(store.resolve(ref).id for ref in have))
    plan = bundle.plan(store.depot, [store.resolve(ref) for ref in refs], path, have=held)
    bundle.run(store.depot, plan, signer=signer)


def test_versions_licences_and_sizes_are_told(store, made):
    make(store, made, "hero:1", "hero:2")
    found = inspect.run(made)
    first, second = found.versions
    version = store.resolve("hero:1")
    assert (first.version.ref, first.nbytes, first.license, first.aliases) == (
        "hero:1",
        version.nbytes,
        "MIT",
        ("prod",),
    )
    assert (second.license, second.left_out, found.damaged, found.is_delta) == (None, 0, None, False)
    assert (found.nbytes, found.paths, found.store) == (os.path.getsize(made), (made,), store.depot.info.store_id)
    document = found.to_json()
    assert document["versions"][0]["id"] == str(version.id)
    assert (document["complete"], document["signature"]["state"], document["damaged"]) == (True, "none", None)


def test_a_delta_names_what_it_counts_on(store, made):
    make(store, made, "hero:2", have=["hero:1"])
    found = inspect.run(made)
    assert [one.ref for one in found.base] == ["hero:1"]
    assert found.versions[0].left_out > 10**7
    assert found.to_json()["complete"] is False


def test_a_signature_is_told_and_checked(store, made, tmp_path):
    private, public = make_pair(tmp_path, "studio")
    make(store, made, "hero:1", signer=Signer(private))
    assert inspect.run(made).signature.state == "unchecked"
    found = inspect.run(made, trusted=public.parent)
    assert (found.signature.state, found.to_json()["signature"]["by"]) == ("valid", "studio.pem")
    make_pair(tmp_path, "another")
    with pytest.raises(Refused):
        inspect.run(made, trusted=tmp_path / "another")


def spoil(path, prefix):
    with TarBlobs(path) as blobs:
        key = next(iter(blobs.keys(prefix)))
        at = blobs.offset(key)
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)
    return at


def test_every_blob_is_read_when_asked(store, made):
    make(store, made, "hero:1")
    seen = []
    assert inspect.run(made, verify=True, monitor=seen.append).damaged == ()
    assert isinstance(seen[-1], Progress)
    at = spoil(made, "blobs/")
    assert inspect.run(made).damaged is None
    (wrong,) = inspect.run(made, verify=True).damaged
    assert (wrong.offset, wrong.kind) == (at, "corrupt")
    assert inspect.run(made, verify=True).to_json()["damaged"] == [
        {"digest": str(wrong.digest), "kind": "corrupt", "offset": at}
    ]


def test_a_damaged_manifest_is_told_with_its_offset(store, made):
    make(store, made, "hero:1")
    at = spoil(made, "manifests/")
    with pytest.raises(Corrupt, match=rf"manifest of hero:1 .* damaged at byte {at}"):
        inspect.run(made)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(NotFound, match="No bundle"):
        inspect.run(tmp_path / "x.tar")
