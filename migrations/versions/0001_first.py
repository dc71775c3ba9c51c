"""The first catalog: versions, links, files, blobs and their states, leases, aliases, journal"""

from string import Template

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite gives automatic keys to INTEGER PRIMARY KEY columns only
WORDS = {
    "sqlite": {"key": "INTEGER NOT NULL", "ref": "INTEGER", "raw": "BLOB", "real": "DOUBLE", "lean": " WITHOUT ROWID"},
    "postgresql": {
        "key": "BIGSERIAL NOT NULL",
        "ref": "BIGINT",
        "raw": "BYTEA",
        "real": "DOUBLE PRECISION",
        "lean": "",
    },
}

TABLES = """
CREATE TABLE artifact (
  id $key,
  name TEXT NOT NULL,
  CONSTRAINT pk_artifact PRIMARY KEY (id),
  CONSTRAINT uq_artifact_name UNIQUE (name)
);
CREATE TABLE blob (
  id $key,
  digest $raw NOT NULL,
  inc TEXT NOT NULL,
  size BIGINT NOT NULL,
  stored_size BIGINT NOT NULL,
  codec TEXT,
  base $raw,
  key TEXT NOT NULL,
  start BIGINT NOT NULL,
  state TEXT NOT NULL,
  condemned_at BIGINT,
  owner TEXT,
  checked_at BIGINT,
  CONSTRAINT pk_blob PRIMARY KEY (id),
  CONSTRAINT ck_blob_state CHECK (state IN ('live', 'condemned', 'deleting', 'damaged')),
  CONSTRAINT uq_blob_digest UNIQUE (digest)
);
CREATE INDEX ix_blob_base ON blob (base) WHERE base IS NOT NULL;
CREATE INDEX ix_blob_state ON blob (state) WHERE state <> 'live';
CREATE TABLE journal (
  serial $ref NOT NULL,
  txid TEXT NOT NULL,
  previous TEXT,
  at BIGINT NOT NULL,
  body $raw NOT NULL,
  exported BOOLEAN NOT NULL,
  CONSTRAINT pk_journal PRIMARY KEY (serial),
  CONSTRAINT uq_journal_txid UNIQUE (txid)
);
CREATE INDEX ix_journal_exported_serial ON journal (exported, serial);
CREATE TABLE lease (
  id TEXT NOT NULL,
  host TEXT NOT NULL,
  pid BIGINT NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  expires_at BIGINT NOT NULL,
  CONSTRAINT pk_lease PRIMARY KEY (id),
  CONSTRAINT ck_lease_state CHECK (state IN ('active', 'reaped', 'done'))
);
CREATE INDEX ix_lease_state_expires_at ON lease (state, expires_at);
CREATE TABLE manifest (
  id $key,
  digest $raw NOT NULL,
  inc TEXT NOT NULL,
  size BIGINT NOT NULL,
  stored_size BIGINT NOT NULL,
  codec TEXT,
  base $raw,
  key TEXT NOT NULL,
  start BIGINT NOT NULL,
  state TEXT NOT NULL,
  condemned_at BIGINT,
  owner TEXT,
  checked_at BIGINT,
  CONSTRAINT pk_manifest PRIMARY KEY (id),
  CONSTRAINT ck_manifest_state CHECK (state IN ('live', 'condemned', 'deleting', 'damaged')),
  CONSTRAINT uq_manifest_digest UNIQUE (digest)
);
CREATE INDEX ix_manifest_base ON manifest (base) WHERE base IS NOT NULL;
CREATE INDEX ix_manifest_state ON manifest (state) WHERE state <> 'live';
CREATE TABLE store (
  id INTEGER NOT NULL CONSTRAINT ck_store_one CHECK (id = 1),
  store_id TEXT NOT NULL,
  catalog_id TEXT NOT NULL,
  head_serial BIGINT NOT NULL,
  head_txid TEXT,
  created BIGINT NOT NULL,
  CONSTRAINT pk_store PRIMARY KEY (id)
);
CREATE TABLE lease_pin (
  lease_id TEXT NOT NULL,
  digest $raw NOT NULL,
  inc TEXT NOT NULL,
  CONSTRAINT pk_lease_pin PRIMARY KEY (lease_id, digest, inc),
  CONSTRAINT fk_lease_pin_lease_id FOREIGN KEY(lease_id) REFERENCES lease (id) ON DELETE CASCADE
)$lean;
CREATE INDEX ix_lease_pin_digest_inc ON lease_pin (digest, inc);
CREATE TABLE version (
  id $key,
  digest $raw NOT NULL,
  artifact_id $ref NOT NULL,
  number INTEGER NOT NULL,
  created BIGINT NOT NULL,
  taken BIGINT NOT NULL,
  phase TEXT,
  step BIGINT,
  epoch $real,
  request_id TEXT,
  license TEXT,
  nbytes BIGINT NOT NULL,
  file_count INTEGER NOT NULL,
  tensor_count INTEGER NOT NULL,
  formats TEXT NOT NULL,
  dtypes TEXT NOT NULL,
  metadata TEXT NOT NULL,
  state TEXT NOT NULL,
  retired_at BIGINT,
  CONSTRAINT pk_version PRIMARY KEY (id),
  CONSTRAINT uq_version_artifact_id_number UNIQUE (artifact_id, number),
  CONSTRAINT ck_version_state CHECK (state IN ('active', 'retired')),
  CONSTRAINT uq_version_digest UNIQUE (digest),
  CONSTRAINT fk_version_artifact_id FOREIGN KEY(artifact_id) REFERENCES artifact (id)
);
CREATE INDEX ix_version_request_id ON version (request_id);
CREATE TABLE alias (
  artifact_id $ref NOT NULL,
  name TEXT NOT NULL,
  version_id $ref NOT NULL,
  generation BIGINT NOT NULL,
  CONSTRAINT pk_alias PRIMARY KEY (artifact_id, name),
  CONSTRAINT fk_alias_artifact_id FOREIGN KEY(artifact_id) REFERENCES artifact (id),
  CONSTRAINT fk_alias_version_id FOREIGN KEY(version_id) REFERENCES version (id)
)$lean;
CREATE INDEX ix_alias_version_id ON alias (version_id);
CREATE TABLE alias_history (
  artifact_id $ref NOT NULL,
  name TEXT NOT NULL,
  generation BIGINT NOT NULL,
  version_id $ref,
  at BIGINT NOT NULL,
  CONSTRAINT pk_alias_history PRIMARY KEY (artifact_id, name, generation),
  CONSTRAINT fk_alias_history_artifact_id FOREIGN KEY(artifact_id) REFERENCES artifact (id),
  CONSTRAINT fk_alias_history_version_id FOREIGN KEY(version_id) REFERENCES version (id)
)$lean;
CREATE TABLE file (
  version_id $ref NOT NULL,
  position INTEGER NOT NULL,
  path TEXT NOT NULL,
  size BIGINT NOT NULL,
  sha256 $raw NOT NULL,
  format TEXT NOT NULL,
  CONSTRAINT pk_file PRIMARY KEY (version_id, position),
  CONSTRAINT fk_file_version_id FOREIGN KEY(version_id) REFERENCES version (id)
)$lean;
CREATE INDEX ix_file_sha256 ON file (sha256);
CREATE TABLE lease_hold (
  lease_id TEXT NOT NULL,
  version_id $ref NOT NULL,
  CONSTRAINT pk_lease_hold PRIMARY KEY (lease_id, version_id),
  CONSTRAINT fk_lease_hold_lease_id FOREIGN KEY(lease_id) REFERENCES lease (id) ON DELETE CASCADE,
  CONSTRAINT fk_lease_hold_version_id FOREIGN KEY(version_id) REFERENCES version (id)
)$lean;
CREATE INDEX ix_lease_hold_version_id ON lease_hold (version_id);
CREATE TABLE link (
  child_id $ref NOT NULL,
  position INTEGER NOT NULL,
  relation TEXT NOT NULL,
  ref TEXT NOT NULL,
  parent_id $ref,
  parent_digest $raw,
  weight $real,
  params TEXT NOT NULL,
  declared BOOLEAN NOT NULL,
  CONSTRAINT pk_link PRIMARY KEY (child_id, position),
  CONSTRAINT fk_link_child_id FOREIGN KEY(child_id) REFERENCES version (id),
  CONSTRAINT fk_link_parent_id FOREIGN KEY(parent_id) REFERENCES version (id)
);
CREATE INDEX ix_link_parent_digest ON link (parent_digest);
CREATE INDEX ix_link_parent_id ON link (parent_id);
CREATE TABLE load (
  version_id $ref NOT NULL,
  last_load BIGINT NOT NULL,
  CONSTRAINT pk_load PRIMARY KEY (version_id),
  CONSTRAINT fk_load_version_id FOREIGN KEY(version_id) REFERENCES version (id)
);
CREATE TABLE metric (
  version_id $ref NOT NULL,
  name TEXT NOT NULL,
  value $real,
  at BIGINT NOT NULL,
  CONSTRAINT pk_metric PRIMARY KEY (version_id, name),
  CONSTRAINT fk_metric_version_id FOREIGN KEY(version_id) REFERENCES version (id)
)$lean;
CREATE TABLE tensor_summary (
  version_id $ref NOT NULL,
  dtype TEXT NOT NULL,
  count BIGINT NOT NULL,
  nbytes BIGINT NOT NULL,
  CONSTRAINT pk_tensor_summary PRIMARY KEY (version_id, dtype),
  CONSTRAINT fk_tensor_summary_version_id FOREIGN KEY(version_id) REFERENCES version (id)
)$lean;
CREATE TABLE version_blob (
  version_id $ref NOT NULL,
  blob_id $ref NOT NULL,
  CONSTRAINT pk_version_blob PRIMARY KEY (version_id, blob_id),
  CONSTRAINT fk_version_blob_version_id FOREIGN KEY(version_id) REFERENCES version (id),
  CONSTRAINT fk_version_blob_blob_id FOREIGN KEY(blob_id) REFERENCES blob (id) ON DELETE RESTRICT
)$lean;
CREATE INDEX ix_version_blob_blob_id_version_id ON version_blob (blob_id, version_id);
CREATE TABLE version_pin (
  version_id $ref NOT NULL,
  why TEXT NOT NULL,
  at BIGINT NOT NULL,
  until BIGINT,
  CONSTRAINT pk_version_pin PRIMARY KEY (version_id, why),
  CONSTRAINT fk_version_pin_version_id FOREIGN KEY(version_id) REFERENCES version (id)
);
"""

