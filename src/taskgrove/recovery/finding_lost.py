"""Finding runs whose runner is gone, and saying so in the record.

A run that is being recorded has a lease. On the machine that holds the lease (the same boot, the
same space of pids), it is expired as soon as its process is gone; elsewhere, when its heartbeat
is older than several of its intervals. A run with an expired lease is LOST, unless its record
already holds its end: a final state is never overwritten, and the record alone decides.

Threads: any thread may call any function here; each uses a connection of its own.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.store.database.cursor import Cursor
from taskgrove.store.database.holders import why_expired
from taskgrove.store.queries.reading import Reader
from taskgrove.store.recording import statements as sql
from taskgrove.store.recording.kept_aside import KeptAside
from taskgrove.store.recording.request_rows import close_requests
from taskgrove.store.recording.spill import orphans_of
from taskgrove.store.store import Store

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LostRun:
    """A run whose runner is gone.

    Attributes:
        run_key: Its key in ``runs``.
        run_id: The run.
        command: Its command.
        ended: True when its end was on record: it is final now, not lost.
        last_ns: The last sign of life, UTC, nanoseconds since the epoch.
        note: Why its runner is taken to be gone, in words.
    """

    run_key: int
    run_id: str
    command: str
    ended: bool
    last_ns: int
    note: str

    @property
    def words(self) -> str:
        """Why its runner is taken to be gone, and the last sign of life."""
        return f"{self.note}; last sign of life {moment_text(self.last_ns)}"


def find_lost(store: Store, *, now_ns: int | None = None, run: str | None = None) -> list[LostRun]:
    """Mark the runs whose lease is expired, and return those that were newly found.

    The spills of processes that are gone are written into the record first. Cheap where there is
    none: a look into a folder, one query for the runs that are being recorded.

    Args:
        store: The record, open for writing.
        now_ns: The time, UTC, nanoseconds since the epoch; None asks the clock.
        run: The id of the only run that is looked at; others are left for a search whose caller
            tells of them. None: all are.

    Raises:
        StoreError: The record cannot be read or written.
    """
    now = SYSTEM_CLOCK.wall_ns() if now_ns is None else now_ns
    left: tuple[KeptAside, ...] = ()
    if orphans_of(store.location):
        from taskgrove.store.recording.orphans import adopt_orphans  # noqa: PLC0415 - slow

        left = adopt_orphans(store).left
    for file in left:
        if file.is_damaged:  # a later look does not find it any more
            _LOGGER.warning("%s", file.words)
    # Spills may hold the ends of runs: such a run is not said to be lost.
    aside = {run.run_id for file in left for run in file.runs}
    found: list[LostRun] = []
    for row in _leased(store):
        if run not in (None, row.run_id) or row.run_id in aside or why_expired(row, now) is None:
            continue
        with store.writing() as cursor:
            lost = _mark(cursor, row.run_key, now)
        if lost is not None:
            found.append(lost)
    return found


def lost_runs(store: Store) -> list[LostRun]:
    """Return every run that is marked LOST, oldest first."""
    rows = Reader(store).rows(
        "SELECT run_key, run_id, command, last_ns, state_note FROM runs WHERE state = 'lost'"
        " ORDER BY created_ns"
    )
    return [
        # Former versions kept the last sign of life in the note, too.
        LostRun(key, run_id, name, False, last, note.partition("; last sign of life ")[0])
        for key, run_id, name, last, note in rows
    ]


def moment_text(wall_ns: int) -> str:
    """Return an instant as text, in UTC."""
    moment = datetime.fromtimestamp(wall_ns / 1e9, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


# -- marking ------------------------------------------------------------------------------


class _Leased(NamedTuple):
    """A run that is being recorded, with its lease; without one, the lease's columns are None."""

    run_key: int
    run_id: str
    command: str
    created_ns: int
    host: Any
    boot_id: Any
    pid: Any
    pid_started: Any
    heartbeat_ns: Any
    interval_s: Any


_LEASED: Final = (
    "SELECT r.run_key, r.run_id, r.command, r.created_ns, l.host, l.boot_id, l.pid, l.pid_started,"
    " l.heartbeat_ns, l.interval_s FROM runs r LEFT JOIN leases l ON l.run_key = r.run_key"
    " WHERE r.state = 'running'"
)
_MARK: Final = (
    "UPDATE runs SET state = ?, state_note = ?, last_ns = ?, ended_ns = ?"
    " WHERE run_key = ? AND state = 'running'"
)


def _leased(store: Store) -> list[_Leased]:
    return [_Leased._make(row) for row in Reader(store).rows(f"{_LEASED} ORDER BY r.created_ns")]


def _mark(cursor: Cursor, run_key: int, now_ns: int) -> LostRun | None:
    """Decide again, in the transaction that writes: another process may have been quicker."""
    from taskgrove.recovery.mending import mend_run  # noqa: PLC0415 - rarely needed

    found = cursor.row(f"{_LEASED} AND r.run_key = ?{cursor.held('r')}", (run_key,))
    row = None if found is None else _Leased._make(found)
    why = None if row is None else why_expired(row, now_ns)
    if row is None or why is None:
        return None
    facts = mend_run(cursor, run_key)
    last_ns = max(facts.last_ns or row.created_ns, row.heartbeat_ns or 0)
    ended = facts.root is not None and facts.root.is_final
    note = f"its end was on record; afterwards {why}" if ended else why
    state = "final" if ended else "lost"
    ended_ns = facts.root.ended_ns if ended and facts.root is not None else None
    if cursor.execute(_MARK, (state, note, last_ns, ended_ns, run_key)) != 1:
        return None
    cursor.execute(sql.DROP_LEASE, (run_key,))
    if ended:
        close_requests(cursor, run_key, row.run_id, "run_ended", now_ns)
    return LostRun(run_key, row.run_id, row.command, ended, last_ns, note)
