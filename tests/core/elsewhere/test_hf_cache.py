"""Caches of the hub: snapshots by links or copies, refs of every kind, what is cut off and what is not"""

import hashlib
import json

import pytest

from artifactstore.core.elsewhere import hf_cache
from tests.core.elsewhere.trees import passed, told, tree

OLD, NEW = "a" * 40, "b" * 40
CONFIG, WEIGHTS = b"{}", b"w" * 100
GIT = hashlib.sha1(b"blob 2\0{}").hexdigest()
LFS = hashlib.sha256(WEIGHTS).hexdigest()
REPO = "models--org--m"


def cache(more=None, links=None, refs=None):
    files = {f"{REPO}/blobs/{GIT}": CONFIG, f"{REPO}/blobs/{LFS}": WEIGHTS}
    files |= {f"{REPO}/refs/{name}": commit for name, commit in (refs or {"main": NEW}).items()}
    places = {f"{REPO}/snapshots/{NEW}/config.json": f"{REPO}/blobs/{GIT}"}
    places |= {f"{REPO}/snapshots/{NEW}/sub/model.safetensors": f"{REPO}/blobs/{LFS}"}
    return tree(files | (more or {}), links=places | (links or {}))


def test_a_snapshot_is_a_version():
    (found,) = hf_cache.read(cache()).found
    assert found.artifact == "org/m"
    assert found.files == {
        "config.json": f"{REPO}/snapshots/{NEW}/config.json",
        "sub/model.safetensors": f"{REPO}/snapshots/{NEW}/sub/model.safetensors",
    }
    assert found.digests == {"config.json": GIT, "sub/model.safetensors": LFS}
    assert found.metadata == {"upstream": {"source": "hf://org/m", "commit": NEW}}


def test_refs_of_every_kind_become_aliases_where_they_can():
    refs = {"main": NEW + "\n", "v1.0": NEW, "refs/pr/1": NEW, "2": NEW, "a b": NEW, ".DS_Store": "x", "gone": OLD}
    assert told(hf_cache.read(cache(refs=refs))) == [
        ("org/m", ["config.json", "sub/model.safetensors"], ["main", "refs/pr/1", "v1.0"])
    ]


def test_a_detached_snapshot_is_one_too_and_the_newest_comes_last():
    links = {f"{REPO}/snapshots/{OLD}/config.json": f"{REPO}/blobs/{GIT}"}
    found = hf_cache.read(cache(links=links)).found
    assert [one.metadata["upstream"]["commit"] for one in found] == [OLD, NEW]
    assert found[0].aliases == ()


def test_copies_are_named_by_the_listing_of_their_commit():
    listed = {"config.json": {"size": 2, "blob_id": GIT}, "m.bin": {"blob_id": GIT, "lfs_sha256": LFS}, "odd": 7}
    files = {
        f"{REPO}/snapshots/{NEW}/config.json": CONFIG,
        f"{REPO}/snapshots/{NEW}/m.bin": WEIGHTS,
        f"{REPO}/snapshots/{NEW}/more.txt": "more",
        f"{REPO}/trees/{NEW}.json": json.dumps({"format_version": 1, "files": listed}),
    }
    (found,) = hf_cache.read(tree(files)).found
    assert found.digests == {"config.json": GIT, "m.bin": LFS}
    (found,) = hf_cache.read(tree({path: data for path, data in files.items() if "trees" not in path})).found
    assert found.digests == {}


@pytest.mark.parametrize("listing", ["no JSON", "[]", '{"files": 3}'])
def test_a_damaged_listing_tells_nothing(listing):
    more = {f"{REPO}/trees/{NEW}.json": listing}
    assert len(hf_cache.read(cache(more)).found) == 1


def test_a_blob_that_all_repositories_share_has_its_name_in_its_own():
    shared = f"blobs/ab/{'c' * 64}"
    found = tree({shared: WEIGHTS}, links={f"{REPO}/snapshots/{NEW}/m.safetensors": shared})
    assert hf_cache.read(found).found[0].digests == {}
    own = tree(
        {shared: WEIGHTS, f"{shared}.refs": "x", f"{REPO}/blobs/{LFS}": WEIGHTS},
        links={f"{REPO}/snapshots/{NEW}/m.safetensors": f"{REPO}/blobs/{LFS}"},
    )
    assert hf_cache.read(own).found[0].digests == {"m.safetensors": LFS}


def test_a_link_to_nothing_leaves_its_snapshot_out():
    links = {f"{REPO}/snapshots/{OLD}/m.safetensors": f"{REPO}/blobs/{'d' * 64}"}
    survey = hf_cache.read(cache(links=links))
    assert [one.metadata["upstream"]["commit"] for one in survey.found] == [NEW]
    assert passed(survey) == {f"{REPO}/snapshots/{OLD}": ("m.safetensors is a link to nothing", True)}


def test_a_download_that_was_cut_off_is_told_where_its_commit_is_listed():
    listed = {"config.json": {"blob_id": GIT}, "m.bin": {"blob_id": GIT, "lfs_sha256": "e" * 64}, "onnx/m": {}}
    more = {
        f"{REPO}/trees/{NEW}.json": json.dumps({"files": listed}),
        f"{REPO}/blobs/{'e' * 64}.incomplete": "ww",
    }
    survey = hf_cache.read(cache(more))
    assert survey.found == ()
    assert passed(survey)[f"{REPO}/snapshots/{NEW}"] == ("the download of m.bin was cut off; run it again", True)
    del more[f"{REPO}/blobs/{'e' * 64}.incomplete"]  # it was never asked for
    assert len(hf_cache.read(cache(more)).found) == 1


def test_what_is_no_model_or_holds_none():
    survey = hf_cache.read(
        tree(
            {
                "datasets--org--d/snapshots/x/a.csv": "1",
                "models--org--empty/.no_exist/abc/adapter_config.json": "",
                "models--org--empty/refs/main": NEW,
                "models---odd/snapshots/x/a": "1",
                ".locks/models--org--m/x.lock": "",
                "version.txt": "1",
            }
        )
    )
    assert survey.found == ()
    why = passed(survey)
    assert why["datasets--org--d"] == ("is no model", False)
    assert why["models--org--empty"] == ("holds no snapshot", False)
    assert why["models---odd"][1]
    assert len(why) == 3


def test_a_ref_that_is_no_text_is_told():
    survey = hf_cache.read(cache({f"{REPO}/refs/odd": b"\xff\xfe"}))
    assert len(survey.found) == 1
    assert "not UTF-8" in passed(survey)[f"{REPO}/refs/odd"][0]


def test_a_path_that_cannot_be_stored_leaves_its_snapshot_out():
    survey = hf_cache.read(tree({f"{REPO}/snapshots/{NEW}/con.txt": "1"}))
    assert "Windows device" in passed(survey)[f"{REPO}/snapshots/{NEW}"][0]


def test_a_name_of_one_part():
    assert told(hf_cache.read(tree({f"models--gpt2/snapshots/{NEW}/a": "1"})))[0][0] == "gpt2"
    assert hf_cache.is_repo("models--gpt2")
    assert not hf_cache.is_repo("datasets--x")
