"""Where models come from: every form a source may have, and what is refused"""

import pytest

from artifactstore.core.errors import Invalid
from artifactstore.core.hub import HubRef
from artifactstore.core.names import ArtifactName, Reference
from artifactstore.core.origin import Folder, StoreRef, WebFile, artifact_of, parse_origin, parse_override

SHA = "ab" * 32


@pytest.mark.parametrize(
    ("text", "sha256", "meant"),
    [
        ("hf://org/name", None, HubRef("org/name")),
        ("hf://org/name@v1", None, HubRef("org/name", "v1")),
        ("https://host.example/a/w%20x.bin?x=1", SHA, "w x.bin"),
        ("store+s3://b/p?region=x#org/m@prod", None, StoreRef("s3://b/p?region=x", Reference.parse("org/m@prod"))),
        ("store+/mnt/a#b#m:3", None, StoreRef("/mnt/a#b", Reference.parse("m:3"))),
        ("./mine", None, Folder("./mine")),
        ("/abs/mine", None, Folder("/abs/mine")),
        ("C:\\models\\mine", None, Folder("C:\\models\\mine")),
    ],
)
def test_a_source_says_what_it_is_and_is_written_back_the_same(text, sha256, meant):
    found = parse_origin(text, sha256)
    assert (found.file if isinstance(found, WebFile) else found) == meant
    assert str(found) == text
    assert parse_origin(str(found), sha256) == found


@pytest.mark.parametrize(
    ("text", "sha256", "says"),
    [
        ("https://host/x", None, "needs its sha256"),
        ("http://host/x", SHA, "only https://"),
        ("https:///x", SHA, "only https://"),
        ("https://user:secret@host/x", SHA, "user or password"),
        ("https://host/", SHA, "Not a path inside a version"),
        ("https://host/%2e%2e", SHA, "'..'"),
        ("https://[::1/x", SHA, "Not a URL"),
        ("https://host/x", "zz", "64 lower-case hex digits"),
        ("hf://org/name", SHA, "belongs to a file of the web"),
        ("hf://a/b/c/../d", None, "'..'"),
        ("store+/mnt/a", None, "store+URL#name@alias"),
        ("store+#m", None, "store+URL#name@alias"),
        ("file:///etc/passwd", None, "Not a source"),
        ("ftp://host/x", None, "Not a source"),
        ("", None, "Not a folder"),
        ("a\nb", None, "Not a folder"),
    ],
)
def test_what_is_no_source_is_refused_in_one_line(text, sha256, says):
    with pytest.raises(Invalid) as refusal:
        parse_origin(text, sha256)
    assert says in refusal.value.message
    assert refusal.value.message.isprintable()
    assert "secret" not in refusal.value.message


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("org/name", HubRef("org/name")),
        ("org/name@v1", HubRef("org/name", "v1")),
        ("hf://org/name", HubRef("org/name")),
        ("./org/name", Folder("./org/name")),
        ("/org/name", Folder("/org/name")),
        ("~/name", Folder("~/name")),
        ("org\\name", Folder("org\\name")),
    ],
)
def test_a_variable_names_a_repository_or_a_folder(text, meant):
    assert parse_override(text) == meant


def test_a_repository_and_a_version_of_a_store_keep_their_names():
    own = ArtifactName("mine")
    assert artifact_of(HubRef("org/name", "v1"), own) == "org/name"
    assert artifact_of(parse_origin("store+/x#org/m@prod"), own) == "org/m"
    assert artifact_of(parse_origin("./x"), own) == "mine"
    assert artifact_of(parse_origin("https://h/x", SHA), own) == "mine"
