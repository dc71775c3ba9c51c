"""A hub for each test"""

import pytest

from artifactstore.core.hub import HubRef
from artifactstore.upstream.hub import HubUpstream
from artifactstore.upstream.reach import Reach
from tests.hub import local_hub

TOKEN = "hf_" + "a" * 40


@pytest.fixture
def hub():
    with local_hub(tokens=(TOKEN,)) as made:
        yield made


@pytest.fixture
def pauses():
    """What was waited for, in seconds; nobody waits"""
    return []


@pytest.fixture
def reach(pauses):
    return Reach(pause=pauses.append)


@pytest.fixture
def upstream(hub, reach):
    def made(ref="hf://org/tiny", **options):
        return HubUpstream(HubRef.parse(ref), **{"endpoint": hub.endpoint, "reach": reach} | options)

    return made
