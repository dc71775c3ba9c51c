"""Remotes: other stores, what was last seen of each, and which versions they hold"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

REF = {"sqlite": "INTEGER", "postgresql": "BIGINT"}
LEAN = {"sqlite": " WITHOUT ROWID", "postgresql": ""}

CHANGES = """
CREATE TABLE remote (
  name TEXT NOT NULL,
  url TEXT NOT NULL,
  catalog TEXT,
  store_id TEXT NOT NULL,
  mirror BOOLEAN NOT NULL,
  origin BOOLEAN NOT NULL,
  seen_catalog TEXT,
  seen_serial BIGINT,
  seen_txid TEXT,
  seen_at BIGINT,
  CONSTRAINT pk_remote PRIMARY KEY (name)
);
CREATE TABLE copy (
  version_id $ref NOT NULL,
  remote TEXT NOT NULL,
  at BIGINT NOT NULL,
  CONSTRAINT pk_copy PRIMARY KEY (version_id, remote),
  CONSTRAINT fk_copy_version_id_version FOREIGN KEY (version_id) REFERENCES version (id),
  CONSTRAINT fk_copy_remote_remote FOREIGN KEY (remote) REFERENCES remote (name) ON DELETE CASCADE
)$lean;
CREATE INDEX ix_copy_remote ON copy (remote);
"""


def upgrade() -> None:
    connection = op.get_bind()
    dialect = connection.dialect.name
    for statement in CHANGES.replace("$ref", REF[dialect]).replace("$lean", LEAN[dialect]).split(";\n"):
        if statement.strip():
            connection.exec_driver_sql(statement)
