"""A hub as an upstream: what it lists, what it refuses, and the bytes it gives"""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from artifactstore.core.digest import Sha256
from artifactstore.core.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from artifactstore.core.hub import HubRef, RemoteFile
from artifactstore.core.names import SafePath
from artifactstore.upstream.hub import HubUpstream
from tests.upstream.conftest import TOKEN

CARD = b"---\nlicense: other\nlicense_name: gemma\nbase_model: [org/base, org/other]\nbase_model_relation: merge\n---\n"
FILES = {"README.md": CARD, "config.json": b"{}", "model.safetensors": b"weights" * 1000, "onnx/ä b.onnx": b"onnx"}


@pytest.fixture
def repo(hub):
    return hub.repo("org/tiny", FILES)


def read(made, file, start=0):
    with made.open(file, start) as chunks:
        return b"".join(chunks)


def listed(made, path):
    (file,) = (file for file in made.list().files if file.path == path)
    return file


def test_what_it_lists(repo, upstream):
    listing = upstream().list()
    assert (listing.source, listing.commit) == ("hf://org/tiny", repo.refs["main"])
    assert {file.path: file.size for file in listing.files} == {path: len(data) for path, data in FILES.items()}
    files = {file.path: file for file in listing.files}
    assert files["model.safetensors"].sha256 == Sha256.of(FILES["model.safetensors"])
    assert files["model.safetensors"].git_oid is None  # it would be that of a pointer
    assert files["config.json"].git_oid == "9e26dfeeb6e641a33dae4961196235bdb965b21b"  # git hash-object of {}
    assert (listing.license, listing.gated) == ("gemma", False)
    assert (listing.base_models, listing.relation) == (("hf://org/base", "hf://org/other"), "merge")


def test_a_card_that_says_nothing(hub, upstream):
    hub.repo("org/bare", {"config.json": b"{}"}, gated="auto")
    listing = upstream("hf://org/bare").list()
    assert (listing.license, listing.gated, listing.base_models, listing.relation) == (None, True, (), None)


def test_any_revision(repo, upstream):
    first = repo.refs["main"]
    second = repo.commit({"config.json": b"[]"}, branch="exp/a")
    repo.commit({"config.json": b"[1]"}, branch="refs/pr/1")
    assert upstream("hf://org/tiny@exp%2Fa").list().commit == second
    assert upstream(f"hf://org/tiny@{first}").list().commit == first
    assert upstream("hf://org/tiny").list().commit == first
    made = upstream("hf://org/tiny@refs/pr/1")
    assert read(made, listed(made, "config.json")) == b"[1]"


def test_one_file_of_it(repo, upstream):
    (file,) = upstream("hf://org/tiny/onnx/ä b.onnx").list().files
    assert read(upstream(), file) == b"onnx"
    with pytest.raises(NotFound, match=r"no file none\.bin") as caught:
        upstream("hf://org/tiny/none.bin").list()
    assert caught.value.code == "not-found.file"


def test_bytes_from_anywhere(hub, repo, upstream):
    made = upstream()
    for file in made.list().files:
        for start in {0, 1, file.size - 1}:
            assert read(made, file, start) == FILES[file.path][start:]


def test_bytes_from_anywhere_of_a_server_without_ranges(hub, repo, upstream):
    made = upstream()
    for path in ("config.json", "model.safetensors"):
        file = listed(made, path)
        hub.fault("whole", path)
        assert read(made, file, 1) == FILES[path][1:]


def test_it_stays_at_the_commit_that_was_listed(hub, repo, upstream):
    made = upstream()
    file = listed(made, "config.json")
    repo.commit({"config.json": b"[1, 2]"})
    assert read(made, file) == b"{}"


def refused(made):
    with pytest.raises((NotFound, Denied, Conflict, Unavailable, Invalid)) as caught:
        made.list()
    message = str(caught.value)
    assert "\n" not in message
    assert TOKEN not in message + repr(caught.value) + str(caught.value.facts)
    return caught.value


def test_what_is_not_there(hub, repo, upstream):
    for token in (None, TOKEN):
        error = refused(upstream("hf://org/none", token=token))
        assert (type(error), error.code) == (NotFound, "not-found.repo")
        assert "HF_TOKEN" in str(error)
    error = refused(upstream("hf://org/tiny@none"))
    assert (type(error), error.code) == (NotFound, "not-found.revision")
    assert "none" in str(error)
    error = refused(upstream(token="hf_other"))
    assert (type(error), error.code) == (Denied, "unavailable.denied.token")


def test_a_private_repository_is_shown_to_its_token(hub, upstream):
    hub.repo("org/secret", FILES, private=True)
    assert refused(upstream("hf://org/secret")).code == "not-found.repo"
    made = upstream("hf://org/secret", token=TOKEN)
    assert read(made, listed(made, "config.json")) == b"{}"


