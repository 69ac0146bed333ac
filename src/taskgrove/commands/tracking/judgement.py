"""The outcome of a task: decided by its policy, by a verdict from outside, or by an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Final, TypeAlias

from taskgrove.commands.aggregation.base import AggregationOutcome, SubtaskResult
from taskgrove.commands.aggregation.plain_values import describe
from taskgrove.commands.aggregation.policy import TaskAggregationPolicy
from taskgrove.commands.tracking.tracker_log import TrackerLog
from taskgrove.commands.tracking.updates import NO_CONTEXT
from taskgrove.control_model import IS_FINAL, ResultCode, TaskStatus
from taskgrove.events import Cause, LeftOut, exception_line

#: More errors than this are not kept.
_ERRORS_KEPT: Final = 100

Payload: TypeAlias = dict[str, Any]
#: Stands in the outbox for the completion, whose payload is built when it is delivered.
COMPLETION: Final[Payload] = {}

#: The record of each subtask, by name. Another thread may add to it at any time.
Subtasks: TypeAlias = Mapping[str, SubtaskResult]


class Judgement:
    """The policy and the outcome of one task.

    Threads: changes are made under the tracker's lock; the outcome is decided once, by the thread
    that first needs it.

    Attributes:
        policy: The policy; a change of its context replaces it.
        subtasks: The record of each subtask, by name.
        outcome: The outcome, or None until it is decided.
        cause: The cause of an end that no policy decided.
        context: The context of the update that ended the task.
        errors: TANGO errors that came with updates.
    """

    def __init__(self, policy: TaskAggregationPolicy, log: TrackerLog) -> None:
        self.policy = policy
        self.subtasks: dict[str, SubtaskResult] = {}
        self.outcome: AggregationOutcome | None = None
        self.cause: Cause | None = None
        self.context = NO_CONTEXT
        self.errors: list[Any] = []
        self._log = log

    def change_context(
        self, operation: str | None, obs_mode: str | None, *, is_root: bool | None = None
    ) -> None:
        """Replace the policy when its context changes; None leaves a value as it is."""
        policy = self.policy
        operation = policy.operation if operation is None else operation
        obs_mode = policy.obs_mode if obs_mode is None else obs_mode
        is_root = policy.is_root if is_root is None else is_root
        if (operation, obs_mode, is_root) != (policy.operation, policy.obs_mode, policy.is_root):
            self.policy = policy.with_context(operation, obs_mode, is_root)

    def keep_errors(self, error: Any) -> None:
        """Keep the TANGO errors of an update, at most 100 in all."""
        items = error if isinstance(error, (tuple, list)) else (error,)
        self.errors += items[: _ERRORS_KEPT - len(self.errors)]

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The steps that were left out of the task, and below the subtasks that have reported."""
        return (*self.policy.left_out, *left_out_below(self.subtasks))

    def preliminary(self, *, is_running: bool) -> AggregationOutcome:
        """Return the outcome of a task that has not ended."""
        status, code, words = TaskStatus.QUEUED, ResultCode.QUEUED, "queued"
        if is_running:
            status, code, words = TaskStatus.IN_PROGRESS, ResultCode.STARTED, "in progress"
        message = f"Task {self.policy.task_name} {words}" if self.policy.is_root else ""
        return AggregationOutcome(status, code, message, left_out=self.left_out)

    def aggregate(self) -> None:
        """Ask the policy; an outcome that is decided already stays.

        The outcome of a task that is complete by count with more names known is that of the
        subtasks which have ended.
        """
        outcome = self.policy.aggregate(final_of(self.subtasks))
        if self.outcome is None:
            self.outcome = outcome

    def decided(self) -> AggregationOutcome:
        """Return the outcome of a task that has ended; never raises."""
        if self.outcome is None:
            try:
                self.aggregate()
                if not isinstance(self.outcome, AggregationOutcome):
                    raise TypeError(f"the policy gave {describe(self.outcome)}, no outcome")
            except BaseException as exc:  # noqa: BLE001 - logged
                self.outcome = self.failure(exc)
                self._log.error("its outcome could not be decided", exc)
        return self.outcome

    def failure(self, exc: BaseException) -> AggregationOutcome:
        """Return the outcome of a task that failed by an error inside."""
        name = self.policy.task_name
        head = f"Task {name} failed\n" if self.policy.is_root else ""
        return AggregationOutcome(
            TaskStatus.FAILED,
            ResultCode.FAILED,
            f"{head}Causes:\n- {name} - internal error: {exception_line(exc)}",
            "FAILED",
            left_out=self.left_out,
        )

    def devices(self, outcome: AggregationOutcome) -> tuple[list[str], list[str]]:
        """Return all devices involved and those that failed, sorted."""
        aborted = outcome.status is TaskStatus.ABORTED
        return devices_of(self.subtasks, self.policy.is_problem, aborted=aborted)

    def completion_payload(self, outcome: AggregationOutcome, *, skipped: bool) -> Payload:
        """Return the completion payload, as a parent's ``update_task`` takes it."""
        devices, failed_devices = self.devices(outcome)
        decision = outcome.decision
        rejected = outcome.status is TaskStatus.REJECTED
        optional = {
            "devices": devices,
            "failed_devices": failed_devices,
            "health_state": outcome.health_state,
            "error": tuple(self.errors),
            "severe": decision is not None and decision.severe,
            "left_out": outcome.left_out,
            # Only a verdict from outside makes a casualty, not the policy.
            "skipped": skipped and decision is None,
            "begun": rejected and has_begun(self.subtasks),
            "accepted": outcome.accepted,
            "accepted_by": outcome.accepted_by,
        }
        return {
            "task_name": self.policy.task_name,
            "status": outcome.status,
            "progress": 100,
            "result": (outcome.result, outcome.message),
            **{name: value for name, value in optional.items() if value},
        }

    def payload_of_the_end(self) -> Payload:
        """Return the completion payload of a task that has ended; never raises."""
        outcome = self.decided()
        try:
            return self.completion_payload(outcome, skipped=self.context.skipped)
        except BaseException as exc:  # noqa: BLE001 - logged
            self.outcome = outcome = self.failure(exc)
            self._log.error("its payload could not be built", exc)
            return {
                "task_name": self.policy.task_name,
                "status": outcome.status,
                "progress": 100,
                "result": (outcome.result, outcome.message),
                "health_state": outcome.health_state,
            }


