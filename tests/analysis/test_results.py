"""The data classes of seed 004: fields, order, defaults; names of pages."""

from __future__ import annotations

import dataclasses
from enum import Enum

import pytest

from taskgrove.analysis.results import (
    DescribedAnalysis,
    ElogSummaryPlots,
    TaskResult,
    TaskStatus,
    check_display_name,
)
from taskgrove.errors import AnalysisError


def test_the_states_are_those_of_the_seed() -> None:
    assert {state.name: state.value for state in TaskStatus} == {
        "PENDING": 0, "RUNNING": 1, "COMPLETED": 2, "FAILED": 3,
        "STOPPED": 4, "CANCELLED": 5, "TIMEDOUT": 6,
    }  # fmt: skip
    assert TaskStatus.__mro__[1] is Enum  # plain: not ordered, equal to no integer
    assert TaskStatus.PENDING != 0


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (TaskResult, ["task_name", "task_status", "summary", "payload", "impl_schemas"]),
        (ElogSummaryPlots, ["display_name", "figures"]),
        (
            DescribedAnalysis,
            ["task_result", "task_parameters", "task_env", "poll_interval", "communicator_desc"],
        ),
    ],
)
def test_fields_and_their_order_are_those_of_the_seed(kind: type, names: list[str]) -> None:
    fields = dataclasses.fields(kind)
    assert [item.name for item in fields] == names
    assert {item.name for item in fields if item.default is not dataclasses.MISSING} == (
        {"impl_schemas"} if kind is TaskResult else set()
    )
    assert all(item.default_factory is dataclasses.MISSING for item in fields)


def test_the_only_default_is_none() -> None:
    assert TaskResult("a", TaskStatus.PENDING, "", "").impl_schemas is None
    result = TaskResult("a", TaskStatus.PENDING, "", "")
    result.task_status = TaskStatus.RUNNING  # not frozen, as in the seed
    assert DescribedAnalysis(result, None, {}, 0.05, [""]).task_result is result


@pytest.mark.parametrize(
    "name",
    ["scans/my_motor_scan", "page", "a b/c-d.e", "...", "häufig/☂", "a" * 255, "a/" * 500 + "b",
     "back\\slash"],
)  # fmt: skip
def test_names_of_pages_that_stay_below_a_root(name: str) -> None:
    assert ElogSummaryPlots(name, b"").display_name == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../up", "'..'"),
        ("a/../b", "'..'"),
        (".", "'.'"),
        ("a/./b", "'.'"),
        ("/etc/passwd", "absolute"),
        ("", "empty"),
        ("a//b", "empty"),
        ("a/", "empty"),
        (" ", "empty"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\x9bb", "control"),
        ("\udc80", r"U\+DC80"),
        ("scan/\u202egnp.exe", r"U\+202E"),
        ("sc\u200ban", r"U\+200B"),
        ("\u2066scan", r"U\+2066"),
        ("scan\ufeff", r"U\+FEFF"),
        ("scan\u00ad", r"U\+00AD"),
        ("scan\u2028two", r"U\+2028"),
        ("scan\u00a0", r"U\+00A0"),
        ("scan\U000e0041", r"U\+E0041"),
        ("scan\u3164", r"U\+3164"),
        ("x" * 256, "255 bytes"),
        ("ä" * 128, "255 bytes"),
        ("a/" * 2000 + "b", "3000 bytes"),
        (7, "not int"),
        (None, "not NoneType"),
    ],
)
def test_w5_names_of_pages_that_do_not(name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        ElogSummaryPlots(name, b"")
    assert isinstance(caught.value, AnalysisError)
    with pytest.raises(AnalysisError):
        check_display_name(name)
