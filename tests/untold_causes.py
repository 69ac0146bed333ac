"""Which leaves of a run ended badly without a cause: there must be none."""

from __future__ import annotations

from collections.abc import Iterable

from taskgrove.control_model import PROBLEM_CODES, TaskStatus
from taskgrove.events import ComposedDetail, FinishedDetail, NoteDetail, TaskEvent


def untold_causes(events: Iterable[TaskEvent]) -> list[str]:
    """Return what has no cause: leaves that ended badly, their retries, composites not begun."""
    leaves: set[str] = set()
    untold: list[str] = []
    for event in events:
        detail = event.detail
        if isinstance(detail, ComposedDetail) and not detail.children:
            leaves.add(event.path)
        if isinstance(detail, NoteDetail) and detail.topic == "retry" and detail.cause is None:
            untold.append(f"{event.path} attempt {event.attempt}")
        if event.kind != "finished" or not isinstance(detail, FinishedDetail):
            continue
        bad = event.status is not TaskStatus.COMPLETED or event.result_code in PROBLEM_CODES
        if bad and detail.cause is None and (event.path in leaves or detail.skipped):
            untold.append(event.path)
    return untold
