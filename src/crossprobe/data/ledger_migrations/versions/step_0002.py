"""The part each patient is in, and decisions to train again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds two tables; a ledger without them has split nobody and decided nothing yet."""
    op.create_table(
        "assignments",
        sa.Column("site", sa.String(32), primary_key=True),
        sa.Column("collection", sa.String(16), primary_key=True),
        sa.Column("scheme", sa.String(16), primary_key=True),
        sa.Column("patient", sa.String(32), primary_key=True),
        sa.Column("part", sa.String(64), nullable=False),
        sa.Column("wave", sa.Integer, nullable=False),
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data_hash", sa.String(64), nullable=False),
        sa.Column("patients", sa.JSON, nullable=False),
        sa.Column("retrain", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("trained", sa.DateTime(timezone=True)),
        sa.Column("experiment_run", sa.String(64)),
    )
