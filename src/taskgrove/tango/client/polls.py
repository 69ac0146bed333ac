"""When a device is polled: never twice at once, soon after trouble, else slowly.

Threads: everything here runs on the client's dispatcher thread, but for the ``poll`` of the user.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

from taskgrove.tango.client.dispatcher import Dispatcher
from taskgrove.tango.client.failure import Failure
from taskgrove.tango.client.lists import Snapshot

#: A device that has not answered a poll for so long counts as silent, in seconds.
SILENT_AFTER_S: Final = 2.5


class _Polled(Protocol):
    """The device that is polled."""

    @property
    def is_slow(self) -> bool: ...
    def wanted(self) -> tuple[str, ...] | None: ...
    def poll(self, ids: tuple[str, ...]) -> Snapshot: ...
    def interval(self) -> float: ...
    def poll_told(self, ids: tuple[str, ...], found: Snapshot) -> None: ...
    def poll_failed(self, began: float, failure: Failure) -> None: ...
    def poll_late(self) -> None: ...


class Polls:
    """The polls of one device, one at a time.

    Args:
        user: The session of the device.
        dispatcher: The thread of the client.
    """

    def __init__(self, user: _Polled, dispatcher: Dispatcher) -> None:
        self._user = user
        self._at = dispatcher.after
        self._submit = dispatcher.submit
        self._due: float | None = None
        self._is_out = False
        #: When the poll that is out was begun by its thread (monotonic seconds); None: it waits.
        self._asked_at: float | None = None

    def within(self, delay_s: float) -> None:
        """Have the device polled within ``delay_s`` seconds."""
        due = time.monotonic() + delay_s
        if self._due is not None and self._due <= due:
            return
        self._due = due
        self._at(delay_s, self._fire)

    def _fire(self) -> None:
        if self._is_out or self._due is None or self._due > time.monotonic() + 0.001:
            return
        self._due = None
        ids = self._user.wanted()
        if ids is None:
            return
        self._is_out = True
        self._asked_at = None
        began = time.monotonic()

        def ask() -> Snapshot:
            self._asked_at = time.monotonic()
            return self._user.poll(ids)

        self._submit(
            ask,
            lambda found, failure: self._back(ids, began, found, failure),
            slow=self._user.is_slow,
        )
        self._at(SILENT_AFTER_S, self._look)

    def _look(self) -> None:
        """Tell of a poll that has had no answer for long; one that only waits for a lane, not."""
        asked_at = self._asked_at
        if not self._is_out or asked_at is None:
            return
        if time.monotonic() - asked_at >= SILENT_AFTER_S:
            self._user.poll_late()

    def _back(
        self, ids: tuple[str, ...], began: float, found: Snapshot | None, failure: Failure | None
    ) -> None:
        self._is_out = False
        try:
            if failure is not None:
                self._user.poll_failed(began, failure)
            elif found is not None:
                self._user.poll_told(ids, found)
        finally:
            if self._due is not None:
                # A poll that fell due while this one was out was skipped: set its timer again.
                self._at(max(0.0, self._due - time.monotonic()), self._fire)
            if self._user.wanted() is not None:
                self.within(self._user.interval())
