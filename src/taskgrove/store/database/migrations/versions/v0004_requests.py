"""Requests of operators to live runs, and their answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_OPEN = sa.text("answered_ns IS NULL")


def upgrade() -> None:
    """Make the table."""
    reference = sa.ForeignKey("runs.run_key", ondelete="CASCADE")
    op.create_table(
        "requests",
        sa.Column("request_key", _BIG, sa.Identity(always=True), primary_key=True),
        sa.Column("run_key", _BIG, reference, nullable=False),
        sa.Column("request_id", sa.String(200), nullable=False, unique=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("asked_ns", _BIG, nullable=False),
        sa.Column("answer", sa.LargeBinary()),
        sa.Column("answered_ns", _BIG),
    )
    op.create_index("ix_requests_run", "requests", ["run_key"])
    op.create_index(
        "ix_requests_open", "requests", ["run_key"], sqlite_where=_OPEN, postgresql_where=_OPEN
    )
