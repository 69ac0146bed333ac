"""The ends of commands that were not started, in words; pure, without TANGO."""

from __future__ import annotations

from collections.abc import Callable

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.tango.client.command import LrcCommand
from taskgrove.tango.client.failure import Failure, FailureKind

#: What the device itself, or PyTango before it, has refused.
_REFUSALS = (FailureKind.RAISED, FailureKind.MISUSED)


def is_refusal(failure: Failure) -> bool:
    """Return True when the device or PyTango refused, False when the device was not reached."""
    return failure.kind in _REFUSALS


def why_not_called(
    device: str, name: str, failure: Failure, near: Callable[[str], str | None]
) -> str:
    """Return why a command was not called.

    Args:
        device: The device.
        name: The command.
        failure: What happened in its place.
        near: Returns the command of the device that is most like a name; may raise.
    """
    if failure.reason == "API_CommandNotFound":
        try:
            nearest_name = near(name)
        except Exception:  # noqa: BLE001 - the hint is a courtesy, the reason is known
            nearest_name = None
        hint = f"; did you mean {nearest_name}?" if nearest_name else ""
        return f"the device has no command {name}{hint}"
    if is_refusal(failure):
        return f"{name} was not called: {failure.text}"
    return f"cannot be reached, {name} was not sent: {failure.words} (tried {device})"


def refuse(
    command: LrcCommand,
    text: str,
    failure: Failure | None,
    *,
    rejected: bool,
    never_began: bool = True,
) -> None:
    """End a command that provably did not start, or has ended: it may be tried again.

    Args:
        command: The command.
        text: Why, for people.
        failure: The failure whose TANGO errors belong to it, or None.
        rejected: REJECTED when True, else FAILED.
        never_began: False for one that has begun, and ended.
    """
    status, code = TaskStatus.FAILED, ResultCode.FAILED
    if rejected:
        status, code = TaskStatus.REJECTED, ResultCode.REJECTED
    error = failure.errors if failure is not None and failure.errors else None
    command.end(
        status,
        (code, text),
        source="reply",
        may_retry=True,
        error=error,
        never_began=never_began,
    )
