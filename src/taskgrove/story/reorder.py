"""Events of one run in the order of their numbers, whatever order they come in.

Threads hand events over a little out of order. An event that comes early is held back until
those before it have come, or until the reader has waited long enough for them; what comes after
that is late. Doubles are dropped. Pure: the caller brings the clock.

Threads: a :class:`ReorderBuffer` belongs to one thread.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

from taskgrove.events import TaskEvent

#: How long a reader waits for missing events, from when it first sees the gap, in seconds.
PATIENCE_S: Final = 1.0


class ReorderBuffer:
    """Gives the events of one run in order.

    Args:
        expected: The number that comes first.

    Attributes:
        expected: The lowest number that has neither come nor been given up.
    """

    def __init__(self, expected: int = 1) -> None:
        self.expected = expected
        # Early events: first number, how many came before it, the event.
        self._held: list[tuple[int, int, TaskEvent]] = []
        self._count = 0
        # Ranges of numbers that were given up, in order.
        self._given_up: list[tuple[int, int]] = []
        # The gap that :meth:`settle` saw last, by its first number, and when it first saw it.
        self._gap = (0, 0.0)

    @property
    def has_gap(self) -> bool:
        """True while events are held back."""
        return bool(self._held)

    def push(self, event: TaskEvent) -> list[TaskEvent]:
        """Take an event; return those whose turn has come, in order.

        One that begins below :attr:`expected` is late; it is returned alone, unless it is a double.
        """
        begin, expected = begin_of(event), self.expected
        if begin > expected:
            self._count += 1
            heappush(self._held, (begin, self._count, event))
            return self.following()
        if event.sequence >= expected:
            self.expected = event.sequence + 1
            return [event, *self.following()] if self._held else [event]
        # All of its numbers are behind: either they were given up, or it is a double.
        return [event] if self._take_back(begin, event.sequence) else []

    def following(self) -> list[TaskEvent]:
        """Return the events that were held back and whose turn has come."""
        ready: list[TaskEvent] = []
        while self._held and self._held[0][0] <= self.expected:
            event = heappop(self._held)[2]
            if event.sequence >= self.expected:  # else it is a double
                self.expected = event.sequence + 1
                ready.append(event)
        return ready

    def settle(self, now_s: float | None = None) -> list[TaskEvent]:
        """Give up numbers that are overdue; return the events that were held back for them.

        The time counts from the first call that sees the gap: events may be handed over late on a
        busy machine, so their own times say nothing.

        Args:
            now_s: Now, on the reader's monotonic clock; None ends all waiting.
        """
        ready: list[TaskEvent] = []
        while self._held:
            if now_s is not None:
                if self._gap[0] != self.expected:
                    self._gap = (self.expected, now_s)
                if now_s - self._gap[1] < PATIENCE_S:
                    break
            self.give_up_to(self._held[0][0])
            ready += self.following()
        return ready

    def accept(self, event: TaskEvent) -> None:
        """Take note that an event is given out; missing events before it are given up."""
        self.give_up_to(begin_of(event))
        self.expected = max(self.expected, event.sequence + 1)

    def give_up_to(self, expected: int) -> None:
        """Expect no number below this one any more."""
        if expected > self.expected:
            self._given_up.append((self.expected, expected - 1))
            self.expected = expected

    def _take_back(self, begin: int, last: int) -> bool:
        """Take numbers out of those that were given up; False where none of them was."""
        left: list[tuple[int, int]] = []
        found = False
        for first, end in self._given_up:
            if end < begin or last < first:
                left.append((first, end))
                continue
            found = True
            left += [(first, begin - 1)] * (first < begin) + [(last + 1, end)] * (last < end)
        self._given_up = left
        return found


def begin_of(event: TaskEvent) -> int:
    """Return the first number that an event stands for."""
    return event.sequence if event.sequence_from is None else event.sequence_from
