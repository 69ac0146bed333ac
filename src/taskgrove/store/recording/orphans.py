"""Writing what a process kept aside that is gone: its runs lose nothing that it had reported."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.events import decode_event
from taskgrove.store.recording.run_state import Ending, RunState
from taskgrove.store.recording.run_writer import BrokenRunError, RunWriter
from taskgrove.store.recording.spill import (
    EndEntry,
    Entry,
    EventEntry,
    RunEntry,
    orphans_of,
    read_entries,
    take_orphan,
)
from taskgrove.store.store import Store

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Events that are written in one transaction.
_CHUNK: Final = 5_000


def adopt_orphans(store: Store, folder: Path | None = None) -> list[str]:
    """Write into a record what processes that are gone had kept aside for it.

    A recorder does this when it starts; who looks for interrupted runs does it first.

    Args:
        store: The record, open for writing.
        folder: Where such files are; None looks where they are made.

    Returns:
        A sentence for people about each file that was found.

    Raises:
        StoreError: The record cannot be written.
    """
    writer = RunWriter(store.dialect)
    return adopt(store.location, writer, store.writing, folder)


def adopt(
    location: str,
    writer: RunWriter,
    transaction: Callable[[], AbstractContextManager[Connection]],
    folder: Path | None = None,
) -> list[str]:
    """As :func:`adopt_orphans`, through a writer and its transactions."""
    told: list[str] = []
    for path in orphans_of(location, folder):
        fd = take_orphan(path)
        if fd is None:
            continue
        try:
            told.append(_adopt_file(path, fd, writer, transaction))
        finally:
            os.close(fd)
    return told


def _adopt_file(
    path: Path,
    fd: int,
    writer: RunWriter,
    transaction: Callable[[], AbstractContextManager[Connection]],
) -> str:
    states: dict[str, RunState] = {}
    read_to = 0
    events = 0
    entries: list[Entry] = []
    for entry, end in read_entries(fd):
        entries.append(entry)
        read_to = end
        if len(entries) >= _CHUNK:
            events += _write(entries, states, writer, transaction)
            entries = []
    events += _write(entries, states, writer, transaction)
    for state in states.values():
        if state.broken is None:
            _write_rows(state, writer, transaction)
    words = f"{_count(events, 'event')} of {_count(len(states), 'run')} that an earlier process"
    words += " could not write are in the record now"
    broken = [state.broken for state in states.values() if state.broken is not None]
    if broken:
        words += f"; {'; '.join(broken)}"
    if read_to < os.fstat(fd).st_size:
        words += f"; the end of {path} was cut off"
    path.unlink()
    return words


def _write(
    entries: Iterable[Entry],
    states: dict[str, RunState],
    writer: RunWriter,
    transaction: Callable[[], AbstractContextManager[Connection]],
) -> int:
    rows: dict[str, list[tuple[int, bytes]]] = {}
    for entry in entries:
        state = states.get(entry.run_id)
        if state is None:
            state = states[entry.run_id] = orphan_state(entry)
        if isinstance(entry, EventEntry):
            rows.setdefault(entry.run_id, []).append((entry.sequence, entry.body))
            state.adopt(decode_event(entry.body))
        elif isinstance(entry, EndEntry):
            state.ending = Ending(*entry.ending)
    written = 0
    for run_id, of_run in rows.items():
        state = states[run_id]
        if state.broken is not None:
            continue
        try:
            with transaction() as connection:
                done = writer.write(
                    connection,
                    [state],
                    [(state, of_run)],
                    now_ns=_lease_ns(state),
                    log_only=True,
                )
            writer.committed([state], done, log_only=True)
            written += len(of_run)
        except BrokenRunError as exc:
            state.broken = str(exc)
    return written


def _write_rows(
    state: RunState,
    writer: RunWriter,
    transaction: Callable[[], AbstractContextManager[Connection]],
) -> None:
    try:
        with transaction() as connection:
            done = writer.write(connection, [state], (), now_ns=_lease_ns(state), lazy=True)
        writer.committed([state], done, lazy=True)
    except BrokenRunError as exc:
        state.broken = str(exc)


def orphan_state(entry: Entry) -> RunState:
    """Return the state of a run of which the record, or a spill, knows more than we do."""
    if isinstance(entry, RunEntry):
        row, lease, resumed = dict(entry.row), entry.lease, entry.resumed
    else:
        row, lease, resumed = {"created_ns": 0}, {}, True
    return RunState(entry.run_id, row, lease, resumed=resumed, foreign=True, unread=True)


def _lease_ns(state: RunState) -> int:
    # Its process is gone: the last sign of life is what it left.
    return state.facts.last_ns or state.row["created_ns"] or SYSTEM_CLOCK.wall_ns()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
