"""artstore cache ls and clear: only what can be fetched again goes"""

import secrets

import pytest

from artifactstore.core.digest import Digest
from tests.cli.calling import call, document, done, refused


@pytest.fixture
def cache(place):
    """Two copies, a part of one, and files of somebody else"""
    folder = place / "cache"
    folder.mkdir()
    for raw in (b"one", b"three"):
        (folder / f"{Digest.of(raw)}.{secrets.token_hex(8)}").write_bytes(raw)
    (folder / f"{Digest.of(b'2')}.{secrets.token_hex(8)}.{secrets.token_hex(4)}.part").write_bytes(b"2")
    (folder / "notes.txt").write_bytes(b"mine")
    (folder / "sub").mkdir()
    return folder


def test_ls_shows_copies_and_parts(cache):
    found = document("cache", "ls", "--cache", cache)
    assert (found["bytes"], sorted(one["size"] for one in found["copies"])) == (9, [1, 3, 5])
    assert [one["size"] for one in found["copies"] if not one["whole"]] == [1]
    text = done("cache", "ls", "--cache", cache)
    assert "partial" in text
    assert text.splitlines()[-1] == "3 objects, 9 B"


def test_clear_asks_and_spares_what_is_not_the_caches(cache):
    before = sorted(cache.iterdir())
    assert call("cache", "clear", "--cache", cache).exit_code == 5
    assert done("cache", "clear", "--cache", cache, "-n") == f"Would remove 9 B in {cache}\n"
    assert sorted(cache.iterdir()) == before
    assert document("cache", "clear", "--cache", cache, "--yes")["freed_bytes"] == 9
    assert sorted(path.name for path in cache.iterdir()) == ["notes.txt", "sub"]
    assert document("cache", "clear", "--cache", cache)["freed_bytes"] == 0


def test_without_a_cache(place):
    assert "--cache" in refused(2, "cache", "ls")
    refused(2, "cache", "clear", "--yes")
    assert document("cache", "ls", "--cache", place / "nowhere")["copies"] == []
