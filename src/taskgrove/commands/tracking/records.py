"""Facts that the records of a task's subtasks tell together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import TypeAlias

from taskgrove.commands.aggregation.base import SubtaskResult
from taskgrove.control_model import IS_FINAL, TaskStatus
from taskgrove.events import LeftOut

#: The record of each subtask, by name. Another thread may add to it at any time.
Subtasks: TypeAlias = Mapping[str, SubtaskResult]


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
