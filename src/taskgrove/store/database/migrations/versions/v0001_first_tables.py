"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _make_runs()
    op.create_table(
        "paths",
        sa.Column("path_key", _BIG, primary_key=True, autoincrement=True),
        sa.Column("path", sa.Text(), nullable=False, unique=True),
    )
    _make_nodes()
    op.create_table(
        "events",
        _run_key(),
        sa.Column("sequence", _BIG, primary_key=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    _make_analyses()
    _make_pages()
    op.create_table(
        "verdicts",
        _run_key(),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )


def _run_key() -> sa.Column[int]:
    reference = sa.ForeignKey("runs.run_key", ondelete="CASCADE")
    return sa.Column("run_key", _BIG, reference, primary_key=True)


def _path_key() -> sa.Column[int]:
    return sa.Column("path_key", _BIG, sa.ForeignKey("paths.path_key"), nullable=False)


def _make_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("run_key", _BIG, primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.String(200), nullable=False, unique=True),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("result_code", sa.Integer()),
        sa.Column("health_state", sa.String(16)),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("created_ns", _BIG, nullable=False),
        sa.Column("started_ns", _BIG),
        sa.Column("ended_ns", _BIG),
        sa.Column("last_ns", _BIG, nullable=False),
        sa.Column("last_sequence", _BIG, nullable=False),
        sa.Column("leaf_count", sa.Integer(), nullable=False),
        sa.Column("failed_leaf_count", sa.Integer(), nullable=False),
        sa.Column("retry_count", sa.Integer(), nullable=False),
        sa.Column("lost_event_count", sa.Integer(), nullable=False),
        sa.Column("parent_run_id", sa.String(200)),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("argv", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("versions", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("state_note", sa.Text(), nullable=False),
    )
    op.create_index("ix_runs_created", "runs", ["created_ns"])
    op.create_index("ix_runs_command_created", "runs", ["command", "created_ns"])
    op.create_index("ix_runs_state", "runs", ["state"])
    op.create_table(
        "leases",
        _run_key(),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("pid_started", sa.Float(), nullable=False),
        sa.Column("heartbeat_ns", _BIG, nullable=False),
        sa.Column("interval_s", sa.Float(), nullable=False),
    )


def _make_nodes() -> None:
    op.create_table(
        "nodes",
        _run_key(),
        sa.Column("node_number", sa.Integer(), primary_key=True),
        _path_key(),
        sa.Column("execution", sa.String(16), nullable=False),
        sa.Column("device", sa.Text()),
        sa.Column("command_name", sa.Text()),
        sa.Column("status", sa.Integer()),
        sa.Column("result_code", sa.Integer()),
        sa.Column("health_state", sa.String(16)),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("queued_ns", _BIG),
        sa.Column("started_ns", _BIG),
        sa.Column("ended_ns", _BIG),
        sa.Column("finished_sequence", _BIG),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("composed", sa.LargeBinary()),
        sa.Column("facts", sa.LargeBinary()),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_nodes_path", "nodes", ["path_key", "run_key"])
    op.create_index("ix_nodes_device", "nodes", ["device", "run_key"])


def _make_analyses() -> None:
    op.create_table(
        "analyses",
        _run_key(),
        sa.Column("sequence", _BIG, primary_key=True),
        _path_key(),
        sa.Column("analysis", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text()),
        sa.Column("experiment_run", sa.Text()),
        sa.Column("detail", sa.LargeBinary(), nullable=False),
        sa.Column("wall_ns", _BIG, nullable=False),
    )
    op.create_index("ix_analyses_name", "analyses", ["analysis", "wall_ns"])


def _make_pages() -> None:
    op.create_table(
        "pages",
        _run_key(),
        sa.Column("sequence", _BIG, primary_key=True),
        _path_key(),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("size_bytes", _BIG, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("wall_ns", _BIG, nullable=False),
    )
    op.create_index("ix_pages_name", "pages", ["display_name", "wall_ns"])
