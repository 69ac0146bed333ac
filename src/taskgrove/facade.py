"""Running a tree in one call."""

from __future__ import annotations

from collections.abc import Iterable

from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.commands.leaf_runner import LeafRunner
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import BaseTask, LeafTask, Task, TaskExecutionType
from taskgrove.errors import WaitTimeoutError
from taskgrove.events import Observer


def run(
    task: BaseTask,
    *,
    max_workers: int = 16,
    grace_s: float = 5.0,
    timeout_s: float | None = None,
    observers: Iterable[Observer] = (),
) -> AggregationOutcome:
    """Run a tree to its end and return its outcome, whatever that is.

    Device leaves are run by a :class:`~taskgrove.tango.device_runner.DeviceRunner`, which
    needs the extra ``tango``.

    Args:
        task: The root of a tree, or a single leaf.
        max_workers: See :class:`~taskgrove.commands.main_task_executor.MainTaskExecutor`.
        grace_s: How long what was asked to stop may take to end, in seconds.
        timeout_s: The most that the whole run may take, in seconds; None means no limit.
            When it expires the run is aborted.
        observers: Called with every event of the run; they must only enqueue.

    Raises:
        UsageError: The tree cannot be submitted.
        MissingExtraError: It holds device leaves and PyTango is not installed.
        WaitTimeoutError: ``timeout_s`` expired; the run was aborted.
    """
    nodes = (node for _, node in task.walk()) if isinstance(task, Task) else iter((task,))
    has_devices = any(
        isinstance(node, LeafTask) and node.task_type is TaskExecutionType.DEVICE for node in nodes
    )
    if not has_devices:
        return _run(task, {}, max_workers, grace_s, timeout_s, observers)
    from taskgrove.tango.device_runner import DeviceRunner  # noqa: PLC0415 - an extra

    with DeviceRunner() as runner:
        return _run(
            task,
            {TaskExecutionType.DEVICE: runner},
            max_workers,
            grace_s,
            timeout_s,
            observers,
        )


def _run(
    task: BaseTask,
    runners: dict[TaskExecutionType, LeafRunner],
    max_workers: int,
    grace_s: float,
    timeout_s: float | None,
    observers: Iterable[Observer],
) -> AggregationOutcome:
    with MainTaskExecutor(max_workers, runners, grace_s=grace_s) as executor:
        handle = executor.submit_main_task(task, observers=observers)
        if not handle.wait(timeout_s):
            handle.abort(f"the run's limit of {timeout_s:g} s expired")
            handle.wait(grace_s + 1.0)
            raise WaitTimeoutError(
                f"{handle.task.path} did not end within {timeout_s:g} s and was aborted",
                path=handle.task.path,
            )
        outcome = handle.outcome
        assert outcome is not None
        return outcome
