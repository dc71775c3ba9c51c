"""Libraries of the foundry, asked for by name"""

import json

import pytest

from artifactstore.core.errors import Unavailable
from artifactstore.derive.extras import need


def test_what_is_there_is_given():
    assert need("json") is json


def test_what_is_not_there_is_said_with_the_way_to_it():
    with pytest.raises(Unavailable, match=r"This needs no_such_library; run: pip install 'artifactstore\[foundry\]'"):
        need("no_such_library.inner")
