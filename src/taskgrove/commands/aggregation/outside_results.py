"""A result from outside: its message as one cause line, and the cause that it tells. Pure."""

from __future__ import annotations

from typing import Any, Final

from taskgrove.commands.aggregation.messages import MESSAGE_LIMIT
from taskgrove.commands.aggregation.result_parsing import parse_whole
from taskgrove.control_model import PROBLEM_CODES, ResultCode, TaskStatus
from taskgrove.events import TEXT_LIMIT, Cause, CauseKind, one_line
from taskgrove.events.foreign_values import readable

_BY_CODE: Final[dict[ResultCode, CauseKind]] = {
    ResultCode.NOT_ALLOWED: "not_allowed",
    ResultCode.REJECTED: "refused",
    ResultCode.UNKNOWN: "unreadable",
}


def outside_result(result: Any) -> Any:
    """Return a result with its message on one line; any other value is returned as it is.

    Args:
        result: The result of a device, a method or a program, in any form that is understood.
    """
    if result is None:
        return None
    parsed = parse_whole(result)
    if parsed.code is None:
        return result  # an acknowledgement says nothing that is kept
    return parsed.code, one_line(parsed.message, MESSAGE_LIMIT)


def cause_of_result(status: TaskStatus, result: Any) -> Cause | None:
    """Return the cause that a result tells; None for a good end; never raises.

    Args:
        status: Its final status.
        result: Its result, in any form that ``parse_result`` takes.
    """
    parsed = parse_whole(result)
    code = parsed.code
    if status is TaskStatus.COMPLETED and code not in PROBLEM_CODES:
        return None
    kind: CauseKind = "refused" if status is TaskStatus.REJECTED else "reported"
    if code is not None:
        kind = _BY_CODE.get(code, kind)
    if status is TaskStatus.ABORTED:
        kind = "aborted"
    said = parsed.message
    if kind == "unreadable" and not _is_understood(result):
        said = _words_of(result)  # in place of our words on it
    return Cause(kind=kind, said=said[:TEXT_LIMIT])


def _words_of(result: Any) -> str:
    try:
        return readable(result)
    except BaseException:  # noqa: BLE001 - a report of a producer never raises
        return ""


def _is_understood(result: Any) -> bool:
    """Return True for a pair that says by its own code that the end is not known."""
    if type(result) not in (tuple, list) or len(result) != 2:
        return False
    return not parse_whole((result[0], "")).message
