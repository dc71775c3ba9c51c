"""Memos: what was calculated before, and where its bytes lie"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BYTES = {"sqlite": "BLOB", "postgresql": "BYTEA"}
LEAN = {"sqlite": " WITHOUT ROWID", "postgresql": ""}

MEMO = """
CREATE TABLE memo (
  key $bytes NOT NULL,
  value $bytes NOT NULL,
  at BIGINT NOT NULL,
  CONSTRAINT pk_memo PRIMARY KEY (key)
)$lean
"""


def upgrade() -> None:
    connection = op.get_bind()
    dialect = connection.dialect.name
    connection.exec_driver_sql(MEMO.replace("$bytes", BYTES[dialect]).replace("$lean", LEAN[dialect]))
