"""Saving the news of runs: into the record, or aside while the record cannot be written.

Threads: everything here belongs to the recorder's writer thread, except :attr:`Saver.stage`,
which other threads read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from taskgrove.clock import Clock
from taskgrove.moves import IGNORE, Answer, table_of
from taskgrove.store.database.database_faults import is_outage, why_refused, words_of
from taskgrove.store.recording.lease import HEARTBEAT_S, this_process
from taskgrove.store.recording.orphans import adopt
from taskgrove.store.recording.outage import Outage
from taskgrove.store.recording.record_link import Link, RecordGoneError
from taskgrove.store.recording.recorded_run import KeptEvent, RecordedRun, RunStage
from taskgrove.store.recording.run_writer import BrokenRunError, LogPart, RunWriter, Written
from taskgrove.store.recording.telling import Forwarder, Teller

_LOGGER = logging.getLogger(__name__)

#: How long rows may be behind in progress, in seconds.
LAZY_S: Final = 1.0
#: Events of one transaction, at most.
CHUNK: Final = 20_000

Kept = list[tuple[RecordedRun, list[KeptEvent]]]


class SaverStage(Enum):
    """Where a recorder keeps the events that come."""

    IN_RECORD = "in_record"
    """They are written into the record."""
    ASIDE = "aside"
    """The record cannot be written: they are kept aside, and writing is tried again."""
    OVER = "over"
    """The writer has ended: they are not recorded."""


class SaverRequest(Enum):
    """A request that changes where a recorder keeps the events."""

    FAIL = "fail"
    """The record cannot be written."""
    HEAL = "heal"
    """All that was kept aside is in the record."""
    STOP = "stop"
    """The writer ends, on request or by a fault."""


_IN_RECORD, _ASIDE, _OVER = SaverStage
_FAIL, _HEAL, _STOP = SaverRequest

# fmt: off
MOVES: Final = table_of(SaverStage, SaverRequest, {
    _IN_RECORD: {_FAIL: _ASIDE, _HEAL: IGNORE,     _STOP: _OVER},
    _ASIDE:     {_FAIL: IGNORE, _HEAL: _IN_RECORD, _STOP: _OVER},
    _OVER:      {_FAIL: IGNORE, _HEAL: IGNORE,     _STOP: IGNORE},
})
# fmt: on


@dataclass(eq=False)
class Saver:
    """Saves the news of runs; see the module.

    Attributes:
        link: The connection to the record.
        outage: Keeps events aside while the record cannot be written.
        teller: Hears of trouble.
        forwarder: Hears the events once they are kept.
        clock: The wall clock.
        location: The record, as text.
        spill_folder: The folder of the spills of processes that are gone.
        stage: Where events are kept at the moment.
        states: The runs that are being recorded, by id.
        not_kept: Runs that are not in the record, or not wholly; the set only grows.
        beat_at: When the leases are renewed next, monotonic, in seconds.
    """

    link: Link
    outage: Outage
    teller: Teller
    forwarder: Forwarder
    clock: Clock
    location: str
    spill_folder: Path | None
    stage: SaverStage = _IN_RECORD
    states: dict[str, RecordedRun] = field(default_factory=dict)
    not_kept: set[str] = field(default_factory=set)
    beat_at: float = field(default_factory=lambda: time.monotonic() + HEARTBEAT_S)
    _sql: RunWriter = field(default_factory=RunWriter)
    _orphans_looked_for: bool = False

    def move(self, request: SaverRequest) -> bool:
        """Change where events are kept; return whether the request did so."""
        cell = MOVES[self.stage, request]
        if isinstance(cell, Answer):
            return False
        self.stage = cell
        return True

    def due_at(self) -> float:
        """Return when there is something to do without news, monotonic, in seconds."""
        at = self.beat_at
        if self.stage is _ASIDE:
            at = min(at, self.outage.try_at)
        lazy = (state.lazy_since + LAZY_S for state in self.states.values() if state.lazy)
        return min([at, *lazy])

    def save(self, kept: Kept, *, last: bool) -> None:
        """Write everything that is due, or keep it aside.

        Args:
            kept: New events, by run.
            last: Whether nothing comes after them: then everything is due.
        """
        if self.stage is _ASIDE:
            self._keep_aside(kept)
            if last or time.monotonic() >= self.outage.try_at:
                self._try_to_heal()
        else:
            self._store(kept, last=last)

    def state_of(self, run_id: str) -> RecordedRun:
        """Return the state of a run, also of one that was forgotten meanwhile."""
        state = self.states.get(run_id)
        if state is None:  # it ended long ago: late events are added to its record
            state = RecordedRun.of_a_gone_process(run_id, {"created_ns": 0}, {})
            self.states[run_id] = state
        return state

    def claim(self, state: RecordedRun) -> Exception | None:
        """Write a run that resumes another; return why the record does not take it, or None."""
        error: Exception | None = None
        for _ in range(2):  # the answer to a commit may be lost: then the claim is there already
            try:
                self._transaction([state], ())
            except Exception as exc:  # noqa: BLE001 - it is told where the run would begin
                error = exc
                if isinstance(exc, RecordGoneError):
                    self._start_over([])
                if not is_outage(exc):
                    return exc
            else:
                state.claim = None
                return None
        return error

    def _store(self, kept: Kept, *, last: bool) -> None:
        pending = self._pending(kept, last=last)
        beat = time.monotonic() >= self.beat_at
        if not (pending or beat or not self._orphans_looked_for):
            return
        try:
            self._write(pending, kept, beat=beat)
        except Exception as exc:  # noqa: BLE001 - any fault is told, and the events are kept aside
            if isinstance(exc, RecordGoneError):
                self._start_over(kept)
            if is_outage(exc):
                if kept or self.states:  # else there is nothing to keep aside
                    self._fail(exc)
                    self._keep_aside(kept)
            else:
                self._store_one_by_one(pending, kept, exc)
            return
        if self.teller.trouble is not None:  # it had not answered in time, and no write failed
            self.teller.end(f"the record at {self.location} answers again")
        self._hand_on(kept)

    def _pending(self, kept: Kept, *, last: bool) -> list[RecordedRun]:
        now = time.monotonic()
        pending = {state.run_id: state for state, _ in kept}
        for state in self.states.values():
            if state.is_broken:
                continue
            due = state.lazy and (last or now - state.lazy_since >= LAZY_S)
            ends = state.stage is RunStage.ENDED
            if due or ends or state.touched or state.run_key is None:
                pending[state.run_id] = state
        return list(pending.values())

    def _write(self, states: list[RecordedRun], kept: Kept, *, beat: bool) -> None:
        log: list[LogPart] = []
        for state, of_run in kept:
            rest = of_run
            while len(rest) > CHUNK:
                self._transaction(states, [(state, rest[:CHUNK])], log_only=True)
                rest = rest[CHUNK:]
            log.append((state, rest))
        self._transaction(states, log, beat=beat)
        if not self._orphans_looked_for:
            self._orphans_looked_for = True
            self._adopt()

    def _adopt(self) -> None:
        transaction = self.link.transaction
        try:
            taken = adopt(self.location, self._sql, transaction, self.spill_folder)
            for text in (*taken.told, *(file.words for file in taken.left if not file.is_held)):
                self.teller.say(text)
        except Exception as exc:
            if is_outage(exc):
                raise
            # The runs of this process are written all the same.
            what = "the events that an earlier process kept aside could not be written"
            _LOGGER.info("%s", what, exc_info=exc)
            self.teller.say(f"{what}: {words_of(exc)}")

    def _transaction(
        self,
        states: list[RecordedRun],
        log: Sequence[LogPart],
        *,
        log_only: bool = False,
        beat: bool = False,
    ) -> None:
        now = time.monotonic()
        lazy = any(state.lazy and now - state.lazy_since >= LAZY_S for state in states)
        writer, done = self._sql, Written()
        if beat:  # also where it fails: it is not tried again without a pause
            self.beat_at = now + HEARTBEAT_S
        with self.link.transaction() as cursor:
            now_ns = self.clock.wall_ns()
            if states:
                done = writer.write(
                    cursor, states, log, now_ns=now_ns, lazy=lazy, log_only=log_only
                )
            if beat:
                writer.heartbeat(cursor, self._leased(), this_process().pid, now_ns)
        writer.committed(states, done, lazy=lazy, log_only=log_only)

    def _leased(self) -> list[RecordedRun]:
        return [
            state
            for state in self.states.values()
            if state.run_key is not None and state.stage is not RunStage.FINAL and not state.foreign
        ]

    def _store_one_by_one(self, states: list[RecordedRun], kept: Kept, error: Exception) -> None:
        """Find the run that cannot be written, and write the others."""
        by_run = {state.run_id: of_run for state, of_run in kept}
        for state in states:
            of_run = by_run.get(state.run_id, [])
            try:
                if len(states) == 1:
                    raise error
                self._write([state], [(state, of_run)], beat=False)
            except Exception as exc:  # noqa: BLE001 - told, and the others are written
                if is_outage(exc):
                    self._fail(exc)
                    self._keep_aside([(state, of_run)])
                    continue
                if isinstance(exc, BrokenRunError) or not self._write_replaced(state, of_run, exc):
                    self.give_up(state, exc)
            self._hand_on([(state, of_run)])

    def _write_replaced(
        self, state: RecordedRun, of_run: Sequence[KeptEvent], error: Exception
    ) -> bool:
        """Write substitutes of events that the database refuses; True where that was possible."""
        if not of_run:
            return False
        try:
            self._write([state], [(state, state.replace(of_run, why_refused(error)))], beat=False)
        except Exception:
            _LOGGER.exception("run %s: its replaced events cannot be kept either", state.run_id)
            return False
        self.teller.say(
            f"run {state.run_id}: {len(of_run):,} events are replaced in the record, because they"
            f" cannot be written: {why_refused(error)}"
        )
        return True

    def give_up(self, state: RecordedRun, error: Exception) -> None:
        """Write nothing more of a run, and tell why."""
        why = str(error) if isinstance(error, BrokenRunError) else why_refused(error)
        state.give_up(why)
        self.not_kept.add(state.run_id)
        if not isinstance(error, BrokenRunError):
            _LOGGER.info("run %s cannot be recorded", state.run_id, exc_info=error)
        self.teller.say(f"run {state.run_id} is not recorded from here on: {why}")

    def _start_over(self, kept: Kept) -> None:
        """Begin the runs that go on anew: their record is gone."""
        self._sql = RunWriter()
        for state in list(self.states.values()):
            if state.stage is RunStage.FINAL or state.foreign:
                del self.states[state.run_id]
            else:
                state.start_over()
        for state, of_run in kept:
            state.keep(of_run)

    # -- outages --------------------------------------------------------------------------------

    def _fail(self, error: Exception) -> None:
        if self.move(_FAIL):
            self.outage.begin(error)

    def _unbroken(self) -> list[RecordedRun]:
        return [state for state in self.states.values() if not state.is_broken]

    def _keep_aside(self, kept: Kept) -> None:
        self.outage.keep(self._unbroken(), kept)
        self._hand_on(kept)

    def _try_to_heal(self) -> None:
        try:
            for log, mark in self.outage.chunks(self.state_of):
                self._transaction([state for state, _ in log], log, log_only=True)
                self.outage.written(sum(len(of_run) for _, of_run in log), mark)
            self._transaction(self._unbroken(), (), beat=True)
        except Exception as exc:  # noqa: BLE001 - it is tried again later
            if isinstance(exc, RecordGoneError):
                self._start_over([])
            if isinstance(exc, BrokenRunError) and exc.run_id in self.states:
                self.give_up(self.states[exc.run_id], exc)
            self.outage.failed_again()
            return
        if self.move(_HEAL):
            self.outage.end()

    def _hand_on(self, kept: Kept) -> None:
        for state, of_run in kept:
            if self.forwarder.hears(state.run_id):
                self.forwarder.send(state.run_id, [event for _, _, event in of_run])
