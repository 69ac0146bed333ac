"""Ends of nodes that never begin: only the executor can publish them.

The parent of such a node has ended, or ends with the node: a cascade of skipped steps, or a
record that was cut off between the end of a task and the ends of the steps below it.

Threads: everything here runs on the thread that ends, or begins, the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from taskgrove.commands.execution.composite import Composite
from taskgrove.commands.prior import Prior, PriorEnd, PriorStart, PriorWork, report_end
from taskgrove.commands.task import BaseTask, LeafTask, Task
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, EventBus, FinishedDetail, LeftOut
from taskgrove.events.steering_request import SteeringRequest
from taskgrove.foreign_code import guarded


class Unbegun(NamedTuple):
    """How a node ends that never begins; ``skipped``: because of something else that failed."""

    status: TaskStatus
    code: ResultCode
    message: str
    skipped: bool
    cause: Cause | None = None
    left_out: tuple[LeftOut, ...] = ()
    request: SteeringRequest | None = None


def end_steps(
    bus: EventBus,
    composite: Composite,
    steps: Iterable[BaseTask],
    verdict: Unbegun,
    is_recorded: Callable[[str], bool],
    left_out: Mapping[str, SteeringRequest] = MappingProxyType({}),
) -> None:
    """End the steps of a composite that will not begin, and all that is below them.

    Args:
        bus: The events of the run.
        composite: The composite that holds the steps.
        steps: The steps.
        verdict: How they end.
        is_recorded: Whether the end of a path is on record already.
        left_out: The requests of operators to leave out nodes, by path: these end so.
    """
    composite.tracker.hold()  # the end of the whole comes after those of its steps
    try:
        for child in steps:
            why = left_out.get(f"{composite.path}/{child.name}")
            if is_recorded(f"{composite.path}/{child.name}"):
                continue
            if why is not None:
                leave_out(bus, composite, child, why)
            elif isinstance(child, Task) and child.subtasks:
                _end_below(bus, child, verdict, is_recorded, left_out)
            else:
                _end_as(child, composite, verdict)
    finally:
        guarded(composite.tracker.release)


def _end_below(
    bus: EventBus,
    task: Task,
    verdict: Unbegun,
    is_recorded: Callable[[str], bool],
    left_out: Mapping[str, SteeringRequest],
) -> None:
    """End a task that will not begin, and all that is below it, parents first."""
    below: dict[str, Unbegun] = {}
    for path, node in task.walk():
        own, why = below.get(path.rpartition("/")[0], verdict), left_out.get(path)
        if why is not None and not own.left_out:
            own = _left_out_by(why, node, path)
            below[path] = _below_left_out(own, path)
        elif left_out:
            below[path] = own
        if not is_recorded(path):
            guarded(end_without_parent, bus, path, node, own)


def end_clean_up(
    bus: EventBus,
    composite: Composite,
    clean_up: Task,
    reason: str | None,
    is_recorded: Callable[[str], bool],
) -> None:
    """End the clean-up of a sequence of which no step has begun.

    Args:
        bus: The events of the run.
        composite: The sequence.
        clean_up: Its clean-up.
        reason: Why the run was aborted, or None.
        is_recorded: Whether the end of a path is on record already.
    """
    composite.forgive(clean_up)
    if reason is not None:
        _abort_unbegun(clean_up, reason, is_recorded)
        return
    rejected = TaskStatus.REJECTED, ResultCode.REJECTED, "skipped: no step before it had begun"
    verdict = Unbegun(*rejected, skipped=True, cause=Cause(kind="not_started"))
    end_steps(bus, composite, [clean_up], verdict, is_recorded)


def _abort_unbegun(task: Task, reason: str, is_recorded: Callable[[str], bool]) -> None:
    """End what is below a task ABORTED; its own end is made of these, as that of any task."""
    result = (ResultCode.ABORTED, f"not run: {reason}")
    end = PriorEnd(
        TaskStatus.ABORTED, result, fields={"cause": Cause(kind="not_started", said=reason)}
    )
    for path, node in task.walk():
        if is_recorded(path):
            continue
        if isinstance(node, LeafTask):
            guarded(report_end, node, end)
        elif isinstance(node, Task) and not node.subtasks and isinstance(node.parent, Task):
            guarded(
                node.parent.tracker.update_task,
                task_name=node.name,
                status=end.status,
                result=result,
                **end.fields,
            )


def _left_out_by(why: SteeringRequest, node: BaseTask, path: str) -> Unbegun:
    """Return how a node ends that an operator leaves out."""
    reason = f"left out by {why.who or why.user}"
    message = f"{reason}: {why.why}" if why.why else reason
    device = node.device_name if isinstance(node, LeafTask) else None
    told = LeftOut(node.name, device, "operator", reason, path, why.why)
    return Unbegun(
        TaskStatus.REJECTED, ResultCode.REJECTED, message,
        skipped=True, left_out=(told,), request=why,
    )  # fmt: skip


def _below_left_out(verdict: Unbegun, path: str) -> Unbegun:
    """Return how the nodes end that are below one that is left out."""
    cause = Cause(kind="skipped", because_of=path)
    return verdict._replace(cause=cause, left_out=(), request=None)


def leave_out(bus: EventBus, composite: Composite, child: BaseTask, why: SteeringRequest) -> None:
    """End a step that an operator leaves out, and all that is below it."""
    path = f"{composite.path}/{child.name}"
    verdict = _left_out_by(why, child, path)
    composite.forgive(child)
    if not isinstance(child, Task) or not child.subtasks:
        _end_as(child, composite, verdict)
        return
    below = _below_left_out(verdict, path)
    child.tracker.hold()
    try:
        guarded(end_without_parent, bus, path, child, verdict)
        for step_path, node in child.walk():
            if node is not child:
                guarded(end_without_parent, bus, step_path, node, below)
    finally:
        guarded(child.tracker.release)


def _end_as(child: BaseTask, composite: Composite, verdict: Unbegun) -> None:
    """End a leaf, or a task without subtasks, by a verdict."""
    status, code, message, skipped, cause, left_out, request = verdict
    end_child(
        child, composite, status, (code, message),
        skipped=skipped, cause=cause, left_out=left_out, request=request,
    )  # fmt: skip


def end_child(
    child: BaseTask,
    composite: Composite,
    status: TaskStatus,
    result: tuple[ResultCode, str],
    **fields: Any,
) -> None:
    """End a leaf, or a task without subtasks, that never runs."""
    if isinstance(child, LeafTask):
        guarded(child.report, status=status, result=result, **fields)
    else:
        guarded(
            composite.tracker.update_task,
            task_name=child.name,
            status=status,
            result=result,
            **fields,
        )


def end_without_parent(bus: EventBus, path: str, node: BaseTask, verdict: Unbegun) -> None:
    """End a node whose parent takes no more reports, and publish the end."""
    if isinstance(node, Task) and node.subtasks:
        status, code, message, skipped, cause, left_out, request = verdict
        node.tracker.conclude(
            status, code, message,
            skipped=skipped, cause=cause, left_out=left_out, request=request,
        )  # fmt: skip
        return
    if isinstance(node, LeafTask) and verdict.skipped:
        node.tell_skipped(verdict.message)
    if bus.active:
        bus.emit(
            path,
            "finished",
            status=verdict.status,
            result_code=verdict.code,
            message=verdict.message,
            detail=FinishedDetail(
                skipped=verdict.skipped,
                cause=verdict.cause,
                left_out=verdict.left_out,
                request=verdict.request,
            ),
        )


def missing_ends(
    root: Task, prior: Mapping[str, Prior]
) -> list[tuple[str, BaseTask, Unbegun | None]]:
    """Return the nodes that have ended according to the record, and whose own end it lacks.

    Args:
        root: A tree whose trackers have taken over the record.
        prior: The facts on record, by path.

    Returns:
        Each node with its path, parents first, and how it ends; None: as its tracker says.
    """
    verdicts: dict[str, Unbegun] = {}
    missing: list[tuple[str, BaseTask, Unbegun | None]] = []
    for path, node in root.walk():
        above = verdicts.get(path.rpartition("/")[0])
        # An empty task is complete from the start; if it is not the root, its parent tells.
        over = (
            isinstance(node, Task)
            and node.tracker.is_complete
            and bool(node.subtasks or node is root)
        )
        if over:
            assert isinstance(node, Task)
            verdicts[path] = _below(path, node, prior)
        elif above is not None:
            verdicts[path] = above  # its parent has ended, and takes no more reports
        else:
            continue
        known = prior.get(path)
        if not (isinstance(known, PriorEnd) and known.recorded):
            missing.append((path, node, None if over else _of_its_own(verdicts[path], known)))
    return missing


def _of_its_own(verdict: Unbegun, known: Prior | None) -> Unbegun:
    """Return the verdict on a node whose parent ended, with the cause that the record implies."""
    if verdict.cause is not None or isinstance(known, PriorStart):
        return verdict
    if isinstance(known, PriorWork):
        return verdict._replace(cause=Cause(kind="lost", outside_id=known.outside_id or None))
    return verdict._replace(cause=Cause(kind="never_begun"))


def _below(path: str, task: Task, prior: Mapping[str, Prior]) -> Unbegun:
    """Return how steps end that are below a task that has ended."""
    known = prior.get(path)
    outcome = task.tracker.outcome()
    if isinstance(known, PriorEnd) and known.fields.get("skipped"):
        cause = known.fields.get("cause") or Cause(kind="skipped")
        return Unbegun(outcome.status, outcome.result, outcome.message, skipped=True, cause=cause)
    text = f"its end is not on record; {task.name} had ended {outcome.status.name}"
    return Unbegun(TaskStatus.ABORTED, ResultCode.ABORTED, text, skipped=False)
