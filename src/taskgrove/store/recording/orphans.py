"""Orphans: spills of processes that are gone. Their entries are written into the record."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.errors import StoreError
from taskgrove.events.plain_event import read_event
from taskgrove.store.database.cursor import Cursor
from taskgrove.store.database.database_faults import is_outage, why_refused
from taskgrove.store.recording.kept_aside import AsideRun, KeptAside, TakenIn
from taskgrove.store.recording.recorded_run import Ending, RecordedRun
from taskgrove.store.recording.request_rows import read_answer
from taskgrove.store.recording.run_writer import BrokenRunError, LogPart, RunWriter
from taskgrove.store.recording.spill import keep_only, orphans_of, set_aside, take_orphan
from taskgrove.store.recording.spill_file import (
    AnswerEntry,
    EndEntry,
    Entry,
    EventEntry,
    RunEntry,
    read_entries,
)
from taskgrove.store.store import Store

#: Events that are written in one transaction.
_CHUNK: Final = 5_000


def adopt_orphans(store: Store, folder: Path | None = None) -> TakenIn:
    """Write the orphans of a record into it.

    A recorder does this when it starts; a reader of the record, and a search for interrupted
    runs, does it first.

    Args:
        store: The record, open for writing.
        folder: Where such files are; None looks where they are made.

    Raises:
        StoreError: The record cannot be written.
    """
    taken = adopt(store.location, RunWriter(), store.writing, folder)
    # A later look does not find these files, and they may hold the newest run.
    store.damaged |= {file.path: (file.why, file.hint) for file in taken.left if file.is_damaged}
    return taken


def adopt(
    location: str,
    writer: RunWriter,
    transaction: Callable[[], AbstractContextManager[Cursor]],
    folder: Path | None = None,
) -> TakenIn:
    """As :func:`adopt_orphans`, through a writer and its transactions."""
    told: list[str] = []
    left: list[KeptAside] = []
    for path in orphans_of(location, folder):
        fd = take_orphan(path)
        if fd is None:
            held = look_at(path, *_HELD, is_held=True)
            left += [held] if held else []
            continue
        try:
            file = _File(path, fd, writer, transaction)
            words = file.adopt()
            told += [words] if words else []
            left += file.left
        finally:
            os.close(fd)
    return TakenIn(tuple(told), tuple(left))


_HELD: Final = (
    "the process that writes it still runs, and the record could not be written by it yet",
    "it is written as soon as that works again, or by the next command once the process has ended",
)


def look_at(path: Path, why: str, hint: str, *, is_held: bool = False) -> KeptAside | None:
    """Return a description of a file, which stays; None where it is gone or empty.

    Args:
        path: The file.
        why: Why it is not in the record.
        hint: How to mend that.
        is_held: As :class:`KeptAside`.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:  # it was written meanwhile
        return None
    except OSError as exc:
        words = f"the file cannot be opened: {exc.strerror}"
        return KeptAside(path, (), words, "make it readable for this user", is_held)
    found: dict[str, AsideRun] = {}
    gaps: list[object] = []
    try:
        for entry, _ in read_entries(fd, on_damage=lambda *gap: gaps.append(gap)):
            if isinstance(entry, RunEntry):
                created = int(entry.row.get("created_ns") or 0) or None
                command = str(entry.row.get("command", ""))
                found[entry.run_id] = AsideRun(entry.run_id, command, created)
            else:
                found.setdefault(entry.run_id, AsideRun(entry.run_id, "", None))
    except Exception as exc:  # noqa: BLE001 - of another version, or damaged: it is told
        gaps.append(exc)
        why = f"the file cannot be read: {type(exc).__name__}: {exc}"
    finally:
        os.close(fd)
    runs = tuple(sorted(found.values(), key=lambda run: run.created_ns or 0))
    return KeptAside(path, runs, why, hint, is_held) if runs or gaps else None


