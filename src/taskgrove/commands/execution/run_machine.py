"""The states of a run, and the answer to each request in each state.

Threads: any thread may make a request (``live_run.py``); the lock of the run guards its state.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from taskgrove.moves import IGNORE, REFUSE, table_of


class RunState(Enum):
    """Where a run is."""

    SUBMITTED = auto()
    """It waits for a control thread to begin it."""
    ABORTED_EARLY = auto()
    """As SUBMITTED, and asked to stop."""
    WAITING = auto()
    """Another run holds a device that it works on alone."""
    RUNNING = auto()
    """Its leaves are started in their order."""
    PAUSED = auto()
    """No further leaf and no further attempt starts; leaves that run go on."""
    ABORTING = auto()
    """It is asked to stop: nothing starts any more, except for the clean-up."""
    ABORTING_ALL = auto()
    """As ABORTING, and the clean-up is to stop, too."""
    ENDED = auto()
    """Its root has an outcome; the recorder is writing the last of it."""
    FINAL = auto()
    """Its handle has the outcome."""
    WITHDRAWN = auto()
    """It could not be submitted: it never begins."""


class RunRequest(Enum):
    """The requests to a run."""

    BEGIN = auto()
    """A control thread begins it."""
    AWAIT = auto()
    """A control thread begins it, and devices are to be held before the first step."""
    GRANT = auto()
    """It holds its devices."""
    GIVE_UP = auto()
    """It has waited long enough for its devices."""
    PAUSE = auto()
    """It is to start nothing further."""
    CONTINUE = auto()
    """The pause is over."""
    ABORT = auto()
    """It is asked to stop."""
    ABORT_ALL = auto()
    """It is asked to stop, and its clean-up, too."""
    END = auto()
    """Its root has ended, or it could not begin."""
    KEPT = auto()
    """Its record is written, or nothing records it."""
    WITHDRAW = auto()
    """Its submission failed."""


(
    SUBMITTED, ABORTED_EARLY, WAITING, RUNNING, PAUSED, ABORTING, ABORTING_ALL, ENDED, FINAL,
    WITHDRAWN,
) = RunState  # fmt: skip
(
    BEGIN, AWAIT, GRANT, GIVE_UP, PAUSE, CONTINUE, ABORT, ABORT_ALL, END, KEPT, WITHDRAW,
) = RunRequest  # fmt: skip
_REFUSED: Final = dict.fromkeys(RunRequest, REFUSE)
_LATE: Final = dict.fromkeys(RunRequest, IGNORE)
#: A pause that does not fit is no fault: the answer tells the operator.
_NO_PAUSE: Final = {PAUSE: IGNORE, CONTINUE: IGNORE}
#: News of its devices that comes when the run does not wait for them any more.
_NO_WAIT: Final = {GRANT: IGNORE, GIVE_UP: IGNORE}

# fmt: off
#: The moves of a run. A submission that failed may find that a thread has begun its run after all.
MOVES: Final = table_of(RunState, RunRequest, {
    SUBMITTED: {**_REFUSED, **_NO_PAUSE, BEGIN: RUNNING, AWAIT: WAITING, ABORT: ABORTED_EARLY,
                ABORT_ALL: ABORTED_EARLY, WITHDRAW: WITHDRAWN},
    ABORTED_EARLY: {**_REFUSED, **_NO_PAUSE, BEGIN: ABORTING, AWAIT: ABORTING, ABORT: IGNORE,
                    ABORT_ALL: IGNORE, WITHDRAW: WITHDRAWN},
    WAITING: {**_REFUSED, **_NO_PAUSE, GRANT: RUNNING, GIVE_UP: ABORTING, ABORT: ABORTING,
              ABORT_ALL: ABORTING_ALL, END: ENDED, WITHDRAW: IGNORE},
    RUNNING: {**_REFUSED, **_NO_WAIT, PAUSE: PAUSED, CONTINUE: IGNORE, ABORT: ABORTING,
              ABORT_ALL: ABORTING_ALL, END: ENDED, WITHDRAW: IGNORE},
    PAUSED: {**_REFUSED, **_NO_WAIT, PAUSE: IGNORE, CONTINUE: RUNNING, ABORT: ABORTING,
             ABORT_ALL: ABORTING_ALL, END: ENDED, WITHDRAW: IGNORE},
    ABORTING: {**_REFUSED, **_NO_PAUSE, **_NO_WAIT, ABORT: IGNORE, ABORT_ALL: ABORTING_ALL,
               END: ENDED, WITHDRAW: IGNORE},
    ABORTING_ALL: {**_REFUSED, **_NO_PAUSE, **_NO_WAIT, ABORT: IGNORE, ABORT_ALL: IGNORE,
                   END: ENDED, WITHDRAW: IGNORE},
    ENDED: {**_LATE, BEGIN: REFUSE, AWAIT: REFUSE, KEPT: FINAL},
    FINAL: {**_LATE, BEGIN: REFUSE, AWAIT: REFUSE},
    WITHDRAWN: _LATE,
})
# fmt: on
