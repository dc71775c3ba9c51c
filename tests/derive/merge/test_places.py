"""The same merge in stores of every kind: the same bytes"""

import pytest
import yaml

from artifactstore.store import Store
from tests.derive.merge.shapes import family

RECIPE = {
    "merge_method": "ties",
    "base_model": "org/m0",
    "models": [{"model": f"org/m{number}", "parameters": {"weight": 0.5, "density": 0.4}} for number in (1, 2)],
    "dtype": "float32",
    "out_dtype": "bfloat16",
}


@pytest.fixture
def folders(tmp_path):
    return family("llama", tmp_path / "models", 3)


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "r.yml").write_text(yaml.safe_dump(RECIPE))
    return tmp_path / "r.yml"


def filled(store, folders):
    for number, folder in enumerate(folders):
        store.add([folder], name=f"org/m{number}", created=number + 1)
    return store


def digest(store):
    [weights] = [file for file in store.show("merged")["files"] if file["path"] == "model.safetensors"]
    return weights["sha256"]


@pytest.fixture
def expected(store, folders, recipe):
    filled(store, folders).merge(recipe, name="merged")
    return digest(store)


def test_over_s3(s3_url, tmp_path, folders, recipe, expected):
    with Store.init(s3_url, f"sqlite:///{tmp_path}/catalog.sqlite") as store:
        filled(store, folders).merge(recipe, name="merged")
        assert digest(store) == expected
        assert store.verify().damaged == ()


def test_with_postgres(postgres_url, tmp_path, folders, recipe, expected):
    with Store.init(str(tmp_path / "team"), postgres_url) as store:
        first = filled(store, folders).merge(recipe, name="merged")
        again = store.merge(recipe, name="merged")
        assert (again.committed.version.id, again.made) == (first.committed.version.id, 0)
        assert digest(store) == expected


def test_in_a_clone_whose_models_are_where_it_came_from(store, tmp_path, folders, recipe, expected):
    with Store.clone(str(tmp_path / "store"), str(tmp_path / "clone")) as clone:
        clone.merge(recipe, name="merged")
        assert digest(clone) == expected
        assert {one["ref"] for one in clone.show("merged")["parents"]} == {"org/m0:1", "org/m1:1", "org/m2:1"}


def test_folders_give_the_same_as_versions(store, tmp_path, folders, expected):
    text = yaml.safe_dump(RECIPE)
    for number, folder in enumerate(folders):
        text = text.replace(f"org/m{number}", str(folder))
    (tmp_path / "folders.yml").write_text(text)
    store.merge(tmp_path / "folders.yml", name="merged")
    assert digest(store) == expected
