"""The answer to one request of an operator, while it is made.

Threads: any thread may call any method; ``_lock`` guards the parts of the answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.events.steering_request import (
    PATHS_KEPT,
    TOO_LATE,
    SteeringAnswer,
    SteeringFate,
    SteeringObjection,
    SteeringReason,
    SteeringRequest,
)


class SteeringReply:
    """The answer to one request, while it is made.

    Args:
        request: The request.
        give: Called once, with the answer.

    Attributes:
        is_kept_by_pause: Whether a pause keeps what is asked for from starting.
    """

    def __init__(self, request: SteeringRequest, give: Callable[[SteeringAnswer], object]) -> None:
        self._request = request
        self._give = give
        self._lock = threading.Lock()
        self._paths: list[str] = []
        self._acted_count = 0
        self._objections: list[SteeringObjection] = []
        self._too_late = True
        self._parts = 1
        self.is_kept_by_pause = False

    def acted(self, path: str) -> None:
        """Note that the request acts on a node."""
        with self._lock:
            self._acted_count += 1
            if len(self._paths) < PATHS_KEPT:
                self._paths.append(path)

    def object(self, reason: SteeringReason, path: str = "", **facts: Any) -> None:
        """Note why the request does not act on a node, or on the run."""
        with self._lock:
            self._too_late = self._too_late and reason in TOO_LATE
            if len(self._objections) < PATHS_KEPT:
                self._objections.append(SteeringObjection(reason=reason, path=path, **facts))

    def wait_for_more(self) -> None:
        """Give no answer before one more call of :meth:`done`."""
        with self._lock:
            self._parts += 1

    def done(self) -> None:
        """Give the answer, unless parts of it are yet to come."""
        with self._lock:
            self._parts -= 1
            if self._parts:
                return
        fate: SteeringFate = "too_late" if self._too_late and self._objections else "refused"
        answer = SteeringAnswer(
            request_id=self._request.id,
            fate="done" if self._acted_count else fate,
            paths=tuple(self._paths),
            acted_count=self._acted_count,
            objections=tuple(self._objections),
            answered_ns=SYSTEM_CLOCK.wall_ns(),
            is_kept_by_pause=self.is_kept_by_pause and bool(self._acted_count),
        )
        self._give(answer)
