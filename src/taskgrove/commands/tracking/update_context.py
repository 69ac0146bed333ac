"""What may come with an update of a subtask besides status, progress, result and error."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, NamedTuple, TypeVar

from taskgrove.commands.aggregation.base import CauseLine, device_list, health_name
from taskgrove.events import Cause, LeftOut

_Item = TypeVar("_Item")


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
        severe: Whether the subtask's own outcome was severe (SPEC S3.5).
        skipped: Whether the subtask is a casualty: not run because an earlier step failed.
        attempt: The attempt that the update belongs to, from 1.
        cause: Why the subtask ended so, or None.
        result_value: What it gave as data, in plain values; None: nothing.
        left_out: What was left out below it.
        begun: Whether its work has begun; None: its status tells.
        causes: Its causes, as the tracker below tells them.
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


NO_CONTEXT: Final = UpdateContext()


def extract_context(kwargs: dict[str, Any]) -> UpdateContext:
    """Return the context that the keyword arguments of an update hold; never raises."""
    get = kwargs.get
    attempt, cause, begun = get("attempt"), get("cause"), get("begun")
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
    )


def _all_of(kind: type[_Item], value: Any) -> tuple[_Item, ...]:
    if type(value) not in (tuple, list):
        return ()
    return tuple(item for item in value if type(item) is kind)


def _word(value: Any) -> Any:
    """Return a text or an enum's member as it is, and None for garbage.

    Asked of the type: an object may raise when it is asked for its class.
    """
    return value if issubclass(type(value), (str, Enum)) else None


def checked_progress(progress: Any) -> int | None:
    """Return a percentage within 0..100, or None for garbage (SPEC S4.4)."""
    try:
        value = int(progress)
    except BaseException:  # noqa: BLE001 - nothing that a producer sends raises
        return None
    return 0 if value < 0 else min(value, 100)
