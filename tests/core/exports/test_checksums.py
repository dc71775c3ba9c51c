"""Checksums: what we write and what others wrote, by the tool itself"""

import hashlib
import subprocess

import pytest
from hypothesis import given, settings

from artifactstore.core.digest import Sha256
from artifactstore.core.errors import Invalid
from artifactstore.core.exports.checksums import Mismatch, compare, parse, text
from tests.core.exports.subjects import file, subject, subjects, version

HASH = hashlib.sha256(b"x").hexdigest()
DIGEST = Sha256.of(b"x")


@settings(deadline=None)
@given(subjects())
def test_what_is_written_is_read_back(told):
    assert parse(text(told)) == {str(one.path): one.sha256 for one in told.version.files}


def test_what_sha256sum_writes_of_any_name_is_read(tmp_path):
    names = ["plain", "-dash", " space ", "ä", "back\\slash", "new\nline", "ret\rurn", "*star", "#hash", "a (b) = c"]
    for name in names:
        (tmp_path / name).write_text(name)
    expected = {name: Sha256.of(name.encode()) for name in names}
    for options in ((), ("--binary",), ("--tag",)):
        said = subprocess.run(["sha256sum", *options, "--", *names], cwd=tmp_path, capture_output=True, check=True)
        assert parse(said.stdout.decode()) == expected, options


@pytest.mark.parametrize(
    "line",
    [
        f"{HASH}  a/b",
        f"{HASH} *a/b",
        f"{HASH} a/b",
        f"{HASH.upper()}  a/b\r",
        f"\ufeff{HASH}  a/b",
        f"{HASH}  ./a/b",
        f"{HASH}  .//a/./b",
        f"SHA256 (a/b) = {HASH}",
        f"SHA256(a/b)= {HASH}",
        f"SHA2-256(./a/b)= {HASH}",
        f"# made by hand\n\n   \n{HASH}  a/b\n{HASH}  ./a/b",
    ],
)
def test_forms(line):
    assert parse(line) == {"a/b": DIGEST}


def test_a_name_as_a_mac_writes_it_is_the_same_name():
    assert parse(f"{HASH}  e\u0301") == {"\u00e9": DIGEST}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("hello", "is no checksum"),
        (HASH, "is no checksum"),
        (f"{HASH}  ", "is no checksum"),
        (f"{HASH[:40]}  a", "40 digits is SHA-1"),
        (f"{HASH[:32]}  a", "32 digits is MD5"),
        (f"{HASH}{HASH}  a", "128 digits is SHA-512"),
        (f"{HASH[:-1]}  a", "63 digits is no hash"),
        (f"MD5 (a) = {HASH[:32]}", "MD5 is not supported"),
        (f"SHA512 (a) = {HASH}{HASH}", "SHA512 is not supported"),
        (f"SHA256 (a) = {HASH[:40]}", "40 digits is SHA-1"),
        (f"{HASH}  /etc/passwd", "leads out"),
        (f"{HASH}  a/../../b", "leads out"),
        (f"{HASH}  ./", "leads out"),
        (f"\\{HASH}  /a", "leads out"),
        (f"\\{HASH}  a\\tb", "is no escape"),
        (f"\\{HASH}  a\\", "is no escape"),
        (f"{'0' * 64}  ok", "listed before with another hash"),
    ],
)
def test_junk_is_refused_with_its_line(line, why):
    with pytest.raises(Invalid, match=why) as refusal:
        parse(f"{HASH}  ok\n\n{line}\n")
    assert refusal.value.facts == {"line": 3}
    assert str(refusal.value).startswith("Line 3: ")
    assert len(str(refusal.value)) < 200


def test_a_list_of_nothing_is_refused():
    for empty in ("", "\n\n", "# nothing\n"):
        with pytest.raises(Invalid, match="names no file"):
            parse(empty)


def test_comparison():
    here = subject(version("x", files=[file("same", b"x"), file("changed", b"x"), file("more", b"x")])).version.files
    other = Sha256.of(b"y")
    report = compare({"same": DIGEST, "changed": other, "gone": DIGEST}, here)
    assert report.matched == 1
    assert report.mismatched == (Mismatch("changed", other, DIGEST),)
    assert (report.missing, report.unlisted) == (("gone",), ("more",))
    assert not report.fine
    assert compare({"same": DIGEST}, here).fine
    assert not compare({"gone": DIGEST}, here).fine
