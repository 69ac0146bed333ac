"""The course of a task: its state, its counters and its outbox, all under the tracker's lock.

No method calls foreign code. Counters are kept as updates come; the ``recompute`` methods count
the same again, and a property test compares both.
"""

from __future__ import annotations

from enum import IntEnum, auto
from typing import Final

from taskgrove.commands.aggregation.base import AggregationOutcome, SubtaskResult, format_message
from taskgrove.commands.tracking.judgement import COMPLETION, Judgement, Payload, final_of, is_final
from taskgrove.commands.tracking.updates import NO_CONTEXT, Update, UpdateContext, write_context
from taskgrove.control_model import IS_FINAL, ResultCode, TaskStatus
from taskgrove.events import Cause, SteeringRequest
from taskgrove.moves import IGNORE, REFUSE, step, table_of

NEVER: Final = float("inf")
_IN_PROGRESS: Final = TaskStatus.IN_PROGRESS
#: The statuses of a subtask whose work may not have begun: a refusal below a composite makes the
#: composite IN_PROGRESS too.
_MAY_BE_UNBEGUN: Final = (TaskStatus.IN_PROGRESS, TaskStatus.REJECTED)
_STARTED_RESULT: Final = (ResultCode.STARTED, "")


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


class Course:
    """The course of one task; the caller holds the tracker's lock.

    Args:
        task_name: The name of the task.
        total: How many subtasks must be final before the task is.
        quantum: Progress payloads are posted when the percentage, rounded down to this, changes.
        judgement: The policy and the outcome.
        outbox: Takes the payloads.

    Attributes:
        state: The state of the tracker.
        total: As given.
        completed: How many subtasks are final.
        progress_sum: The sum of the percentages of all subtasks; a final one counts as 100.
        names_known: Whether the tracker was told the names of all subtasks: then no other counts.
        next_step_sum: The sum at which the next percentage is posted.
    """

    def __init__(
        self,
        task_name: str,
        total: int,
        quantum: int,
        judgement: Judgement,
        outbox: list[Payload],
    ) -> None:
        self.state = CLOSED if total <= 0 else QUEUED
        self.total = total
        self.completed = 0
        self.progress_sum = 0
        self.names_known = False
        self.next_step_sum: float = NEVER
        self._last_step: int | None = None
        self._task_name = task_name
        self._quantum = quantum
        self._judgement = judgement
        self._subtasks = judgement.subtasks
        self._outbox = outbox

    def record_of(self, name: str) -> SubtaskResult:
        """Return the record of a subtask; it is made where there is none."""
        record = self._subtasks.get(name)
        if record is None:
            record = self._subtasks[name] = SubtaskResult(name)
        return record

    @property
    def is_done(self) -> bool:
        """True once so many subtasks have ended as must end."""
        return self.total <= 0 or self.completed >= self.total

    @property
    def percent(self) -> int:
        """The mean percentage over ``total``, rounded down."""
        return min(100, self.progress_sum // self.total) if self.total > 0 else 100

    def recompute_completed(self) -> None:
        """Count again the subtasks that have ended."""
        self.completed = len(final_of(self._subtasks))

    def recompute_progress(self) -> None:
        """Sum up the progress again."""
        self.progress_sum = sum(
            100 if is_final(record) else record.progress for record in self._subtasks.values()
        )

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
        context, progress, due = update.context, update.progress, False
        record.facts = None
        if update.device is not None:
            if record.device_name is None and record.message and update.code is None:
                record.message = format_message(update.device, record.message)
            record.device_name = update.device
        if context is not NO_CONTEXT:
            write_context(record, context)
            if context.operation is not None or context.obs_mode is not None:
                self._judgement.change_context(context.operation, context.obs_mode)
        if update.code is not None:
            record.result_code = update.code
            record.message = update.message
        if update.error is not None:
            self._judgement.keep_errors(update.error)
        if progress is not None and progress > record.progress:
            self.progress_sum += progress - record.progress
            record.progress = progress
        if status is not record.status and status is not None:
            record.status = status
            if status is _IN_PROGRESS and context.begun is None:
                record.begun = True
            if IS_FINAL[status]:
                if record.result_code is None and status is TaskStatus.COMPLETED:
                    record.result_code = ResultCode.OK
                self.progress_sum += 100 - record.progress
                self.completed += 1
                if self.completed >= self.total:
                    return self.complete(
                        context if context is not NO_CONTEXT else UpdateContext(update.device)
                    )
            if status > TaskStatus.QUEUED and self.state is QUEUED:
                due = self._begin(begun=record.begun or status not in _MAY_BE_UNBEGUN)
        if self.progress_sum >= self.next_step_sum and self.state is RUNNING:
            due = self.post_progress() or due
        return due

    def _begin(self, *, begun: bool) -> bool:
        """Take note that a subtask has begun; return True when the first progress was posted.

        Args:
            begun: Whether any work has begun: the first end may be a refusal.
        """
        if not self.moves(BEGIN) or self.next_step_sum is NEVER:
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

    def conclude(
        self,
        outcome: AggregationOutcome,
        cause: Cause | None,
        *,
        skipped: bool,
        request: SteeringRequest | None = None,
    ) -> None:
        """End the task with an outcome that no policy decided; does nothing after its end."""
        if self.moves(CONCLUDE):
            judgement = self._judgement
            judgement.outcome, judgement.cause = outcome, cause
            judgement.context = UpdateContext(skipped=skipped, request=request)
            self._post_completion()

    def _post_completion(self) -> None:
        self.next_step_sum = NEVER
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
            heard: Whether progress has a receiver.
        """
        percent = 0 if self._last_step is None else self._last_step + self._quantum
        # Percentages are rounded down before they are quantized; 100 is never announced.
        due = heard and self.state <= RUNNING and percent < 100
        self.next_step_sum = percent * self.total if due else NEVER

    def progress_payload(self) -> Payload | None:
        """Return a progress payload when the quantized progress changed, else None."""
        # As ``percent``, whose call costs as much as all the rest here.
        percent = self.progress_sum // self.total if self.total > 0 else 100
        percent -= percent % self._quantum
        if percent >= 100 or (self._last_step is not None and percent <= self._last_step):
            return None
        return self._payload(percent)

    def _payload(self, percent: int) -> Payload:
        self._last_step = percent
        if self.next_step_sum is not NEVER:
            after = percent + self._quantum
            self.next_step_sum = after * self.total if after < 100 else NEVER
        return {
            "task_name": self._task_name,
            "status": _IN_PROGRESS,
            "progress": percent,
            "result": _STARTED_RESULT,
        }
