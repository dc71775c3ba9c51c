"""A hub for each test"""

import pytest

from tests.hub import local_hub

TOKEN = "hf_" + "a" * 40


@pytest.fixture
def hub():
    with local_hub(tokens=(TOKEN,)) as made:
        yield made
