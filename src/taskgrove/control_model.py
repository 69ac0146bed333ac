"""Enums of the control system, with the field's own values.

They are IntEnums, so plain integers and the members of the ``ska_control_model``
package compare equal to them and are accepted everywhere.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

from taskgrove.moves import IGNORE, REFUSE, table_of


class TaskStatus(IntEnum):
    """Where a task stands in its life.

    COMPLETED means that the task ran to its end, not that it succeeded: success
    is told by its :class:`ResultCode`.
    """

    STAGING = 0
    """Asked for, not yet in a queue."""
    QUEUED = 1
    """Accepted, waiting for its turn."""
    IN_PROGRESS = 2
    """Running."""
    ABORTED = 3
    """Ended by a request to stop. Final."""
    NOT_FOUND = 4
    """Nobody knows this task at the moment. Not final: it may be found again."""
    COMPLETED = 5
    """Ran to its end, well or badly. Final."""
    REJECTED = 6
    """Refused before it ran. Final."""
    FAILED = 7
    """Did not run to its end. Final."""

    @property
    def is_final(self) -> bool:
        """True for COMPLETED, FAILED, ABORTED and REJECTED."""
        return IS_FINAL[self]


class ResultCode(IntEnum):
    """The result code of a task."""

    OK = 0
    STARTED = 1
    QUEUED = 2
    FAILED = 3
    UNKNOWN = 4
    REJECTED = 5
    NOT_ALLOWED = 6
    ABORTED = 7


class HealthState(IntEnum):
    """Health of a device."""

    OK = 0
    DEGRADED = 1
    FAILED = 2
    UNKNOWN = 3


class AdminMode(IntEnum):
    """How a device may be used."""

    ONLINE = 0
    OFFLINE = 1
    ENGINEERING = 2
    NOT_FITTED = 3
    RESERVED = 4


class ObsState(IntEnum):
    """State of a subarray's observation."""

    EMPTY = 0
    RESOURCING = 1
    IDLE = 2
    CONFIGURING = 3
    READY = 4
    SCANNING = 5
    ABORTING = 6
    ABORTED = 7
    RESETTING = 8
    FAULT = 9
    RESTARTING = 10


class ObsMode(IntEnum):
    """Mode of a subarray's observation."""

    IDLE = 0
    IMAGING = 1
    PULSAR_SEARCH = 2
    PULSAR_TIMING = 3
    DYNAMIC_SPECTRUM = 4
    TRANSIENT_SEARCH = 5
    VLBI = 6
    CALIBRATION = 7


#: Final statuses; once in one of them a task never leaves it.
FINAL_STATUSES: Final = (
    TaskStatus.COMPLETED,
    TaskStatus.FAILED,
    TaskStatus.ABORTED,
    TaskStatus.REJECTED,
)

#: ``IS_FINAL[status]``: subscripted by the status itself, because a subscript
#: costs no call and may be used under a lock.
IS_FINAL: Final = tuple(status in FINAL_STATUSES for status in TaskStatus)

#: Codes that make a task that ran to its end (COMPLETED) a problem. STARTED and QUEUED
#: are none: they tell how it was accepted, and its status tells that it has ended.
PROBLEM_CODES: Final = frozenset(
    {
        ResultCode.FAILED,
        ResultCode.UNKNOWN,
        ResultCode.REJECTED,
        ResultCode.NOT_ALLOWED,
        ResultCode.ABORTED,
    }
)

_STAG, _QUE, _RUN, _ABO, _NOTF, _COM, _REJ, _FAI = TaskStatus
_ENDS: Final = {status: status for status in FINAL_STATUSES}
_ALL_REFUSED: Final = dict.fromkeys(TaskStatus, REFUSE)

#: The moves of a task: the status after a report, for each status and each reported status. Real
#: devices skip steps, so a task may move forward to any status. A task that has not reported yet
#: takes every report, as in STAGING. A final status is never left.
MOVES: Final = table_of(
    TaskStatus,
    TaskStatus,
    {
        _STAG: {_STAG: _STAG, _QUE: _QUE, _RUN: _RUN, _NOTF: _NOTF, **_ENDS},
        _QUE: {_STAG: REFUSE, _QUE: _QUE, _RUN: _RUN, _NOTF: _NOTF, **_ENDS},
        _RUN: {_STAG: REFUSE, _QUE: REFUSE, _RUN: _RUN, _NOTF: _NOTF, **_ENDS},
        _NOTF: {_STAG: _STAG, _QUE: _QUE, _RUN: _RUN, _NOTF: _NOTF, **_ENDS},
        _ABO: {**_ALL_REFUSED, _ABO: IGNORE},
        _COM: {**_ALL_REFUSED, _COM: IGNORE},
        _REJ: {**_ALL_REFUSED, _REJ: IGNORE},
        _FAI: {**_ALL_REFUSED, _FAI: IGNORE},
    },
)


def as_task_status(value: Any) -> TaskStatus | None:
    """Return the TaskStatus that a producer meant, or None when it is none.

    Args:
        value: A TaskStatus, an equal integer or foreign enum, or a status' name in any case.
    """
    if value is None or type(value) is TaskStatus:
        return value
    try:
        if isinstance(value, bool):
            return None
        if isinstance(value, str):
            return TaskStatus.__members__.get(value.strip().upper())
        return TaskStatus(int(value)) if int(value) == value else None
    except BaseException:  # noqa: BLE001 - a report of a producer never raises
        return None
