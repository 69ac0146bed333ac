"""Cause lines: the text helpers of seed 001, and what they do to nested messages (S3.8)."""

from __future__ import annotations

import pytest

from taskgrove.commands.aggregation import SubtaskResult, TaskAggregationPolicy
from taskgrove.commands.aggregation.causes import causes_block, merged
from taskgrove.control_model import ResultCode, TaskStatus

Policy = TaskAggregationPolicy


@pytest.mark.parametrize(
    ("line", "name", "expected"),
    [
        ("a: boom", "a", True),
        ("a - boom", "a", True),
        ("[a - boom]", "a", True),
        ("- a - boom", "a", True),
        ("- a: boom", "a", True),
        ("- [a - boom]", "a", True),
        ("  a: boom", "a", True),
        ("a : boom", "a", True),
        ("a", "a", True),
        ("[a]", "a", True),
        ("ab: boom", "a", False),
        ("a-b: boom", "a", False),
        ("pst-beam-010: boom", "pst-beam-01", False),
        ("a boom", "a", False),
        ("boom a: x", "a", False),
        ("boom", "a", False),
        ("A: boom", "a", False),
        ("", "a", False),
        (": boom", "", False),
        ("a.b(c): boom", "a.b(c)", True),
    ],
)
def test_already_prefixed(line: str, name: str, expected: bool) -> None:
    assert Policy._already_prefixed(line, name) is expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Causes:\n- a\n- b", "- a\n- b"),
        ("Causes:\n\n- a\n", "- a"),
        ("Causes:\n  \n- a", "- a"),
        ("\nCauses:  \n- a\n\n", "- a"),
        ("Causes:\r\n- a\r\n", "- a"),
        ("Causes: a", "a"),
        ("Causes:", ""),
        ("- a\nCauses:\n- b", "- a\nCauses:\n- b"),
        ("\nboom\n", "boom"),
        ("Causes:\n  indented", "  indented"),
        ("", ""),
    ],
)
def test_strip_outer_causes_header(message: str, expected: str) -> None:
    assert Policy._strip_outer_causes_header(message) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("- a\n- b", ["a", "b"]),
        ("a\n\n  b  \n", ["a", "b"]),
        ("-a\n - b", ["a", "b"]),
        ("- - a", ["a"]),
        ("-\n- \n-", []),
        ("head\n- a", ["head", "a"]),
        ("-5 dB is too low\n- -5 dB", ["-5 dB is too low", "-5 dB"]),
        ("--force was not given", ["--force was not given"]),
        ("", []),
    ],
)
def test_flatten_bullets(message: str, expected: list[str]) -> None:
    assert Policy._flatten_bullets(message) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("boom", ["a - boom"]),
        ("  boom ", ["a - boom"]),
        ("a: boom", ["a: boom"]),
        ("a - boom", ["a - boom"]),
        ("[a - boom]", ["[a - boom]"]),
        ("- boom", ["boom"]),
        ("-5 dB", ["a - -5 dB"]),
        ("one\ntwo\none", ["one", "two"]),
        ("Causes:\n- x: one\n- two\n- two", ["x: one", "two"]),
        ("Causes: one", ["one"]),
        ("Causes:\n- one\nCauses:\n- two", ["one", "two"]),
        ("Task x failed\nCauses:\n- one", ["one"]),
        ("- Task x failed\n- Causes:\n- one", ["one"]),
        ("Task x failed", ["a - Task x failed"]),
        ("Task x failed\nand more", ["Task x failed", "and more"]),
        ("what happened\nCauses:\n- one", ["what happened", "one"]),
        (
            "Task x_pst completed in DEGRADED state: PST success 1/3.\nCauses:\n- one",
            ["x_pst - PST success 1/3", "one"],
        ),
        ("", []),
        ("  \n ", []),
        ("Causes:", []),
    ],
)
def test_causes_of_a_subtask(message: str, expected: list[str]) -> None:
    sub = SubtaskResult("a", TaskStatus.FAILED, (ResultCode.FAILED, message))
    assert Policy("t")._extract_causes_from_subtask(sub) == expected


def test_the_cause_of_a_leaf_is_its_message_with_its_device() -> None:
    sub = SubtaskResult("pst-beam-01", TaskStatus.FAILED, (3, "boom"), "mid-pst/beam/01")
    assert Policy("t")._extract_causes_from_subtask(sub) == ["mid-pst/beam/01: boom"]
    sub = SubtaskResult("a", TaskStatus.FAILED, (3, "x/y/z: boom"), failed_devices=["x/y/z"])
    assert Policy("t")._extract_causes_from_subtask(sub) == ["x/y/z: boom"]


def test_a_message_without_its_device_is_named_after_the_subtask() -> None:
    sub = SubtaskResult("a", TaskStatus.FAILED, (3, "boom"))
    sub.device_name = "x/y/z"
    assert Policy("t")._extract_causes_from_subtask(sub) == ["a - boom"]


def test_lists_are_merged_and_their_overflow_is_summed() -> None:
    assert merged([["a", "b"], ["b", "… and 3 more"], ["c", "… and 4 more"]]) == [
        "a",
        "b",
        "c",
        "… and 7 more",
    ]
    assert merged([]) == []


def test_a_block_of_causes() -> None:
    assert causes_block([]) == ""
    assert causes_block(["a", "b", "a"]) == "Causes:\n- a\n- b"
    two_hundred = [str(number) for number in range(200)]
    assert "more" not in causes_block(two_hundred)
    assert causes_block([*two_hundred, "x"]).endswith("\n- 199\n- … and 1 more")
    assert causes_block([*two_hundred, "x", "… and 4 more"]).endswith("\n- … and 5 more")
