"""Catalog URLs: understood or refused, never echoed"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.catalog.url import parse_url, sqlite_url
from artifactstore.core.errors import Invalid

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("/data/catalog.sqlite", "no '://'"),
        (f"postgresql:u:{SECRET}@h/d", "no '://'"),
        (f"postgres://u:{SECRET}@h/d", "postgresql://"),
        (f"postgresql+psycopg2://u:{SECRET}@h/d", "postgresql://"),
        (f"mysql://u:{SECRET}@h/d", "'mysql'"),
        ("postgresql://h:notaport/d", "port"),
        (f"postgresql://u:{SECRET}", "port"),
        (f"postgresql://[::1:{SECRET}/d", "Not a Postgres URL"),
        ("postgresql://h:99999/d", "between 1 and 65535"),
        (f"postgresql://u:p@{SECRET}@h/d", "%40"),
        ("postgresql://h", "names no database"),
        ("postgresql://h/", "names no database"),
        ("sqlite://", "in memory"),
        ("sqlite:///", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite://host/x", "not a host"),
        ("sqlite:////a?mode=ro", "?network=allow"),
        ("sqlite:////a%00b", "NUL"),
        ("sqlite:///file:/a", "itself a URL"),
        ("file:///a", "'file'"),
    ],
)
def test_bad_urls_are_refused_in_one_line_without_their_secrets(text, says):
    with pytest.raises(Invalid) as caught:
        parse_url(text)
    assert says in caught.value.message
    assert caught.value.code == "invalid.catalog-url"
    assert SECRET not in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("sqlite:////data/c.sqlite", "/data/c.sqlite"),
        ("sqlite+pysqlite:////data/c d", "/data/c d"),
        ("sqlite:////data/../c", "/c"),
        ("sqlite:////a%3Fb", "/a?b"),
        (" sqlite:////padded ", "/padded"),
    ],
)
def test_sqlite_urls_name_a_file(text, file):
    assert parse_url(text).file == Path(file)


def test_a_relative_path_starts_at_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_url("sqlite:///c.sqlite").file == tmp_path / "c.sqlite"


def test_the_network_option_is_read():
    assert parse_url("sqlite:////a?network=allow").network
    assert not parse_url("sqlite:////a").network


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1))
def test_the_url_of_a_file_leads_back_to_it(name):
    file = Path("/folder") / f"a{name}b"
    assert parse_url(sqlite_url(file)).file == file


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u@h:1/d", "postgresql://u@h:1/d"),
        (f"postgresql://u:{SECRET}@h/d", "postgresql://u:***@h/d"),
        (f"postgresql+psycopg://u:{SECRET}%40@h/d", "postgresql://u:***@h/d"),
        (f"postgresql://h/d?password={SECRET}&sslmode=require", "postgresql://h/d?password=%2A%2A%2A&sslmode=require"),
        ("postgresql:///d?host=/tmp", "postgresql:///d?host=%2Ftmp"),
        ("sqlite:////a/b", "sqlite:////a/b"),
    ],
)
def test_urls_are_shown_without_secrets(text, shown):
    assert parse_url(text).shown == shown
    assert SECRET not in repr(parse_url(text))


@given(
    st.text(st.characters(codec="utf-8", exclude_characters=":@/?#%"), min_size=3).filter(lambda text: "*" not in text),
    st.text(),
    st.text(),
)
def test_secrets_are_taken_out_of_any_text(password, before, after):
    url = parse_url(f"postgresql://u:{password}@h/d")
    assert password not in url.clean(before + password + after).replace("***", "\0")
