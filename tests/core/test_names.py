"""Names, references and paths: what passes, and every trick that does not"""

import copy
import pickle
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid
from artifactstore.core.names import (
    AliasName,
    ArtifactName,
    Reference,
    SafePath,
    check_label,
    refuse_collisions,
)

DEVICES = ["CON", "con", "NUL", "nul.txt", "aux.tar.gz", "COM1", "com9.bin", "LPT0", "prn", "Con.safetensors"]
INVISIBLE = {
    "newline": "\n",
    "return": "\r",
    "tab": "\t",
    "nul": "\0",
    "escape": "\x1b",
    "delete": "\x7f",
    "c1": "\x85",
    "zero-width space": "\u200b",
    "zero-width joiner": "\u200d",
    "right-to-left override": "\u202e",
    "isolate": "\u2066",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "byte order mark": "\ufeff",
    "soft hyphen": "\xad",
    "undecodable byte": "\udcff",
    "high surrogate": "\ud800",
    "tag": "\U000e0041",
}


def refused(make, text, code):
    with pytest.raises(Invalid) as refusal:
        make(text)
    assert refusal.value.code == f"invalid.{code}"
    message = str(refusal.value)
    assert len(message) < 400
    assert message.isprintable()
    return message


segments = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9_-])?", fullmatch=True)


@given(st.lists(segments, min_size=1, max_size=4).map("/".join))
def test_letters_digits_dots_and_dashes_make_a_name(text):
    devices = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
    assume(".." not in text and not any(part.split(".")[0].lower() in devices for part in text.split("/")))
    name = ArtifactName(text)
    assert name == text
    for again in (pickle.loads(pickle.dumps(name)), copy.copy(name), Reference.parse(text).artifact):
        assert again == name
        assert type(again) is ArtifactName
    assert SafePath(text) == text, "a name is fit for a path on any disk"


@pytest.mark.parametrize(
    "text", ["wan-i2v", "org/name", "run_1/step.2", "a", "7B", "meta-llama/Llama-3.1-8B", "a" * 200]
)
def test_usual_names_pass(text):
    assert ArtifactName(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a/..",
        "a/../b",
        "a..b",
        "/a",
        "a/",
        "a//b",
        "a.",
        ".a",
        "-a",
        "_a",
        "a/-b",
        "a b",
        "a\n",
        "\na",
        "a\\b",
        "C:\\x",
        "D:foo",
        "a:b",
        "a@b",
        "a*",
        "a?b",
        "a%2e",
        "é",
        "名",
        "a\u200bb",
        "а",  # Cyrillic
        "a" * 201,
        "x\0",
        "$(x)",
        None,
        7,
        b"a",
        True,
    ],
)
def test_other_names_are_refused(text):
    refused(ArtifactName, text, "name")


@pytest.mark.parametrize("device", ["con", "NUL", "aux.tar.gz", "Com1", "lpt0", "nul.txt"])
@pytest.mark.parametrize("around", ["{}", "org/{}", "{}/name"])
def test_a_name_holds_no_windows_device(device, around):
    assert "Windows device" in refused(ArtifactName, around.format(device), "name")


@pytest.mark.parametrize("text", ["latest", "best", "prod", "remote/prod", "v1.2", "a" * 100])
def test_usual_aliases_pass(text):
    alias = AliasName(text)
    assert alias == text
    assert type(pickle.loads(pickle.dumps(alias))) is AliasName


@pytest.mark.parametrize(
    "text", ["", "7", "0042", "a b", "a\n", "-a", "../a", "a@b", "a:b", "é", "a/", "a" * 101, None, 7, True]
)
def test_other_aliases_are_refused(text):
    refused(AliasName, text, "alias")


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)


@given(st.lists(names, min_size=1, max_size=4).map("/".join))
def test_any_text_is_a_safe_path_or_refused_and_nothing_else(text):
    try:
        path = SafePath.from_local(text)
    except Invalid:
        refused(SafePath.from_local, text, "path")
        return
    parts = path.split("/")
    assert not {"", ".", ".."} & set(parts)
    assert not set(path) & set('\\:*?"<>|\0\n')
    assert unicodedata.is_normalized("NFC", path)
    assert SafePath(path) == path
    assert path.encode().decode() == path
    assert type(pickle.loads(pickle.dumps(path))) is SafePath


