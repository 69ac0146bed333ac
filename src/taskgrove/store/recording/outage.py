"""An outage, in which the record cannot be written: events are kept aside, and it is told.

Threads: it belongs to the recorder's writer thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from taskgrove.errors import StoreError
from taskgrove.store.database.database_faults import store_error
from taskgrove.store.database.plain_bytes import json_bytes
from taskgrove.store.recording.recorded_run import KeptEvent, RecordedRun, RunStage
from taskgrove.store.recording.run_writer import LogPart
from taskgrove.store.recording.spill import Spill
from taskgrove.store.recording.spill_file import (
    AnswerEntry,
    EndEntry,
    Entry,
    EventEntry,
    RunEntry,
)
from taskgrove.store.recording.telling import Teller

#: How long the first attempt to write again waits, and every later one at most, in seconds.
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 2.0
#: Entries that are written back in one transaction.
_CHUNK: Final = 5_000


class Outage:
    """The outages of one recorder, one after the other.

    Args:
        spill: Where entries are kept aside.
        teller: Hears of an outage.
        location: The record, as text.

    Attributes:
        try_at: When to try again, monotonic, in seconds.
    """

    def __init__(self, spill: Spill, teller: Teller, location: str) -> None:
        self._spill = spill
        self._teller = teller
        self._location = location
        self._pause_s = FIRST_PAUSE_S
        self._began = 0.0
        self._told_full = False
        self._runs_kept: set[str] = set()
        self._ends_kept: set[str] = set()
        self._answers_kept: set[str] = set()
        self._written = 0
        self._lost = 0
        self.try_at = 0.0

    def begin(self, error: BaseException) -> None:
        """Take note that the record cannot be written."""
        self._began = time.monotonic()
        self._pause_s = FIRST_PAUSE_S
        self.try_at = self._began + self._pause_s
        self._written = self._lost = 0
        told = error if isinstance(error, StoreError) else store_error(error, self._location)
        hint = f" ({told.hint})" if told.hint else ""
        self._teller.begin(
            f"{told.message}{hint}; the command goes on, and its events are kept aside and written"
            " as soon as possible"
        )

    def failed_again(self) -> None:
        """Take note that the record still cannot be written; that is told once."""
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self.try_at = time.monotonic() + self._pause_s

    def end(self) -> None:
        """Take note that all is written again."""
        self._spill.clear()
        self._runs_kept.clear()
        self._ends_kept.clear()
        self._answers_kept.clear()
        self._told_full = False
        lost = f"; {self._lost:,} events could not be kept" if self._lost else ""
        self._teller.end(
            f"the record at {self._location} is written again after"
            f" {time.monotonic() - self._began:.1f} s: {self._written:,} events that were kept"
            f" aside are in it{lost}"
        )
        self._lost = 0

    def keep(
        self, states: Sequence[RecordedRun], kept: Sequence[tuple[RecordedRun, list[KeptEvent]]]
    ) -> None:
        """Keep aside the news of runs, as far as there is room; events without room are counted."""
        entries: list[Entry] = []
        for state in states:
            if state.run_key is None and state.run_id not in self._runs_kept:
                entries.append(RunEntry(state.run_id, state.row, state.lease, state.resumed))
                self._runs_kept.add(state.run_id)
        of_entry: dict[int, tuple[RecordedRun, KeptEvent]] = {}
        for state, of_run in kept:
            for event in self._worth_keeping(state, of_run):
                of_entry[len(entries)] = (state, event)
                entries.append(EventEntry(state.run_id, event[0], event[1]))
        entries += [entry for state in states for entry in self._after_events(state)]
        if not entries:
            return
        rejected = len(self._spill.add(entries))
        for number in range(len(entries) - rejected, len(entries)):
            if number in of_entry:
                state, event = of_entry[number]
                self._lose(state, [event])
            else:
                self._take_back(entries[number])

    def _after_events(self, state: RecordedRun) -> Iterator[Entry]:
        """Yield what is kept aside of a run behind its events, unless it is there already."""
        for answer in state.answers:
            if answer.request_id not in self._answers_kept:
                self._answers_kept.add(answer.request_id)
                yield AnswerEntry(state.run_id, answer.request_id, json_bytes(answer))
        if state.stage is RunStage.ENDED and state.run_id not in self._ends_kept:
            self._ends_kept.add(state.run_id)
            yield EndEntry(state.run_id, tuple(state.ending or ()))

    def _take_back(self, entry: Entry) -> None:
        """Take note that something has no room: it stays in memory, and is written from there."""
        if isinstance(entry, RunEntry):
            self._runs_kept.discard(entry.run_id)
        elif isinstance(entry, AnswerEntry):
            self._answers_kept.discard(entry.request_id)
        else:
            self._ends_kept.discard(entry.run_id)

    def _worth_keeping(self, state: RecordedRun, of_run: list[KeptEvent]) -> list[KeptEvent]:
        if not self._spill.is_crowded:
            return of_run
        progress = [kept for kept in of_run if kept[2].kind == "progress"]
        if progress:
            self._lose(state, progress)
        return [kept for kept in of_run if kept[2].kind != "progress"]

    def _lose(self, state: RecordedRun, events: list[KeptEvent]) -> None:
        state.forget(events)
        self._lost += len(events)
        if not self._told_full:
            self._told_full = True
            self._teller.say(
                f"the record at {self._location} still cannot be written, and there is no more room"
                " to keep events aside: events are lost from now on; the record will say how many"
            )

    def is_safe_for(self, state: RecordedRun) -> bool:
        """Return True when the end of a run is kept aside where a crash cannot take it."""
        return self._spill.durable and state.run_id in self._ends_kept

    def chunks(self, state_of: Callable[[str], RecordedRun]) -> Iterator[tuple[list[LogPart], int]]:
        """Yield the events that are kept aside, oldest first, each chunk with a mark.

        Args:
            state_of: Returns the state of a run, also of one that was forgotten meanwhile.
        """
        while not self._spill.is_empty:
            entries, mark = self._spill.peek(_CHUNK)
            rows: dict[str, list[tuple[int, bytes]]] = {}
            for entry in entries:
                if isinstance(entry, EventEntry) and not state_of(entry.run_id).is_broken:
                    rows.setdefault(entry.run_id, []).append((entry.sequence, entry.body))
            yield [(state_of(run_id), of_run) for run_id, of_run in rows.items()], mark

    def written(self, count: int, mark: int) -> None:
        """Go on after a chunk of :meth:`chunks`: its events are in the log."""
        self._written += count
        self._spill.drop(mark)

    def close(self) -> None:
        """Tell how much is left, and let go of it."""
        # Ends are written last: they may be missing even where every event is in the log.
        if self._spill.held_bytes or self._ends_kept:
            if self._spill.durable:
                words = f"they are kept in {self._spill.path}, and the next command that can write"
                words += " the record takes them in"
            else:
                words = "they are lost"
            self._teller.say(
                f"the record at {self._location} lacks the last events"
                f" ({self._spill.held_bytes:,} bytes): {words}"
            )
        self._spill.close()
