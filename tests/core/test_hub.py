"""What a hub's reference means, and what a listing must tell"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.digest import Sha256
from artifactstore.core.errors import Invalid
from artifactstore.core.hub import HubRef, Listing, RemoteFile
from artifactstore.core.names import SafePath

OID = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


@pytest.mark.parametrize(
    ("text", "repo", "revision", "file"),
    [
        ("hf://org/name", "org/name", None, None),
        ("hf://gpt2", "gpt2", None, None),
        ("hf://gpt2@main", "gpt2", "main", None),
        ("hf://org/name@v1.0", "org/name", "v1.0", None),
        ("hf://org/name/config.json", "org/name", None, "config.json"),
        ("hf://org/name/onnx/model.onnx", "org/name", None, "onnx/model.onnx"),
        ("hf://org/name@main/onnx/model.onnx", "org/name", "main", "onnx/model.onnx"),
        ("hf://org/name@exp%2Fa/x", "org/name", "exp/a", "x"),
        ("hf://org/name@refs/pr/1", "org/name", "refs/pr/1", None),
        ("hf://org/name@refs/pr/1/x/y", "org/name", "refs/pr/1", "x/y"),
        ("hf://org/name@refs%2Fpr%2F1/x", "org/name", "refs/pr/1", "x"),
    ],
)
def test_what_a_reference_means(text, repo, revision, file):
    ref = HubRef.parse(text)
    assert (ref.repo, ref.revision, ref.file) == (repo, revision, file)
    assert HubRef.parse(str(ref)) == ref


@pytest.mark.parametrize(
    "text",
    [
        "",
        "org/name",
        "https://huggingface.co/org/name",
        "hf://",
        "hf:///name",
        "hf://org/",
        "hf://org/name@",
        "hf://../name",
        "hf://org/na me",
        "hf://org/name.git",
        "hf://org/a--b",
        "hf://user:secret@host/name",
        "hf://org/name@a b",
        "hf://org/name@a%0Ab",
        "hf://org/name@a?b",
        "hf://org/name@main/../x",
        "hf://org/name//x",
        "hf://org/" + "n" * 3000,
    ],
)
def test_what_is_no_reference(text):
    with pytest.raises(Invalid):
        HubRef.parse(text)


@given(st.text(max_size=30))
def test_any_text_is_a_reference_or_invalid(text):
    for whole in (text, f"hf://{text}", f"hf://org/name@{text}"):
        try:
            ref = HubRef.parse(whole)
        except Invalid:
            continue
        assert HubRef.parse(str(ref)) == ref


def test_a_destination_is_made_of_org_and_name():
    assert HubRef.parse("hf://google/gemma-3-1b-pt@main").default_destination == "google_gemma-3-1b-pt"
    assert HubRef.parse("hf://gpt2").default_destination == "gpt2"


def test_a_file_is_known_by_a_digest():
    assert RemoteFile(SafePath("x"), 0, git_oid=OID).digest == f"git:{OID}"
    sha = Sha256.of(b"")
    assert RemoteFile(SafePath("x"), 0, sha, OID).digest == f"sha256:{sha}"
    for broken in ({}, {"git_oid": "no"}, {"git_oid": OID, "size": -1}):
        with pytest.raises(Invalid) as caught:
            RemoteFile(SafePath("x"), **{"size": 0} | broken)
        assert caught.value.code == "invalid.listing"


def test_a_listing_has_each_file_once_on_any_disk():
    def listing(*paths):
        return Listing("hf://a/b", None, tuple(RemoteFile(SafePath(path), 3, git_oid=OID) for path in paths))

    assert listing("a", "b/c").size == 6
    for paths in (("a", "a"), ("a", "A"), ("a", "a/b")):
        with pytest.raises(Invalid, match=r"one on a disk|a file and a folder"):
            listing(*paths)
