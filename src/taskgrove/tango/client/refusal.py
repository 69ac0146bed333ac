"""The ends of commands that were not started, in words and as data; pure, without TANGO."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause
from taskgrove.tango.client.argin import text_problem
from taskgrove.tango.client.command import LrcCommand
from taskgrove.tango.client.failure import Failure, FailureKind

#: Failures in which the device itself, or PyTango before it, has refused the call.
_REFUSALS = (FailureKind.RAISED, FailureKind.MISUSED)


class WhyNot(NamedTuple):
    """Why a command was not called.

    Attributes:
        text: The reason, for people.
        cause: The same as data.
        errors: The TANGO errors that belong to it, innermost first, or None.
        rejected: Whether the device or PyTango refused; else the device was not reached.
    """

    text: str
    cause: Cause
    errors: tuple[object, ...] | None = None
    rejected: bool = True


def is_refusal(failure: Failure) -> bool:
    """Return True when the device or PyTango refused, False when the device was not reached."""
    return failure.kind in _REFUSALS


def why_not_called(
    device: str, name: str, failure: Failure, near: Callable[[], str | None]
) -> WhyNot:
    """Return why a command was not called.

    Args:
        device: The device.
        name: The command.
        failure: The failure that prevented the call.
        near: Returns the name that was probably meant, where there is no such command or no such
            device, or no database to ask for it; may raise.
    """
    kind = failure.refusal_kind
    nearest_name = None
    if kind == "no_command" or failure.is_wrong_name:
        try:
            nearest_name = near()
        except Exception:  # noqa: BLE001 - the hint is a courtesy, the reason is known
            nearest_name = None
    hint = f"; did you mean {nearest_name}?" if nearest_name else ""
    if kind == "no_command":
        text = f"the device has no command {name}{hint}"
    elif is_refusal(failure):
        text = f"{name} was not called: {failure.text}"
    else:
        text = f"cannot be reached, {name} was not sent: {failure.words} (tried {device}){hint}"
    cause = failure.cause(kind, nearest=nearest_name)
    return WhyNot(text, cause, failure.errors or None, is_refusal(failure))


def wrong_argument(command_name: str, problem: str, in_type: str) -> WhyNot:
    """Return why a command with a wrong argument was not called.

    Args:
        command_name: The command.
        problem: The problem, as the end of a sentence.
        in_type: The TANGO name of the type that it takes.
    """
    cause = Cause(kind="wrong_argument", expected=in_type)
    return WhyNot(f"{command_name} {problem}", cause)


def name_problem(*names: str) -> WhyNot | None:
    """Return why TANGO cannot carry the name of a device or a command, or None."""
    for name in names:
        problem = text_problem(name)
        if problem:
            return WhyNot(f"the name {name!r} {problem}", Cause(kind="misconfigured"))
    return None


def refuse(command: LrcCommand, why: WhyNot) -> None:
    """End a command that provably did not start, or has ended: it may be tried again."""
    status, code = TaskStatus.FAILED, ResultCode.FAILED
    if why.rejected:
        status, code = TaskStatus.REJECTED, ResultCode.REJECTED
    command.end(
        status,
        (code, why.text),
        source="reply",
        may_retry=True,
        error=why.errors,
        cause=why.cause,
    )
