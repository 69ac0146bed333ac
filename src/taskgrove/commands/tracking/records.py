"""The records of a tracker and what can be told from them; no threads, no callbacks.

The caller holds the tracker's lock, except where a docstring says otherwise. Counters are
kept as updates come; the helpers of seed 000 here recompute the same facts from the
records, and a property test holds one against the other (SPEC S4.3).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from logging import Logger
from typing import Any, Final, TypeAlias

from taskgrove.commands.aggregation.base import AggregationOutcome, SubtaskResult
from taskgrove.commands.aggregation.plain_values import describe
from taskgrove.commands.aggregation.policy import TaskAggregationPolicy
from taskgrove.commands.aggregation.rules import AggregationRule
from taskgrove.commands.tracking.update_context import (
    NO_CONTEXT,
    UpdateContext,
    checked_progress,
    extract_context,
)
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import LeftOut, SubtaskFacts, exception_line, loggable
from taskgrove.foreign_code import LOGGING

Payload: TypeAlias = dict[str, Any]

#: More errors than this are not kept.
_ERRORS_KEPT: Final = 100
_STARTED_RESULT: Final = (ResultCode.STARTED, "")


class TrackerRecords:
    """Records, counters and outcome of one task."""

    #: Progress payloads are sent when the percentage, rounded down to this, changes.
    PROGRESS_STEP: int = 10

    def __init__(
        self,
        task_name: str,
        total_subtasks: int,
        logger: Logger,
        operation: str | None,
        obs_mode: str | None,
        is_root: bool,
        rule: AggregationRule | None,
        pst_group: bool | None,
        left_out: Iterable[LeftOut] = (),
    ) -> None:
        self.task_name = task_name
        self.total_subtasks = total_subtasks
        self.logger = logger
        self.operation = operation
        self.obs_mode = obs_mode
        self.is_root = is_root
        self.subtasks: dict[str, SubtaskResult] = {}
        self.completed_subtasks = 0
        #: Whether the tracker was told the names of all subtasks: then no other one counts.
        self._names_known = False
        self._rule = rule
        self._pst_group = pst_group
        self._left_out = tuple(left_out)
        self._policy = self._new_policy()
        #: What each subtask reported, percent done. The default spares the hot path a
        #: question: a record may also have been put into ``subtasks`` by hand.
        self._subtask_progress: defaultdict[str, int] = defaultdict(int)
        #: What plain progress of each subtask tells observers besides the percentage; None once
        #: the subtask has changed.
        self._told: defaultdict[str, SubtaskFacts | None] = defaultdict(type(None))
        self._progress_sum = 0
        self._last_step: int | None = None
        self._started = False
        self._is_over = False
        self._final_outcome: AggregationOutcome | None = None
        self._errors: list[Any] = []

    @property
    def progress(self) -> int:
        """Percent done, 0..100: the mean over ``total_subtasks``, rounded down."""
        total = self.total_subtasks
        if total <= 0:
            return 100
        return min(100, self._progress_sum // total)

    @property
    def overall_status(self) -> TaskStatus:
        """The task's status; QUEUED or IN_PROGRESS until all subtasks are final (S4.8)."""
        if self._is_over:
            return self.outcome().status
        return TaskStatus.IN_PROGRESS if self._started else TaskStatus.QUEUED

    @property
    def overall_result(self) -> ResultCode:
        """The task's result code; QUEUED or STARTED until all subtasks are final."""
        if self._is_over:
            return self.outcome().result
        return ResultCode.STARTED if self._started else ResultCode.QUEUED

    @property
    def overall_resultcode(self) -> tuple[ResultCode, str]:
        """The task's result code and message."""
        outcome = self.outcome()
        return outcome.result, outcome.message

    @property
    def overall_health(self) -> str | None:
        """``DEGRADED``, ``FAILED`` or None."""
        return self.outcome().health_state if self._is_over else None

    @property
    def is_complete(self) -> bool:
        """True once the outcome is decided; the completion callback may still be running."""
        return self._is_over

    def get_status(self) -> TaskStatus:
        """Return the current aggregated status."""
        return self.overall_status

    def get_result(self) -> ResultCode:
        """Return the current aggregated result code."""
        return self.overall_result

    def outcome(self) -> AggregationOutcome:
        """Return the outcome; while the task runs, what can be said so far."""
        if self._final_outcome is None:
            if not self._is_over:
                return self._unfinished()
            self._conclude_safely()
        assert self._final_outcome is not None
        return self._final_outcome

    def _unfinished(self) -> AggregationOutcome:
        """What can be said of a task that has not ended, whatever the policy says (S4.8)."""
        status, code, words = TaskStatus.QUEUED, ResultCode.QUEUED, "queued"
        if self._started:
            status, code, words = TaskStatus.IN_PROGRESS, ResultCode.STARTED, "in progress"
        message = f"Task {self.task_name} {words}" if self.is_root else ""
        return AggregationOutcome(status, code, message, left_out=self._all_left_out())

    def _all_left_out(self) -> tuple[LeftOut, ...]:
        """What was left out of the task, and of what has reported below it."""
        below = chain.from_iterable(record.left_out for record in list(self.subtasks.values()))
        return (*self._left_out, *below)

    def progress_of(self, task_name: str) -> int:
        """Return the percentage that a subtask reported, 0 when it has not."""
        return self._subtask_progress.get(task_name, 0)

    def _conclude_safely(self) -> None:
        try:
            self._aggregate()
            if not isinstance(self._final_outcome, AggregationOutcome):
                raise TypeError(f"the policy gave {describe(self._final_outcome)}, no outcome")
        except BaseException as exc:
            self._final_outcome = self._internal_failure(exc)
            with LOGGING:
                self.logger.error(
                    "task %s: its outcome could not be decided",
                    self.task_name,
                    exc_info=loggable(exc),
                )

    def _internal_failure(self, exc: BaseException) -> AggregationOutcome:
        words = exception_line(exc)
        cause = f"{self.task_name} - internal error: {words}"
        head = f"Task {self.task_name} failed\n" if self.is_root else ""
        return AggregationOutcome(
            TaskStatus.FAILED,
            ResultCode.FAILED,
            f"{head}Causes:\n- {cause}",
            "FAILED",
            left_out=self._all_left_out(),
        )

    def _extract_context(self, kwargs: dict[str, Any]) -> UpdateContext:
        """Extract a normalized context from the keyword arguments of an update."""
        return extract_context(kwargs)

    def _upsert_subtask(
        self, task_name: str, status: TaskStatus | None, result: Any | None, ctx: UpdateContext
    ) -> None:
        """Insert a subtask, or update the one that is there (lock held)."""
        record = self.subtasks.get(task_name)
        if record is None:
            record = self.subtasks[task_name] = SubtaskResult(task_name)
        if status is None and result is None and ctx is NO_CONTEXT:
            return
        if task_name in self._told:
            self._told[task_name] = None
        record.update(
            status=status,
            result=result,
            device_name=ctx.device_name,
            devices=ctx.devices,
            failed_devices=ctx.failed_devices,
            operation=ctx.operation,
            obs_mode=ctx.obs_mode,
            health_state=ctx.health_state,
            severe=ctx.severe or None,
            skipped=ctx.skipped or None,
            left_out=ctx.left_out or None,
            begun=ctx.begun,
            causes=ctx.causes or None,
        )
        self._recompute_completion()
        self._recompute_progress()

    def _aggregate(self) -> None:
        """Aggregate the records with the policy; keep the outcome when the task is complete."""
        records = list(self.subtasks.values())
        if not self._is_done_locked():
            # What has begun has begun, also when its subtask was lost and is queued again.
            self._started = self._started or any(
                record.status is not None and record.status > TaskStatus.QUEUED
                for record in records
            )
            return
        # Complete by count with more names known: the outcome is that of the final ones (S4.8).
        final = [
            record for record in records if record.status is not None and record.status.is_final
        ]
        outcome = self._policy.aggregate(final)
        if self._final_outcome is None:
            self._final_outcome = outcome
        self._is_over = True

    def _recompute_completion(self) -> None:
        """Recompute the number of subtasks that are in a final state (lock held)."""
        self.completed_subtasks = sum(
            1
            for record in self.subtasks.values()
            if record.status is not None and record.status.is_final
        )

    def _record_subtask_progress(self, task_name: str, progress: int | None) -> None:
        """Record the progress of one subtask, clamped to 0..100, never back (lock held).

        Args:
            task_name: The subtask.
            progress: Percent done; None and garbage are ignored.
        """
        checked = checked_progress(progress)
        if checked is not None and checked > self._subtask_progress.get(task_name, -1):
            self._subtask_progress[task_name] = checked
            self._recompute_progress()

    def _recompute_progress(self) -> None:
        """Recompute the progress: 100 for a final subtask, else what it reported (lock held)."""
        total = 0
        for name in self.subtasks.keys() | self._subtask_progress.keys():
            record = self.subtasks.get(name)
            if record is not None and record.status is not None and record.status.is_final:
                total += 100
            else:
                total += self._subtask_progress.get(name, 0)
        self._progress_sum = total

    def _is_done_locked(self) -> bool:
        """Return True when the task is complete (lock held)."""
        return self._is_over or (
            self.total_subtasks <= 0 or self.completed_subtasks >= self.total_subtasks
        )

    def _build_progress_payload(self) -> Payload | None:
        """Return a progress payload when the quantized progress changed, else None (lock held)."""
        total, quantum = self.total_subtasks, self.PROGRESS_STEP
        # As ``progress``, whose call costs as much as all the rest here.
        percent = self._progress_sum // total if total > 0 else 100
        step = percent // quantum * quantum
        if step >= 100 or (self._last_step is not None and step <= self._last_step):
            return None
        self._last_step = step
        return self._progress_payload(step)

    def _progress_payload(self, step: int) -> Payload:
        return {
            "task_name": self.task_name,
            "status": TaskStatus.IN_PROGRESS,
            "progress": step,
            "result": _STARTED_RESULT,
        }

    def _build_completion_payload(self, ctx: UpdateContext) -> Payload:
        """Return the completion payload, as a parent's ``update_task`` takes it."""
        outcome = self.outcome()
        payload: Payload = {
            "task_name": self.task_name,
            "status": outcome.status,
            "progress": 100 if self._is_over else self.progress,
            "result": (outcome.result, outcome.message),
        }
        devices, failed_devices = self._collect_devices_for_completion()
        if devices:
            payload["devices"] = devices
        if failed_devices:
            payload["failed_devices"] = failed_devices
        if outcome.health_state is not None:
            payload["health_state"] = outcome.health_state
        if self._errors:
            payload["error"] = tuple(self._errors)
        if outcome.decision is not None and outcome.decision.severe:
            payload["severe"] = True
        if outcome.left_out:
            payload["left_out"] = outcome.left_out
        if ctx.skipped and outcome.decision is None:  # a verdict from outside, not the policy's
            payload["skipped"] = True
        if outcome.status is TaskStatus.REJECTED and self._has_begun():
            payload["begun"] = True
        return payload

    def _has_begun(self) -> bool:
        """Return True when the work of a subtask has begun, as told or as its end tells."""
        return any(
            record.begun or record.status in (TaskStatus.COMPLETED, TaskStatus.FAILED)
            for record in list(self.subtasks.values())
        )

    def _chain_message(self) -> str:
        """Return the aggregated message."""
        return self.overall_resultcode[1]

    def _is_task_already_completed(self, task_name: str, device_name: str | None = None) -> bool:
        """Return True when a subtask is in a final state, so that a late update is ignored.

        Args:
            task_name: The subtask.
            device_name: Where the update came from; for the log.
        """
        record = self.subtasks.get(task_name)
        done = record is not None and record.status is not None and record.status.is_final
        if done:
            with LOGGING:
                self.logger.debug(
                    "task %s: %s is already final; a late update of %s is ignored",
                    self.task_name,
                    task_name,
                    device_name or "it",
                )
        return done

    def _collect_devices_for_completion(self) -> tuple[list[str], list[str]]:
        """Return all devices involved and those that failed, sorted."""
        devices: set[str] = set()
        failed: set[str] = set()
        aborted = self.outcome().status is TaskStatus.ABORTED
        for record in list(self.subtasks.values()):
            involved = record.devices or ([record.device_name] if record.device_name else [])
            devices.update(involved)
            if self._policy.is_problem(record):
                # Of a task below, a fault that left out a device may be all that is wrong.
                faulty = any(item.kind == "fault" for item in record.left_out)
                failed.update(record.failed_devices or (() if faulty else involved))
            elif aborted and record.status is TaskStatus.ABORTED:  # what failed in it before that
                failed.update(record.failed_devices or ())
        return sorted(devices), sorted(failed)

    def _new_policy(self) -> TaskAggregationPolicy:
        return TaskAggregationPolicy(
            self.task_name,
            self.operation,
            self.obs_mode,
            self.is_root,
            rule=self._rule,
            pst_group=self._pst_group,
            left_out=self._left_out,
        )

    def _keep_errors(self, error: Any) -> None:
        items: Iterable[Any] = error if isinstance(error, (tuple, list)) else (error,)
        for item in items:
            if len(self._errors) < _ERRORS_KEPT:
                self._errors.append(item)
