"""Runs, recordings and hashes of files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the first three tables."""
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("collection", sa.String(16), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True)),
        sa.Column("experiment_run", sa.String(64)),
        sa.Column("frame_store", sa.String(64)),
    )
    op.create_table(
        "recordings",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("collection", sa.String(16), nullable=False),
        sa.Column("video", sa.String(32), nullable=False),
        sa.Column("patient", sa.String(32)),
        sa.Column("device", sa.String(256)),
        sa.Column("content", sa.String(64)),
        sa.Column("labels", sa.String(64)),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), nullable=False),
        sa.UniqueConstraint("site", "collection", "video", name="one_row_a_path"),
        sa.CheckConstraint("state in ('new', 'ingested', 'rejected', 'gone')", name="known_state"),
    )
    op.create_table(
        "files",
        sa.Column("path_key", sa.String(32), primary_key=True),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("ctime_ns", sa.BigInteger, nullable=False),
        sa.Column("inode", sa.String(24), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
    )
