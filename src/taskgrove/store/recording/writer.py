"""The thread that writes a recorder's runs.

The writer takes the items that have come, folds and encodes the events, and writes one
transaction: events, the rows that they change, new runs and their leases. Only after the commit
it hands events on and releases waiters. What cannot be written is told, kept aside
(:mod:`taskgrove.store.recording.spill`), and written once the record can be written again.

Threads: everything here belongs to the writer's thread, except :attr:`Writer.stage` and
:attr:`Writer.in_hand`, which other threads read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Final

from taskgrove.clock import Clock
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import ProgressDraft, TaskEvent
from taskgrove.moves import IGNORE, Answer, table_of
from taskgrove.store.database.faults import is_outage, why_refused, words_of
from taskgrove.store.recording.inbox import (
    KEEP,
    LEAVE,
    REFUSE,
    TAKE,
    Begin,
    BeginStage,
    End,
    Heard,
    Inbox,
    Item,
    Stop,
    Waiter,
    events_in,
)
from taskgrove.store.recording.lease import HEARTBEAT_S, this_process
from taskgrove.store.recording.link import Link, RecordGoneError
from taskgrove.store.recording.orphans import adopt
from taskgrove.store.recording.outage import Outage
from taskgrove.store.recording.run_state import Ending, KeptEvent, RunStage, RunState
from taskgrove.store.recording.run_writer import BrokenRunError, LogPart, RunWriter, Written
from taskgrove.store.recording.telling import Forwarder, Teller

_LOGGER = logging.getLogger(__name__)

#: How long the end of a run waits for events that are under way in other threads, in seconds.
STRAGGLERS_S: Final = 0.3
#: How long rows may be behind in progress, in seconds.
LAZY_S: Final = 1.0
#: Events of one transaction, at most.
CHUNK: Final = 20_000
#: How many ended runs are remembered for their late events, at most.
_ENDED_KEPT: Final = 32

Kept = list[tuple[RunState, list[KeptEvent]]]


class WriterStage(Enum):
    """Where a recorder keeps the events that come."""

    IN_RECORD = "in_record"
    """They are written into the record."""
    ASIDE = "aside"
    """The record cannot be written: they are kept aside, and writing is tried again."""
    OVER = "over"
    """The writer has ended: they are not recorded."""


class WriterRequest(Enum):
    """What changes where a recorder keeps the events."""

    FAIL = "fail"
    """The record cannot be written."""
    HEAL = "heal"
    """All that was kept aside is in the record."""
    STOP = "stop"
    """The writer ends, on request or by a fault."""


_IN_RECORD, _ASIDE, _OVER = WriterStage
_FAIL, _HEAL, _STOP = WriterRequest

# fmt: off
MOVES: Final = table_of(WriterStage, WriterRequest, {
    _IN_RECORD: {_FAIL: _ASIDE, _HEAL: IGNORE,     _STOP: _OVER},
    _ASIDE:     {_FAIL: IGNORE, _HEAL: _IN_RECORD, _STOP: _OVER},
    _OVER:      {_FAIL: IGNORE, _HEAL: IGNORE,     _STOP: IGNORE},
})
# fmt: on


@dataclass(eq=False)
class Writer:
    """Writes runs; see the module.

    Attributes:
        inbox: The queue of events and requests.
        link: The connection to the record.
        outage: What is kept aside while the record cannot be written.
        teller: Hears of trouble.
        forwarder: Hears the events once they are kept.
        redact: Returns an event without secrets.
        clock: The wall clock.
        location: The record, as text.
        spill_folder: Where processes that are gone left what they could not write.
        stage: Where events are kept at the moment.
        in_hand: The items of the batch that is being worked on.
        not_kept: Runs that are not in the record, or not wholly; the set only grows.
    """

    inbox: Inbox
    link: Link
    outage: Outage
    teller: Teller
    forwarder: Forwarder
    redact: Callable[[TaskEvent], TaskEvent]
    clock: Clock
    location: str
    spill_folder: Path | None
    stage: WriterStage = _IN_RECORD
    in_hand: Sequence[Item] = ()
    not_kept: set[str] = field(default_factory=set)
    _sql: RunWriter | None = None
    _states: dict[str, RunState] = field(default_factory=dict)
    _ends: dict[str, tuple[End, float]] = field(default_factory=dict)
    _waiters: dict[str, Waiter] = field(default_factory=dict)
    _beat_at: float = field(default_factory=lambda: time.monotonic() + HEARTBEAT_S)
    _orphans_looked_for: bool = False

    def move(self, request: WriterRequest) -> bool:
        """Change where events are kept; return whether the request did so."""
        cell = MOVES[self.stage, request]
        if isinstance(cell, Answer):
            return False
        self.stage = cell
        return True

    # -- the loop -----------------------------------------------------------------------------

    def run(self) -> None:
        """Write what comes until there is nothing more; never raises."""
        try:
            stop = False
            while not stop:
                self.in_hand = items = self.inbox.collect(self._timeout_s())
                stop = any(type(item) is Stop for item in items)
                self._step(items, last=stop)
                self.in_hand = ()
                self.forwarder.batch_is_over()
        except BaseException as exc:
            _LOGGER.exception("the recorder failed")
            self.teller.begin(
                f"the recorder failed ({type(exc).__name__}: {exc}): what follows is not recorded"
            )
        finally:
            self._let_everybody_go()

    def _timeout_s(self) -> float:
        now = time.monotonic()
        at = self._beat_at
        if self.stage is _ASIDE:
            at = min(at, self.outage.try_at)
        for _, deadline in self._ends.values():
            at = min(at, deadline)
        for state in self._states.values():
            if state.lazy:
                at = min(at, state.lazy_since + LAZY_S)
            if state.has_gap:
                at = min(at, now + STRAGGLERS_S)
        return max(0.0, at - now)

    def _step(self, items: Sequence[Item], *, last: bool) -> None:
        events, begun = self._sort_in(items)
        try:
            for begin in begun:
                if begin.state.claim is not None:
                    self._claim(begin)
            kept: Kept = []
            for run_id, of_run in events.items():
                state = self._state_of(run_id)
                if not state.is_broken:
                    try:
                        kept.append((state, state.take(of_run, self.redact)))
                    except Exception as exc:  # noqa: BLE001 - it is told; other runs go on
                        self._give_up(state, exc)
                if state.is_broken:
                    self.forwarder.send(run_id, events_in(of_run))
            self._settle_ends(now=last)
            if last:
                self.outage.try_at = 0.0
            self._save(kept, last=last)
        except Exception as exc:  # noqa: BLE001 - it is told; other runs go on
            self._blame({*events, *(it.run_id for it in items if isinstance(it, End))}, exc)
        for begin in begun:
            begin.ask(KEEP)

    def _blame(self, run_ids: set[str], error: Exception) -> None:
        """Give up the runs of a batch that failed; raise where there is none to blame."""
        named = [self._states[run_id] for run_id in run_ids or self._ends if run_id in self._states]
        blamed = [state for state in named if not state.is_broken]
        if not blamed:
            raise error
        for state in blamed:
            self._give_up(state, error)
            end, _ = self._ends.pop(state.run_id, (None, 0.0))
            if end is not None:
                self._call(end.waiter)
        self._release()

    def _sort_in(self, items: Sequence[Item]) -> tuple[dict[str, list[Heard]], list[Begin]]:
        events: dict[str, list[Heard]] = {}
        begun: list[Begin] = []
        deadline = time.monotonic() + STRAGGLERS_S
        latest, of_latest = "", list[Heard]()  # mostly, many of one run follow each other
        for item in items:
            if type(item) is ProgressDraft:
                run_id = item.facts.run_id
            elif type(item) is TaskEvent:
                run_id = item.run_id
            else:
                if type(item) is Begin:
                    if item.state.claim is None:  # else it is known once it has its claim
                        self._states[item.state.run_id] = item.state
                    item.ask(TAKE)
                    begun.append(item)
                elif type(item) is End:
                    self._ends[item.run_id] = (item, deadline)
                continue
            if run_id != latest:
                latest, of_latest = run_id, events.setdefault(run_id, [])
            of_latest.append(item)
        return events, begun

    def _claim(self, begin: Begin) -> None:
        """Write a run that resumes another, at once: it begins only if the record takes it."""
        state = begin.state
        if begin.stage is BeginStage.WITHDRAWN:
            return
        error = self._error_of_claim(state)
        if error is not None:
            begin.ask(REFUSE, error)
            return
        self._states[state.run_id] = state
        if not begin.ask(KEEP):  # withdrawn meanwhile: the record must not say that it runs
            words = "not begun: the record did not answer in time"
            aborted = (int(TaskStatus.ABORTED), int(ResultCode.ABORTED), None, words)
            state.end(Ending(*aborted, self.clock.wall_ns()))

    def _error_of_claim(self, state: RunState) -> Exception | None:
        error: Exception | None = None
        for _ in range(2):  # the answer to a commit may be lost: then the claim is there already
            try:
                self._transaction(self._writer(), [state], ())
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

    def _state_of(self, run_id: str) -> RunState:
        state = self._states.get(run_id)
        if state is None:  # it ended long ago: late events are added to its record
            state = RunState.of_a_gone_process(run_id, {"created_ns": 0}, {})
            self._states[run_id] = state
        return state

    def _settle_ends(self, *, now: bool) -> None:
        """Take the end of each run whose events have all come, or were waited for enough."""
        for run_id, (end, deadline) in list(self._ends.items()):
            state = self._state_of(run_id)
            if state.has_gap and not now and time.monotonic() < deadline:
                continue
            state.fold_early(now=True)
            state.end(end.ending)
            self._waiters[run_id] = end.waiter
            del self._ends[run_id]
        for run_id, state in self._states.items():
            if run_id not in self._ends:  # those wait for their events by a deadline of their own
                state.fold_early(now=now)

    # -- saving ---------------------------------------------------------------------------------

    def _save(self, kept: Kept, *, last: bool) -> None:
        if self.stage is _ASIDE:
            self._keep_aside(kept)
            if time.monotonic() >= self.outage.try_at:
                self._try_to_heal()
        else:
            self._store(kept, last=last)
        self._release()

    def _store(self, kept: Kept, *, last: bool) -> None:
        pending = self._pending(kept, last=last)
        beat = time.monotonic() >= self._beat_at
        if not (pending or beat or not self._orphans_looked_for):
            return
        try:
            self._write(pending, kept, beat=beat)
        except Exception as exc:  # noqa: BLE001 - any fault is told, and the events are kept aside
            if isinstance(exc, RecordGoneError):
                self._start_over(kept)
            if is_outage(exc):
                if kept or self._states:  # else there is nothing to keep aside
                    self._fail(exc)
                    self._keep_aside(kept)
            else:
                self._store_one_by_one(pending, kept, exc)
            return
        if self.teller.trouble is not None:  # it had not answered in time, and no write failed
            self.teller.end(f"the record at {self.location} answers again")
        self._hand_on(kept)

    def _pending(self, kept: Kept, *, last: bool) -> list[RunState]:
        now = time.monotonic()
        pending = {state.run_id: state for state, _ in kept}
        for state in self._states.values():
            if state.is_broken:
                continue
            due = state.lazy and (last or now - state.lazy_since >= LAZY_S)
            ends = state.stage is RunStage.ENDED
            if due or ends or state.touched or state.run_key is None:
                pending[state.run_id] = state
        return list(pending.values())

    def _write(self, states: list[RunState], kept: Kept, *, beat: bool) -> None:
        writer = self._writer()
        log: list[LogPart] = []
        for state, of_run in kept:
            rest = of_run
            while len(rest) > CHUNK:
                self._transaction(writer, states, [(state, rest[:CHUNK])], log_only=True)
                rest = rest[CHUNK:]
            log.append((state, rest))
        self._transaction(writer, states, log, beat=beat)
        if not self._orphans_looked_for:
            self._orphans_looked_for = True
            self._adopt(writer)

    def _adopt(self, writer: RunWriter) -> None:
        transaction = self.link.transaction
        try:
            taken = adopt(self.location, writer, transaction, self.spill_folder)
            for text in (*taken.told, *(file.words for file in taken.left if not file.is_held)):
                self.teller.say(text)
        except Exception as exc:
            if is_outage(exc):
                raise
            # The runs of this process are written all the same.
            _LOGGER.info("what an earlier process kept aside could not be written", exc_info=exc)
            self.teller.say(
                f"what an earlier process kept aside could not be written: {words_of(exc)}"
            )

    def _transaction(
        self,
        writer: RunWriter,
        states: list[RunState],
        log: Sequence[LogPart],
        *,
        log_only: bool = False,
        beat: bool = False,
    ) -> None:
        now = time.monotonic()
        lazy = any(state.lazy and now - state.lazy_since >= LAZY_S for state in states)
        done = Written()
        if beat:  # also where it fails: it is not tried again without a pause
            self._beat_at = now + HEARTBEAT_S
        with self.link.transaction() as connection:
            now_ns = self.clock.wall_ns()
            if states:
                done = writer.write(
                    connection, states, log, now_ns=now_ns, lazy=lazy, log_only=log_only
                )
            if beat:
                writer.heartbeat(connection, self._leased(), this_process().pid, now_ns)
        writer.committed(states, done, lazy=lazy, log_only=log_only)

    def _writer(self) -> RunWriter:
        if self._sql is None:
            if self.link.store is None:
                with self.link.transaction():
                    pass  # opens the record
            assert self.link.store is not None
            self._sql = RunWriter(self.link.store.dialect)
        return self._sql

    def _leased(self) -> list[RunState]:
        return [
            state
            for state in self._states.values()
            if state.run_key is not None and state.stage is not RunStage.FINAL and not state.foreign
        ]

    def _store_one_by_one(self, states: list[RunState], kept: Kept, error: Exception) -> None:
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
                    self._give_up(state, exc)
            self._hand_on([(state, of_run)])

    def _write_replaced(
        self, state: RunState, of_run: Sequence[KeptEvent], error: Exception
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
            f"run {state.run_id}: {len(of_run):,} events are replaced in the record, as they cannot"
            f" be written: {why_refused(error)}"
        )
        return True

    def _give_up(self, state: RunState, error: Exception) -> None:
        why = str(error) if isinstance(error, BrokenRunError) else why_refused(error)
        state.give_up(why)
        self.not_kept.add(state.run_id)
        if not isinstance(error, BrokenRunError):
            _LOGGER.info("run %s cannot be recorded", state.run_id, exc_info=error)
        self.teller.say(f"run {state.run_id} is not recorded from here on: {why}")

    def _start_over(self, kept: Kept) -> None:
        """Begin the runs that go on anew: their record is gone."""
        self._sql = None
        for state in list(self._states.values()):
            if state.stage is RunStage.FINAL or state.foreign:
                del self._states[state.run_id]
            else:
                state.start_over()
        for state, of_run in kept:
            state.keep(of_run)

    # -- outages --------------------------------------------------------------------------------

    def _fail(self, error: Exception) -> None:
        if self.move(_FAIL):
            self.outage.begin(error)

    def _unbroken(self) -> list[RunState]:
        return [state for state in self._states.values() if not state.is_broken]

    def _keep_aside(self, kept: Kept) -> None:
        self.outage.keep(self._unbroken(), kept)
        self._hand_on(kept)

    def _try_to_heal(self) -> None:
        try:
            writer = self._writer()
            for log, mark in self.outage.chunks(self._state_of):
                self._transaction(writer, [state for state, _ in log], log, log_only=True)
                self.outage.written(sum(len(of_run) for _, of_run in log), mark)
            self._transaction(writer, self._unbroken(), (), beat=True)
        except Exception as exc:  # noqa: BLE001 - it is tried again later
            if isinstance(exc, RecordGoneError):
                self._start_over([])
            if isinstance(exc, BrokenRunError) and exc.run_id in self._states:
                self._give_up(self._states[exc.run_id], exc)
            self.outage.failed_again()
            return
        if self.move(_HEAL):
            self.outage.end()

    # -- handing on -----------------------------------------------------------------------------

    def _hand_on(self, kept: Kept) -> None:
        for state, of_run in kept:
            if self.forwarder.hears(state.run_id):
                self.forwarder.send(state.run_id, [event for _, _, event in of_run])

    def _release(self) -> None:
        """Release waiters whose run's end is kept, or kept aside on the disk, or cannot be."""
        settled = (RunStage.FINAL, RunStage.BROKEN)
        for run_id, waiter in list(self._waiters.items()):
            state = self._states.get(run_id)  # None: final, and its record is gone since
            if (
                state is None
                or state.stage in settled
                or waiter.is_released
                or self.outage.is_safe_for(state)
            ):
                del self._waiters[run_id]
                self._call(waiter)
        ended = [
            state
            for state in self._states.values()
            if state.stage is RunStage.FINAL and state.run_id not in self._waiters
        ]
        for state in ended[: max(0, len(ended) - _ENDED_KEPT)]:
            del self._states[state.run_id]
            self.forwarder.remove(state.run_id)

    def _call(self, waiter: Waiter) -> None:
        try:
            waiter.release()
        except Exception:
            _LOGGER.exception("run %s: a callback that waited for its end raised", waiter.run_id)

    def _let_everybody_go(self) -> None:
        self.move(_STOP)
        items = [*self.in_hand, *self.inbox.die()]
        left: dict[str, list[TaskEvent]] = {}
        for event in events_in(items):
            left.setdefault(event.run_id, []).append(event)
        for run_id, events in left.items():
            self.forwarder.send_ahead(run_id, partial(list, events))
        for item in items:
            if isinstance(item, Begin):
                item.ask(LEAVE)
            elif isinstance(item, End):
                self._call(item.waiter)
        for waiter in [*self._waiters.values(), *(end.waiter for end, _ in self._ends.values())]:
            self._call(waiter)
        self.outage.close()
        try:
            self.link.close()
        except Exception:
            _LOGGER.exception("the record's connection could not be closed")
