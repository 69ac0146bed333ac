"""What comes to a recorder: events from any thread, and what is asked of it.

Threads: :meth:`Inbox.put` and the observer may be called by any thread; they append to a deque,
which needs no lock, and wake the writer where it sleeps. :meth:`Inbox.collect` belongs to the
writer's thread.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from taskgrove.events import Observer, ProgressDraft, TaskEvent
from taskgrove.store.recording.run_state import Ending, RunState

#: How long the writer waits for more to come before it writes what has, in seconds.
GATHER_S: Final = 0.02
#: How long it waits once work has begun or ended; longer only where it has written just now: it
#: rests as long as that took, because who writes all the time takes the machine from others.
HURRY_S: Final = 0.002
#: What the writer shall not wait long with: what runs outside must not be unknown after a crash.
PRESSING: Final = frozenset(("started", "finished"))
#: Events that are handed over at once, at most.
MOST_AT_ONCE: Final = 50_000
#: From this many events on that wait for a writer that is stuck, progress is left out.
CROWD: Final = 300_000


@dataclass(slots=True)
class Begin:
    """A run begins; ``done`` is set when it is kept, or kept aside and told.

    ``taken`` is True once the writer knows of the run. ``error``: why a run that resumes another
    could not be kept; it must not begin then.
    """

    state: RunState
    taken: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    _withdrawn: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def withdrawn(self) -> bool:
        """True once nobody waits for it any more."""
        return self._withdrawn

    def withdraw(self) -> bool:
        """Wait no longer; False: it is done already."""
        with self._lock:
            self._withdrawn = not self.done.is_set()
            return self._withdrawn

    def finish(self) -> bool:
        """Say that it is done; False: nobody waits for it any more, and the run will not begin."""
        with self._lock:
            self.done.set()
            return not self._withdrawn


class Waiter:
    """Whoever waits for a run's end to be kept; called exactly once.

    Args:
        run_id: The run.
        callback: What is called.
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
class Stop:
    """Nothing more will come."""


#: What an observer hears.
Heard: TypeAlias = TaskEvent | ProgressDraft
Item: TypeAlias = TaskEvent | ProgressDraft | Begin | End | Stop


class Inbox:
    """The queue in front of a recorder's writer.

    Args:
        when_dead: Called with each event once the writer has failed.
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
        """True once nobody collects any more."""
        return self._dead

    def observer(self) -> Observer:
        """Return what a bus calls with every event: it appends, and rarely looks further."""
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
        """Hand over something that the writer shall not wait with."""
        self._items.append(item)
        self._urgent.set()
        self._stir.set()
        self._wake.set()

    def die(self) -> list[Item]:
        """Return what nobody will collect; from now on events go past the recorder."""
        self._dead = self._attention = True
        left: list[Item] = []
        with suppress(IndexError):  # others may still take progress out
            while True:
                left.append(self._items.popleft())
        return left

    def collect(self, timeout_s: float) -> list[Item]:
        """Wait for something to come, a little more for its company, and return it.

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
        # Before what has come is taken: what presses after that presses next time.
        self._pressed = False
        self._stir.clear()
        self._urgent.clear()
        items = self._drain(min(len(self._items), MOST_AT_ONCE))
        self._collected_at = time.monotonic()
        return items

    def _gather(self, rested_at: float) -> None:
        """Wait for company, at most ``GATHER_S``.

        Args:
            rested_at: When the writer has rested as long as it wrote; where something presses,
                it waits until then, and ``HURRY_S``.
        """
        latest = time.monotonic() + GATHER_S
        self._stir.wait(GATHER_S)
        if self._pressed:
            now = time.monotonic()
            self._urgent.wait(min(max(now + HURRY_S, rested_at), latest) - now)

    def snapshot(self, run_id: str) -> list[TaskEvent]:
        """Return the events of a run that wait here, and leave them."""
        while True:
            try:
                items = list(self._items)
            except RuntimeError:  # somebody appended meanwhile
                continue
            return [event for event in map(event_in, items) if event and event.run_id == run_id]

    def _drain(self, count: int) -> list[Item]:
        take = self._items.popleft
        return [take() for _ in range(count)]

    def _attend(self, item: TaskEvent | ProgressDraft) -> None:
        if self._dead:
            event = event_in(item)
            assert event is not None
            self._when_dead(event)
            return
        if len(self._items) > CROWD and _is_progress(item):
            self._leave_out_one()
        self._wake.set()

    def _leave_out_one(self) -> None:
        """Drop progress, the newest in the queue; its number will be missed and told."""
        try:
            last = self._items.pop()
        except IndexError:
            return
        if not _is_progress(last):
            self._items.append(last)


def event_in(item: Item) -> TaskEvent | None:
    """Return the event that an item is, or stands for; None where it is something else."""
    if isinstance(item, ProgressDraft):
        return item.event()
    return item if isinstance(item, TaskEvent) else None


def events_in(heard: Iterable[Heard]) -> list[TaskEvent]:
    """Return the events that were heard, those made that were drafts still."""
    return [item.event() if isinstance(item, ProgressDraft) else item for item in heard]


def _is_progress(item: Item) -> bool:
    return isinstance(item, ProgressDraft) or (
        isinstance(item, TaskEvent) and item.kind == "progress"
    )
