"""One update of a subtask: how it is read, decided on, and written into the record.

Reading and deciding are pure. Any thread may call these functions.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from taskgrove.commands.aggregation.base import (
    CauseLine,
    SubtaskResult,
    device_list,
    format_message,
    health_name,
    read_result,
)
from taskgrove.control_model import IS_FINAL, MOVES, ResultCode, TaskStatus
from taskgrove.events import Cause, LeftOut, SteeringRequest
from taskgrove.moves import IGNORE, Answer

_Item = TypeVar("_Item")
_STAGING: Final = TaskStatus.STAGING
_IN_PROGRESS: Final = TaskStatus.IN_PROGRESS


class UpdateContext(NamedTuple):
    """The normalized context of one update.

    Attributes:
        device_name: The device that the update comes from.
        devices: Devices involved.
        failed_devices: Devices that failed.
        operation: The operation, for the policy.
        obs_mode: The observation mode, for the policy.
        source: Where the update came from, for the log.
        health_state: ``DEGRADED``, ``FAILED`` or None.
        severe: Whether the subtask's own outcome was severe.
        skipped: Whether the subtask is a casualty: not run because an earlier step failed.
        attempt: The attempt that the update belongs to, from 1.
        cause: Why the subtask ended so, or None.
        result_value: The data that the subtask returned, in plain values, or None.
        left_out: The steps that were left out below the subtask.
        begun: Whether its work has begun; None: its status tells.
        causes: Its causes, as the tracker below tells them.
        accepted: Whether a person accepted its failure, or one below it.
        accepted_by: The persons.
        request: The request of an operator that ended it so, or None.
    """

    device_name: str | None = None
    devices: list[str] | None = None
    failed_devices: list[str] | None = None
    operation: str | None = None
    obs_mode: str | None = None
    source: str | None = None
    health_state: str | None = None
    severe: bool = False
    skipped: bool = False
    attempt: int = 1
    cause: Cause | None = None
    result_value: Any = None
    left_out: tuple[LeftOut, ...] = ()
    begun: bool | None = None
    causes: tuple[CauseLine, ...] = ()
    accepted: bool = False
    accepted_by: tuple[str, ...] = ()
    request: SteeringRequest | None = None


NO_CONTEXT: Final = UpdateContext()


class Update(msgspec.Struct, frozen=True, gc=False):
    """One update, read.

    Attributes:
        status: The reported status, or None.
        progress: Percent done, 0..100, or None.
        code: The code of the result; None without a result.
        message: The message of the result, with its device before it.
        device: The device that the update comes from, or None.
        error: The TANGO errors that came with the update, or None.
        context: Everything else.
    """

    status: TaskStatus | None
    progress: int | None
    code: ResultCode | None
    message: str
    device: str | None
    error: Any
    context: UpdateContext


def read_update(
    status: TaskStatus | None,
    progress: Any,
    result: Any,
    error: Any,
    kwargs: dict[str, Any],
    known_device: str | None,
) -> Update:
    """Return an update, read from the arguments of ``TaskTracker.update_task``; never raises.

    Args:
        status: The checked status.
        progress: As reported.
        result: As reported.
        error: As reported.
        kwargs: The context.
        known_device: The device of the subtask, as far as known before.
    """
    context, device = NO_CONTEXT, None
    if kwargs:
        device = kwargs.get("device_name")
        if len(kwargs) > 1 or type(device) is not str:
            context = extract_context(kwargs)
            device = context.device_name
        device = device or None
    code, message = None, ""
    if result is not None:
        code, message = read_result(result)
        if code is not None:
            message = format_message(device or known_device, message)
    if progress is not None:
        progress = checked_progress(progress)
    return Update(status, progress, code, message, device, error, context)


def decide(now: TaskStatus | None, update: Update, is_over: bool) -> TaskStatus | Answer | None:
    """Decide on an update: return the status of the subtask after it, or why it changes nothing.

    Args:
        now: The status of the subtask; None: it has not reported yet.
        update: The update.
        is_over: Whether the outcome of the task is decided already.
    """
    if is_over:
        return IGNORE
    status = update.status
    if status is not None:
        return MOVES[now or _STAGING, status]
    if now is not None and IS_FINAL[now]:
        return IGNORE
    # A subtask that makes progress has begun.
    return _IN_PROGRESS if update.progress and (now or _STAGING) < _IN_PROGRESS else now


def write_context(record: SubtaskResult, context: UpdateContext) -> None:
    """Write a context into a record; a value that was not given changes nothing."""
    if context.devices is not None:
        record.devices = context.devices
    if context.failed_devices is not None:
        record.failed_devices = context.failed_devices
    if context.begun is not None:
        record.begun = context.begun
    record.operation = context.operation or record.operation
    record.obs_mode = context.obs_mode or record.obs_mode
    record.health_state = context.health_state or record.health_state
    record.severe = context.severe or record.severe
    record.skipped = context.skipped or record.skipped
    record.left_out = context.left_out or record.left_out
    record.causes = context.causes or record.causes
    record.accepted = context.accepted or record.accepted
    record.accepted_by = context.accepted_by or record.accepted_by


def extract_context(kwargs: dict[str, Any]) -> UpdateContext:
    """Return the context that the keyword arguments of an update hold; never raises."""
    get = kwargs.get
    attempt, cause, begun = get("attempt"), get("cause"), get("begun")
    request = get("request")
    return UpdateContext(
        _word(get("device_name")),
        device_list(get("devices")),
        device_list(get("failed_devices")),
        _word(get("operation")),
        _word(get("obs_mode")),
        _word(get("source")),
        health_name(get("health_state")),
        get("severe") is True,
        get("skipped") is True,
        attempt if type(attempt) is int else 1,
        cause if type(cause) is Cause else None,
        get("result_value"),
        _all_of(LeftOut, get("left_out")),
        begun if type(begun) is bool else None,
        _all_of(CauseLine, get("causes")),
        get("accepted") is True,
        _all_of(str, get("accepted_by")),
        request if type(request) is SteeringRequest else None,
    )


def checked_progress(progress: Any) -> int | None:
    """Return a percentage within 0..100, or None for garbage."""
    try:
        value = int(progress)
    except BaseException:  # noqa: BLE001 - a report of a producer never raises
        return None
    return 0 if value < 0 else min(value, 100)


def _all_of(kind: type[_Item], value: Any) -> tuple[_Item, ...]:
    if type(value) not in (tuple, list):
        return ()
    return tuple(item for item in value if type(item) is kind)


def _word(value: Any) -> Any:
    # Asked of the type: an object may raise when it is asked for its class.
    return value if issubclass(type(value), (str, Enum)) else None
