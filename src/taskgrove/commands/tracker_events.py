"""The events that a tracker publishes: one for each accepted change (SPEC S4.9).

Called by any thread, never with a tracker's lock held.
"""

from __future__ import annotations

from typing import Any, Final

from taskgrove.commands.aggregation.base import AggregationOutcome, SubtaskResult
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import EventBus, EventKind, FinishedDetail, NoteDetail, TaskEvent

_KINDS: Final[dict[TaskStatus | None, EventKind]] = {
    None: "progress",
    TaskStatus.STAGING: "queued",
    TaskStatus.QUEUED: "queued",
    TaskStatus.IN_PROGRESS: "started",
    TaskStatus.NOT_FOUND: "progress",
}


class TrackerEvents:
    """One tracker's tie to the bus of its run.

    Attributes:
        bus: Where events go.
        path: The path of the tracker's task.
        nested: Names of subtasks that have a tracker on the bus themselves, and so
            publish their own events.
    """

    __slots__ = ("bus", "nested", "path")

    def __init__(self, bus: EventBus, path: str) -> None:
        self.bus = bus
        self.path = path
        self.nested: set[str] = set()

    def forward_to(self, other: EventBus) -> None:
        """Have the observers of ``other`` hear of this task, and what is below it, too."""
        below = f"{self.path}/"

        def forward(event: TaskEvent) -> None:
            if event.path == self.path or event.path.startswith(below):
                other.publish(event)

        self.bus.subscribe(forward)

    def subtask(
        self,
        sequence: int,
        record: SubtaskResult,
        *,
        earlier: TaskStatus | None,
        progress: int,
        attempt: int,
        error: Any,
    ) -> None:
        """Publish an accepted change of a subtask."""
        status = record.status
        detail = None
        kind: EventKind = "progress"
        if status is not earlier:
            if status is not None and status.is_final:
                kind = "finished"
                text = None if not error else str(error)[:1000]
                detail = FinishedDetail(skipped=record.skipped, severe=record.severe, error=text)
            else:
                kind = _KINDS[status]
        devices = record.devices or ([record.device_name] if record.device_name else [])
        self.bus.emit(
            f"{self.path}/{record.name}",
            kind,
            sequence=sequence,
            attempt=attempt,
            status=status,
            result_code=record.result_code,
            progress=100 if kind == "finished" else progress,
            message=record.message,
            devices=tuple(devices),
            failed_devices=tuple(record.failed_devices or ()),
            health_state=record.health_state,
            detail=detail,
        )

    def task_progress(self, payload: dict[str, Any]) -> None:
        """Publish the task's own progress payload."""
        progress = payload["progress"]
        self.bus.emit(
            self.path,
            "started" if progress == 0 else "progress",
            status=payload["status"],
            result_code=payload["result"][0],
            progress=progress,
        )

    def task_finished(self, outcome: AggregationOutcome, payload: dict[str, Any]) -> None:
        """Publish the task's completion, with the sum that decided it."""
        decision = outcome.decision
        skipped = payload.get("skipped", False)
        detail = FinishedDetail(skipped=skipped)
        if decision is not None:
            detail = FinishedDetail(
                rule=decision.rule,
                succeeded=decision.succeeded,
                needed=decision.needed,
                total=decision.total,
                line=decision.line,
                skipped=skipped,
                severe=decision.severe,
            )
        self.bus.emit(
            self.path,
            "finished",
            status=outcome.status,
            result_code=outcome.result,
            progress=100,
            message=outcome.message,
            devices=tuple(payload.get("devices", ())),
            failed_devices=tuple(payload.get("failed_devices", ())),
            health_state=outcome.health_state,
            detail=detail,
        )

    def ignored(
        self,
        record: SubtaskResult,
        status: TaskStatus | None,
        code: ResultCode | None,
        message: str,
        *,
        late: bool,
    ) -> None:
        """Publish a note of an update that changed nothing."""
        told = status.name if status is not None else (code.name if code is not None else "")
        now = record.status.name if record.status is not None else "not begun"
        text = f"{'late' if late else 'refused'}: {told} reported, it stays {now}"
        self.bus.emit(
            f"{self.path}/{record.name}",
            "note",
            status=record.status,
            message=f"{text}: {message}" if message else text,
            detail=NoteDetail(topic="late" if late else "refused"),
        )
