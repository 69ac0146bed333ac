"""The states of a tracker, and the moves between them."""

from __future__ import annotations

from enum import IntEnum, auto
from typing import Final

from taskgrove.moves import IGNORE, REFUSE, table_of


class TrackerState(IntEnum):
    """The states of a tracker."""

    QUEUED = auto()
    """No subtask has begun."""
    RUNNING = auto()
    """A subtask has begun."""
    DECIDED = auto()
    """The outcome is decided; the completion is being delivered."""
    CLOSED = auto()
    """The completion is delivered, and the waiters are released."""


class TrackerRequest(IntEnum):
    """The requests to a tracker."""

    BEGIN = auto()
    """A subtask has begun."""
    COMPLETE = auto()
    """All subtasks have ended."""
    CONCLUDE = auto()
    """A verdict from outside, or an error inside, ends the task."""
    CLOSE = auto()
    """The completion is delivered."""


QUEUED, RUNNING, DECIDED, CLOSED = TrackerState
BEGIN, COMPLETE, CONCLUDE, CLOSE = TrackerRequest

MOVES: Final = table_of(
    TrackerState,
    TrackerRequest,
    {
        QUEUED: {BEGIN: RUNNING, COMPLETE: DECIDED, CONCLUDE: DECIDED, CLOSE: REFUSE},
        RUNNING: {BEGIN: IGNORE, COMPLETE: DECIDED, CONCLUDE: DECIDED, CLOSE: REFUSE},
        DECIDED: {BEGIN: IGNORE, COMPLETE: IGNORE, CONCLUDE: IGNORE, CLOSE: CLOSED},
        CLOSED: {BEGIN: IGNORE, COMPLETE: IGNORE, CONCLUDE: IGNORE, CLOSE: IGNORE},
    },
)
