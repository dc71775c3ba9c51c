"""The manager of models: what is here, what is fetched when it is not, and where it lies"""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

import artifactstore
from artifactstore.core.errors import Denied, Invalid, NotFound, Offline, Unavailable
from artifactstore.core.settings import Settings
from artifactstore.models import ModelManager, create_model_manager, read_registry
from tests.hub import local_hub
from tests.shelf import registry, total, weights, whole


@pytest.fixture
def hub():
    with local_hub() as made:
        made.repo("org/one", whole(1))
        made.repo("org/two", whole(2))
        yield made


@pytest.fixture
def manager(hub, tmp_path):
    """As a function of its options, closed in the end"""
    made = []

    def manage(*entries, **options):
        file = tmp_path / "mine.toml"
        file.write_text(registry(*(entries or ("org/one", "org/two"))))
        given = {"registry": [file], "endpoint": hub.endpoint, "partials": tmp_path / "partials"}
        made.append(create_model_manager(tmp_path / "models", **given | options))
        return made[-1]

    yield manage
    for one in made:
        one.close()


def test_a_model_is_fetched_once_and_found_in_its_folder(manager, hub, tmp_path):
    models = manager()
    assert not models.is_model_downloaded("a")
    assert not (tmp_path / "models").exists()
    folder = models.download_model_if_needed("a")
    assert folder == models.path_of("a") == tmp_path / "models/org_one"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole(1)
    assert models.is_model_downloaded("a")
    asked = len(hub.requests)
    assert models.download_model_if_needed("a") == folder
    assert len(hub.requests) == asked


def test_a_folder_that_lost_a_file_is_filled_from_the_store(manager, hub):
    models = manager()
    folder = models.download_model_if_needed("a")
    (folder / "config.json").unlink()
    asked = len(hub.requests)
    assert not models.is_model_downloaded("a")
    [standing] = models.check(["a"])
    assert (standing.state, standing.away) == ("held", ("config.json",))
    models.ensure(["a"])
    assert (folder / "config.json").read_bytes() == whole(1)["config.json"]
    assert len(hub.requests) == asked


def test_content_that_changed_is_found_when_it_is_looked_at(manager):
    models = manager()
    config = models.download_model_if_needed("a") / "config.json"
    config.write_bytes(config.read_bytes().swapcase())
    assert models.is_model_downloaded("a")
    [standing] = models.check(["a"], hashed=True)
    assert standing.to_json()["away"] == ["config.json"]


def test_all_models_are_had_together(manager, hub):
    models = manager('source = "hf://org/one"\ndestination = "deep/one"', "org/two")
    folders = models.ensure(["a", "b"], timeout=timedelta(minutes=5))
    assert [folder.name for folder in folders.values()] == ["one", "org_two"]
    assert [one.state for one in models.check(["b", "a"])] == ["held", "held"]
    assert hub.sent() < total(whole(1)) + total(whole(2))
    states = {one.model.name: one.state for one in models.check()}
    assert states["clip"] == "missing"


def test_a_variable_names_another_source(manager):
    models = manager('source = "hf://org/none"\nenv = "A_MODEL"', env={"A_MODEL": "org/two"})
    assert models.download_model_if_needed("a").name == "org_two"


def test_what_cannot_be_had_is_told(manager, hub):
    hub.repo("org/gated", whole(3), gated=True)
    models = manager("org/gated", "org/none", "org/one")
    with pytest.raises(NotFound, match="No model is called 'clop'; did you mean clip"):
        models.is_model_downloaded("clop")
    with pytest.raises(Denied, match="gated"):
        models.download_model_if_needed("a")
    with pytest.raises(NotFound, match="org/none"):
        models.ensure(["c", "b"])
    assert models.is_model_downloaded("c")


def test_time_is_bounded_and_what_is_half_fetched_is_cleaned(manager, hub):
    hub.repo("org/slow", whole(4, 4 << 20))
    models = manager("org/slow")
    hub.fault("stall", "model.safetensors", after=2 << 20)
    with pytest.raises(Unavailable):
        models.ensure(["a"], timeout=1.5)
    hub.go_on()
    assert models.cleanup(older=timedelta(days=1)) == 0
    assert models.cleanup() >= 1
    assert models.cleanup() == 0
    assert models.download_model_if_needed("a").is_dir()


def test_offline_what_is_here_works_and_what_is_not_is_named_all_at_once(manager, hub, tmp_path):
    offline = {"settings": Settings(offline=True)}
    with pytest.raises(Offline, match=r"org/one.*org/two"):
        manager(**offline).ensure(["a", "b"])
    assert not (tmp_path / "models").exists()
    manager().ensure(["a"])
    asked = len(hub.requests)
    models = manager(**offline)
    assert models.ensure(["a"])["a"].is_dir()
    with pytest.raises(Offline, match="artstore fetch b with a network"):
        models.ensure(["a", "b"])
    assert len(hub.requests) == asked


def test_a_model_that_is_here_in_part_is_told(manager, hub, tmp_path):
    files = whole(5)
    del files["tokenizer.json"]
    hub.repo("org/part", files)
    models = manager('source = "hf://org/part"\nlicense = "MIT"')
    with artifactstore.Store.init(str(tmp_path / "models/.artstore")) as store:
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        store.add([tmp_path / name for name in files], name="org/part")
    [standing] = models.check(["a"])
    assert standing.state == "incomplete"
    assert "a tokenizer" in standing.lacking[0]
    with pytest.raises(Offline, match="without a tokenizer"):
        manager('source = "hf://org/part"', settings=Settings(offline=True)).ensure(["a"])


def test_a_store_may_lie_elsewhere(manager, tmp_path):
    with manager(store=tmp_path / "store", jobs=1) as models:
        models.ensure(["a"])
    assert not (tmp_path / "models/.artstore").exists()
    with artifactstore.Store.open(str(tmp_path / "store")) as store:
        assert store.show("org/one")["aliases"] == ["latest"]


def test_a_local_model_may_lie_in_its_own_folder(manager, tmp_path):
    folder = tmp_path / "models/own"
    folder.mkdir(parents=True)
    (folder / "video.safetensors").write_bytes(weights(7))
    models = manager('source = "./own"\ndestination = "own"')
    assert models.ensure(["a"])["a"] == folder
    assert models.is_model_downloaded("a")


def test_registries_are_files_of_text(tmp_path):
    with pytest.raises(NotFound, match="No such file"):
        read_registry([tmp_path / "none.toml"])
    (tmp_path / "raw.toml").write_bytes(b"\xff")
    with pytest.raises(Invalid, match=r"raw\.toml is not UTF-8"):
        read_registry([tmp_path / "raw.toml"])
    (tmp_path / "bad.toml").write_text("[models.x]\nsorce = 1")
    with pytest.raises(Invalid, match=r"bad\.toml: \[models\.x\]: unknown key 'sorce'; did you mean source\?"):
        ModelManager(tmp_path, registry=[tmp_path / "bad.toml"])
    assert "clip" in read_registry().models


def test_the_manager_is_a_public_name_that_pulls_in_no_torch():
    assert artifactstore.ModelManager is ModelManager
    code = "import sys, artifactstore; artifactstore.create_model_manager; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path("/"))
    assert done.stdout.strip() == "False"
