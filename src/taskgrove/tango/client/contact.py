"""Does a device answer? One state, moved by replies, polls and signs of trouble.

Threads: used on the client's dispatcher thread only.
"""

from __future__ import annotations

import time
from enum import IntEnum, auto
from functools import partial
from typing import Final

from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.events import Cause, CauseKind
from taskgrove.moves import IGNORE, REFUSE, row_of, step, table_of
from taskgrove.tango.client.failure import Failure, FailureKind

#: PyTango revives its event channel in ticks of ten seconds; after trouble the device is
#: polled at least once a second for longer than one tick.
WATCH_S: Final = 12.0


class ContactState(IntEnum):
    """How a client stands with a device."""

    SOUND = auto()
    """The device answers; its events are expected to come."""
    TROUBLED = auto()
    """Something broke: the subscriptions may be dead until a poll has reached the device."""
    FAILING = auto()
    """The last poll failed."""
    SILENT = auto()
    """The device has not answered for so long that the user was told."""
    CLOSED = auto()
    """The client was closed."""


class ContactNews(IntEnum):
    """The news of the contact."""

    TROUBLE = auto()
    """A sign that events may be lost: an event error, a broken call, an end without an event."""
    REPLY = auto()
    """The device answered the call of a command."""
    POLL_TOLD = auto()
    """The device answered a poll."""
    POLL_FAILED = auto()
    """A poll failed."""
    POLL_LATE = auto()
    """A poll has had no answer for long."""
    GIVEN_UP = auto()
    """The commands of the device were given up for lost; the next one begins anew."""
    CLOSE = auto()
    """The client is closed."""


_SOUND, _TROUBLED, _FAILING, _SILENT, _CLOSED = ContactState
_ROW: Final = partial(row_of, ContactNews)

# fmt: off
MOVES: Final = table_of(ContactState, ContactNews, {
    #               TROUBLE    REPLY      POLL_TOLD  POLL_FAILED  POLL_LATE  GIVEN_UP   CLOSE
    _SOUND:    _ROW(_TROUBLED, IGNORE,    IGNORE,    _FAILING,    _SILENT,   REFUSE,    _CLOSED),
    _TROUBLED: _ROW(IGNORE,    IGNORE,    _SOUND,    _FAILING,    _SILENT,   REFUSE,    _CLOSED),
    _FAILING:  _ROW(IGNORE,    _TROUBLED, _SOUND,    IGNORE,      _SILENT,   _TROUBLED, _CLOSED),
    _SILENT:   _ROW(IGNORE,    _TROUBLED, _SOUND,    IGNORE,      IGNORE,    _TROUBLED, _CLOSED),
    _CLOSED:   _ROW(IGNORE,    IGNORE,    IGNORE,    IGNORE,      IGNORE,    IGNORE,    IGNORE),
})
# fmt: on


class Contact:
    """The contact of a client with one device.

    Attributes:
        state: How the client stands with the device.
        is_slow: True while a call of the device is likely to block.
        breaks: How often the connection has broken.
        refusals: How many polls in a row could not connect.
        found_at: When a poll reached the device after trouble (monotonic seconds), or None.
    """

    def __init__(self, device: str) -> None:
        self.state = ContactState.SOUND
        self.is_slow = False
        self.breaks = 0
        self.refusals = 0
        self.found_at: float | None = None
        self._device = device
        self._answered_at = time.monotonic()
        self._failing_since: float | None = None
        self._watch_until = 0.0

    def move(self, news: ContactNews) -> bool:
        """Take news of the contact; return whether its state has changed."""
        before = self.state
        self.state = step(MOVES, before, news, self._device)
        return self.state is not before

    @property
    def is_watched(self) -> bool:
        """True for some time after trouble, when polls are to be frequent."""
        return time.monotonic() < self._watch_until

    @property
    def failing_s(self) -> float | None:
        """How long the polls have failed, in seconds; None while they do not."""
        return None if self._failing_since is None else time.monotonic() - self._failing_since

    def watch(self) -> None:
        """Poll the device frequently for some time."""
        self._watch_until = time.monotonic() + WATCH_S

    def answered(self, news: ContactNews) -> bool:
        """Take an answer, REPLY or POLL_TOLD; return True when the device was silent before."""
        self._answered_at = time.monotonic()
        was_silent = self.state is ContactState.SILENT
        if not self.move(news):
            return False
        self._failing_since, self.refusals = None, 0
        if news is ContactNews.POLL_TOLD:
            self.is_slow = False
            self.found_at = self._answered_at
            self.watch()
        return was_silent

    def poll_failed(self, began: float, failure: Failure) -> None:
        """Take the failure of a poll that began at ``began`` (monotonic seconds)."""
        self.move(ContactNews.POLL_FAILED)
        self.breaks += 1
        self.is_slow = failure.kind.is_silence
        self.refusals = self.refusals + 1 if failure.kind is FailureKind.REFUSED else 0
        if self._failing_since is None:
            self._failing_since = began

    def give_up(self) -> None:
        """Begin anew after the commands of the device were given up."""
        self.move(ContactNews.GIVEN_UP)
        self._failing_since, self.refusals = None, 0

    def silent_s(self, heard_at: float) -> float:
        """Return how long the device has said nothing, in seconds.

        Args:
            heard_at: When its server was last heard of (monotonic seconds).
        """
        return time.monotonic() - max(self._answered_at, heard_at)

    def cause(self, kind: CauseKind, heard_at: float, failure: Failure | None = None) -> Cause:
        """Return why a command is lost, with the time of the device's last answer."""
        answered_ns = None
        if kind in ("died", "silent", "fate_unknown"):
            answered_ns = SYSTEM_CLOCK.wall_ns() - int(self.silent_s(heard_at) * 1e9)
        if failure is None:
            return Cause(kind=kind, last_answer_ns=answered_ns)
        return failure.cause(kind, last_answer_ns=answered_ns)
