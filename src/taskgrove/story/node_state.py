"""The state of a node for people: one word for its status, its code and its health."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from taskgrove.control_model import PROBLEM_CODES, ResultCode, TaskStatus

#: The state of a node for people: its status, its code and its health in one word.
NodeState: TypeAlias = Literal[
    "waiting",
    "running",
    "completed",
    "degraded",
    "failed",
    "rejected",
    "aborted",
    "skipped",
    "not found",
    "held",
    "undecided",
    "delayed",
    "parked",
    "accepted",
    "left out",
]

#: States that a person must see, however large the tree is; worst first.
PROBLEM_STATES: Final[tuple[NodeState, ...]] = (
    "failed",
    "rejected",
    "aborted",
    "not found",
    "held",
    "degraded",
    "accepted",
)
#: States of nodes that have not ended.
OPEN_STATES: Final[tuple[NodeState, ...]] = (
    "held",
    "undecided",
    "delayed",
    "running",
    "parked",
    "waiting",
)

_STATE_OF_STATUS: Final[dict[TaskStatus | None, NodeState]] = {
    None: "waiting",
    TaskStatus.STAGING: "waiting",
    TaskStatus.QUEUED: "waiting",
    TaskStatus.IN_PROGRESS: "running",
    TaskStatus.NOT_FOUND: "not found",
    TaskStatus.FAILED: "failed",
    TaskStatus.ABORTED: "aborted",
    TaskStatus.REJECTED: "rejected",
}


def state_of(
    status: TaskStatus | None,
    result_code: ResultCode | None,
    health_state: str | None,
    *,
    skipped: bool = False,
    accepted: bool = False,
    left_out: bool = False,
) -> NodeState:
    """Return the one word for a status, a result code and a health together.

    Args:
        status: The status.
        result_code: The result code.
        health_state: ``DEGRADED``, ``FAILED`` or None.
        skipped: Whether it is marked as skipped.
        accepted: Whether a person accepted its failure.
        left_out: Whether an operator left it out.
    """
    if status is TaskStatus.COMPLETED:
        if health_state == "DEGRADED":
            return "degraded"
        if result_code in PROBLEM_CODES:
            return "failed"
        return "accepted" if accepted else "completed"
    if status is TaskStatus.REJECTED and skipped:
        return "left out" if left_out else "skipped"
    return _STATE_OF_STATUS[status]
