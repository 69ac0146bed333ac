"""Cause lines: the text helpers of seed 001, and what they do to nested messages (S3.8)."""

from __future__ import annotations

import pytest

from taskgrove.commands.aggregation import CauseLine, SubtaskResult, TaskAggregationPolicy
from taskgrove.commands.aggregation.causes import NAMES_LIMIT, causes_block, counted, merged
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import LeftOut

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


# -- equal causes (S3.16) --------------------------------------------------------------------

DISH = "mid-dish/dish/0001"


def full(name: str, device: str | None = DISH, message: str = "queue is full", **more: object):
    result = (ResultCode.FAILED, message)
    return SubtaskResult(name, TaskStatus.COMPLETED, result, device, **more)  # type: ignore[arg-type]


def block(*subs: SubtaskResult) -> list[str]:
    message = Policy("t").aggregate(subs).message
    return [line.removeprefix("- ") for line in message.split("\n")[1:]]


def test_equal_causes_keep_their_count_and_name_their_leaves() -> None:
    subs = [full("conf"), full("lock", message="no lock"), full("scan"), full("end")]
    assert block(*subs) == [
        f"3 × {DISH}: queue is full (conf, scan, end)",
        f"{DISH}: no lock",
    ]
    outcome = Policy("t").aggregate(subs)
    assert outcome.causes == (
        CauseLine(f"{DISH}: queue is full", 3, ("conf", "scan", "end")),
        CauseLine(f"{DISH}: no lock", 1, ("lock",)),
    )


def test_a_cause_that_stands_alone_is_as_it_was() -> None:
    assert block(full("a", "low-pst/beam/11", "no room on the disk")) == [
        "low-pst/beam/11: no room on the disk"
    ]


def test_each_device_and_each_step_keeps_a_line_of_its_own() -> None:
    subs = [full("a", "x/y/1"), full("b", "x/y/2"), full("c", None), full("d", None)]
    assert block(*subs) == [
        "x/y/1: queue is full",
        "x/y/2: queue is full",
        "c - queue is full",
        "d - queue is full",
    ]


def test_texts_that_differ_in_a_number_are_not_equal() -> None:
    subs = [full("a", message="frame 3: no peaks"), full("b", message="frame 7: no peaks")]
    assert block(*subs) == [f"{DISH}: frame 3: no peaks", f"{DISH}: frame 7: no peaks"]


def test_of_many_leaves_the_first_are_named() -> None:
    (line,) = block(*(full(f"s{number}") for number in range(50)))
    names = ", ".join(f"s{number}" for number in range(NAMES_LIMIT))
    assert line == f"50 × {DISH}: queue is full ({names} and 30 more)"


def test_a_text_that_somebody_put_together_counts_for_no_leaf() -> None:
    told = SubtaskResult("g", TaskStatus.FAILED, (ResultCode.FAILED, f"Causes:\n- {DISH}: full"))
    assert block(told, full("a", message="full")) == [f"{DISH}: full"]


def test_sums_are_not_counted() -> None:
    sums = [CauseLine("g - PST success 1/2"), CauseLine("g - PST success 1/2")]
    assert counted(sums) == sums[:1]


def test_what_faults_left_out_on_one_device_is_counted() -> None:
    left = [LeftOut(name, DISH, "fault", "no answer") for name in ("conf", "scan")]
    outcome = Policy("t", left_out=left).aggregate([full("a", "x/y/1")])
    assert f"- 2 × {DISH}: left out: no answer (conf, scan)" in outcome.message.split("\n")


def test_more_than_two_hundred_causes_tell_how_many_more() -> None:
    lines = counted(
        [*(CauseLine(f"m{n}", 1, (f"s{n}",)) for n in range(203)), CauseLine("… and 4 more")]
    )
    assert lines[-2:] == [CauseLine("m199", 1, ("s199",)), CauseLine("… and 7 more")]


@pytest.mark.parametrize("parent_is", ["given", "its update_task"])
def test_trackers_hand_the_leaves_of_a_cause_up(parent_is: str) -> None:
    root = TaskTracker("root", 3, is_root=True)
    root.expect(["first", "second", "third"])
    for name in ("first", "second"):
        if parent_is == "given":
            group = TaskTracker(name, 2, parent=root)
        else:
            group = TaskTracker(name, 2, root.update_task)
        for step in ("conf", "scan"):
            group.update_task(
                task_name=step,
                status=TaskStatus.FAILED,
                result=(ResultCode.FAILED, "queue is full"),
                device_name=DISH,
            )
    root.update_task(
        task_name="third",
        status=TaskStatus.FAILED,
        result=(ResultCode.FAILED, "queue is full"),
        device_name=DISH,
    )
    assert root.outcome().message == (
        "Task root failed\nCauses:\n"
        f"- 5 × {DISH}: queue is full (first/conf, first/scan, second/conf, second/scan, third)"
    )
