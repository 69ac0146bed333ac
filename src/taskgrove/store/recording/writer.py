"""The thread that writes a recorder's runs.

The writer takes the items that have come, folds and encodes the events, and has them saved
(:mod:`taskgrove.store.recording.saving`): events, the rows that they change, new runs and their
leases, in one transaction. Only after the commit it releases the waiters.

Threads: everything here belongs to the writer's thread, except :attr:`Writer.in_hand`, which
other threads read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import ProgressDraft, TaskEvent
from taskgrove.store.recording.inbox import (
    KEEP,
    LEAVE,
    REFUSE,
    TAKE,
    Answered,
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
from taskgrove.store.recording.recorded_run import Ending, RunStage
from taskgrove.store.recording.saving import Kept, Saver, SaverRequest

_LOGGER = logging.getLogger(__name__)

#: How long the end of a run waits for events that are under way in other threads, in seconds.
STRAGGLERS_S: Final = 0.3
#: How many ended runs are remembered for their late events, at most.
_ENDED_KEPT: Final = 32


@dataclass(eq=False)
class Writer:
    """Writes runs; see the module.

    Attributes:
        inbox: The queue of events and requests.
        saver: Writes the news of runs.
        redact: Returns an event without secrets.
        in_hand: The items of the batch that is being worked on.
    """

    inbox: Inbox
    saver: Saver
    redact: Callable[[TaskEvent], TaskEvent]
    in_hand: Sequence[Item] = ()
    _ends: dict[str, tuple[End, float]] = field(default_factory=dict)
    _waiters: dict[str, Waiter] = field(default_factory=dict)

    # -- the loop -----------------------------------------------------------------------------

    def run(self) -> None:
        """Write all items until the recorder is closed; never raises."""
        try:
            stop = False
            while not stop:
                self.in_hand = items = self.inbox.collect(self._timeout_s())
                stop = any(type(item) is Stop for item in items)
                self._step(items, last=stop)
                self.in_hand = ()
                self.saver.forwarder.batch_is_over()
        except BaseException as exc:
            _LOGGER.exception("the recorder failed")
            self.saver.teller.begin(
                f"the recorder failed ({type(exc).__name__}: {exc}): later events are not recorded"
            )
        finally:
            self._let_everybody_go()

    def _timeout_s(self) -> float:
        now = time.monotonic()
        at = min([self.saver.due_at(), *(deadline for _, deadline in self._ends.values())])
        if any(state.has_gap for state in self.saver.states.values()):
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
                state = self.saver.state_of(run_id)
                if not state.is_broken:
                    try:
                        kept.append((state, state.take(of_run, self.redact)))
                    except Exception as exc:  # noqa: BLE001 - it is told; other runs go on
                        self.saver.give_up(state, exc)
                if state.is_broken:
                    self.saver.forwarder.send(run_id, events_in(of_run))
            self._settle_ends(now=last)
            self.saver.save(kept, last=last)
            self._release()
        except Exception as exc:  # noqa: BLE001 - it is told; other runs go on
            self._blame({*events, *(it.run_id for it in items if isinstance(it, End))}, exc)
        for begin in begun:
            begin.ask(KEEP)

    def _blame(self, run_ids: set[str], error: Exception) -> None:
        """Give up the runs of a batch that failed; raise where there is none to blame."""
        named = [
            self.saver.states[run_id]
            for run_id in run_ids or self._ends
            if run_id in self.saver.states
        ]
        blamed = [state for state in named if not state.is_broken]
        if not blamed:
            raise error
        for state in blamed:
            self.saver.give_up(state, error)
            end, _ = self._ends.pop(state.run_id, (None, 0.0))
            if end is not None:
                self._call(end.waiter)
        self._release()

    def _sort_in(self, items: Sequence[Item]) -> tuple[dict[str, list[Heard]], list[Begin]]:
        events: dict[str, list[Heard]] = {}
        begun: list[Begin] = []
        deadline = time.monotonic() + STRAGGLERS_S
        latest, of_latest = "", list[Heard]()  # usually many items of one run follow each other
        for item in items:
            if type(item) is ProgressDraft:
                run_id = item.facts.run_id
            elif type(item) is TaskEvent:
                run_id = item.run_id
            else:
                if type(item) is Begin:
                    if item.state.claim is None:  # else it is known once it has its claim
                        self.saver.states[item.state.run_id] = item.state
                    item.ask(TAKE)
                    begun.append(item)
                elif type(item) is Answered:
                    self.saver.state_of(item.run_id).answer(item.answer)
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
        error = self.saver.claim(state)
        if error is not None:
            begin.ask(REFUSE, error)
            return
        self.saver.states[state.run_id] = state
        if not begin.ask(KEEP):  # withdrawn meanwhile: the record must not say that it runs
            words = "not begun: the record did not answer in time"
            aborted = (int(TaskStatus.ABORTED), int(ResultCode.ABORTED), None, words)
            state.end(Ending(*aborted, self.saver.clock.wall_ns()))

    def _settle_ends(self, *, now: bool) -> None:
        """Take the end of each run whose events have all come, or were waited for enough."""
        for run_id, (end, deadline) in list(self._ends.items()):
            state = self.saver.state_of(run_id)
            if state.has_gap and not now and time.monotonic() < deadline:
                continue
            state.fold_early(now=True)
            state.end(end.ending)
            self._waiters[run_id] = end.waiter
            del self._ends[run_id]
        for run_id, state in self.saver.states.items():
            if run_id not in self._ends:  # those wait for their events by a deadline of their own
                state.fold_early(now=now)

    # -- handing on -----------------------------------------------------------------------------

    def _release(self) -> None:
        """Release waiters whose run's end is kept, or kept aside on the disk, or cannot be."""
        settled = (RunStage.FINAL, RunStage.BROKEN)
        for run_id, waiter in list(self._waiters.items()):
            state = self.saver.states.get(run_id)  # None: final, and its record is gone since
            if (
                state is None
                or state.stage in settled
                or waiter.is_released
                or self.saver.outage.is_safe_for(state)
            ):
                del self._waiters[run_id]
                self._call(waiter)
        ended = [
            state
            for state in self.saver.states.values()
            if state.stage is RunStage.FINAL and state.run_id not in self._waiters
        ]
        for state in ended[: max(0, len(ended) - _ENDED_KEPT)]:
            del self.saver.states[state.run_id]
            self.saver.forwarder.remove(state.run_id)

    def _call(self, waiter: Waiter) -> None:
        try:
            waiter.release()
        except Exception:
            _LOGGER.exception("run %s: a callback that waited for its end raised", waiter.run_id)

    def _let_everybody_go(self) -> None:
        self.saver.move(SaverRequest.STOP)
        items = [*self.in_hand, *self.inbox.die()]
        left: dict[str, list[TaskEvent]] = {}
        for event in events_in(items):
            left.setdefault(event.run_id, []).append(event)
        for run_id, events in left.items():
            self.saver.forwarder.send_ahead(run_id, partial(list, events))
        for item in items:
            if isinstance(item, Begin):
                item.ask(LEAVE)
            elif isinstance(item, End):
                self._call(item.waiter)
        for waiter in [*self._waiters.values(), *(end.waiter for end, _ in self._ends.values())]:
            self._call(waiter)
        self.saver.outage.close()
        try:
            self.saver.link.close()
        except Exception:
            _LOGGER.exception("the record's connection could not be closed")