@pytest.mark.parametrize(
    "text",
    [
        "model.safetensors",
        "a/b/c.bin",
        ".gitattributes",
        "-rf",
        "a b.txt",
        " lead",
        "1_Pooling/config.json",
        "modèle.bin",
        "模型/权重.bin",
        "🎬.mp4",
        "console.log",
        "communication",
        "a..b",
        "...a",
        "a~1",
        "$HOME",
        "%2e%2e",
        "x" * 255,
    ],
)
def test_usual_paths_pass(text):
    assert SafePath(text) == text


@pytest.mark.parametrize("text", ["", "x" * 1025, "é" * 513, "\ud800" * 342, None, 7, b"a", True, ["a"]])
def test_an_empty_or_endless_path_is_refused(text):
    assert "empty or over 1024 bytes" in refused(SafePath, text, "path")


@pytest.mark.parametrize("text", ["/", "/etc/passwd", "//host/share"])
def test_an_absolute_path_is_refused(text):
    assert "absolute" in refused(SafePath, text, "path")


@pytest.mark.parametrize(
    "text", [".", "..", "a/..", "../a", "a/../b", "a/./b", "a//b", "a/", "./a", "../../etc/passwd"]
)
def test_a_path_that_climbs_or_stands_still_is_refused(text):
    assert "'..' part" in refused(SafePath, text, "path")


@pytest.mark.parametrize(
    "text",
    ["a\\b", "C:\\x", "C:/x", "D:foo", "\\\\host\\share", "a\\..\\b", "file:stream", "a*b", "a?", 'a"b', "<a>", "a|b"],
)
def test_what_windows_forbids_is_refused(text):
    assert "Windows forbids" in refused(SafePath, text, "path")


@pytest.mark.parametrize("device", [*DEVICES, "CONIN$", "conout$.txt", "com¹", "LPT³.x", "con .txt"])
@pytest.mark.parametrize("around", ["{}", "dir/{}", "{}/file"])
def test_a_windows_device_is_refused_anywhere(device, around):
    assert "Windows device" in refused(SafePath, around.format(device), "path")


@pytest.mark.parametrize("text", ["a.", "a ", "a./b", "a /b", "..a.", "a/b ", "...", "a/..."])
def test_a_part_that_windows_would_shorten_is_refused(text):
    assert "ends in a dot or space" in refused(SafePath, text, "path")


@pytest.mark.parametrize("char", INVISIBLE.values(), ids=INVISIBLE)
@pytest.mark.parametrize("around", ["{}", "a{}b", "{}a", "a{}", "dir/a{}.bin"])
def test_an_invisible_or_control_character_is_refused(char, around):
    assert "invisible or control" in refused(SafePath, around.format(char), "path")
    assert "invisible or control" in refused(SafePath.from_local, around.format(char), "path")


def test_nfd_is_refused_in_a_manifest_and_composed_from_disk():
    nfd = unicodedata.normalize("NFD", "modèle.bin")
    assert "NFC" in refused(SafePath, nfd, "path")
    assert SafePath.from_local(nfd) == "modèle.bin"


def test_a_part_longer_than_any_disk_takes_is_refused():
    assert "over 255 bytes" in refused(SafePath, "a/" + "é" * 128, "path")


COLLISIONS = [
    ("Model", "model"),
    ("a/X.bin", "a/x.BIN"),
    ("straße", "STRASSE"),
    ("É.txt", "é.txt"),
    ("ﬁle", "file"),
    ("Σ", "ς"),
    ("a/b", "a/b"),
    ("\u1fb3", "\u1fbc"),
    ("K.bin", "k.bin"),
]


