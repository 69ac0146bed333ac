"""The record of a command that was refused before anything was started: a run like any other.

Its tree is told as it was composed, and every node of it ends REJECTED: the leaves that stood in
the way with their reasons, all others as casualties. Where no tree was composed, as when the
condition of the whole command does not hold, its run has an outcome and no event.

Threads: everything here runs on the thread that calls it.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable
from typing import Final

from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.commands.execution.composed_events import emit_composed
from taskgrove.commands.execution.placing import placed
from taskgrove.commands.leaf_runner import Refusal
from taskgrove.commands.replay import REFUSED_RULE
from taskgrove.commands.run_recorder import RunAbout, RunRecorder
from taskgrove.commands.task import LeafTask, Task
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, EventBus, FinishedDetail, LeftOut, Observer

#: How long the record is waited for at most, in seconds.
_WAIT_S: Final = 5.0


def record_refusal(
    recorder: RunRecorder | None,
    run_id: str,
    about: RunAbout,
    message: str,
    *,
    task: Task | None = None,
    refused: Iterable[Refusal] = (),
    observers: Iterable[Observer] = (),
) -> AggregationOutcome:
    """Record that a command was refused, and wait until that is kept.

    Args:
        recorder: The recorder, or None.
        run_id: An id for the run.
        about: Facts that the record keeps of the run besides its events; a claim is left out.
        message: Why, in one line.
        task: Its tree, not submitted; None where none was composed.
        refused: The reasons, each with the path of its leaf.
        observers: Called with every event, too.

    Returns:
        The outcome: REJECTED.
    """
    bus = EventBus(run_id)
    if recorder is not None:
        unclaimed = dataclasses.replace(about, claim=None)  # it resumes nothing
        bus.subscribe(recorder.begin_run(run_id, unclaimed), essential=True)
    for observer in observers:
        bus.subscribe(observer)
    if task is not None:
        message = _told(bus, task, message, refused)
    outcome = AggregationOutcome(
        TaskStatus.REJECTED, ResultCode.REJECTED, message, left_out=_left_out_of(task)
    )
    if recorder is not None:
        kept = threading.Event()
        recorder.end_run(run_id, outcome, kept.set)
        kept.wait(_WAIT_S)
    return outcome


def _told(bus: EventBus, root: Task, message: str, refused: Iterable[Refusal]) -> str:
    """Publish the tree and the ends of its nodes; return the message of the whole."""
    emit_composed(root, bus, {})
    reasons: dict[str, list[Refusal]] = {}
    for item in refused:
        reasons.setdefault(item.path, []).append(item)
    tree = list(root.walk())
    leaves = [(path, node) for path, node in tree if isinstance(node, LeafTask)]
    in_the_way = [path for path, _ in leaves if path in reasons]
    first = next(iter(in_the_way), None)
    casualty = f"skipped: {root.name} was refused"
    skipped = Cause(kind="skipped", because_of=first)
    whole_cause = Cause(kind="refused", because_of=first)
    lines = [message, "Causes:"]
    for path, leaf in leaves:
        name = leaf.device_name
        devices = () if name is None else (name,)
        if path not in reasons:
            _end(bus, path, casualty, skipped, devices=devices)
            continue
        text = "; ".join(reasons[path])
        lines.append(f"- {name}: {text}" if name else f"- {leaf.name} - {text}")
        told = f"{name}: {text}" if name else text
        cause = placed(reasons[path][0].cause, leaf)
        _end(bus, path, told, cause, devices=devices, failed_devices=devices)
    above = {path[:end] for path in in_the_way for end, sign in enumerate(path) if sign == "/"}
    for path, node in reversed(tree):  # children before their parents
        if node is not root and not isinstance(node, LeafTask):
            cause = whole_cause if path in above else skipped
            _end(bus, path, casualty, cause, rule=REFUSED_RULE)
    whole = "\n".join(lines)
    _end(bus, root.path, whole, whole_cause, rule=REFUSED_RULE, left_out=_left_out_of(root))
    return whole


def _left_out_of(root: Task | None) -> tuple[LeftOut, ...]:
    """Return the parts that the composer left out of a whole tree."""
    nodes = [] if root is None else [node for _, node in root.walk()]
    return tuple(item for node in nodes if isinstance(node, Task) for item in node.left_out)


def _end(
    bus: EventBus,
    path: str,
    message: str,
    cause: Cause,
    *,
    rule: str | None = None,
    devices: tuple[str, ...] = (),
    failed_devices: tuple[str, ...] = (),
    left_out: tuple[LeftOut, ...] = (),
) -> None:
    bus.emit(
        path,
        "finished",
        status=TaskStatus.REJECTED,
        result_code=ResultCode.REJECTED,
        message=message,
        detail=FinishedDetail(
            rule=rule, skipped=cause.kind == "skipped", left_out=left_out, cause=cause
        ),
        devices=devices,
        failed_devices=failed_devices,
    )
