"""The polls of a device: their times, and the meaning of an answer or of silence.

One poll is out at a time; polls are frequent after trouble, and slow otherwise.

Threads: used on the client's dispatcher thread, but for the reading itself, which runs on a lane.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

from taskgrove.tango.client.client_settings import LrcSettings
from taskgrove.tango.client.command import LrcCommand
from taskgrove.tango.client.contact import Contact, ContactNews
from taskgrove.tango.client.dispatcher import Dispatcher
from taskgrove.tango.client.failure import Failure, FailureKind
from taskgrove.tango.client.link import CONNECT_PAUSE_S, DeviceLink
from taskgrove.tango.client.lists import Snapshot

#: A device that has not answered a poll for so long counts as silent, in seconds.
SILENT_AFTER_S: Final = 2.5
#: Period of the polls after trouble, in seconds.
WATCH_INTERVAL_S: Final = 1.0
#: A poll that is due this soon is not put off, in seconds.
_SOON_S: Final = 0.005
#: Period of the poll of a device that pushes no events at all, in seconds.
_EVENTLESS_INTERVAL_S: Final = 0.2


class _Polled(Protocol):
    """The commands of the device that is polled."""

    link: DeviceLink

    def wanted(self) -> tuple[str, ...] | None: ...
    def in_flight(self) -> list[LrcCommand]: ...
    def quiet_until(self) -> float: ...
    def poll_told(self, ids: tuple[str, ...], found: Snapshot) -> None: ...
    def trouble(self) -> None: ...
    def lose_all(self, why: str, *, ended: bool, failure: Failure) -> None: ...


class Polls:
    """The polls of one device, one at a time.

    Args:
        user: The session of the device.
        contact: The contact with the device.
        settings: Times and limits.
        dispatcher: The thread of the client.
    """

    def __init__(
        self, user: _Polled, contact: Contact, settings: LrcSettings, dispatcher: Dispatcher
    ) -> None:
        self._user = user
        self._contact = contact
        self._settings = settings
        self._at = dispatcher.after
        self._submit = dispatcher.submit
        self._due: float | None = None
        self._is_out = False
        #: When the poll that is out was begun by its thread (monotonic seconds); None: it waits.
        self._asked_at: float | None = None

    def within(self, delay_s: float) -> None:
        """Have the device polled within ``delay_s`` seconds."""
        due = time.monotonic() + delay_s
        if self._due is None or due < self._due:
            self._due = due
            self._at(delay_s, self._fire)

    def interval(self) -> float:
        """Return the pause until the next poll, in seconds."""
        interval = self._settings.poll_interval_s
        if not self._user.link.has_events:
            return min(interval, _EVENTLESS_INTERVAL_S)
        return min(interval, WATCH_INTERVAL_S) if self._contact.is_watched else interval

    def answered(self, news: ContactNews) -> None:
        """Take an answer of the device; tell its commands where it had been silent."""
        if self._contact.answered(news):
            for command in self._user.in_flight():
                command.tell_answers(True, "the device answers again")

    # -- one poll ------------------------------------------------------------------
    def _fire(self) -> None:
        if self._is_out or self._due is None or self._due > time.monotonic() + 0.001:
            return
        self._due = None
        ids = self._user.wanted()
        if ids is None:
            return
        wait_s = self._user.quiet_until() - time.monotonic()
        if wait_s > _SOON_S:
            self.within(wait_s)
            return
        self._is_out = True
        self._asked_at = None
        began = time.monotonic()

        def ask() -> Snapshot:
            self._asked_at = time.monotonic()
            return self._user.link.poll(ids)

        def back(found: Snapshot | None, failure: Failure | None) -> None:
            self._back(ids, began, found, failure)

        self._submit(ask, back, slow=self._contact.is_slow)
        self._at(SILENT_AFTER_S, self._look)

    def _look(self) -> None:
        """Take note of a poll that has had no answer for long, unless it waits for a lane."""
        asked_at = self._asked_at
        if self._is_out and asked_at and time.monotonic() - asked_at >= SILENT_AFTER_S:
            self.late()

    def _back(
        self, ids: tuple[str, ...], began: float, found: Snapshot | None, failure: Failure | None
    ) -> None:
        self._is_out = False
        try:
            if failure is not None:
                self.failed(began, failure)
            elif found is not None:
                self.told(ids, found)
        finally:
            if self._due is not None:
                # A poll that fell due while this one was out was skipped: set its timer again.
                self._at(max(0.0, self._due - time.monotonic()), self._fire)
            if self._user.wanted() is not None:
                self.within(self.interval())

    def told(self, ids: tuple[str, ...], found: Snapshot) -> None:
        """Take the result of a poll."""
        self.answered(ContactNews.POLL_TOLD)
        self._user.poll_told(ids, found)

    def failed(self, began: float, failure: Failure) -> None:
        """Take the failure of a poll that began at ``began`` (monotonic seconds)."""
        self._user.trouble()
        if failure.kind is FailureKind.DELAYED:
            self.within(0.2)
            return
        contact = self._contact
        is_first = contact.failing_s is None
        contact.poll_failed(began, failure)
        failing_s = contact.failing_s or 0.0
        if failure.kind.is_silence:
            self._at(max(0.0, SILENT_AFTER_S - failing_s), self._look_for_silence)
        if contact.refusals >= 2:
            why = "its server is gone: nothing answers at its address, connecting was refused twice"
            self._user.lose_all(why, ended=True, failure=failure)
        elif failing_s > self._settings.lost_after_s:
            why = f"the device was unreachable for {failing_s:.0f} s: {failure.words}"
            self._user.lose_all(why, ended=False, failure=failure)
        elif failure.kind is FailureKind.REFUSED:
            self.within(CONNECT_PAUSE_S)
        else:
            self.within(0.05 if is_first else 0.5)

    def late(self) -> None:
        """Take note that a poll has had no answer for so long that the device counts as silent."""
        if not self._contact.move(ContactNews.POLL_LATE):
            return
        heard_at = self._user.link.heard_at
        cause = self._contact.cause("silent", heard_at)
        note = f"no answer from its device for {self._contact.silent_s(heard_at):.0f} s"
        for command in self._user.in_flight():
            command.tell_answers(False, note, cause)

    def _look_for_silence(self) -> None:
        if (self._contact.failing_s or 0.0) >= SILENT_AFTER_S:
            self.late()