def is_final(record: SubtaskResult) -> bool:
    """Return whether a subtask has ended."""
    return record.status is not None and bool(IS_FINAL[record.status])


def final_of(subtasks: Subtasks) -> list[SubtaskResult]:
    """Return the records of the subtasks that have ended."""
    return [record for record in list(subtasks.values()) if is_final(record)]


def has_begun(subtasks: Subtasks) -> bool:
    """Return whether the work of a subtask has begun, as told or as its end tells."""
    return any(
        record.begun or record.status in (TaskStatus.COMPLETED, TaskStatus.FAILED)
        for record in list(subtasks.values())
    )


def left_out_below(subtasks: Subtasks) -> tuple[LeftOut, ...]:
    """Return the steps that were left out below the subtasks."""
    return tuple(chain.from_iterable(record.left_out for record in list(subtasks.values())))


def devices_of(
    subtasks: Subtasks, is_problem: Callable[[SubtaskResult], bool], *, aborted: bool
) -> tuple[list[str], list[str]]:
    """Return all devices involved and the failed ones, sorted.

    Args:
        subtasks: The records.
        is_problem: The policy's judgement of a subtask.
        aborted: Whether the task was aborted.
    """
    devices: set[str] = set()
    failed: set[str] = set()
    for record in list(subtasks.values()):
        involved = record.devices or ([record.device_name] if record.device_name else [])
        devices.update(involved)
        if is_problem(record):
            # Of a task below, a fault that left out a device may be all that is wrong.
            faulty = any(item.kind == "fault" for item in record.left_out)
            failed.update(record.failed_devices or (() if faulty else involved))
        elif aborted and record.status is TaskStatus.ABORTED:
            failed.update(record.failed_devices or ())  # they failed before the abort
    return sorted(devices), sorted(failed)
