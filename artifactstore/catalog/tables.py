"""The tables of a catalog; migrations/ makes them, a test holds that both agree"""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# SQLite gives automatic keys to columns named INTEGER only
Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Raw = sa.LargeBinary(32)


def _key() -> sa.Column[int]:
    return sa.Column("id", Key, primary_key=True)


def _version(name: str = "version_id", *, primary: bool = False) -> sa.Column[int]:
    return sa.Column(name, Key, sa.ForeignKey("version.id"), primary_key=primary, nullable=False)


def _states(*names: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"state IN ({', '.join(map(repr, names))})", name="state")


store = sa.Table(
    "store",
    metadata,
    sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="one"), primary_key=True, autoincrement=False),
    sa.Column("store_id", sa.Text, nullable=False),
    sa.Column("catalog_id", sa.Text, nullable=False),
    sa.Column("head_serial", sa.BigInteger, nullable=False),
    sa.Column("head_txid", sa.Text),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("rebuilt_at", sa.BigInteger),
)

artifact = sa.Table("artifact", metadata, _key(), sa.Column("name", sa.Text, nullable=False, unique=True))

version = sa.Table(
    "version",
    metadata,
    _key(),
    sa.Column("digest", Raw, nullable=False, unique=True),
    sa.Column("artifact_id", Key, sa.ForeignKey("artifact.id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("taken", sa.BigInteger, nullable=False),
    sa.Column("phase", sa.Text),
    sa.Column("step", sa.BigInteger),
    sa.Column("epoch", sa.Double),
    sa.Column("request_id", sa.Text, index=True),
    sa.Column("license", sa.Text),
    sa.Column("nbytes", sa.BigInteger, nullable=False),
    sa.Column("file_count", sa.Integer, nullable=False),
    sa.Column("tensor_count", sa.Integer, nullable=False),
    sa.Column("formats", sa.Text, nullable=False),
    sa.Column("dtypes", sa.Text, nullable=False),
    sa.Column("metadata", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("retired_at", sa.BigInteger),
    sa.Column("retired_by", sa.BigInteger),
    sa.Column("retired_why", sa.Text),
    sa.Column("swept_at", sa.BigInteger),
    sa.UniqueConstraint("artifact_id", "number"),
    _states("active", "retired"),
)

file = sa.Table(
    "file",
    metadata,
    _version(primary=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", Raw, nullable=False, index=True),
    sa.Column("format", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

tensor_summary = sa.Table(
    "tensor_summary",
    metadata,
    _version(primary=True),
    sa.Column("dtype", sa.Text, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("nbytes", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)


def _few(column: str, where: str) -> sa.Index:
    # naming the dialect of Postgres here would load it; its migration says the same
    return sa.Index(None, column, sqlite_where=sa.text(where))


def _objects(name: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        _key(),
        sa.Column("digest", Raw, nullable=False, unique=True),
        sa.Column("inc", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("stored_size", sa.BigInteger, nullable=False),
        sa.Column("codec", sa.Text),
        sa.Column("base", Raw),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("condemned_at", sa.BigInteger),
        sa.Column("owner", sa.Text),
        sa.Column("checked_at", sa.BigInteger),
        _states("live", "condemned", "deleting", "damaged"),
        _few("base", "base IS NOT NULL"),
        _few("state", "state <> 'live'"),
    )


blob = _objects("blob")
manifest = _objects("manifest")

version_blob = sa.Table(
    "version_blob",
    metadata,
    _version(primary=True),
    sa.Column("blob_id", Key, sa.ForeignKey("blob.id", ondelete="RESTRICT"), primary_key=True),
    sa.Index(None, "blob_id", "version_id"),
    sqlite_with_rowid=False,
)

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Index(None, "state", "expires_at"),
    _states("active", "reaped", "done"),
)

lease_pin = sa.Table(
    "lease_pin",
    metadata,
    sa.Column("lease_id", sa.Text, sa.ForeignKey("lease.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("digest", Raw, primary_key=True),
    sa.Column("inc", sa.Text, primary_key=True),
    sa.Index(None, "digest", "inc"),
    sqlite_with_rowid=False,
)

lease_hold = sa.Table(
    "lease_hold",
    metadata,
    sa.Column("lease_id", sa.Text, sa.ForeignKey("lease.id", ondelete="CASCADE"), primary_key=True),
    _version(primary=True),
    sa.Index(None, "version_id"),
    sqlite_with_rowid=False,
)

alias = sa.Table(
    "alias",
    metadata,
    sa.Column("artifact_id", Key, sa.ForeignKey("artifact.id"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    _version(),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Index(None, "version_id"),
    sqlite_with_rowid=False,
)

alias_history = sa.Table(
    "alias_history",
    metadata,
    sa.Column("artifact_id", Key, sa.ForeignKey("artifact.id"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("generation", sa.BigInteger, primary_key=True),
    sa.Column("version_id", Key, sa.ForeignKey("version.id")),
    sa.Column("at", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

metric = sa.Table(
    "metric",
    metadata,
    _version(primary=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Double),
    sa.Column("at", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

link = sa.Table(
    "link",
    metadata,
    _version("child_id", primary=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("relation", sa.Text, nullable=False),
    sa.Column("ref", sa.Text, nullable=False),
    sa.Column("parent_id", Key, sa.ForeignKey("version.id"), index=True),
    sa.Column("parent_digest", Raw, index=True),
    sa.Column("weight", sa.Double),
    sa.Column("params", sa.Text, nullable=False),
    sa.Column("name", sa.Text, index=True),
    sa.Column("sha256", Raw, index=True),
    sa.Column("evidence", sa.Text),
)

version_pin = sa.Table(
    "version_pin",
    metadata,
    _version(primary=True),
    sa.Column("why", sa.Text, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger),
)

policy = sa.Table(
    "policy",
    metadata,
    sa.Column("pattern", sa.Text, primary_key=True),
    sa.Column("rules", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
)

remote = sa.Table(
    "remote",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("catalog", sa.Text),
    sa.Column("store_id", sa.Text, nullable=False),
    sa.Column("mirror", sa.Boolean, nullable=False),
    sa.Column("origin", sa.Boolean, nullable=False),
    sa.Column("seen_catalog", sa.Text),
    sa.Column("seen_serial", sa.BigInteger),
    sa.Column("seen_txid", sa.Text),
    sa.Column("seen_at", sa.BigInteger),
)

copy = sa.Table(
    "copy",
    metadata,
    _version(primary=True),
    sa.Column("remote", sa.Text, sa.ForeignKey("remote.name", ondelete="CASCADE"), primary_key=True, index=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

memo = sa.Table(
    "memo",
    metadata,
    sa.Column("key", sa.LargeBinary, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

journal = sa.Table(
    "journal",
    metadata,
    sa.Column("serial", Key, primary_key=True, autoincrement=False),
    sa.Column("txid", sa.Text, nullable=False, unique=True),
    sa.Column("previous", sa.Text),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("exported", sa.Boolean, nullable=False),
    sa.Index(None, "exported", "serial"),
)

load = sa.Table(
    "load",
    metadata,
    _version(primary=True),
    sa.Column("last_load", sa.BigInteger, nullable=False),
)
