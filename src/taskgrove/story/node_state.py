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
]

#: States that a person must see, however large the tree is; worst first.
PROBLEM_STATES: Final[tuple[NodeState, ...]] = (
    "failed",
    "rejected",
    "aborted",
    "not found",
    "degraded",
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
) -> NodeState:
    """Return the one word for a status, a result code and a health together."""
    if status is TaskStatus.COMPLETED:
        if health_state == "DEGRADED":
            return "degraded"
        return "failed" if result_code in PROBLEM_CODES else "completed"
    if status is TaskStatus.REJECTED and skipped:
        return "skipped"
    return _STATE_OF_STATUS[status]
