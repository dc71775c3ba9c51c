"""The local hub: its own clients, unchanged, find in it what they find in the hub"""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.upstream.conftest import TOKEN

FILES = {
    "README.md": b"---\nlicense: mit\nbase_model: org/base\nbase_model_relation: finetune\n---\n# A model\n",
    "config.json": b'{"model_type": "tiny"}',
    "model.safetensors": bytes(range(256)) * 5000,
    "onnx/sub dir/model.onnx": b"onnx" * 100,
    "empty.txt": b"",
}


@pytest.fixture
def repo(hub):
    return hub.repo("org/tiny", FILES)


@pytest.fixture
def api(hub):
    return HfApi(hub.endpoint, token=False)


def read_back(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_snapshot_comes_whole_and_only_once(hub, repo, tmp_path):
    options = {"endpoint": hub.endpoint, "token": False, "cache_dir": tmp_path}
    for _ in range(2):
        folder = snapshot_download("org/tiny", **options)
        assert {path: (tmp_path / folder / path).read_bytes() for path in FILES} == FILES
    assert hub.sent() == sum(map(len, FILES.values()))
    assert folder.endswith(repo.refs["main"])
    assert {one.host for one in hub.gets("*.onnx")} == {"cdn"}
    assert {one.host for one in hub.gets("*.json")} == {"hub"}


@pytest.mark.parametrize("revision", ["main", "exp/a", "refs/pr/1", "HEAD"])
def test_one_file_of_any_revision(hub, repo, revision, tmp_path):
    sha = repo.commit({"config.json": revision.encode()}, branch="main" if revision == "HEAD" else revision)
    local = hf_hub_download(
        "org/tiny", "config.json", revision=revision, endpoint=hub.endpoint, token=False, cache_dir=tmp_path
    )
    assert Path(local).read_bytes() == revision.encode()
    assert sha in local
    for asked in (sha, sha[:8]):
        assert HfApi(hub.endpoint).model_info("org/tiny", revision=asked, token=False).sha == sha


def test_the_page_of_a_model(hub, repo, api):
    info = api.model_info("ORG/tiny", files_metadata=True)
    assert (info.id, info.sha, info.gated, info.private) == ("org/tiny", repo.refs["main"], False, False)
    assert (info.card_data.license, info.card_data.base_model) == ("mit", "org/base")
    files = {one.rfilename: one for one in info.siblings}
    assert {path: one.size for path, one in files.items()} == {path: len(data) for path, data in FILES.items()}
    assert files["empty.txt"].blob_id == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # git's id of no bytes
    assert files["config.json"].lfs is None
    assert files["model.safetensors"].lfs.sha256 == repo.commits[info.sha]["model.safetensors"].sha256
    assert api.model_info("org/tiny").siblings[0].size is None


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_the_tree_in_pages(hub, repo, api, page):
    hub.page = page
    nodes = {node.path: node for node in api.list_repo_tree("org/tiny", recursive=True, expand=True)}
    assert set(nodes) == {*FILES, "onnx", "onnx/sub dir"}
    assert nodes["model.safetensors"].lfs.size == len(FILES["model.safetensors"])
    assert nodes["config.json"].last_commit.oid == repo.refs["main"]
    assert [node.path for node in api.list_repo_tree("org/tiny", "onnx/sub dir")] == ["onnx/sub dir/model.onnx"]
    assert {node.path for node in api.list_repo_tree("org/tiny")} == {
        *(path for path in FILES if "/" not in path),
        "onnx",
    }
    assert {branch.name for branch in api.list_repo_refs("org/tiny").branches} == {"main"}


def test_what_is_not_there_is_refused_in_the_hubs_words(hub, repo, api, tmp_path):
    def download(repo="org/tiny", file="config.json", revision=None, token=False):
        options = {"endpoint": hub.endpoint, "token": token, "cache_dir": tmp_path / "none"}
        return hf_hub_download(repo, file, revision=revision, **options)

    hub.repo("org/gated", FILES, gated="manual", granted=(TOKEN,))
    hub.repo("org/secret", FILES, private=True)
    for token in (False, TOKEN):
        with pytest.raises(RepositoryNotFoundError) as caught:
            download("org/none", token=token)
        assert type(caught.value) is RepositoryNotFoundError
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("org/secret")
    with pytest.raises(RevisionNotFoundError):
        download(revision="none")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("org/tiny", revision="none")
    with pytest.raises(RemoteEntryNotFoundError):
        download(file="none.json")
    with pytest.raises(RemoteEntryNotFoundError):
        list(api.list_repo_tree("org/tiny", "none"))
    with pytest.raises(GatedRepoError):
        download("org/gated")
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        api.model_info("org/tiny", token="hf_wrong")
    assert download("org/gated", token=TOKEN)
    assert download("org/secret", token=TOKEN)
    assert api.model_info("org/gated").gated == "manual"


def test_the_other_host_is_sent_no_token(hub, repo, tmp_path):
    snapshot_download("org/tiny", endpoint=hub.endpoint, token=TOKEN, cache_dir=tmp_path)
    assert {one.host: one.authorization for one in hub.requests} == {"hub": f"Bearer {TOKEN}", "cdn": None}


def asked(hub, path, **headers):
    request = urllib.request.Request(f"{hub.endpoint}/org/tiny/resolve/main/{path}", headers=headers)
    with urllib.request.urlopen(request) as answer:
        return answer.status, answer.headers, answer.read()


def test_ranges(hub, repo):
    data = FILES["config.json"]
    for path, whole in (("config.json", data), ("model.safetensors", FILES["model.safetensors"])):
        status, headers, body = asked(hub, path, Range="bytes=3-9")
        assert (status, body) == (206, whole[3:10])
        assert headers["Content-Range"] == f"bytes 3-9/{len(whole)}"
        assert asked(hub, path, Range="bytes=5-")[2] == whole[5:]
    oid = repo.commits[repo.refs["main"]]["config.json"].oid
    assert asked(hub, "config.json", **{"Range": "bytes=3-", "If-Range": f'"{oid}"'})[2] == data[3:]
    assert asked(hub, "config.json", **{"Range": "bytes=3-", "If-Range": '"other"'})[2] == data
    with pytest.raises(urllib.error.HTTPError) as caught:
        asked(hub, "config.json", Range=f"bytes={len(data)}-")
    assert (caught.value.code, caught.value.headers["Content-Range"]) == (416, f"bytes */{len(data)}")


def test_as_a_process_of_its_own(tmp_path):
    folder = tmp_path / "org" / "name"
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(b"{}")
    command = [sys.executable, "-m", "tests.hub", tmp_path, "--token", TOKEN]
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as process:
        endpoint = process.stdout.readline().strip()
        local = hf_hub_download("org/name", "config.json", endpoint=endpoint, token=False, cache_dir=tmp_path / "cache")
        with urllib.request.urlopen(f"{endpoint}/_hub/requests") as answer:
            seen = json.load(answer)
        process.terminate()
    assert Path(local).read_bytes() == b"{}"
    assert [one["sent"] for one in seen if one["method"] == "GET"] == [2]
