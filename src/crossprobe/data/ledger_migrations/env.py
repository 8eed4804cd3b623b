"""What alembic runs to apply the steps: they go through the connection that the ledger has already opened."""

from __future__ import annotations

from alembic import context

from crossprobe.data.ledger_tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
