"""Who may wait for a task: nobody whose going on the task's end needs.

Threads: a step is known by its context, which a coroutine and ``asyncio.to_thread`` take along; a
callback by the thread that delivers it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from taskgrove.commands.tracking.delivery import TrackerDelivery


class Work(Protocol):
    """A step that is at work."""

    @property
    def is_over(self) -> bool:
        """True once nothing waits for it any more."""
        ...

    def trackers(self) -> Iterator[TrackerDelivery]:
        """Yield the trackers of the step and of all above it that exist."""
        ...


#: The step that the current context works for.
AT_WORK: Final[ContextVar[Work | None]] = ContextVar("taskgrove_at_work", default=None)


class _Delivering(threading.local):
    #: The trackers whose callbacks the thread is calling: a stack for each delivery under way.
    stacks: tuple[list[TrackerDelivery], ...] = ()


DELIVERING: Final = _Delivering()


def held_here() -> Iterator[TrackerDelivery]:
    """Yield the trackers of the tasks that cannot end before the calling thread goes on."""
    work = AT_WORK.get()
    if work is not None and not work.is_over:
        yield from work.trackers()
    for stack in DELIVERING.stacks:
        for delivering in stack:
            node: TrackerDelivery | None = delivering
            while node is not None:
                yield node
                node = node.above


def waits_for_itself(tracker: TrackerDelivery) -> bool:
    """Return whether a task can only end once the calling thread, or coroutine, goes on."""
    return tracker.is_observed_here or any(held is tracker for held in held_here())