@pytest.mark.parametrize("pair", COLLISIONS)
def test_paths_that_differ_by_case_collide(pair):
    paths = [SafePath.from_local(path) for path in pair]
    for order in (paths, paths[::-1]):
        with pytest.raises(Invalid, match="ignores case") as refusal:
            refuse_collisions([SafePath("between"), *order])
        assert refusal.value.code == "invalid.collision"
        assert refusal.value.facts["paths"] == order


@pytest.mark.parametrize("pair", [("a", "a/b"), ("A", "a/b/c"), ("x/é", "X/É/z")])
def test_a_file_and_a_folder_of_one_name_collide(pair):
    for order in (pair, pair[::-1]):
        with pytest.raises(Invalid, match="a file and a folder"):
            refuse_collisions(map(SafePath, order))


plain = st.from_regex(r"[a-z]{1,3}(/[a-z]{1,3}){0,2}", fullmatch=True).filter(
    lambda text: not {"con", "prn", "aux", "nul"} & set(text.split("/"))
)


@given(st.sets(plain, max_size=12))
def test_only_collisions_are_refused(texts):
    clash = any(other.startswith(text + "/") for text in texts for other in texts)
    try:
        refuse_collisions(map(SafePath, texts))
    except Invalid:
        assert clash
    else:
        assert not clash


@pytest.mark.parametrize("text", ["x", "val/loss", "Übung 1", "名", "a" * 200, "user@host"])
def test_a_label_is_printable_text(text):
    assert check_label(text, "phase") is text


@pytest.mark.parametrize(
    "text", ["", " ", " a", "a ", "a\n", "a\tb", "\x1b[31m", "a\u202eb", "\ud800", "a" * 201, None, 7, True]
)
def test_other_labels_are_refused(text):
    assert "Not a phase" in refused(lambda value: check_label(value, "phase"), text, "label")


HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("hero", {"artifact": "hero"}),
        ("org/hero", {"artifact": "org/hero"}),
        ("hero@latest", {"artifact": "hero", "alias": "latest"}),
        ("hero@remote/prod", {"artifact": "hero", "alias": "remote/prod"}),
        ("hero:1", {"artifact": "hero", "number": 1}),
        ("org/hero:9999999999", {"artifact": "org/hero", "number": 9999999999}),
        (HEX[:8], {"artifact": HEX[:8], "prefix": HEX[:8]}),
        (HEX, {"artifact": HEX, "prefix": HEX}),
        (HEX[:7], {"artifact": HEX[:7]}),
        ("DEADBEEF", {"artifact": "DEADBEEF"}),
        (HEX + "0", {"artifact": HEX + "0"}),
        ("550e8400-e29b-41d4-a716-446655440000", {"artifact": "550e8400-e29b-41d4-a716-446655440000"}),
        ("hero:0", {}),
        ("hero:01", {}),
        ("hero:-1", {}),
        ("hero:12345678901", {}),
        ("hero:١", {}),
        ("a:b:c", {}),
        ("run 7, step 3", {}),
        ("../up", {}),
        ("a..b", {}),
    ],
)
def test_a_reference_says_how_it_may_be_read(text, fields):
    assert Reference.parse(text) == Reference(text, **fields)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "label"),
        ("hero\n", "label"),
        ("hero@latest\n", "label"),
        (" hero", "label"),
        ("a" * 201, "label"),
        (None, "label"),
        ("@latest", "name"),
        ("a..b@latest", "name"),
        ("../a@latest", "name"),
        ("hero@", "alias"),
        ("hero@7", "alias"),
        ("hero@a b", "alias"),
        ("hero@a@b", "alias"),
        ("hero@../x", "alias"),
        ("nul", "name"),
        ("con:3", "name"),
    ],
)
def test_a_text_that_names_nothing_is_refused(text, code):
    refused(Reference.parse, text, code)


@given(segments, st.integers(1, 10**10 - 1))
def test_a_number_reads_back(name, number):
    assume(".." not in name and name.split(".")[0].lower() not in {"con", "prn", "aux", "nul"})
    assume(name[:3].lower() not in {"com", "lpt"})
    reference = Reference.parse(f"{name}:{number}")
    assert (reference.artifact, reference.number) == (name, number)
