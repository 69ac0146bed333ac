"""The queue in front of a recorder's writer: events from any thread, and requests.

Threads: any thread may call :meth:`Inbox.put` and the observer; they append to a deque, which
needs no lock, and wake the writer where it sleeps. :meth:`Inbox.collect` belongs to the writer's
thread.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from taskgrove.events import Observer, ProgressDraft, SteeringAnswer, TaskEvent
from taskgrove.moves import IGNORE, Answer, table_of
from taskgrove.store.recording.recorded_run import Ending, RecordedRun

#: How long the writer waits for more to come before it writes, in seconds.
GATHER_S: Final = 0.02
#: How long the writer waits once work has begun or ended. It waits longer only where it has just
#: written: it rests as long as that took, so that it does not take the machine from others.
HURRY_S: Final = 0.002
#: Kinds of events that the writer writes soon: after a crash, the record must know of the work.
PRESSING: Final = frozenset(("started", "finished"))
#: Events that are handed over at once, at most.
MOST_AT_ONCE: Final = 50_000
#: From this many waiting events on (the writer is stuck), progress is left out.
CROWD: Final = 300_000


class BeginStage(Enum):
    """How far the beginning of a run is."""

    ASKED = "asked"
    """The writer has not seen it yet."""
    TAKEN = "taken"
    """The writer works on it."""
    KEPT = "kept"
    """The run is in the record, or it is kept aside and the trouble was told."""
    REFUSED = "refused"
    """The record does not take the run."""
    WITHDRAWN = "withdrawn"
    """The caller does not wait any more: the run will not begin."""
    LEFT = "left"
    """The writer has ended without it."""


class BeginRequest(Enum):
    """A request to the beginning of a run."""

    TAKE = "take"
    KEEP = "keep"
    REFUSE = "refuse"
    WITHDRAW = "withdraw"
    LEAVE = "leave"


_ASKED, _TAKEN, _KEPT, _REFUSED, _WITHDRAWN, _LEFT = BeginStage
TAKE, KEEP, REFUSE, WITHDRAW, LEAVE = BeginRequest

# fmt: off
MOVES: Final = table_of(BeginStage, BeginRequest, {
    _ASKED:     {TAKE: _TAKEN, KEEP: _KEPT,  REFUSE: _REFUSED, WITHDRAW: _WITHDRAWN, LEAVE: _LEFT},
    _TAKEN:     {TAKE: IGNORE, KEEP: _KEPT,  REFUSE: _REFUSED, WITHDRAW: _WITHDRAWN, LEAVE: _LEFT},
    _KEPT:      {TAKE: IGNORE, KEEP: IGNORE, REFUSE: IGNORE,   WITHDRAW: IGNORE,     LEAVE: IGNORE},
    _REFUSED:   {TAKE: IGNORE, KEEP: IGNORE, REFUSE: IGNORE,   WITHDRAW: IGNORE,     LEAVE: IGNORE},
    _WITHDRAWN: {TAKE: IGNORE, KEEP: IGNORE, REFUSE: IGNORE,   WITHDRAW: IGNORE,     LEAVE: IGNORE},
    _LEFT:      {TAKE: IGNORE, KEEP: IGNORE, REFUSE: IGNORE,   WITHDRAW: IGNORE,     LEAVE: IGNORE},
})
# fmt: on


@dataclass(slots=True)
class Begin:
    """A run begins.

    Attributes:
        state: The run.
        stage: How far its beginning is.
        done: Set when there is nothing to wait for any more.
        error: Why the record refused the run.
    """

    state: RecordedRun
    stage: BeginStage = _ASKED
    done: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, request: BeginRequest, error: Exception | None = None) -> bool:
        """Make a move, from any thread; return whether the request was one."""
        with self._lock:
            cell = MOVES[self.stage, request]
            if isinstance(cell, Answer):
                return False
            self.stage, self.error = cell, error
        if cell is not _TAKEN:
            self.done.set()
        return True


class Waiter:
    """Waits for a run's end to be kept; called exactly once.

    Args:
        run_id: The run.
        callback: The function that is called.
    """

    __slots__ = ("_callback", "_lock", "run_id")

    def __init__(self, run_id: str, callback: Callable[[], None]) -> None:
        self.run_id = run_id
        self._callback: Callable[[], None] | None = callback
        self._lock = threading.Lock()

    @property
    def is_released(self) -> bool:
        """True once it was called."""
        return self._callback is None

    def release(self) -> None:
        """Call it, unless it was called before."""
        with self._lock:
            callback, self._callback = self._callback, None
        if callback is not None:
            callback()


@dataclass(slots=True)
class End:
    """A run has ended."""

    run_id: str
    ending: Ending
    waiter: Waiter


@dataclass(slots=True)
class Answered:
    """A run has answered a request of an operator; the events that it caused came before."""

    run_id: str
    answer: SteeringAnswer


@dataclass(slots=True)
class Stop:
    """Nothing more will come."""


#: An item that an observer hears.
Heard: TypeAlias = TaskEvent | ProgressDraft
Item: TypeAlias = TaskEvent | ProgressDraft | Begin | Answered | End | Stop


class Inbox:
    """The queue; see the module.

    Args:
        when_dead: Called with each event once the writer has ended.
    """

    def __init__(self, when_dead: Callable[[TaskEvent], None]) -> None:
        self._items: deque[Item] = deque()
        self._wake = threading.Event()
        self._stir = threading.Event()
        self._urgent = threading.Event()
        self._when_dead = when_dead
        self._attention = False
        self._pressed = False
        self._collected_at = time.monotonic()
        self._dead = False

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_dead(self) -> bool:
        """True once the writer has ended."""
        return self._dead

    def observer(self) -> Observer:
        """Return the observer of a bus: it appends each event, and rarely does more."""
        items = self._items
        append = items.append

        def record(event: TaskEvent | ProgressDraft) -> None:
            append(event)
            # After the append: the writer looks at the queue again once it has said that it sleeps.
            if self._attention or len(items) > CROWD:
                self._attend(event)
            if event.__class__ is TaskEvent and not self._pressed and event.kind in PRESSING:
                self._pressed = True
                self._stir.set()

        record.takes_drafts = True  # type: ignore[attr-defined] # read by Subscription
        return record

    def put(self, item: Item) -> None:
        """Hand over something that the writer looks at without delay."""
        self._items.append(item)
        self._urgent.set()
        self._stir.set()
        self._wake.set()

    def die(self) -> list[Item]:
        """Return the items that are left; from now on events go past the recorder."""
        self._dead = self._attention = True
        left: list[Item] = []
        with suppress(IndexError):  # others may still take progress out
            while True:
                left.append(self._items.popleft())
        return left

    def collect(self, timeout_s: float) -> list[Item]:
        """Wait for something to come, and a little for more; return all of it.

        Args:
            timeout_s: The most to wait, in seconds.
        """
        came_back_at = time.monotonic()
        busy_s = came_back_at - self._collected_at
        if not self._items:
            self._attention = True
            if not self._items and timeout_s > 0:
                self._wake.wait(timeout_s)
            self._attention = False
            self._wake.clear()
        if self._items:
            self._gather(came_back_at + busy_s)
        # Before the items are taken: an event that presses from now on presses next time.
        self._pressed = False
        self._stir.clear()
        self._urgent.clear()
        take = self._items.popleft
        items = [take() for _ in range(min(len(self._items), MOST_AT_ONCE))]
        self._collected_at = time.monotonic()
        return items

    def _gather(self, rested_at: float) -> None:
        """Wait for more, at most ``GATHER_S``; where an event presses, until ``rested_at``."""
        latest = time.monotonic() + GATHER_S
        self._stir.wait(GATHER_S)
        if self._pressed:
            now = time.monotonic()
            self._urgent.wait(min(max(now + HURRY_S, rested_at), latest) - now)

    def snapshot(self) -> list[Item]:
        """Return the items that wait here, and leave them."""
        while True:
            with suppress(RuntimeError):  # another thread appended meanwhile
                return list(self._items)

    def _attend(self, item: TaskEvent | ProgressDraft) -> None:
        if self._dead:
            with suppress(ValueError):  # it may be among the rest already
                self._items.remove(item)
            self._when_dead(*events_in([item]))
            return
        if len(self._items) > CROWD and _is_progress(item):
            self._leave_out_one()
        self._wake.set()

    def _leave_out_one(self) -> None:
        """Drop the newest progress of the queue; the record says how many events are missing."""
        with suppress(IndexError):
            last = self._items.pop()
            if not _is_progress(last):
                self._items.append(last)


def events_in(items: Iterable[Item]) -> list[TaskEvent]:
    """Return the events among items; drafts of events are made into events."""
    return [
        item.event() if isinstance(item, ProgressDraft) else item
        for item in items
        if isinstance(item, (TaskEvent, ProgressDraft))
    ]


def _is_progress(item: Item) -> bool:
    return isinstance(item, ProgressDraft) or (
        isinstance(item, TaskEvent) and item.kind == "progress"
    )
