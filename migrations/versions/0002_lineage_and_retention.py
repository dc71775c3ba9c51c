"""Evidence of links, memories of removed versions, stored policies, when a catalog was rebuilt"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

RAW = {"sqlite": "BLOB", "postgresql": "BYTEA"}

CHANGES = """
ALTER TABLE store ADD COLUMN rebuilt_at BIGINT;
ALTER TABLE version ADD COLUMN retired_by BIGINT;
ALTER TABLE version ADD COLUMN retired_why TEXT;
ALTER TABLE version ADD COLUMN swept_at BIGINT;
ALTER TABLE link ADD COLUMN name TEXT;
ALTER TABLE link ADD COLUMN sha256 $raw;
ALTER TABLE link ADD COLUMN evidence TEXT;
UPDATE link SET evidence = 'hash' WHERE parent_id IS NOT NULL;
ALTER TABLE link DROP COLUMN declared;
CREATE INDEX ix_link_name ON link (name);
CREATE INDEX ix_link_sha256 ON link (sha256);
CREATE TABLE policy (
  pattern TEXT NOT NULL,
  rules TEXT NOT NULL,
  at BIGINT NOT NULL,
  CONSTRAINT pk_policy PRIMARY KEY (pattern)
);
"""


def upgrade() -> None:
    connection = op.get_bind()
    for statement in CHANGES.replace("$raw", RAW[connection.dialect.name]).split(";\n"):
        if statement.strip():
            connection.exec_driver_sql(statement)
