"""The statements that write a record.

They are plain SQL for the driver, because they are the hot path of a recorder.
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
_NODE_COLUMNS: Final = ("run_key", "node_number", "path_key", *FIXED_COLUMNS, *CHANGING_COLUMNS)
_ANALYSIS_COLUMNS: Final = (
    "run_key", "sequence", "path_key", "analysis", "status", "summary", "experiment",
    "experiment_run", "detail", "wall_ns",
)  # fmt: skip
_PAGE_COLUMNS: Final = (
    "run_key", "sequence", "path_key", "display_name", "file", "size_bytes", "sha256", "wall_ns",
)  # fmt: skip

#: Parameters of one statement, at most: SQLite before 3.32 takes no more than 999.
MOST_PARAMETERS: Final = 900


def _insert(table: str, columns: tuple[str, ...], conflict: str = "DO NOTHING") -> str:
    names = ", ".join('"user"' if name == "user" else name for name in columns)
    marks = ", ".join("?" for _ in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT {conflict}"


def _replacing(key: str, columns: tuple[str, ...]) -> str:
    sets = ", ".join(f"{name} = excluded.{name}" for name in columns)
    return f"({key}) DO UPDATE SET {sets}"


def _sets(columns: tuple[str, ...]) -> str:
    return ", ".join(f"{name} = ?" for name in columns)


INSERT_RUN: Final = _insert("runs", RUN_COLUMNS)
FIND_RUN: Final = (
    "SELECT run_key, created_ns, last_sequence, lost_event_count FROM runs WHERE run_id = ?"
)
RESUME_RUN: Final = "UPDATE runs SET state = 'running' WHERE run_key = ?"
CHANGE_RUN: Final = f"UPDATE runs SET {_sets(RUN_CHANGES)} WHERE run_key = ?"
END_RUN: Final = "UPDATE runs SET state = 'final', ended_ns = ? WHERE run_key = ?"
TAKE_BACK: Final = (
    "UPDATE runs SET state = 'running', state_note = '' WHERE run_key = ? AND state = 'lost'"
)
INSERT_LEASE: Final = _insert("leases", LEASE_COLUMNS, _replacing("run_key", LEASE_COLUMNS[1:]))
DROP_LEASE: Final = "DELETE FROM leases WHERE run_key = ?"
HEARTBEAT: Final = "UPDATE leases SET heartbeat_ns = ? WHERE run_key = ? AND pid = ?"
INSERT_EVENT: Final = _insert("events", ("run_key", "sequence", "body"))
INSERT_NODE: Final = _insert(
    "nodes", _NODE_COLUMNS, _replacing("run_key, node_number", CHANGING_COLUMNS)
)
CHANGE_NODE: Final = (
    f"UPDATE nodes SET {_sets(CHANGING_COLUMNS)} WHERE run_key = ? AND node_number = ?"
)
DROP_NODES: Final = "DELETE FROM nodes WHERE run_key = ?"
READ_EVENTS: Final = "SELECT sequence, body FROM events WHERE run_key = ? ORDER BY sequence"
INSERT_PATH: Final = _insert("paths", ("path",))
INSERT_ANALYSIS: Final = _insert("analyses", _ANALYSIS_COLUMNS)
INSERT_PAGE: Final = _insert("pages", _PAGE_COLUMNS)
CLAIM: Final = (
    "INSERT INTO resumes (run_key, number, run_id, set_out, claimed_ns)"
    " SELECT run_key, ?, ?, ?, ? FROM runs WHERE run_id = ? ON CONFLICT DO NOTHING"
)
CLAIMED_BY: Final = (
    "SELECT s.run_id FROM resumes s JOIN runs r ON r.run_key = s.run_key"
    " WHERE r.run_id = ? AND s.number = ?"
)
#: Of a run that was lost, nobody knows whether a leaf began in its last moments.
DROP_CLAIM: Final = (
    "DELETE FROM resumes WHERE run_id = ? AND NOT EXISTS (SELECT 1 FROM runs"
    " WHERE run_key = ? AND recovered_ns IS NOT NULL)"
)
#: Requests of operators that nobody has answered, in the order in which they came.
OPEN_REQUESTS: Final = (
    "SELECT request_id FROM requests WHERE run_key = ? AND answered_ns IS NULL ORDER BY request_key"
)
ANSWER_REQUEST: Final = (
    "UPDATE requests SET answer = ?, answered_ns = ?"
    " WHERE run_key = ? AND request_id = ? AND answered_ns IS NULL"
)


class Block(NamedTuple):
    """A statement that inserts many rows at once.

    In SQLite a row costs less than half of its cost in ``executemany``, and the interpreter's lock
    is released once for all rows, so that threads which make events wait less.

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
        insert: A statement that inserts one row.
    """
    head, _, tail = insert.partition("VALUES (")
    values, _, rest = tail.partition(")")
    width = values.count("?")
    rows = MOST_PARAMETERS // width
    row = f"({values})"
    return Block(f"{head}VALUES {', '.join([row] * rows)}{rest}", rows, width)


#: A device that a run works on alone: its row is replaced by that of the next run.
DROP_HOLD: Final = "DELETE FROM device_holds WHERE device_key = ? AND run_key = ?"
ADD_HOLD: Final = (
    "INSERT INTO device_holds (device_key, name, run_key, since_ns) VALUES (?, ?, ?, ?)"
)
