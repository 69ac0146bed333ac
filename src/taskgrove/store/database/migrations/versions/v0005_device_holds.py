"""The devices that one run at a time works on, and the run that holds each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "5"
down_revision = "4"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    reference = sa.ForeignKey("runs.run_key", ondelete="CASCADE")
    op.create_table(
        "device_holds",
        sa.Column("device_key", sa.String(400), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("run_key", _BIG, reference, nullable=False),
        sa.Column("since_ns", _BIG, nullable=False),
    )
    op.create_index("ix_device_holds_run", "device_holds", ["run_key"])
