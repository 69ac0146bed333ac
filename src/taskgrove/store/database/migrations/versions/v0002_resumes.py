"""Which run resumed which."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

#: Runs that resumed others until now, but for those that ended before a leaf began.
_FORMER = """
INSERT INTO resumes (run_key, number, run_id, claimed_ns)
SELECT earlier.run_key,
       row_number() OVER (PARTITION BY earlier.run_key ORDER BY later.created_ns, later.run_key),
       later.run_id, later.created_ns
FROM runs later JOIN runs earlier ON earlier.run_id = later.parent_run_id
WHERE later.state <> 'final' OR later.status = 5 OR EXISTS (
    SELECT 1 FROM nodes n WHERE n.run_key = later.run_key
    AND n.execution NOT IN ('SEQUENTIAL', 'PARALLEL') AND n.started_ns IS NOT NULL)
"""


def upgrade() -> None:
    """Make the table, and fill it from the runs that are there."""
    reference = sa.ForeignKey("runs.run_key", ondelete="CASCADE")
    op.create_table(
        "resumes",
        sa.Column("run_key", _BIG, reference, primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("run_id", sa.String(200), nullable=False, unique=True),
        sa.Column("set_out", sa.Text()),
        sa.Column("claimed_ns", _BIG, nullable=False),
    )
    op.execute(_FORMER)
