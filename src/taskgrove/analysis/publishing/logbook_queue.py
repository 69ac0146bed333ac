"""What waits to be posted: bounded, and the end of an analysis goes before all else.

Nothing here locks or blocks; whoever owns a queue guards it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from taskgrove.analysis.publishing.logbook_entries import Entry


@dataclass(slots=True)
class Waiting:
    """An entry that waits.

    Attributes:
        entry: The entry.
        due: When it may be tried, in seconds of the monotonic clock.
        tries: How often it was tried.
    """

    entry: Entry
    due: float
    tries: int = 0


class LogbookQueue:
    """Entries in the order in which they were made.

    Args:
        capacity: How many may wait.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._waiting: dict[str, Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: Waiting) -> tuple[list[Entry], list[Entry]]:
        """Put an entry in.

        Returns:
            What needs no posting any more, because this status took its place; and what was
            dropped, because too much waits: a passing status first, the oldest, then
            parameters, and the end of an analysis last.
        """
        overtaken = [
            other.entry for other in self._waiting.values() if _overtakes(item.entry, other.entry)
        ]
        for entry in overtaken:
            del self._waiting[entry.key]
        self._waiting[item.entry.key] = item
        dropped = []
        while len(self._waiting) > self._capacity:
            entry = min((other.entry for other in self._waiting.values()), key=_rank)
            del self._waiting[entry.key]
            dropped.append(entry)
        return overtaken, dropped

    def put_back(self, item: Waiting) -> bool:
        """Put an entry in again after a try; False when a later status has taken its place."""
        if any(_overtakes(other.entry, item.entry) for other in self._waiting.values()):
            return False
        self._waiting[item.entry.key] = item
        return True

    def take(self, now: float) -> Waiting | None:
        """Take out the oldest entry that is due, or return None."""
        due = [item for item in self._waiting.values() if item.due <= now]
        if not due:
            return None
        oldest = min(due, key=lambda item: item.entry.at_ns)
        return self._waiting.pop(oldest.entry.key)

    def take_best(self) -> Waiting | None:
        """Take out what matters most, due or not; None when nothing waits."""
        if not self._waiting:
            return None
        best = min(
            self._waiting.values(),
            key=lambda item: (-_rank(item.entry)[0], item.entry.at_ns),
        )
        return self._waiting.pop(best.entry.key)

    def drain(self) -> Iterator[Entry]:
        """Take out everything."""
        while self._waiting:
            yield self._waiting.pop(next(iter(self._waiting))).entry


def _overtakes(later: Entry, earlier: Entry) -> bool:
    return (
        earlier.kind == "status"
        and not earlier.final
        and later.kind == "status"
        and later.at_ns > earlier.at_ns
        and later.subject == earlier.subject
    )


def _rank(entry: Entry) -> tuple[int, int]:
    importance = 2 if entry.final else 1 if entry.kind == "parameters" else 0
    return importance, entry.at_ns
