"""When recovery took a run over, as a fact of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

#: Until now only the words of a run's note told it.
_FORMER = """
UPDATE runs SET recovered_ns = last_ns WHERE substr(state_note, 1, 13) = 'recovered by '
"""


def upgrade() -> None:
    """Add the column, and fill it for the runs that are there."""
    op.add_column("runs", sa.Column("recovered_ns", _BIG))
    op.execute(_FORMER)
