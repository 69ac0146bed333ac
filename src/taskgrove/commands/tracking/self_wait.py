"""Which threads may wait for a task: none that the end of the task waits for.

Threads: a step is known by its context, which a coroutine and ``asyncio.to_thread`` take along; a
callback by the thread that delivers to it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Final, Protocol


class Tracker(Protocol):
    """A tracker, as far as waiting needs it."""

    @property
    def above(self) -> Any:
        """The tracker of the task above, or None."""
        ...

    @property
    def is_observed_here(self) -> bool:
        """True on a thread that an observer of this task holds just now."""
        ...

    @property
    def is_released(self) -> bool:
        """True once the waiters of the task are released."""
        ...


class Work(Protocol):
    """A step that is at work."""

    @property
    def is_over(self) -> bool:
        """True once nothing waits for the step any more."""
        ...

    def trackers(self) -> Iterator[Tracker]:
        """Yield the trackers of the step and of all above it that exist."""
        ...


#: The step that the current context works for.
AT_WORK: Final[ContextVar[Work | None]] = ContextVar("taskgrove_at_work", default=None)


class _Delivering(threading.local):
    """The trackers whose callbacks the thread is calling: a stack for each delivery."""

    def __init__(self) -> None:
        self.stacks: list[Sequence[Tracker]] = []


DELIVERING: Final = _Delivering()


def held_here() -> Iterator[Tracker]:
    """Yield the trackers of the tasks that cannot end before the calling thread goes on."""
    work = AT_WORK.get()
    if work is not None and not work.is_over:
        yield from work.trackers()
    for stack in DELIVERING.stacks:
        for delivering in stack:
            node: Tracker | None = delivering
            while node is not None:
                yield node
                node = node.above


def waits_for_itself(tracker: Tracker) -> bool:
    """Return whether a task can only end once the calling thread, or coroutine, goes on."""
    return tracker.is_observed_here or any(held is tracker for held in held_here())
