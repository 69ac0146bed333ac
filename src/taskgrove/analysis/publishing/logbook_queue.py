"""Entries that wait to be posted: bounded, and the end of an analysis goes first.

Nothing here locks or blocks; the owner of a queue guards it.
"""

from __future__ import annotations

from taskgrove.analysis.publishing.logbook_entries import Entry


class LogbookQueue:
    """Entries in the order in which they were made.

    Args:
        capacity: How many may wait.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._waiting: list[Entry] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, entry: Entry) -> tuple[list[Entry], list[Entry]]:
        """Put an entry in.

        Returns:
            The entries that this status replaces; and those that are dropped, because too many
            wait: a passing status first, the oldest, then parameters, the end of an analysis last.
        """
        overtaken = [other for other in self._waiting if entry.overtakes(other)]
        self._waiting = [other for other in self._waiting if not entry.overtakes(other)]
        self._waiting.append(entry)
        dropped = []
        while len(self._waiting) > self._capacity:
            dropped.append(self._taken(min(self._waiting, key=lambda it: (it.rank, it.at_ns))))
        return overtaken, dropped

    def put_back(self, entry: Entry) -> bool:
        """Put an entry in again after a try; False when a later status has replaced it."""
        if any(other.overtakes(entry) for other in self._waiting):
            return False
        self._waiting.append(entry)
        return True

    def take(self, now: float) -> Entry | None:
        """Take out the oldest entry that is due, or return None."""
        due = [entry for entry in self._waiting if entry.due <= now]
        return self._taken(min(due, key=lambda entry: entry.at_ns)) if due else None

    def take_best(self) -> Entry | None:
        """Take out the most important entry, due or not; None when nothing waits."""
        if not self._waiting:
            return None
        return self._taken(min(self._waiting, key=lambda entry: (-entry.rank, entry.at_ns)))

    def drain(self) -> list[Entry]:
        """Take out everything."""
        left, self._waiting = self._waiting, []
        return left

    def _taken(self, entry: Entry) -> Entry:
        self._waiting.remove(entry)
        return entry