def test_a_gated_repository_says_where_to_ask(hub, upstream):
    hub.repo("org/gated", FILES, gated="manual", granted=(TOKEN,))
    made = upstream("hf://org/gated")
    file = listed(made, "config.json")
    with pytest.raises(Denied, match="is gated") as caught:
        read(made, file)
    assert caught.value.code == "unavailable.denied.gated"
    assert caught.value.facts["page"] == f"{hub.endpoint}/org/gated"
    assert hub.endpoint in str(caught.value)
    assert read(upstream("hf://org/gated", token=TOKEN), file) == b"{}"


def test_a_forbidden_repository(hub, repo, upstream):
    hub.fault("status", status=403)
    error = refused(upstream(token=TOKEN))
    assert (type(error), error.code) == (Denied, "unavailable.denied.forbidden")


def test_a_file_that_is_gone(hub, repo, upstream):
    made = upstream()
    made.list()
    with pytest.raises(NotFound) as caught:
        read(made, RemoteFile(SafePath("gone.txt"), 3, git_oid="0" * 40))
    assert caught.value.code == "not-found.file"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_hub_is_asked_again(hub, repo, upstream, pauses, status):
    hub.fault("status", status=status, times=2, headers={"Retry-After": "7"})
    assert upstream().list().commit == repo.refs["main"]
    assert pauses == [7, 7]


def test_a_hub_that_stays_busy_is_given_up(hub, repo, upstream, pauses):
    hub.fault("status", times=100)
    error = refused(upstream())
    assert (error.code, error.facts["status"]) == ("unavailable.busy", 503)
    assert len(pauses) == 5


def test_a_hub_that_is_none(hub, repo, upstream, pauses):
    hub.fault("status", status=200)
    assert refused(upstream()).code == "unavailable.answer"
    hub.fault("status", status=418)
    assert refused(upstream()).code == "unavailable.refused"
    assert pauses == []


BODIES = [
    b"",
    b"[]",
    b"null",
    b"<html>",
    b"\xff",
    b"{}",
    b'{"id": "org/tiny", "sha": "main", "siblings": []}',
    b'{"id": "org/tiny", "sha": null}',
    b'{"id": "org/tiny", "sha": "%s", "siblings": 3}' % (b"a" * 40),
    b'{"id": "org/tiny", "sha": "%s", "siblings": [3]}' % (b"a" * 40),
    b'{"id": "org/tiny", "sha": "%s", "cardData": 3, "lastModified": "x"}' % (b"a" * 40),
    b"[" * 100_000,
]


class Saying(HubUpstream):
    """A hub whose page of a model is given"""

    def __init__(self, body):
        super().__init__(HubRef.parse("hf://org/tiny"))
        self._page = lambda: body


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_nonsense_is_an_answer_that_no_hub_gives(body):
    assert refused(Saying(body)).code == "unavailable.answer"


def page(*siblings):
    return json.dumps({"id": "org/tiny", "sha": "a" * 40, "siblings": siblings}).encode()


def sibling(path="x", **more):
    return {"rfilename": path, "size": 3, "blobId": "0" * 40} | more


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/passwd", "a/../../x", "a\\b", "con", "a\0b", "", "x/", "a//b", "C:x", "x" * 300, "e\u0301", None, 3],
)
def test_a_name_that_is_no_safe_path_is_refused_by_name(path):
    error = refused(Saying(page(sibling("good"), sibling(path))))
    assert (type(error), error.code) == (Invalid, "invalid.listing")
    assert "hf://org/tiny lists a file that cannot be taken" in str(error)
    if path and isinstance(path, str):
        assert path[:10].encode("unicode_escape").decode() in str(error)


@pytest.mark.parametrize("paths", [("a", "a"), ("a", "A"), ("a", "a/b")])
def test_names_that_fall_together_are_refused(paths):
    assert refused(Saying(page(*map(sibling, paths)))).code == "invalid.collision"


@pytest.mark.parametrize(
    "more",
    [
        {"size": None},
        {"size": -1},
        {"size": "3"},
        {"size": True},
        {"blobId": None},
        {"blobId": "x"},
        {"blobId": 3},
        {"lfs": {"size": 3, "sha256": "x", "pointerSize": 1}},
        {"lfs": {"size": 3, "sha256": None, "pointerSize": 1}},
    ],
)
def test_a_file_without_size_or_digest_is_refused(more):
    assert refused(Saying(page(sibling(**more)))).code == "invalid.listing"


def test_another_digest_than_was_listed_is_a_change(hub, repo, upstream):
    made = upstream()
    for path in ("config.json", "model.safetensors"):
        file = listed(made, path)
        hub.fault("etag", path)
        with pytest.raises(Conflict, match="another digest") as caught:
            read(made, file)
        assert (caught.value.code, caught.value.facts["path"]) == ("conflict.moved", path)


