"""The stages of one analysis, and the answer to each request in each of them."""

from __future__ import annotations

import logging
import threading
from enum import Enum, IntEnum, auto
from typing import Final

from taskgrove.moves import IGNORE, REFUSE, table_of

_LOGGER = logging.getLogger(__name__)


class AnalysisStage(IntEnum):
    """Where an analysis stands, from its order to its end."""

    PREPARING = auto()
    """Tasklets and the environment come first; there is no process yet."""
    HELD = auto()
    """The same; the process is to be suspended as soon as there is one."""
    CALLED_OFF = auto()
    """The same; no process is to be started, or it is ended at once."""
    RUNNING = auto()
    """The process runs, as far as we have a say."""
    SUSPENDED = auto()
    """The process is suspended on request; its limit stands still."""
    ENDING = auto()
    """SIGTERM was sent; the grace period runs."""
    KILLED = auto()
    """SIGKILL was sent."""
    SETTLING = auto()
    """The process has ended; other processes or open output may be left."""
    OVER = auto()
    """Nothing is left, or nothing more can be done."""


class AnalysisRequest(Enum):
    """The requests to an analysis, and the reports about its process."""

    START = auto()
    """The process was started."""
    STOP = auto()
    """Suspend it."""
    RESUME = auto()
    """Let it go on."""
    END = auto()
    """End it: a request of the caller, a limit, silence, or a channel that broke."""
    KILL = auto()
    """The grace period is over."""
    EXIT = auto()
    """The process has ended."""
    GIVE_UP = auto()
    """The process did not end after SIGKILL."""
    FINISH = auto()
    """Nothing is left of it, or it never started."""


PREPARING, HELD, CALLED_OFF, RUNNING, SUSPENDED, ENDING, KILLED, SETTLING, OVER = AnalysisStage
START, STOP, RESUME, END, KILL, EXIT, GIVE_UP, FINISH = AnalysisRequest

# fmt: off
MOVES: Final = table_of(AnalysisStage, AnalysisRequest, {
    PREPARING: {
        START: RUNNING, STOP: HELD, RESUME: IGNORE, END: CALLED_OFF,
        KILL: REFUSE, EXIT: REFUSE, GIVE_UP: REFUSE, FINISH: OVER,
    },
    HELD: {
        START: SUSPENDED, STOP: IGNORE, RESUME: PREPARING, END: CALLED_OFF,
        KILL: REFUSE, EXIT: REFUSE, GIVE_UP: REFUSE, FINISH: OVER,
    },
    CALLED_OFF: {
        START: ENDING, STOP: IGNORE, RESUME: IGNORE, END: IGNORE,
        KILL: REFUSE, EXIT: REFUSE, GIVE_UP: REFUSE, FINISH: OVER,
    },
    RUNNING: {  # RESUME: somebody else may have suspended it; FINISH: Ctrl-C after the start
        START: REFUSE, STOP: SUSPENDED, RESUME: RUNNING, END: ENDING,
        KILL: REFUSE, EXIT: SETTLING, GIVE_UP: REFUSE, FINISH: IGNORE,
    },
    SUSPENDED: {
        START: REFUSE, STOP: IGNORE, RESUME: RUNNING, END: ENDING,
        KILL: REFUSE, EXIT: SETTLING, GIVE_UP: REFUSE, FINISH: IGNORE,
    },
    ENDING: {  # END: the first reason holds, and the shorter time
        START: REFUSE, STOP: IGNORE, RESUME: IGNORE, END: ENDING,
        KILL: KILLED, EXIT: SETTLING, GIVE_UP: REFUSE, FINISH: IGNORE,
    },
    KILLED: {
        START: REFUSE, STOP: IGNORE, RESUME: IGNORE, END: IGNORE,
        KILL: IGNORE, EXIT: SETTLING, GIVE_UP: OVER, FINISH: IGNORE,
    },
    SETTLING: {
        START: REFUSE, STOP: IGNORE, RESUME: IGNORE, END: IGNORE,
        KILL: IGNORE, EXIT: REFUSE, GIVE_UP: IGNORE, FINISH: OVER,
    },
    OVER: {
        START: REFUSE, STOP: IGNORE, RESUME: IGNORE, END: IGNORE,
        KILL: IGNORE, EXIT: IGNORE, GIVE_UP: IGNORE, FINISH: IGNORE,
    },
})
# fmt: on


class StageMachine:
    """The one state field of an analysis.

    Threads: any thread may call any method; ``lock`` guards the stage.

    Args:
        analysis: Its name, for the log.
    """

    def __init__(self, analysis: str) -> None:
        self.lock = threading.RLock()
        self.stage = PREPARING
        self._analysis = analysis

    def move(self, request: AnalysisRequest) -> AnalysisStage | None:
        """Take a request; return the stage before, or None where nothing is to be done."""
        with self.lock:
            before = self.stage
            cell = MOVES[before, request]
            if isinstance(cell, AnalysisStage):
                self.stage = cell
                return before
        if cell is REFUSE:
            _LOGGER.error(
                "analysis %s: %s is refused in stage %s", self._analysis, request.name, before.name
            )
        return None
