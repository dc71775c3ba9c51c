"""Small models of transformers for the tests of the web, and their graphs, exported when first asked for"""

import pytest

from artifactstore.store import Store
from tests.derive.web.tiny import folder, graph


@pytest.fixture(scope="session")
def qwen(tmp_path_factory):
    """A language model whose table of embeddings is its last matrix"""
    return folder(tmp_path_factory, "qwen")


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    """A language model with a table of its own, large enough to be made smaller"""
    return folder(tmp_path_factory, "llama")


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    """An encoder"""
    return folder(tmp_path_factory, "bert")


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Their graphs in float32, by name"""

    class Exported:
        def __getitem__(self, name):
            return graph(tmp_path_factory, name)

    return Exported()


@pytest.fixture
def store(tmp_path):
    with Store.init(str(tmp_path / "store")) as store:
        yield store
