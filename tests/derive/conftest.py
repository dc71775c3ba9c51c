"""A store on disk for the tests of products"""

import pytest

from artifactstore.core.settings import Settings
from artifactstore.store import Store


@pytest.fixture
def store(tmp_path):
    """It lands what is finished every 6 MiB"""
    settings = Settings(landing=6 << 20, attested=str(tmp_path / "attested.sqlite"))
    with Store.init(str(tmp_path / "store"), settings=settings) as store:
        yield store
