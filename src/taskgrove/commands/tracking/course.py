"""The course of a task: its state, its counters and its outbox, all under the tracker's lock.

No method calls foreign code.
"""

from __future__ import annotations

from typing import Final

from taskgrove.commands.aggregation.base import AggregationOutcome, SubtaskResult, format_message
from taskgrove.commands.tracking.delivery import COMPLETION, Payload
from taskgrove.commands.tracking.judgement import Judgement
from taskgrove.commands.tracking.records import NEVER, Records
from taskgrove.commands.tracking.tracker_state import (
    BEGIN,
    CLOSED,
    COMPLETE,
    CONCLUDE,
    MOVES,
    QUEUED,
    RUNNING,
    TrackerRequest,
)
from taskgrove.commands.tracking.updates import NO_CONTEXT, Update, UpdateContext, write_context
from taskgrove.control_model import IS_FINAL, ResultCode, TaskStatus
from taskgrove.events import Cause
from taskgrove.moves import step

_IN_PROGRESS: Final = TaskStatus.IN_PROGRESS
#: The statuses of a subtask whose work may not have begun: a refusal below a composite makes the
#: composite IN_PROGRESS too.
_MAY_BE_UNBEGUN: Final = (TaskStatus.IN_PROGRESS, TaskStatus.REJECTED)
_STARTED_RESULT: Final = (ResultCode.STARTED, "")


class Course:
    """The course of one task; the caller holds the tracker's lock.

    Args:
        task_name: The name of the task.
        quantum: Progress payloads are posted when the percentage, rounded down to this, changes.
        records: The records of the subtasks.
        judgement: The policy and the outcome.
        outbox: Takes the payloads.

    Attributes:
        state: The state of the tracker.
    """

    def __init__(
        self,
        task_name: str,
        quantum: int,
        records: Records,
        judgement: Judgement,
        outbox: list[Payload],
    ) -> None:
        self.state = CLOSED if records.total <= 0 else QUEUED
        self._task_name = task_name
        self._quantum = quantum
        self._records = records
        self._judgement = judgement
        self._outbox = outbox

    def moves(self, request: TrackerRequest) -> bool:
        """Make the move that a request asks for; False: there is none."""
        before = self.state
        self.state = step(MOVES, before, request, f"task {self._task_name}")
        return self.state is not before

    def commit(  # noqa: PLR0912 - kept free of calls, which would hold the lock longer
        self, record: SubtaskResult, update: Update, status: TaskStatus | None
    ) -> bool:
        """Write an accepted update into the record and the counters.

        Args:
            record: The record.
            update: The update.
            status: The status of the subtask after it.

        Returns:
            True when a payload was posted.
        """
        records, context, progress, due = self._records, update.context, update.progress, False
        record.facts = None
        if update.device is not None:
            if record.device_name is None and record.message and update.code is None:
                record.message = format_message(update.device, record.message)
            record.device_name = update.device
        if context is not NO_CONTEXT:
            write_context(record, context)
            self._judgement.change_context(context.operation, context.obs_mode)
        if update.code is not None:
            record.result_code = update.code
            record.message = update.message
        if update.error is not None:
            self._judgement.keep_errors(update.error)
        if progress is not None and progress > record.progress:
            records.progress_sum += progress - record.progress
            record.progress = progress
        if status is not record.status and status is not None:
            record.status = status
            if status is _IN_PROGRESS and context.begun is None:
                record.begun = True
            if IS_FINAL[status]:
                if record.result_code is None and status is TaskStatus.COMPLETED:
                    record.result_code = ResultCode.OK
                records.progress_sum += 100 - record.progress
                records.completed += 1
                if records.completed >= records.total:
                    return self.complete(
                        context if context is not NO_CONTEXT else UpdateContext(update.device)
                    )
            if status > TaskStatus.QUEUED and self.state is QUEUED:
                due = self._begin(begun=record.begun or status not in _MAY_BE_UNBEGUN)
        if records.progress_sum >= records.next_step_sum and self.state is RUNNING:
            due = self.post_progress() or due
        return due

    def _begin(self, *, begun: bool) -> bool:
        """Take note that a subtask has begun; return True when the first progress was posted.

        Args:
            begun: Whether any work has begun: the first end may be a refusal.
        """
        if not self.moves(BEGIN) or self._records.next_step_sum is NEVER:
            return False
        payload = self._payload(0)
        if not begun:
            payload["begun"] = False
        self._outbox.append(payload)
        return True

    def complete(self, context: UpdateContext) -> bool:
        """End the task by its subtasks; return True when the completion was posted."""
        if not self.moves(COMPLETE):
            return False
        self._judgement.context = context
        self._post_completion()
        return True

    def conclude(self, outcome: AggregationOutcome, cause: Cause | None, *, skipped: bool) -> None:
        """End the task with an outcome that no policy decided; does nothing after its end."""
        if self.moves(CONCLUDE):
            judgement = self._judgement
            judgement.outcome, judgement.cause = outcome, cause
            judgement.context = UpdateContext(skipped=skipped)
            self._post_completion()

    def _post_completion(self) -> None:
        self._records.next_step_sum = NEVER
        self._outbox.append(COMPLETION)

    def post_progress(self) -> bool:
        """Post a progress payload; return False when there is none."""
        payload = self.progress_payload()
        if payload is None:
            return False
        self._outbox.append(payload)
        return True

    def arm(self, *, heard: bool) -> None:
        """Compute the sum at which the next progress payload is due.

        Args:
            heard: Whether anybody takes progress.
        """
        records = self._records
        percent = 0 if records.last_step is None else records.last_step + self._quantum
        # Percentages are rounded down before they are quantized; 100 is never announced.
        due = heard and self.state <= RUNNING and percent < 100
        records.next_step_sum = percent * records.total if due else NEVER

    def progress_payload(self) -> Payload | None:
        """Return a progress payload when the quantized progress changed, else None."""
        records = self._records
        # As ``percent``, whose call costs as much as all the rest here.
        percent = records.progress_sum // records.total if records.total > 0 else 100
        percent -= percent % self._quantum
        if percent >= 100 or (records.last_step is not None and percent <= records.last_step):
            return None
        return self._payload(percent)

    def _payload(self, percent: int) -> Payload:
        records = self._records
        records.last_step = percent
        if records.next_step_sum is not NEVER:
            after = percent + self._quantum
            records.next_step_sum = after * records.total if after < 100 else NEVER
        return {
            "task_name": self._task_name,
            "status": _IN_PROGRESS,
            "progress": percent,
            "result": _STARTED_RESULT,
        }
