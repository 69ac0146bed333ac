"""Making the record of a run whole after its recorder was killed.

Events that were on their way when the process died are gone: numbers may be missing inside the
log, because threads hand over their events a little out of order, and rows may be behind the log.
Notes stand for the missing numbers, and the rows are made anew from the log.

Threads: it belongs to the thread that holds the cursor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from taskgrove.events import NoteDetail, TaskEvent, encode_event
from taskgrove.store.database.cursor import Cursor
from taskgrove.store.recording import statements as sql
from taskgrove.store.recording.recorded_run import RecordedRun
from taskgrove.store.recording.run_writer import RunWriter
from taskgrove.story.run_node import RunNodes

_FIND: Final = (
    "SELECT run_id, command, created_ns, last_ns, lost_event_count FROM runs WHERE run_key = ?"
)
_COUNT_LOST: Final = "UPDATE runs SET lost_event_count = ? WHERE run_key = ?"


def mend_run(cursor: Cursor, run_key: int) -> RunNodes:
    """Fill the gaps of a run's log with notes, and make its rows anew; return its facts.

    No recorder may be recording the run.

    Args:
        cursor: In a transaction that writes.
        run_key: The run's key in ``runs``.
    """
    ((run_id, command, created_ns, last_ns, lost),) = cursor.rows(_FIND, (run_key,))
    writer = RunWriter()
    missing = 0
    for note in list(_gaps(writer.events(cursor, run_key, run_id), run_id, command)):
        missing += note.sequence - (note.sequence_from or note.sequence) + 1
        cursor.execute(sql.INSERT_EVENT, (run_key, note.sequence, encode_event(note)))
    if missing:
        cursor.execute(_COUNT_LOST, (max(lost, missing), run_key))
    state = RecordedRun.of_a_gone_process(run_id, {"created_ns": created_ns}, {})
    state.touched = True
    writer.write(cursor, [state], (), now_ns=last_ns, lazy=True)
    return state.facts


def _gaps(log: Iterator[TaskEvent], run_id: str, command: str) -> Iterator[TaskEvent]:
    """Yield a note for each range of numbers that is missing inside a log."""
    expected = 1
    path = command
    for event in log:
        begin = event.sequence if event.sequence_from is None else event.sequence_from
        if event.sequence == 1:
            path = event.path
        if begin > expected:
            last = begin - 1
            what = f"event {last} was" if last == expected else f"events {expected} to {last} were"
            yield TaskEvent(
                run_id=run_id,
                sequence=last,
                sequence_from=expected if last > expected else None,
                path=path.partition("/")[0],
                kind="note",
                message=f"{what} not recorded: the recorder was lost before",
                monotonic_s=event.monotonic_s,
                wall_ns=event.wall_ns,
                detail=NoteDetail(topic="lost"),
            )
        expected = max(expected, event.sequence + 1)
