"""A store on disk for the tests of tensors"""

import pytest

from artifactstore.store import Store


@pytest.fixture
def depot(tmp_path):
    with Store.init(str(tmp_path / "store")) as store:
        yield store.depot
