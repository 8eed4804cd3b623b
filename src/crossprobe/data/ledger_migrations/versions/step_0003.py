"""The group of near-identical images that each image of a set without patients belongs to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds a table; a ledger without it learns the groups that there are at the next reading."""
    op.create_table(
        "image_groups",
        sa.Column("site", sa.String(32), primary_key=True),
        sa.Column("collection", sa.String(16), primary_key=True),
        sa.Column("content", sa.String(64), primary_key=True),
        sa.Column("patient", sa.String(32), nullable=False),
    )
