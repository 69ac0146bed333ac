"""A request on its way through a run: it is handed over once, and answered once.

Threads: any thread may call any method; ``_lock`` guards the stage and the answer.
"""

from __future__ import annotations

import threading
from enum import Enum
from typing import Final

from taskgrove.events.steering_request import SteeringAnswer, SteeringRequest
from taskgrove.moves import Answer, step, table_of


class RequestStage(Enum):
    """How far a request is."""

    ASKED = "asked"
    """It waits for the run."""
    TAKEN = "taken"
    """The run works on it."""
    ANSWERED = "answered"
    """The answer is known, and not kept yet."""
    KEPT = "kept"
    """The answer is kept."""


class RequestMove(Enum):
    """A step of a request."""

    TAKE = "take"
    """It is handed to the run."""
    ANSWER = "answer"
    """It is answered: by the run, or because the run has ended."""
    KEEP = "keep"
    """The answer was kept."""


_ASKED, _TAKEN, _ANSWERED, _KEPT = RequestStage
_TAKE, _ANSWER, _KEEP = RequestMove
_IGNORE, _REFUSE = Answer

# fmt: off
MOVES: Final = table_of(RequestStage, RequestMove, {
    _ASKED:    {_TAKE: _TAKEN,  _ANSWER: _ANSWERED, _KEEP: _REFUSE},
    _TAKEN:    {_TAKE: _IGNORE, _ANSWER: _ANSWERED, _KEEP: _REFUSE},
    _ANSWERED: {_TAKE: _IGNORE, _ANSWER: _IGNORE,   _KEEP: _KEPT},
    _KEPT:     {_TAKE: _IGNORE, _ANSWER: _IGNORE,   _KEEP: _IGNORE},
})
# fmt: on


class OpenRequest:
    """One request to one run; see the module.

    Args:
        request: The request.

    Attributes:
        request: The request.
        stage: How far it is.
        given: The answer, once it is known.
    """

    __slots__ = ("_lock", "given", "request", "stage")

    def __init__(self, request: SteeringRequest) -> None:
        self.request = request
        self.stage = RequestStage.ASKED
        self.given: SteeringAnswer | None = None
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take note that it is handed to the run; False where it was before."""
        return self._move(_TAKE)

    def answer(self, answer: SteeringAnswer) -> bool:
        """Take its answer; False where it has one, which stands."""
        return self._move(_ANSWER, answer)

    def keep(self) -> bool:
        """Take note that the answer is kept."""
        return self._move(_KEEP)

    def _move(self, move: RequestMove, answer: SteeringAnswer | None = None) -> bool:
        with self._lock:
            before = self.stage
            self.stage = step(MOVES, before, move, self)
            if answer is not None and self.stage is not before:
                self.given = answer
            return self.stage is not before

    def __repr__(self) -> str:
        return f"request {self.request.id} ({self.request.verb})"
