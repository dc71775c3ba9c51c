"""Which store is meant"""

from pathlib import Path

import pytest
from artstore.location import Location

from artifactstore.core.errors import Invalid


def make_store(folder):
    folder.mkdir(parents=True)
    (folder / "artstore.json").write_text("{}")
    return str(folder)


def test_what_was_given_wins(place):
    make_store(place / ".artstore")
    assert Location.find("s3://bucket/x", "sqlite:////c") == Location("s3://bucket/x", "sqlite:////c")


def test_home_when_nobody_names_one():
    assert Location.find(None, None) == Location(str(Path.home() / ".artstore"), default=True)


def test_the_nearest_up_the_tree(place, monkeypatch):
    inner = place / "a" / "b"
    inner.mkdir(parents=True)
    outer = make_store(place / ".artstore")
    monkeypatch.chdir(inner)
    assert Location.find(None, None) == Location(outer)
    (place / "a" / "artstore.toml").write_text('store = "models"\ncatalog = "postgresql://u@h/d"\n')
    assert Location.find(None, None) == Location(str(place / "a" / "models"), "postgresql://u@h/d")
    assert Location.find(None, "sqlite:////c").catalog == "sqlite:////c"
    assert Location.find(None, None) == Location.named(inner)


def test_a_folder_called_so_that_holds_no_store_is_passed_by(place):
    (place / ".artstore").mkdir()
    assert Location.find(None, None).default


def test_a_store_beside_foreign_files_is_found_by_their_folder(place):
    inner = make_store(place / "checkpoints" / ".artstore")
    assert Location.find("checkpoints", None).store == str(Path("checkpoints/.artstore"))
    (place / "artstore.toml").write_text('store = "checkpoints"')
    assert Location.find(None, None).store == inner


def test_a_url_and_a_home_in_the_file(place):
    (place / "artstore.toml").write_text('store = "s3://bucket/x"')
    assert Location.find(None, None).store == "s3://bucket/x"
    (place / "artstore.toml").write_text('store = "~/models"')
    assert Location.find(None, None).store == str(Path.home() / "models")


@pytest.mark.parametrize(
    "text", ["", "store = 1", "store = ''", "catalog = 'x'", "store = 's'\nstores = 't'", "store", b"store = '\xff'"]
)
def test_a_file_that_is_wrong_is_named(place, text):
    (place / "artstore.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(Invalid, match=r"artstore\.toml"):
        Location.find(None, None)


def test_a_name_that_is_too_long_is_left_to_the_store():
    assert Location.find("x" * 5000, None).store == "x" * 5000
