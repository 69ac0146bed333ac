"""The enums of the control system, their values, and the table of legal moves (SPEC S1)."""

from __future__ import annotations

import math
import sys
from enum import Enum, IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.control_model import (
    FINAL_STATUSES,
    IS_FINAL,
    MOVES,
    AdminMode,
    HealthState,
    ObsMode,
    ObsState,
    ResultCode,
    TaskStatus,
    as_task_status,
)
from taskgrove.moves import IGNORE, REFUSE


@pytest.mark.parametrize(
    ("enum", "names"),
    [
        (
            TaskStatus,
            "STAGING QUEUED IN_PROGRESS ABORTED NOT_FOUND COMPLETED REJECTED FAILED",
        ),
        (ResultCode, "OK STARTED QUEUED FAILED UNKNOWN REJECTED NOT_ALLOWED ABORTED"),
        (HealthState, "OK DEGRADED FAILED UNKNOWN"),
        (AdminMode, "ONLINE OFFLINE ENGINEERING NOT_FITTED RESERVED"),
        (
            ObsState,
            "EMPTY RESOURCING IDLE CONFIGURING READY SCANNING ABORTING ABORTED RESETTING FAULT"
            " RESTARTING",
        ),
        (
            ObsMode,
            "IDLE IMAGING PULSAR_SEARCH PULSAR_TIMING DYNAMIC_SPECTRUM TRANSIENT_SEARCH VLBI"
            " CALIBRATION",
        ),
    ],
)
def test_the_values_are_those_of_the_field(enum: type[IntEnum], names: str) -> None:
    assert [(member.name, member.value) for member in enum] == [
        (name, value) for value, name in enumerate(names.split())
    ]


class ForeignStatus(IntEnum):
    """As another package defines it."""

    COMPLETED = 5


def test_integers_and_foreign_enums_compare_equal() -> None:
    assert TaskStatus.COMPLETED == 5
    assert TaskStatus.COMPLETED == ForeignStatus.COMPLETED
    assert {TaskStatus.COMPLETED: "x"}[5] == "x"  # type: ignore[index]


def test_final_is_said_once_and_everywhere_the_same() -> None:
    final = {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.ABORTED, TaskStatus.REJECTED}
    assert set(FINAL_STATUSES) == final
    for status in TaskStatus:
        assert status.is_final is (status in final) is IS_FINAL[status]


# Rows: the status; columns: the report; in the order of the values, STAGING to FAILED.
# x: the report is taken; -: a duplicate; .: refused.
TABLE = """
STAGING      xxxxxxxx
QUEUED       .xxxxxxx
IN_PROGRESS  ..xxxxxx
ABORTED      ...-....
NOT_FOUND    xxxxxxxx
COMPLETED    .....-..
REJECTED     ......-.
FAILED       .......-
"""


@pytest.mark.parametrize("row", TABLE.split("\n")[1:-1])
def test_every_report_is_taken_or_not(row: str) -> None:
    name, expected = row.split()
    cells = {to: MOVES[TaskStatus[name], to] for to in TaskStatus}
    signs = {IGNORE: "-", REFUSE: "."}
    found = "".join("x" if cell is to else signs[cell] for to, cell in cells.items())
    assert found == expected


class Odd:
    """What a careless producer may send."""

    def __int__(self) -> int:
        raise ZeroDivisionError


class Plain(Enum):
    """An enum that is no integer."""

    COMPLETED = 5


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (TaskStatus.FAILED, TaskStatus.FAILED),
        (7, TaskStatus.FAILED),
        (7.0, TaskStatus.FAILED),
        (ForeignStatus.COMPLETED, TaskStatus.COMPLETED),
        ("FAILED", TaskStatus.FAILED),
        (" in_progress ", TaskStatus.IN_PROGRESS),
        (None, None),
        (True, None),
        (8, None),
        (-1, None),
        (4.5, None),
        (math.nan, None),
        (math.inf, None),
        ("", None),
        ("DONE", None),
        (b"FAILED", None),
        ([5], None),
        (Odd(), None),
        (Plain.COMPLETED, None),
    ],
)
def test_what_a_producer_meant(value: Any, status: TaskStatus | None) -> None:
    assert as_task_status(value) is status


@given(
    st.one_of(
        st.integers(), st.floats(), st.text(), st.binary(), st.none(), st.lists(st.integers())
    )
)
def test_nothing_that_a_producer_sends_raises(value: Any) -> None:
    assert as_task_status(value) is None or as_task_status(value) in TaskStatus


def test_an_integer_too_long_to_print_is_no_status() -> None:
    assert as_task_status(10 ** (sys.get_int_max_str_digits() + 1)) is None