@pytest.mark.parametrize("by", [-1, 1])
def test_another_length_than_was_listed_is_a_change(hub, repo, upstream, by):
    made = upstream()
    for path in ("config.json", "model.safetensors"):
        file = listed(made, path)
        hub.fault("length", path, by=by)
        with pytest.raises(Conflict, match="bytes, not"):
            read(made, file)


def test_another_size_than_was_listed_is_a_change(hub, repo, upstream):
    made = upstream()
    for path in ("config.json", "model.safetensors"):
        file = listed(made, path)
        with pytest.raises(Conflict, match=f"it has {file.size} bytes, not {file.size + 1}"):
            read(made, replace(file, size=file.size + 1))


def test_the_package_that_reads_a_hubs_page_may_be_missing(hub, repo):
    program = (
        "import sys\nsys.modules['huggingface_hub'] = None\nfrom artifactstore.core.hub import HubRef\n"
        f"from artifactstore.upstream.hub import HubUpstream\n"
        f"HubUpstream(HubRef.parse('hf://org/tiny'), endpoint={hub.endpoint!r}).list()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (
        'Unavailable: Reading a hub needs a package that is not installed: pip install "artifactstore[hub]"'
        in done.stderr
    )


def test_a_commit_that_means_other_files_now_is_a_change(hub, repo, upstream):
    made = upstream()
    file = listed(made, "config.json")
    for content in (b"[]", b"{ }"):
        repo.commits[repo.refs["main"]] |= {one.path: one for one in repo._taken({"config.json": content})}
        for start in (0, 1):
            with pytest.raises(Conflict) as caught:
                read(made, file, start)
            assert caught.value.code == "conflict.moved"


def test_a_file_that_became_shorter_is_a_change(hub, repo, upstream):
    made = upstream()
    made.list()
    held = repo.commits[repo.refs["main"]]["config.json"]
    with pytest.raises(Conflict, match="it has no byte 10"):
        read(made, RemoteFile(SafePath("config.json"), 20, git_oid=held.oid), 10)


def test_another_commit_than_was_asked_for_is_a_change(hub, repo, upstream):
    first = repo.refs["main"]
    second = repo.commit({"config.json": b"[]"})
    hub.fault("redirect", to=f"/api/models/org/tiny/revision/{second}?blobs=true")
    assert refused(upstream(f"hf://org/tiny@{first}")).code == "conflict.moved"
    made = upstream(f"hf://org/tiny@{first}")
    file = listed(made, "config.json")
    hub.fault("redirect", "config.json", to=f"/org/tiny/resolve/{second}/config.json")
    with pytest.raises(Conflict, match="answers from commit"):
        read(made, file)


def test_an_address_that_is_over_is_asked_for_again(hub, repo, upstream):
    """What a hub signs for another host ends after a while"""
    made = upstream()
    file = listed(made, "model.safetensors")
    hub.fault("status", "model.safetensors", on="cdn", status=403)
    with pytest.raises(Unavailable) as caught:
        read(made, file)
    assert caught.value.facts["retryable"]
    assert read(made, file) == FILES["model.safetensors"]


@pytest.mark.parametrize(
    "endpoint", ["file:///etc", "ftp://host", "http://user:hunter2@host", "host", "", "http://host?x=1", "https://"]
)
def test_what_is_no_endpoint(endpoint):
    with pytest.raises(Invalid) as caught:
        HubUpstream(HubRef.parse("hf://org/tiny"), endpoint=endpoint)
    assert "hunter2" not in str(caught.value)


def test_an_endpoint_below_a_path(hub, repo, upstream):
    made = upstream(endpoint=hub.endpoint + "/hub/v1/")
    assert refused(made).code == "not-found.repo"
    assert hub.requests[0].path == "/hub/v1/api/models/org/tiny?blobs=true"


def test_nothing_ambient_is_obeyed(hub, repo, tmp_path):
    """Not the endpoint, the token, the offline switch or the cache of another program"""
    program = (
        "from artifactstore.core.hub import HubRef\nfrom artifactstore.upstream.hub import HubUpstream\n"
        f"made = HubUpstream(HubRef.parse('hf://org/tiny'), endpoint={hub.endpoint!r})\n"
        "file = made.list().files[1]\n"
        "with made.open(file, 0) as chunks: print(file.path, b''.join(chunks))\n"
    )
    home = tmp_path / "home"
    ambient = {
        "HF_ENDPOINT": "http://127.0.0.1:1",
        "HF_HUB_OFFLINE": "1",
        "HF_TOKEN": "hf_ambient",
        "HF_HOME": str(home),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | ambient | {"HF_DEBUG": "1"}, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("config.json b'{}'\n", "")
    assert [one.authorization for one in hub.requests] == [None, None]
    assert not home.exists()


def test_nothing_of_it_shows_the_token(upstream):
    made = upstream(token=TOKEN)
    assert TOKEN not in repr(made) + str(made) + made.source
