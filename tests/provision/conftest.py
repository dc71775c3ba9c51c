"""A hub, a store, and fetches from one to the other"""

import pytest

from artifactstore import depot as depots
from artifactstore.core.events import Warn
from tests.hub import local_hub
from tests.shelf import Fetching

TOKEN = "hf_" + "a" * 40


@pytest.fixture
def hub():
    with local_hub(tokens=(TOKEN,)) as made:
        yield made


@pytest.fixture
def fetching(hub, tmp_path):
    warned = []

    def hear(event):
        if isinstance(event, Warn):
            warned.append(event.message)

    with depots.init(str(tmp_path / "store"), monitor=hear) as depot:
        yield Fetching(depot, hub, tmp_path, warned)
