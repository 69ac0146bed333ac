"""The events that a tracker publishes: one for each accepted change (SPEC S4.9).

Called by any thread, never with a tracker's lock held.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from taskgrove.commands.aggregation.base import AggregationOutcome, SubtaskResult
from taskgrove.commands.aggregation.plain_values import text_of
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import (
    Cause,
    EventBus,
    EventKind,
    FinishedDetail,
    LeftOut,
    NoteDetail,
    SubtaskFacts,
    TaskEvent,
)

#: An error's text is cut to this many characters in an event.
_ERROR_TEXT_LIMIT: Final = 1000

_KINDS: Final[dict[TaskStatus | None, EventKind]] = {
    None: "progress",
    TaskStatus.STAGING: "queued",
    TaskStatus.QUEUED: "queued",
    TaskStatus.IN_PROGRESS: "started",
    TaskStatus.NOT_FOUND: "progress",
}


class SubtaskChange(NamedTuple):
    """An accepted change of a subtask, as it was when it was accepted.

    It is made under the tracker's lock: by the time that the event is published, another
    thread may have changed the record again.

    Attributes:
        sequence: The number of its event.
        earlier: The status before the change.
        progress: What the subtask has reported, percent done.
        attempt: The attempt that the update belongs to, from 1.
        error: The error that came with the update.
        cause: Why it ended so, or None.
        result_value: What it gave as data, or None.
        name: As in SubtaskResult; so are all that follow.
    """

    sequence: int
    earlier: TaskStatus | None
    progress: int
    attempt: int
    error: Any
    cause: Cause | None
    result_value: Any
    name: str
    status: TaskStatus | None
    result_code: ResultCode | None
    message: str
    device_name: str | None
    devices: list[str] | None
    failed_devices: list[str] | None
    health_state: str | None
    severe: bool
    skipped: bool
    left_out: tuple[LeftOut, ...]
    begun: bool


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

    def subtask(self, change: SubtaskChange) -> None:
        """Publish an accepted change of a subtask."""
        status = change.status
        detail = None
        kind: EventKind = "progress"
        if status is not change.earlier:
            if status is not None and status.is_final:
                kind = "finished"
                text = text_of(change.error)[:_ERROR_TEXT_LIMIT] or None
                detail = FinishedDetail(
                    skipped=change.skipped,
                    severe=change.severe,
                    error=text,
                    cause=change.cause,
                    result_value=change.result_value,
                    left_out=change.left_out,
                    begun=change.begun and status is TaskStatus.REJECTED,
                )
            else:
                kind = _KINDS[status]
        self.bus.emit(
            self._path_of(change.name),
            kind,
            sequence=change.sequence,
            attempt=change.attempt,
            status=status,
            result_code=change.result_code,
            progress=100 if kind == "finished" else change.progress,
            message=change.message,
            devices=_devices_of(change),
            failed_devices=tuple(change.failed_devices or ()),
            health_state=change.health_state,
            detail=detail,
        )

    def facts_of(self, record: SubtaskResult) -> SubtaskFacts:
        """Return what progress of a subtask says besides the percentage."""
        return SubtaskFacts(
            self.bus.run_id,
            self._path_of(record.name),
            record.result_code,
            record.message,
            _devices_of(record),
            tuple(record.failed_devices or ()),
            record.health_state,
        )

    def _path_of(self, name: Any) -> str:
        # A name may be anything that is hashable; it must not keep the event from being made.
        return f"{self.path}/{name if type(name) is str else text_of(name)}"

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

    def task_finished(
        self, outcome: AggregationOutcome, payload: dict[str, Any], cause: Cause | None = None
    ) -> None:
        """Publish the task's completion, with the sum, or the cause, that decided it."""
        decision = outcome.decision
        skipped, begun = payload.get("skipped", False), payload.get("begun", False)
        left_out = outcome.left_out
        detail = FinishedDetail(skipped=skipped, cause=cause, left_out=left_out, begun=begun)
        if decision is not None:
            detail = FinishedDetail(
                rule=decision.rule,
                succeeded=decision.succeeded,
                needed=decision.needed,
                total=decision.total,
                line=decision.line,
                skipped=skipped,
                severe=decision.severe,
                rule_kind=decision.kind,
                left_out=left_out,
                begun=begun,
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

    def unknown(self, name: str, text: str) -> None:
        """Publish a note of an update under a name that the task does not know."""
        self.bus.emit(
            self.path,
            "note",
            message=text,
            detail=NoteDetail(topic="refused", data={"name": name}),
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
            self._path_of(record.name),
            "note",
            status=record.status,
            message=f"{text}: {message}" if message else text,
            detail=NoteDetail(topic="late" if late else "refused"),
        )


def _devices_of(known: SubtaskChange | SubtaskResult) -> tuple[str, ...]:
    return tuple(known.devices or ((known.device_name,) if known.device_name else ()))
