"""Why a leaf did not end well, as its status and result tell it."""

from __future__ import annotations

from typing import Any, Final

from taskgrove.commands.aggregation.result_parsing import parse_whole
from taskgrove.control_model import PROBLEM_CODES, ResultCode, TaskStatus
from taskgrove.events import TEXT_LIMIT, Cause, CauseKind
from taskgrove.events.foreign_values import readable

_BY_STATUS: Final[dict[TaskStatus, CauseKind]] = {
    TaskStatus.ABORTED: "aborted",
    TaskStatus.REJECTED: "refused",
}
_BY_CODE: Final[dict[ResultCode, CauseKind]] = {
    ResultCode.NOT_ALLOWED: "not_allowed",
    ResultCode.REJECTED: "refused",
    ResultCode.UNKNOWN: "unreadable",
}


def cause_of_result(status: TaskStatus, result: Any) -> Cause | None:
    """Return why something ended, by what it told itself; None where it ended well; never raises.

    Args:
        status: Its final status.
        result: Its result, in any form of SPEC S2.1.
    """
    parsed = parse_whole(result)
    code = parsed.code
    if status is TaskStatus.COMPLETED and code not in PROBLEM_CODES:
        return None
    kind: CauseKind = "reported"
    if status is TaskStatus.ABORTED:
        kind = "aborted"
    elif code in _BY_CODE:
        kind = _BY_CODE[code]
    elif status is TaskStatus.REJECTED:
        kind = "refused"
    said = parsed.message
    if kind == "unreadable" and not _is_understood(result):
        said = _words_of(result)  # in place of our words on it
    return Cause(kind=kind, said=said[:TEXT_LIMIT])


def _words_of(result: Any) -> str:
    try:
        return readable(result)
    except BaseException:  # noqa: BLE001 - nothing that a producer sends raises (S2.2)
        return ""


def _is_understood(result: Any) -> bool:
    """Return True for a pair that says by its own code that the end is not known."""
    if type(result) not in (tuple, list) or len(result) != 2:
        return False
    return not parse_whole((result[0], "")).message
