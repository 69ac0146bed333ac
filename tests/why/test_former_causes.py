"""Records of before causes were data: the cause is read from the words, and only then."""

from __future__ import annotations

from typing import Any

import pytest

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, ComposedDetail, FinishedDetail
from taskgrove.story.legacy import cause_of, completed_late, rule_of, stop_reason
from taskgrove.story.node_note import NodeNote
from taskgrove.story.run_node import RunNode

FAILED, REJECTED, ABORTED = TaskStatus.FAILED, TaskStatus.REJECTED, TaskStatus.ABORTED


def leaf(message: str, status: TaskStatus, code: ResultCode, execution: Any = "DEVICE") -> RunNode:
    return RunNode(
        "root/leaf-1",
        composed=ComposedDetail(execution, target="a/b/c", command_name="Configure"),
        status=status,
        result_code=code,
        message=message,
        devices=("a/b/c",) if execution == "DEVICE" else (),
    )


@pytest.mark.parametrize(
    ("message", "status", "code", "kind"),
    [
        # What is ours when we say it is not when a device says it.
        ("timed out after 5 s (limit set by root)", FAILED, 3, "timed_out"),
        ("timed out after 5 s (limit set by root)", TaskStatus.COMPLETED, 3, "reported"),
        ("lock timed out after 5 s", FAILED, 3, "reported"),
        ("cannot be reached, X was not sent: no", FAILED, 3, "unreachable"),
        ("we cannot be reached, X was not sent: no", FAILED, 3, "reported"),
        ("Queue is full: 3 commands are waiting, 2 may", REJECTED, 5, "queue_full"),
        ("Queue is full", TaskStatus.COMPLETED, 3, "reported"),
        ("Command is not allowed", REJECTED, 5, "not_allowed"),
        ("not while scanning", TaskStatus.COMPLETED, 6, "not_allowed"),
        ("Configure takes DevString (text), not int 7", REJECTED, 5, "wrong_argument"),
        ("Off takes no argument, but was given int 7", REJECTED, 5, "wrong_argument"),
        ("this takes Device time", REJECTED, 5, "refused"),
        ("unusable result: a list of length 3", TaskStatus.COMPLETED, 4, "unreadable"),
        ("somebody pressed a button", ABORTED, 7, "aborted"),
        ("it ran; the runner of this run was lost at noon", FAILED, 3, "lost"),
        ("no such process; how process 7:1 ended is not known", FAILED, 3, "lost"),
        ("not started: the runner of this run was lost at noon", ABORTED, 7, "never_begun"),
        ("not started: the operator pressed stop", ABORTED, 7, "not_started"),
        ("abandoned: it did not end within 5 s of being asked to stop", ABORTED, 7, "abandoned"),
        ("not started: the limit of 5 s set by root expired", FAILED, 3, "not_started"),
        ("the device has no command Confgure; did you mean Configure?", REJECTED, 5, "no_command"),
        ("Scan did not end: its server is gone: no answer", FAILED, 3, "died"),
        ("Scan was lost with the server, which was restarted", FAILED, 3, "restarted"),
        ("Scan did not end: the device was unreachable for 30 s: x", FAILED, 3, "silent"),
        ("no reply; it is not known whether it was executed", FAILED, 3, "fate_unknown"),
        ("the device does not know Scan any more", FAILED, 3, "forgotten"),
        ("Unhandled exception during execution: x", FAILED, 3, "raised"),
    ],
)
def test_a_cause_has_its_kind(message: str, status: Any, code: int, kind: str) -> None:
    for words in (message, f"a/b/c: {message}"):
        assert cause_of(leaf(words, status, ResultCode(code))).kind == kind


def test_a_method_raises_and_a_device_that_says_the_same_does_not() -> None:
    words = "ValueError: no lock"
    for execution, kind in (("INTERNAL", "raised"), ("DEVICE", "reported")):
        node = leaf(words, FAILED, ResultCode.FAILED, execution)
        assert cause_of(node).kind == kind


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("timed out after 3 s", Cause(kind="timed_out", limit_s=3.0)),
        (
            "killed by SIGSEGV: frame 7",
            Cause(kind="signalled", signal="SIGSEGV", said="frame 7"),
        ),
        ("exit status 2: no peaks", Cause(kind="exited", return_code=2, said="no peaks")),
        ("ended without a result (exit status 0)", "no_result"),
        ("its channel broke: cut off", "no_result"),
        ("/opt/x cannot be started: no such file", "not_launched"),
        ("unresponsive for 5 s", "unresponsive"),
        ("no peaks above 5 sigma", "reported"),
    ],
)
def test_analyses(message: str, wanted: Cause | str) -> None:
    found = cause_of(leaf(f"leaf-1: {message}", FAILED, ResultCode.FAILED, "ANALYSIS"))
    assert wanted in (found, found.kind)


def test_limits_have_their_length_and_owner() -> None:
    words = "a/b/c: timed out after 2.5 s (limit set by root/part)"
    found = cause_of(leaf(words, FAILED, ResultCode.FAILED))
    assert found == Cause(kind="timed_out", limit_s=2.5, limit_owner="root/part")


def test_a_skipped_step_names_the_step_because_of_which() -> None:
    node = leaf("skipped: check failed", REJECTED, ResultCode.REJECTED)
    node.finished = FinishedDetail(skipped=True)
    assert cause_of(node).because_of == "root/check"


def test_a_cause_that_was_told_is_not_read_from_words() -> None:
    node = leaf("timed out after 5 s (limit set by root)", FAILED, ResultCode.FAILED)
    node.finished = FinishedDetail(cause=Cause(kind="reported", said="timed out after 5 s"))
    assert cause_of(node) is node.finished.cause


def test_a_rule_is_read_from_its_name_only_where_its_kind_was_not_told() -> None:
    former = ["quorum 0.8", "all", "any", "PST group", "CBF dominates", "default", "all of mine"]
    kinds = ["quorum", "all", "any", "pst_group", "cbf", None, "all"]
    assert [rule_of(FinishedDetail(rule=rule)) for rule in former] == kinds
    assert rule_of(FinishedDetail(rule="all of mine", rule_kind="own")) == "own"
    assert rule_of(FinishedDetail()) is None
    assert rule_of(None) is None


def test_notes_are_read_from_their_data_first() -> None:
    assert stop_reason(NodeNote("abort-asked", "asked to stop: Ctrl-C", 0)) == "Ctrl-C"
    told = NodeNote("abort-asked", "asked to stop: Ctrl-C", 0, {"reason": "asked to stop: x"})
    assert stop_reason(told) == "asked to stop: x"
    text = "ended COMPLETED after its end was decided"
    assert completed_late(NodeNote("late", text, 0))
    assert not completed_late(NodeNote("late", text, 0, {"status": "FAILED"}))