# A version can never name a blob whose removal is decided or whose bytes are bad (R2, R7)
GUARDS = {
    "sqlite": [
        Template("""
        CREATE TRIGGER version_blob_$event BEFORE $event ON version_blob
        WHEN (SELECT state FROM blob WHERE id = NEW.blob_id) IN ('deleting', 'damaged')
        BEGIN SELECT RAISE(ABORT, 'version_blob names a deleting or damaged blob'); END
        """).substitute(event=event)
        for event in ("insert", "update")
    ],
    "postgresql": [
        """
        CREATE FUNCTION version_blob_guard() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF (SELECT state FROM blob WHERE id = NEW.blob_id) IN ('deleting', 'damaged') THEN
            RAISE EXCEPTION 'version_blob names a deleting or damaged blob'
              USING ERRCODE = 'integrity_constraint_violation';
          END IF;
          RETURN NEW;
        END $$
        """,
        """
        CREATE TRIGGER version_blob_guard BEFORE INSERT OR UPDATE ON version_blob
        FOR EACH ROW EXECUTE FUNCTION version_blob_guard()
        """,
    ],
}


def upgrade() -> None:
    connection = op.get_bind()
    dialect = connection.dialect.name
    for statement in Template(TABLES).substitute(WORDS[dialect]).split(";\n"):
        if statement.strip():
            connection.exec_driver_sql(statement)
    for statement in GUARDS[dialect]:
        connection.exec_driver_sql(statement)
