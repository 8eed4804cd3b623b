"""The tables of the ledger, as the newest migration step leaves them."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("site", String(32), nullable=False),
    Column("collection", String(16), nullable=False),
    Column("started", DateTime(timezone=True), nullable=False),
    Column("ended", DateTime(timezone=True)),
    Column("experiment_run", String(64)),
    Column("frame_store", String(64)),
)

# `video` is the keyed pseudonym of site and relative path, the same id that manifests carry; the path itself
# may hold the name of a patient and is not kept.
recordings = Table(
    "recordings",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("site", String(32), nullable=False),
    Column("collection", String(16), nullable=False),
    Column("video", String(32), nullable=False),
    Column("patient", String(32)),
    Column("device", String(256)),
    Column("content", String(64)),
    Column("labels", String(64)),
    Column("size_bytes", BigInteger),
    Column("first_seen", DateTime(timezone=True), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text),
    Column("run_id", Integer, ForeignKey("runs.id"), nullable=False),
    UniqueConstraint("site", "collection", "video", name="one_row_a_path"),
    CheckConstraint("state in ('new', 'ingested', 'rejected', 'gone')", name="known_state"),
)

files = Table(
    "files",
    metadata,
    Column("path_key", String(32), primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("ctime_ns", BigInteger, nullable=False),
    Column("inode", String(24), nullable=False),
    Column("sha256", String(64), nullable=False),
)

assignments = Table(
    "assignments",
    metadata,
    Column("site", String(32), primary_key=True),
    Column("collection", String(16), primary_key=True),
    Column("scheme", String(16), primary_key=True),
    Column("patient", String(32), primary_key=True),
    Column("part", String(64), nullable=False),
    Column("wave", Integer, nullable=False),
)

# `content` is the hash of an image's pixels, `patient` the pseudonym of its group.
image_groups = Table(
    "image_groups",
    metadata,
    Column("site", String(32), primary_key=True),
    Column("collection", String(16), primary_key=True),
    Column("content", String(64), primary_key=True),
    Column("patient", String(32), nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("data_hash", String(64), nullable=False),
    Column("patients", JSON, nullable=False),
    Column("retrain", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("trained", DateTime(timezone=True)),
    Column("experiment_run", String(64)),
)
