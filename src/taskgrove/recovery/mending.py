"""Making the record of a run whole after its recorder was killed.

Events that were on their way when the process died are gone: numbers may be missing inside the
log, because threads hand over their events a little out of order, and rows may be behind the log.
Notes stand for the missing numbers, and the rows are made anew from the log.

Threads: it belongs to the thread that holds the connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from taskgrove.events import NoteDetail, TaskEvent, encode_event
from taskgrove.store.recording.recorded_run import RecordedRun
from taskgrove.store.recording.run_writer import RunWriter
from taskgrove.story.run_node import RunNodes

if TYPE_CHECKING:
    from sqlalchemy import Connection


def mend_run(connection: Connection, dialect: str, run_key: int) -> RunNodes:
    """Fill the gaps of a run's log with notes, and make its rows anew; return its facts.

    No recorder may be recording the run.

    Args:
        connection: In a transaction that writes.
        dialect: ``sqlite`` or ``postgresql``.
        run_key: The run's key in ``runs``.
    """
    from sqlalchemy import insert, select, update  # noqa: PLC0415 - an extra

    from taskgrove.store.tables import events, runs  # noqa: PLC0415 - an extra

    run = connection.execute(select(runs).where(runs.c.run_key == run_key)).one()
    writer = RunWriter(dialect)
    missing = 0
    for note in list(
        _gaps(writer.events(connection, run_key, run.run_id), run.run_id, run.command)
    ):
        missing += note.sequence - (note.sequence_from or note.sequence) + 1
        row = {"run_key": run_key, "sequence": note.sequence, "body": encode_event(note)}
        connection.execute(insert(events).values(row))
    if missing:
        connection.execute(
            update(runs)
            .where(runs.c.run_key == run_key)
            .values(lost_event_count=max(run.lost_event_count, missing))
        )
    state = RecordedRun.of_a_gone_process(run.run_id, {"created_ns": run.created_ns}, {})
    state.touched = True
    writer.write(connection, [state], (), now_ns=run.last_ns, lazy=True)
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
