"""Running a tree in one call."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.leaf_runner import LeafRunner
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.run_recorder import RunRecorder
from taskgrove.commands.task import BaseTask, LeafTask, Task, TaskExecutionType
from taskgrove.errors import UsageError, WaitTimeoutError
from taskgrove.events import Observer
from taskgrove.store import Store

if TYPE_CHECKING:
    from taskgrove.analysis.analysis_runner import AnalysisRunner
    from taskgrove.analysis.publishing.logbook_trouble import LogbookTrouble

_LOGGER = logging.getLogger(__name__)


def run(
    task: BaseTask,
    *,
    max_workers: int = 16,
    grace_s: float = 5.0,
    timeout_s: float | None = None,
    observers: Iterable[Observer] = (),
    record: bool | str | Path | Store | RunRecorder = False,
    pages: str | Path | None = None,
    logbook: str | None = None,
    hold: bool = False,
    pause_before: Iterable[str] = (),
) -> AggregationOutcome:
    """Run a tree to its end and return its outcome, whatever that is.

    Device leaves are run by a :class:`~taskgrove.tango.device_runner.DeviceRunner`, which
    needs the extra ``tango``; analyses by an
    :class:`~taskgrove.analysis.analysis_runner.AnalysisRunner`.

    Args:
        task: The root of a tree, or a single leaf.
        max_workers: See :class:`~taskgrove.commands.main_task_executor.MainTaskExecutor`.
        grace_s: How long aborted work may take to end, in seconds.
        timeout_s: The most that the whole run may take, in seconds; None means no limit.
            When it expires the run is aborted.
        observers: Called with every event of the run; they must only enqueue.
        record: True records the run where ``TASKGROVE_DB`` says, or in the user's own record;
            a file, a URL or an open store says where; a recorder is used, and left open.
            Needs the extra ``store``.
        pages: The folder in which summary plots of analyses are published; None: they are not.
        logbook: The address of a logbook that is told the status and the summary of analyses; its
            token is that of ``TASKGROVE_LOGBOOK_TOKEN``. An entry that it did not get is
            logged, and noted on the leaf; the outcome stays as it is. None: there is none.
        hold: Whether a leaf that fails waits for a decision, where no setting of the tree says so.
            Decisions come from other processes, through the record, or from an observer.
        pause_before: Nodes, or patterns that select nodes: the run pauses when one of them is about
            to start.

    Raises:
        UsageError: The tree cannot be submitted, or the logbook has no such address.
        StoreError: The record cannot be opened; nothing was started.
        MissingExtraError: It holds device leaves and PyTango is not installed.
        WaitTimeoutError: ``timeout_s`` expired; the run was aborted.
    """
    nodes = (node for _, node in task.walk()) if isinstance(task, Task) else iter((task,))
    kinds = {node.task_type for node in nodes if isinstance(node, LeafTask)}
    with ExitStack() as stack:
        recorder = _recorder_for(record, stack)
        runners: dict[TaskExecutionType, LeafRunner] = {}
        if TaskExecutionType.DEVICE in kinds:
            from taskgrove.tango.device_runner import DeviceRunner  # noqa: PLC0415 - an extra

            runners[TaskExecutionType.DEVICE] = stack.enter_context(DeviceRunner())
        if TaskExecutionType.ANALYSIS in kinds:
            runners[TaskExecutionType.ANALYSIS] = _analysis_runner(pages, logbook, stack)
        with MainTaskExecutor(max_workers, runners, grace_s=grace_s) as executor:
            handle = executor.submit_main_task(
                task,
                observers=observers,
                recorder=recorder,
                hold=hold,
                pause_before=pause_before,
            )
            return _outcome_of(handle, timeout_s, grace_s)


def _analysis_runner(
    pages: str | Path | None, address: str | None, stack: ExitStack
) -> AnalysisRunner:
    """Return a runner of analyses; it is closed with the stack, and the logbook after it."""
    from taskgrove.analysis.analysis_runner import AnalysisRunner  # noqa: PLC0415 - slow

    if address is None:
        return stack.enter_context(AnalysisRunner(publisher=pages))
    from taskgrove.analysis.logbook import HttpLogbook  # noqa: PLC0415 - slow

    def tell(trouble: LogbookTrouble) -> None:
        _LOGGER.warning("%s", trouble)
        runner.posts.note_trouble(trouble)

    logbook = stack.enter_context(HttpLogbook(address, on_trouble=tell))
    runner = AnalysisRunner(publisher=pages, logbook=logbook)
    return stack.enter_context(runner)


def _recorder_for(
    record: bool | str | Path | Store | RunRecorder, stack: ExitStack
) -> RunRecorder | None:
    if record is False:
        return None
    if not isinstance(record, (bool, str, Path, Store)):
        if not hasattr(record, "begin_run"):
            raise UsageError(
                f"record is no place of a record: {record!r}",
                hint="allowed: True, a file, a URL, a Store, a Recorder",
            )
        return record
    from taskgrove.store import Recorder  # noqa: PLC0415 - an extra

    return stack.enter_context(Recorder(None if record is True else record))


def _outcome_of(handle: RunHandle, timeout_s: float | None, grace_s: float) -> AggregationOutcome:
    expired = not handle.wait(timeout_s)
    if expired and handle.abort(f"the run's limit of {timeout_s:g} s expired"):
        handle.wait(grace_s + 1.0)
        raise WaitTimeoutError(
            f"{handle.task.path} did not end within {timeout_s:g} s and was aborted",
            path=handle.task.path,
        )
    handle.wait()  # it may have ended as its limit expired, and is not kept yet
    outcome = handle.outcome
    assert outcome is not None
    return outcome
