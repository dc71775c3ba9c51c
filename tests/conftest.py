"""Fixtures that many rooms of the suite share"""

from collections.abc import Iterator

import pytest

from tests.servers import postgres_database, start_postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with start_postgres() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server) -> Iterator[str]:
    with postgres_database(postgres_server) as url:
        yield url
