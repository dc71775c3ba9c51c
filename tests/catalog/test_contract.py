"""SQLite and Postgres keep one contract"""

from tests.contract.catalog import CommitContract, ConcurrencyContract, GrantContract


class TestGrants(GrantContract):
    pass


class TestCommits(CommitContract):
    pass


class TestConcurrency(ConcurrencyContract):
    pass
