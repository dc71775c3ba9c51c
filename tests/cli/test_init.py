"""artstore init"""

from tests.cli.calling import document, done, refused


def test_a_folder_a_store(place):
    made = document("init", "models")
    assert made["store"] == str(place / "models")
    assert made["catalog"] == f"sqlite:///{place}/models/catalog.sqlite"
    assert document("status", "--store", "models")["store_id"] == made["store_id"]


def test_without_a_url_it_is_in_this_folder_and_found_from_below(place, monkeypatch):
    assert f"Made a store at {place}/.artstore" in done("init")
    (place / "deep").mkdir()
    monkeypatch.chdir(place / "deep")
    assert document("status")["store"] == str(place / ".artstore")


def test_without_a_url_it_is_where_the_environment_or_the_file_say(place, monkeypatch):
    (place / "artstore.toml").write_text('store = "named"')
    assert document("init")["store"] == str(place / "named")
    monkeypatch.setenv("ARTSTORE_STORE", "elsewhere")
    assert document("init")["store"] == str(place / "elsewhere")


def test_a_catalog_of_its_own_place(place):
    catalog = f"sqlite:///{place}/c.sqlite"
    assert document("init", "s", "--catalog", catalog)["catalog"] == catalog
    assert document("status", "--store", "s", "--catalog", catalog)["versions"] == 0
    assert (
        refused(3, "ls", "--store", "s")
        == f"No catalog at {place}/s/catalog.sqlite; artstore catalog rebuild makes it anew from its store"
    )


def test_a_second_time_it_is_there_already(store):
    assert "already" in refused(1, "init", store)


def test_beside_foreign_files_it_says_where(place):
    (place / "latest.pt").write_text("theirs")
    assert refused(2, "init", place).endswith(f"artstore init {place / '.artstore'}")
    done("init", place / ".artstore")
    assert document("status", "--store", place)["store"] == str(place / ".artstore")