@dataclass(slots=True)
class _File:
    """One file, on its way into the record."""

    path: Path
    fd: int
    writer: RunWriter
    transaction: Callable[[], AbstractContextManager[Cursor]]
    states: dict[str, RecordedRun] = field(default_factory=dict)
    left: list[KeptAside] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)

    def adopt(self) -> str:
        """Write the file's runs, each for itself, and return a sentence about them."""
        read_to = events = 0
        entries: list[Entry] = []
        for entry, end in read_entries(self.fd, on_damage=lambda *gap: self.gaps.append(gap)):
            entries.append(entry)
            read_to = end
            if len(entries) >= _CHUNK:
                events += self._write(entries)
                entries = []
        events += self._write(entries)
        for state in self.states.values():
            self._guarded(state, self._write_rows)
        well = sum(not state.is_broken for state in self.states.values())
        words: list[str] = []
        if events or well:
            words.append(
                f"{_count(events, 'event')} of {_count(well, 'run')} that an earlier process"
                " could not write are in the record now"
            )
        if max(read_to, *(end for _, end in self.gaps), 0) < os.fstat(self.fd).st_size:
            words.append(f"the end of {self.path} was cut off")
        self._put_away()
        return "; ".join(words)

    def _put_away(self) -> None:
        """Remove the file, or rename it where it is damaged; entries of broken runs stay."""
        broken = {run_id for run_id, state in self.states.items() if state.is_broken}
        if self.gaps:
            self.left.append(self._kept_damaged())
        elif not broken:
            self.path.unlink()
        if not broken:
            return
        keep_only(self.path, self.fd, broken)
        why = "; ".join(dict.fromkeys(self.states[run_id].trouble for run_id in broken))
        hint = f"remove the file when it is not needed: rm {shlex.quote(str(self.path))}"
        left = look_at(self.path, why, hint)
        self.left += [left] if left else []

    def _kept_damaged(self) -> KeptAside:
        aside = set_aside(self.path, self.fd)
        here, before = shlex.quote(str(aside)), shlex.quote(str(self.path))
        size = _count(sum(end - start for start, end in self.gaps), "byte")
        why = f"{size} of the file are damaged and cannot be read; the rest was read"
        hint = (
            "events or whole runs may be missing in the record; once the file is mended, the"
            f" next command takes it in under its former name: mv {here} {before}; or remove"
            f" the file when it is not needed: rm {here}"
        )
        return KeptAside(aside, (), why, hint, is_damaged=True)

    def _write(self, entries: Iterable[Entry]) -> int:
        rows: dict[str, list[tuple[int, bytes]]] = {}
        for entry in entries:
            state = self.states.get(entry.run_id)
            if state is None:
                state = self.states[entry.run_id] = _state_of(entry)
            if isinstance(entry, EventEntry):
                rows.setdefault(entry.run_id, []).append((entry.sequence, entry.body))
            elif isinstance(entry, AnswerEntry):
                answer = read_answer(entry.answer)
                if answer is not None:
                    state.answer(answer)
            elif isinstance(entry, EndEntry):
                state.end(Ending(*entry.ending))
        return sum(
            len(of_run)
            for run_id, of_run in rows.items()
            if self._guarded(self.states[run_id], self._write_log, of_run)
        )

    def _guarded(self, state: RecordedRun, write: Callable[..., None], *arguments: object) -> bool:
        """Write something of a run; a run that cannot be written does no harm to the others."""
        if state.is_broken:
            return False
        try:
            write(state, *arguments)
        except Exception as exc:
            if is_outage(exc):
                raise
            state.give_up(str(exc) if isinstance(exc, BrokenRunError) else why_refused(exc))
            return False
        return True

    def _write_log(self, state: RecordedRun, of_run: Sequence[tuple[int, bytes]]) -> None:
        for sequence, body in of_run:
            state.adopt(read_event(body, state.run_id, sequence))
        self._write_some(state, [(state, of_run)], log_only=True)

    def _write_rows(self, state: RecordedRun) -> None:
        self._write_some(state, [], log_only=False)

    def _write_some(self, state: RecordedRun, log: Sequence[LogPart], *, log_only: bool) -> None:
        # The process is gone: its last sign of life is its newest event.
        now_ns = state.facts.last_ns or state.row["created_ns"] or SYSTEM_CLOCK.wall_ns()
        with self.transaction() as cursor:
            done = self.writer.write(
                cursor, [state], log, now_ns=now_ns, lazy=True, log_only=log_only
            )
        self.writer.committed([state], done, lazy=True, log_only=log_only)


def unwritable(location: str, error: StoreError, folder: Path | None = None) -> TakenIn:
    """Return the spills of a record that cannot be written; they stay.

    Args:
        location: The record.
        error: Why it cannot be written.
        folder: As :func:`adopt_orphans`.
    """
    hint = "the next command writes it into the record, once that can be written"
    hint = f"{error.hint}; {hint}" if error.hint else hint
    found = [look_at(path, error.message, hint) for path in orphans_of(location, folder)]
    return TakenIn(left=tuple(item for item in found if item is not None))


def _state_of(entry: Entry) -> RecordedRun:
    if not isinstance(entry, RunEntry):  # its row is in the record
        return RecordedRun.of_a_gone_process(entry.run_id, {"created_ns": 0}, {})
    return RecordedRun.of_a_gone_process(
        entry.run_id, dict(entry.row), entry.lease, resumed=entry.resumed
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
