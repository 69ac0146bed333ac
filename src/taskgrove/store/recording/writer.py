"""The thread that writes a recorder's runs.

It takes what has come, folds and encodes it, and writes it in one transaction: events, the rows
that they change, new runs and their leases. Only after the commit are events handed on and
waiters released. What cannot be written is kept aside (:mod:`taskgrove.store.recording.spill`),
told, and written when the record can be written again; the writer tries that now and then.

Threads: everything here belongs to the writer's thread, except :attr:`Writer.in_flight`, which
the watch reads: it is replaced as a whole, never changed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from taskgrove.clock import Clock
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import ProgressDraft, TaskEvent
from taskgrove.store.database.faults import is_outage, why_refused, words_of
from taskgrove.store.recording.inbox import (
    Begin,
    End,
    Heard,
    Inbox,
    Item,
    Stop,
    Waiter,
    event_in,
    events_in,
)
from taskgrove.store.recording.lease import HEARTBEAT_S, this_process
from taskgrove.store.recording.link import Link, RecordGoneError
from taskgrove.store.recording.orphans import adopt
from taskgrove.store.recording.outage import Outage
from taskgrove.store.recording.run_state import Ending, KeptEvent, RunState
from taskgrove.store.recording.run_writer import BrokenRunError, LogPart, RunWriter, Written
from taskgrove.store.recording.spill import Spill
from taskgrove.store.recording.telling import Forwarder, Teller

_LOGGER = logging.getLogger(__name__)

#: How long the end of a run waits for events that are under way in other threads, in seconds.
STRAGGLERS_S: Final = 0.3
#: How long rows may be behind in progress, in seconds.
LAZY_S: Final = 1.0
#: Events of one transaction, at most.
CHUNK: Final = 20_000
#: Runs that have ended are remembered for their late events, at most so many.
_ENDED_KEPT: Final = 32

Kept = list[tuple[RunState, list[KeptEvent]]]


class Writer:
    """Writes runs; see the module.

    Args:
        inbox: What comes.
        link: The connection to the record.
        spill: Where what cannot be written is kept aside.
        teller: Who hears of trouble.
        forwarder: Who hears the events once they are kept.
        redact: Returns an event without secrets.
        clock: The wall clock.
        location: The record, as text.
        spill_folder: Where processes that are gone left what they could not write.
    """

    def __init__(
        self,
        *,
        inbox: Inbox,
        link: Link,
        spill: Spill,
        teller: Teller,
        forwarder: Forwarder,
        redact: Any,
        clock: Clock,
        location: str,
        spill_folder: Path | None,
    ) -> None:
        self._inbox = inbox
        self._link = link
        self._teller = teller
        self._forwarder = forwarder
        self._redact = redact
        self._clock = clock
        self._location = location
        self._spill_folder = spill_folder
        self._sql: RunWriter | None = None
        self._states: dict[str, RunState] = {}
        self._ends: dict[str, tuple[End, float]] = {}
        self._waiters: dict[str, Waiter] = {}
        self._beat_at = time.monotonic() + HEARTBEAT_S
        self._orphans_looked_for = False
        self.outage = Outage(spill, teller, location)
        self.in_flight: Mapping[str, Sequence[Heard]] = {}
        #: Runs that are not in the record, or not all of them; it only grows.
        self.not_kept: set[str] = set()

    # -- the loop -----------------------------------------------------------------------------

    def run(self) -> None:
        """Write what comes until there is nothing more; never raises."""
        try:
            stop = False
            while not stop:
                items = self._inbox.collect(self._timeout_s())
                stop = any(type(item) is Stop for item in items)
                try:
                    self._step(items, last=stop)
                except Exception as exc:  # noqa: BLE001 - it is told; other runs go on
                    self._blame(items, exc)
        except BaseException as exc:
            _LOGGER.exception("the recorder failed")
            self._teller.begin(
                f"the recorder failed ({type(exc).__name__}: {exc}): what follows is not recorded"
            )
        finally:
            self._let_everybody_go()

    def _blame(self, items: Sequence[Item], error: Exception) -> None:
        """Give up the runs of a batch that failed; raise where there is none to blame."""
        names = {event.run_id for event in filter(None, map(event_in, items))}
        names |= {item.run_id for item in items if isinstance(item, End)}
        named = [self._states[name] for name in names or self._ends if name in self._states]
        blamed = [state for state in named if state.broken is None]
        if not blamed:
            raise error
        for state in blamed:
            self._give_up(state, error)
            end, _ = self._ends.pop(state.run_id, (None, 0.0))
            if end is not None:
                self._call(end.waiter)
        self.in_flight = {}
        self._release()

    def _timeout_s(self) -> float:
        now = time.monotonic()
        at = self._beat_at
        if self.outage.is_on:
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
        self.in_flight = events
        try:
            for begin in begun:
                if begin.state.claim is not None:
                    self._claim(begin)
            kept: Kept = []
            for run_id, of_run in events.items():
                state = self._state_of(run_id)
                if state.broken is None:
                    try:
                        kept.append((state, state.take(of_run, self._redact)))
                    except Exception as exc:  # noqa: BLE001 - it is told; other runs go on
                        self._give_up(state, exc)
                if state.broken is not None:
                    self._forwarder.send(run_id, events_in(of_run))
            self._settle_ends(now=last)
            if last:
                self.outage.try_at = 0.0
            self._save(kept, last=last)
        finally:
            for begin in begun:
                begin.done.set()
        self.in_flight = {}
        self._forwarder.batch_is_over()

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
                    item.taken = True
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
        if begin.withdrawn:
            return
        begin.error = self._error_of_claim(state)
        if begin.error is not None:
            begin.finish()
            return
        self._states[state.run_id] = state
        if not begin.finish():  # it was refused meanwhile; the record shall not say that it runs
            words = "not begun: the record did not answer in time"
            aborted = (int(TaskStatus.ABORTED), int(ResultCode.ABORTED), None, words)
            state.ending = Ending(*aborted, self._clock.wall_ns())

    def _error_of_claim(self, state: RunState) -> Exception | None:
        error: Exception | None = None
        for _ in range(2):  # the answer to a commit may be lost: what is there already is ours
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
        if state is None:  # it ended long ago: what comes late is added to its record
            row = {"created_ns": 0}
            state = RunState(run_id, row, {}, resumed=True, foreign=True, unread=True)
            self._states[run_id] = state
        return state

    def _settle_ends(self, *, now: bool) -> None:
        """Take the end of each run whose events have all come, or were waited for enough."""
        for run_id, (end, deadline) in list(self._ends.items()):
            state = self._state_of(run_id)
            if state.has_gap and not now and time.monotonic() < deadline:
                continue
            state.fold_early(now=True)
            state.ending = end.ending
            self._waiters[run_id] = end.waiter
            del self._ends[run_id]
        for run_id, state in self._states.items():
            if run_id not in self._ends:  # which wait for their events by a deadline of their own
                state.fold_early(now=now)

    # -- saving ---------------------------------------------------------------------------------

    def _save(self, kept: Kept, *, last: bool) -> None:
        if self.outage.is_on:
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
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is told and kept aside
            if isinstance(exc, RecordGoneError):
                self._start_over(kept)
            if is_outage(exc):
                if kept or self._states:  # else there is nothing that could be kept aside
                    self.outage.begin(exc)
                    self._keep_aside(kept)
            else:
                self._store_one_by_one(pending, kept, exc)
            return
        if self._teller.trouble is not None:  # it had not answered in time, and no write failed
            self._teller.end(f"the record at {self._location} answers again")
        self._hand_on(kept)

    def _pending(self, kept: Kept, *, last: bool) -> list[RunState]:
        now = time.monotonic()
        pending = {state.run_id: state for state, _ in kept}
        for state in self._states.values():
            if state.broken is not None:
                continue
            due = state.lazy and (last or now - state.lazy_since >= LAZY_S)
            ending = state.ending is not None and not state.final
            if due or ending or state.touched or state.run_key is None:
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
        transaction = self._link.transaction
        try:
            taken = adopt(self._location, writer, transaction, self._spill_folder)
            for text in (*taken.told, *(file.words for file in taken.left if not file.is_held)):
                self._teller.say(text)
        except Exception as exc:
            if is_outage(exc):
                raise
            # The runs of this process are written; they have no part in it.
            _LOGGER.info("what an earlier process kept aside could not be written", exc_info=exc)
            self._teller.say(
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
        with self._link.transaction() as connection:
            now_ns = self._clock.wall_ns()
            if states:
                done = writer.write(
                    connection, states, log, now_ns=now_ns, lazy=lazy, log_only=log_only
                )
            if beat:
                writer.heartbeat(connection, self._leased(), this_process().pid, now_ns)
        writer.committed(states, done, lazy=lazy, log_only=log_only)

    def _writer(self) -> RunWriter:
        if self._sql is None:
            if self._link.store is None:
                with self._link.transaction():
                    pass  # opens the record
            assert self._link.store is not None
            self._sql = RunWriter(self._link.store.dialect)
        return self._sql

    def _leased(self) -> list[RunState]:
        return [
            state
            for state in self._states.values()
            if state.run_key is not None and not state.final and not state.foreign
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
                    self.outage.begin(exc)
                    self._keep_aside([(state, of_run)])
                    continue
                if isinstance(exc, BrokenRunError) or not self._write_replaced(state, of_run, exc):
                    self._give_up(state, exc)
            self._hand_on([(state, of_run)])

    def _write_replaced(
        self, state: RunState, of_run: Sequence[KeptEvent], error: Exception
    ) -> bool:
        """Write what stands in place of events that the database refuses; True if it could."""
        if not of_run:
            return False
        try:
            self._write([state], [(state, state.replace(of_run, why_refused(error)))], beat=False)
        except Exception:
            _LOGGER.exception("run %s: not even what replaces its events is kept", state.run_id)
            return False
        self._teller.say(
            f"run {state.run_id}: {len(of_run):,} events are replaced in the record, as they cannot"
            f" be written: {why_refused(error)}"
        )
        return True

    def _give_up(self, state: RunState, error: Exception) -> None:
        why = str(error) if isinstance(error, BrokenRunError) else why_refused(error)
        state.broken = why
        self.not_kept.add(state.run_id)
        if not isinstance(error, BrokenRunError):
            _LOGGER.info("run %s cannot be recorded", state.run_id, exc_info=error)
        self._teller.say(f"run {state.run_id} is not recorded from here on: {why}")

    def _start_over(self, kept: Kept) -> None:
        """Begin the runs that go on anew: their record is gone."""
        self._sql = None
        for state in list(self._states.values()):
            if state.final or state.foreign:
                del self._states[state.run_id]
            else:
                state.start_over()
        for state, of_run in kept:
            state.keep(of_run)

    # -- outages --------------------------------------------------------------------------------

    def _keep_aside(self, kept: Kept) -> None:
        pending = [s for s in self._states.values() if s.broken is None]
        self.outage.keep(pending, kept)
        self._hand_on(kept)

    def _try_to_heal(self) -> None:
        try:
            writer = self._writer()
            for log, mark in self.outage.chunks(self._state_of):
                self._transaction(writer, [state for state, _ in log], log, log_only=True)
                self.outage.written(sum(len(of_run) for _, of_run in log), mark)
            pending = [s for s in self._states.values() if s.broken is None]
            self._transaction(writer, pending, (), beat=True)
        except Exception as exc:  # noqa: BLE001 - it is tried again later
            if isinstance(exc, RecordGoneError):
                self._start_over([])
            if isinstance(exc, BrokenRunError):
                self._give_up_during_outage(exc)
            self.outage.failed_again(exc)
            return
        self.outage.end()

    def _give_up_during_outage(self, error: BrokenRunError) -> None:
        for state in self._states.values():
            if state.run_id in str(error).split():
                self._give_up(state, error)

    # -- handing on -----------------------------------------------------------------------------

    def _hand_on(self, kept: Kept) -> None:
        for state, of_run in kept:
            if self._forwarder.hears(state.run_id):
                self._forwarder.send(state.run_id, [event for _, _, event in of_run])

    def _release(self) -> None:
        """Let those go whose run's end is kept, or kept aside on the disk, or cannot be."""
        for run_id, waiter in list(self._waiters.items()):
            state = self._states.get(run_id)  # None: final, and its record is gone since
            safe = state is None or state.final or state.broken is not None
            if safe or waiter.is_released or (state and self.outage.is_safe_for(state)):
                del self._waiters[run_id]
                self._call(waiter)
        ended = [s for s in self._states.values() if s.final and s.run_id not in self._waiters]
        for state in ended[: max(0, len(ended) - _ENDED_KEPT)]:
            del self._states[state.run_id]
            self._forwarder.remove(state.run_id)

    def _call(self, waiter: Waiter) -> None:
        try:
            waiter.release()
        except Exception:
            _LOGGER.exception("run %s: what waited for its end raised", waiter.run_id)

    def _let_everybody_go(self) -> None:
        items: list[Item] = self._inbox.die()
        left = {run_id: events_in(of_run) for run_id, of_run in self.in_flight.items()}
        for event in filter(None, map(event_in, items)):
            left.setdefault(event.run_id, []).append(event)
        for run_id, events in left.items():
            self._forwarder.send_ahead(run_id, partial(list, events))
        for item in items:
            if isinstance(item, Begin):
                item.done.set()
            elif isinstance(item, End):
                self._call(item.waiter)
        for waiter in [*self._waiters.values(), *(end.waiter for end, _ in self._ends.values())]:
            self._call(waiter)
        self.outage.close()
        try:
            self._link.close()
        except Exception:
            _LOGGER.exception("the record's connection could not be closed")
