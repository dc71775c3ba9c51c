"""Where the files of a version go: by their paths, or as a cache of the hub"""

import pytest

from artifactstore.core.arrangement import Layout, arrange, commit_of, hub_folder
from artifactstore.core.digest import Digest, Sha256
from artifactstore.core.errors import Invalid
from artifactstore.core.manifest import BlobInfo, Extent, FileEntry, Manifest
from artifactstore.core.names import ArtifactName, SafePath

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def manifest(name="org/model", **metadata):
    raw = b"{}"
    files = tuple(
        FileEntry(SafePath(path), 2, Sha256.of(raw), "other", (Extent(0, 0, 2),)) for path in ("a.json", "sub/b.json")
    )
    blobs = (BlobInfo(Digest.of(raw), 2),)
    return Manifest(ArtifactName(name), 0, files, blobs, metadata=metadata)


def test_files_lie_by_their_paths():
    document = manifest()
    found = arrange(Layout.FILES, document, document.files, ["prod"])
    assert (found.home, found.links, found.texts) == ("", {}, {})
    assert found.places == {"a.json": "a.json", "sub/b.json": "sub/b.json"}


def test_a_cache_has_blobs_links_and_refs():
    document = manifest(upstream={"commit": COMMIT})
    found = arrange(Layout.HF_CACHE, document, document.files, ["prod", "main", "refs/pr/1"])
    home = f"models--org--model/snapshots/{COMMIT}"
    blob = f"models--org--model/blobs/{Sha256.of(b'{}')}"
    assert (found.home, set(found.places.values())) == (home, {blob})
    assert found.links == {"a.json": f"{home}/a.json", "sub/b.json": f"{home}/sub/b.json"}
    refs = "models--org--model/refs/"
    assert found.texts == dict.fromkeys((f"{refs}main", f"{refs}prod", f"{refs}refs/pr/1"), COMMIT)
    flat = found.unlinked()
    assert (flat.places, flat.links, flat.texts) == (found.links, {}, found.texts)


def test_only_the_files_that_are_asked_for():
    document = manifest()
    assert set(arrange(Layout.HF_CACHE, document, document.files[:1], []).places) == {"a.json"}


@pytest.mark.parametrize("commit", [None, "main", COMMIT.upper(), COMMIT[:39], 7])
def test_without_a_commit_the_id_gives_one(commit):
    version = Digest.of(b"x")
    assert commit_of({"upstream": {"commit": commit}}, version) == str(version)[:40]
    assert commit_of({"upstream": {"commit": COMMIT}}, version) == COMMIT


def test_a_name_of_one_part_is_one_too():
    assert hub_folder("gpt2") == "models--gpt2"


@pytest.mark.parametrize("name", ["a/b/c", "a--b", "org/" + "x" * 97, "a..b", "model.git", "org/name."])
def test_a_name_that_no_hub_has_is_refused(name):
    with pytest.raises(Invalid, match="add the version under such a name"):
        hub_folder(name)


def test_refs_that_cannot_stand_beside_each_other():
    document = manifest()
    with pytest.raises(Invalid, match="is a file and a folder"):
        arrange(Layout.HF_CACHE, document, document.files, ["a", "a/b"])


def test_an_unknown_layout_names_those_there_are():
    assert Layout.parse("files") is Layout.FILES
    with pytest.raises(Invalid, match="files, hf-cache"):
        Layout.parse("comfyui")
