"""artstore catalog upgrade"""

import sqlite3

from tests.cli.calling import document, done, refused


def test_a_catalog_that_is_there_stays(store):
    assert done("catalog", "upgrade").startswith("The catalog has schema ")
    assert done("catalog", "upgrade", "-q").strip() == document("catalog", "upgrade")["schema"]


def test_a_newer_one_is_left_alone(store):
    with sqlite3.connect(store / "catalog.sqlite") as rows:
        rows.execute("UPDATE artifactstore_schema SET version_num = '9999'")
    rows.close()
    assert "newer" in refused(2, "catalog", "upgrade")


def test_none_is_made(store, place):
    refused(10, "catalog", "upgrade", "--store", "nope")
    refused(3, "catalog", "upgrade", "--catalog", f"sqlite:///{place}/new.sqlite")
    assert not (place / "new.sqlite").exists()
