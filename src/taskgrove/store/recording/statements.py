"""The statements that write a record, for each kind of database.

They are plain SQL, handed to the driver as they are: the hot path of a recorder.
"""

# ruff: noqa: S608 - names of columns from this package, never data
from __future__ import annotations

import functools
from typing import Final, NamedTuple

from taskgrove.store.recording.node_rows import CHANGING_COLUMNS, FIXED_COLUMNS

#: Columns of ``runs`` that its first row is made with, in order.
RUN_COLUMNS: Final = (
    "run_id", "command", "state", "message", "progress", "created_ns", "last_ns",
    "last_sequence", "leaf_count", "failed_leaf_count", "retry_count", "lost_event_count",
    "parent_run_id", "source", "argv", "labels", "versions", "host", "user", "state_note",
)  # fmt: skip
#: Columns of ``runs`` that change with its events, in order.
RUN_CHANGES: Final = (
    "status", "result_code", "health_state", "message", "progress", "started_ns", "last_ns",
    "last_sequence", "leaf_count", "failed_leaf_count", "retry_count", "lost_event_count",
)  # fmt: skip
LEASE_COLUMNS: Final = (
    "run_key", "host", "boot_id", "pid", "pid_started", "heartbeat_ns", "interval_s",
)  # fmt: skip


#: Parameters of one statement, at most: SQLite before 3.32 takes no more than 999.
MOST_PARAMETERS: Final = 900


class Statements(NamedTuple):
    """The statements, with the driver's own marks for parameters."""

    insert_run: str
    find_run: str
    resume_run: str
    change_run: str
    end_run: str
    insert_lease: str
    drop_lease: str
    heartbeat: str
    take_back: str
    insert_event: str
    insert_node: str
    change_node: str
    drop_nodes: str
    insert_path: str
    insert_analysis: str
    insert_page: str
    claim: str
    claimed_by: str
    drop_claim: str


def statements_for(dialect: str) -> Statements:
    """Return the statements for ``sqlite`` or ``postgresql``."""
    quoted = {"user": '"user"'}
    run_columns = ", ".join(quoted.get(name, name) for name in RUN_COLUMNS)
    node_columns = ("run_key", "node_number", "path_key", *FIXED_COLUMNS, *CHANGING_COLUMNS)
    raw = Statements(
        insert_run=f"INSERT INTO runs ({run_columns}) VALUES ({_marks(RUN_COLUMNS)})"
        " ON CONFLICT DO NOTHING",
        find_run="SELECT run_key, created_ns, last_sequence, lost_event_count, state FROM runs"
        " WHERE run_id = ?",
        resume_run="UPDATE runs SET state = 'running' WHERE run_key = ?",
        change_run=f"UPDATE runs SET {_sets(RUN_CHANGES)} WHERE run_key = ?",
        end_run="UPDATE runs SET state = 'final', ended_ns = ? WHERE run_key = ?",
        insert_lease=f"INSERT INTO leases ({', '.join(LEASE_COLUMNS)})"
        f" VALUES ({_marks(LEASE_COLUMNS)}) ON CONFLICT (run_key) DO UPDATE SET "
        + ", ".join(f"{name} = excluded.{name}" for name in LEASE_COLUMNS[1:]),
        drop_lease="DELETE FROM leases WHERE run_key = ?",
        take_back=(
            "UPDATE runs SET state = 'running', state_note = ''"
            " WHERE run_key = ? AND state = 'lost'"
        ),
        heartbeat="UPDATE leases SET heartbeat_ns = ? WHERE run_key = ? AND pid = ?",
        insert_event="INSERT INTO events (run_key, sequence, body) VALUES (?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        insert_node=f"INSERT INTO nodes ({', '.join(node_columns)})"
        f" VALUES ({_marks(node_columns)}) ON CONFLICT (run_key, node_number) DO UPDATE SET "
        + ", ".join(f"{name} = excluded.{name}" for name in CHANGING_COLUMNS),
        change_node=f"UPDATE nodes SET {_sets(CHANGING_COLUMNS)}"
        " WHERE run_key = ? AND node_number = ?",
        drop_nodes="DELETE FROM nodes WHERE run_key = ?",
        insert_path="INSERT INTO paths (path) VALUES (?) ON CONFLICT DO NOTHING",
        insert_analysis="INSERT INTO analyses (run_key, sequence, path_key, analysis, status,"
        " summary, experiment, experiment_run, detail, wall_ns)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        insert_page="INSERT INTO pages (run_key, sequence, path_key, display_name, file,"
        " size_bytes, sha256, wall_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        claim="INSERT INTO resumes (run_key, number, run_id, set_out, claimed_ns)"
        " SELECT run_key, ?, ?, ?, ? FROM runs WHERE run_id = ? ON CONFLICT DO NOTHING",
        claimed_by="SELECT s.run_id FROM resumes s JOIN runs r ON r.run_key = s.run_key"
        " WHERE r.run_id = ? AND s.number = ?",
        # Of a run that was lost, nobody knows whether a leaf began in its last moments.
        drop_claim="DELETE FROM resumes WHERE run_id = ? AND NOT EXISTS (SELECT 1 FROM runs"
        " WHERE run_key = ? AND recovered_ns IS NOT NULL)",
    )
    if dialect == "sqlite":
        return raw
    return Statements(*(text.replace("?", "%s") for text in raw))


class Block(NamedTuple):
    """A statement that inserts many rows at once.

    In SQLite a row costs less than half of what it costs in ``executemany``, and the lock of the
    interpreter is let go of once for all of them: whoever makes events is not held up by each.

    Attributes:
        sql: The statement.
        rows: How many rows it takes.
        width: Parameters of each row.
    """

    sql: str
    rows: int
    width: int


@functools.cache
def block_of(insert: str) -> Block:
    """Return the statement that inserts as many rows at once as one may take.

    Args:
        insert: One of :class:`Statements` that inserts one row, with the marks of SQLite.
    """
    head, _, tail = insert.partition("VALUES (")
    values, _, rest = tail.partition(")")
    width = values.count("?")
    rows = MOST_PARAMETERS // width
    row = f"({values})"
    return Block(f"{head}VALUES {', '.join([row] * rows)}{rest}", rows, width)


def _marks(columns: tuple[str, ...]) -> str:
    return ", ".join("?" for _ in columns)


def _sets(columns: tuple[str, ...]) -> str:
    return ", ".join(f"{name} = ?" for name in columns)
