"""The events that a tracker publishes: one for each accepted change.

Any thread calls these methods, without the tracker's lock but for :meth:`TrackerEvents.event_of`.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import force_setattr

from taskgrove.commands.aggregation.base import AggregationOutcome, SubtaskResult
from taskgrove.commands.aggregation.plain_values import text_of
from taskgrove.commands.tracking.updates import Update
from taskgrove.control_model import FINAL_STATUSES, TaskStatus
from taskgrove.events import (
    Cause,
    EventBus,
    EventKind,
    FinishedDetail,
    NoteDetail,
    SteeringRequest,
    SubtaskFacts,
    TaskEvent,
)
from taskgrove.events.plain_event import plain_event

#: An error's text is cut to this many characters in an event.
_ERROR_TEXT_LIMIT: Final = 1000

_KINDS: Final[dict[TaskStatus | None, EventKind]] = {
    None: "progress",
    TaskStatus.NOT_FOUND: "progress",
    TaskStatus.STAGING: "queued",
    TaskStatus.QUEUED: "queued",
    TaskStatus.IN_PROGRESS: "started",
    **dict.fromkeys(FINAL_STATUSES, "finished"),
}


class TrackerEvents:
    """One tracker's tie to the bus of its run.

    Attributes:
        bus: Where events go.
        path: The path of the tracker's task.
        before_run: Whether the bus was made for observers that came before the run.
        nested: Names of subtasks that have a tracker on the bus themselves, and so
            publish their own events.
    """

    __slots__ = ("before_run", "bus", "nested", "path")

    def __init__(self, bus: EventBus, path: str, *, before_run: bool = False) -> None:
        self.before_run = before_run
        self.bus = bus
        self.path = path
        self.nested: set[str] = set()

    def forward_to(self, other: EventBus) -> None:
        """Tell the observers of ``other`` of this task and of the nodes below it, too."""
        below = f"{self.path}/"

        def forward(event: TaskEvent) -> None:
            if event.path == self.path or event.path.startswith(below):
                other.publish(event)

        self.bus.subscribe(forward)

    def event_of(
        self, path: str, record: SubtaskResult, earlier: TaskStatus | None, attempt: int
    ) -> TaskEvent:
        """Return the event of an accepted change of a subtask (the tracker's lock is held).

        The event tells the record as it is now: another thread may change the record before the
        event is published.

        Args:
            path: The path of the subtask, from :meth:`path_of`.
            record: The record after the change.
            earlier: The status before the change.
            attempt: The attempt that the update belongs to, from 1.
        """
        bus, status = self.bus, record.status
        kind: EventKind = "progress" if status is earlier else _KINDS[status]
        now_s = bus.monotonic()
        return TaskEvent(
            run_id=bus.run_id,
            sequence=next(bus.numbers),
            path=path,
            kind=kind,
            attempt=attempt,
            status=status,
            result_code=record.result_code,
            progress=100 if kind == "finished" else record.progress,
            message=record.message,
            devices=_devices_of(record),
            failed_devices=tuple(record.failed_devices or ()),
            health_state=record.health_state,
            monotonic_s=now_s,
            wall_ns=bus.offset_ns + int(now_s * 1e9),
        )

    def subtask(self, event: TaskEvent, record: SubtaskResult, update: Update) -> None:
        """Publish an accepted change of a subtask.

        Args:
            event: From :meth:`event_of`.
            record: The record; that of a subtask which has ended does not change any more.
            update: The update that changed it.
        """
        if event.kind == "finished":
            detail = FinishedDetail(
                skipped=record.skipped,
                severe=record.severe,
                error=text_of(update.error)[:_ERROR_TEXT_LIMIT] or None,
                cause=update.context.cause,
                result_value=update.context.result_value,
                left_out=record.left_out,
                begun=record.begun and event.status is TaskStatus.REJECTED,
                accepted=record.accepted,
                accepted_by=record.accepted_by,
                request=update.context.request,
            )
            force_setattr(event, "detail", detail)
        self.bus.publish(plain_event(event))  # foreign values enter here

    def facts_of(self, record: SubtaskResult) -> SubtaskFacts:
        """Return the facts that progress of a subtask tells besides the percentage."""
        return SubtaskFacts(
            self.bus.run_id,
            self.path_of(record.name),
            record.result_code,
            record.message,
            _devices_of(record),
            tuple(record.failed_devices or ()),
            record.health_state,
        )

    def path_of(self, name: Any) -> str:
        """Return the path of a subtask; its name may be anything that is hashable."""
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
        self,
        outcome: AggregationOutcome,
        payload: dict[str, Any],
        cause: Cause | None = None,
        request: SteeringRequest | None = None,
    ) -> None:
        """Publish the task's completion, with the sum, or the verdict, that decided it.

        Args:
            outcome: The outcome.
            payload: The completion payload.
            cause: The cause of an end that no policy decided.
            request: The request of an operator that ended the task so.
        """
        sums: dict[str, Any] = {"cause": cause, "request": request}
        if (decision := outcome.decision) is not None:
            names = ("rule", "succeeded", "needed", "total", "line", "severe")
            sums = {name: getattr(decision, name) for name in names}
            sums["rule_kind"] = decision.kind
        detail = FinishedDetail(
            skipped=payload.get("skipped", False),
            begun=payload.get("begun", False),
            left_out=outcome.left_out,
            accepted=outcome.accepted,
            accepted_by=outcome.accepted_by,
            **sums,
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

    def ignored(self, record: SubtaskResult, update: Update, *, late: bool) -> None:
        """Publish a note of an update that changed nothing."""
        told = update.status if update.status is not None else update.code
        now = record.status.name if record.status is not None else "not begun"
        topic = "late" if late else "refused"
        text = f"{topic}: {'' if told is None else told.name} reported, it stays {now}"
        self.bus.emit(
            self.path_of(record.name),
            "note",
            status=record.status,
            message=f"{text}: {update.message}" if update.message else text,
            detail=NoteDetail(topic=topic),
        )


def _devices_of(record: SubtaskResult) -> tuple[str, ...]:
    return tuple(record.devices or ((record.device_name,) if record.device_name else ()))
