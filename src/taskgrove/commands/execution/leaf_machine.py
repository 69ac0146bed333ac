"""The states of an attempt at a leaf, and the answer to each request in each state.

Where an Abort goes that comes while a command is being called: row ``CALLING``, column ``ABORT``
(the ladder that follows is in ``aborts.py``). Where an expired limit goes: column ``EXPIRE``
(``timeouts.py``).

Threads: :meth:`LeafMachine.move` may be called by any thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from enum import IntEnum, auto
from typing import Final, TypeAlias

from taskgrove.foreign_code import LOGGING
from taskgrove.moves import IGNORE, REFUSE, table_of

_LOGGER = logging.getLogger(__name__)


class LeafState(IntEnum):
    """Where an attempt is. From EXPIRED_IN_CALL on, its end is decided."""

    WAITING = auto()
    """It waits for a thread: nothing of it runs."""
    ATTACHING = auto()
    """It waits for a thread: its work runs outside already and will be followed."""
    ATTACHING_ABORTED = auto()
    """As ATTACHING; Abort is sent as soon as the runner follows the work."""
    CALLING = auto()
    """Its runner is called and has not returned."""
    RUNNING = auto()
    """The call has returned; the runner reports the end."""
    ABORTING_IN_CALL = auto()
    """It is asked to stop while its runner is still in the call."""
    ABORTING = auto()
    """It is asked to stop; the call has returned."""
    EXPIRED_IN_CALL = auto()
    """Its limit has expired while its runner is in the call; its end is yet to be published."""
    EXPIRED = auto()
    """Its limit has expired; its end is published once the work gives a sign, or after a while."""
    EXPIRED_STOPPED = auto()
    """Its limit has expired and its work has ended; its end is about to be published."""
    ENDED = auto()
    """Its end is published, or it is followed by another attempt."""


class LeafRequest(IntEnum):
    """The requests to an attempt."""

    ADOPT = auto()
    """Its work runs outside already, as a record says."""
    CALL = auto()
    """A thread is there to call the runner."""
    RETURN = auto()
    """The call of the runner returned."""
    FINISH = auto()
    """The runner reports the end."""
    ABORT = auto()
    """The run is aborted."""
    CUT_OFF = auto()
    """The run ends it: it may not start, or the grace period after an abort is over."""
    EXPIRE = auto()
    """Its limit expires."""
    SETTLE = auto()
    """The expired work gives the sign that its end waits for."""
    WITHDRAW = auto()
    """A pause, or an operator, takes it back from the queue for a thread."""


(
    WAITING, ATTACHING, ATTACHING_ABORTED, CALLING, RUNNING, ABORTING_IN_CALL, ABORTING,
    EXPIRED_IN_CALL, EXPIRED, EXPIRED_STOPPED, ENDED,
) = LeafState  # fmt: skip
ADOPT, CALL, RETURN, FINISH, ABORT, CUT_OFF, EXPIRE, SETTLE, WITHDRAW = LeafRequest


_REFUSED: Final = {**dict.fromkeys(LeafRequest, REFUSE), WITHDRAW: IGNORE}
_LATE: Final = dict.fromkeys(LeafRequest, IGNORE)

# fmt: off
#: The moves of an attempt. The limit of work that runs outside is watched from CALL on. An end
#: that comes after another one, or after EXPIRE, becomes a note.
MOVES: Final = table_of(LeafState, LeafRequest, {
    WAITING: {**_REFUSED, ADOPT: ATTACHING, CALL: CALLING, FINISH: ENDED, ABORT: ENDED,
              CUT_OFF: ENDED, EXPIRE: ENDED, WITHDRAW: ENDED},
    ATTACHING: {**_REFUSED, CALL: CALLING, FINISH: ENDED, ABORT: ATTACHING_ABORTED,
                CUT_OFF: ENDED},
    ATTACHING_ABORTED: {**_REFUSED, CALL: ABORTING_IN_CALL, FINISH: ENDED, ABORT: IGNORE,
                        CUT_OFF: ENDED},
    CALLING: {**_REFUSED, RETURN: RUNNING, FINISH: ENDED, ABORT: ABORTING_IN_CALL,
              EXPIRE: EXPIRED_IN_CALL},
    RUNNING: {**_REFUSED, FINISH: ENDED, ABORT: ABORTING, EXPIRE: EXPIRED},
    ABORTING_IN_CALL: {**_REFUSED, RETURN: ABORTING, FINISH: ENDED, ABORT: IGNORE,
                       CUT_OFF: ENDED, EXPIRE: EXPIRED_IN_CALL},
    ABORTING: {**_REFUSED, FINISH: ENDED, ABORT: IGNORE, CUT_OFF: ENDED, EXPIRE: EXPIRED},
    EXPIRED_IN_CALL: {**_LATE, RETURN: EXPIRED, FINISH: EXPIRED_STOPPED, SETTLE: ENDED},
    EXPIRED: {**_LATE, FINISH: EXPIRED_STOPPED, SETTLE: ENDED},
    EXPIRED_STOPPED: {**_LATE, SETTLE: ENDED},
    ENDED: _LATE,
})
# fmt: on

#: Called with a sign of expired work and the state before it.
Settle: TypeAlias = Callable[[str, LeafState], object]


class LeafMachine:
    """The state of an attempt, and how it is asked to stop.

    Attributes:
        state: Where the attempt is; only :meth:`move` changes it.
        stop_asked_at: When it was last asked to stop (``time.monotonic()``, seconds), or None.
    """

    __slots__ = ("_abort_event", "_lock", "_settling", "state", "stop_asked_at")

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self.state = WAITING
        self.stop_asked_at: float | None = None
        self._abort_event: threading.Event | None = None
        #: Of expired work: the signs that its end waits for, and the function that is called then.
        self._settling: tuple[frozenset[str], Settle] | None = None

    def move(self, request: LeafRequest) -> LeafState | None:
        """Make the move that the table holds for a request.

        Returns:
            The state before the move; None where the request moves nothing.
        """
        with self._lock:
            before = self.state
            cell = MOVES[before, request]
            if isinstance(cell, LeafState):
                self.state = cell
                return before
        if cell is REFUSE:
            with LOGGING:
                _LOGGER.error("%s: %s is refused in state %s", self, request.name, before.name)
        return None

    @property
    def is_over(self) -> bool:
        """True once the end of the attempt is decided."""
        return self.state >= EXPIRED_IN_CALL

    @property
    def abort_event(self) -> threading.Event:
        """Set when the leaf is asked to stop."""
        with self._lock:
            if self._abort_event is None:
                self._abort_event = threading.Event()
                if self.stop_asked_at is not None:
                    self._abort_event.set()
            return self._abort_event

    def ask_to_stop(self) -> None:
        """Set the abort event, now or when it is first asked for."""
        with self._lock:
            self.stop_asked_at = time.monotonic()
            event = self._abort_event
        if event is not None:
            event.set()

    def settle_on(self, signs: frozenset[str], settle: Settle) -> None:
        """Have ``settle`` called once, with the first sign of expired work.

        Args:
            signs: The signs that count: how an abort was answered, ``returned``, ``ended``, ...
            settle: Called with the sign and the state before it; it must not block.
        """
        self._settling = (signs, settle)
        if self.state is EXPIRED_STOPPED:
            self.sign("ended")

    def sign(self, name: str) -> None:
        """Take a sign of expired work."""
        settling = self._settling
        if settling is not None and name in settling[0]:
            before = self.move(SETTLE)
            if before is not None:
                settling[1](name, before)
