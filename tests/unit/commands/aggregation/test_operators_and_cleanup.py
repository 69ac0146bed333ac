"""The acts of operators, and the clean-up of a sequence, in the outcome of a task."""

from __future__ import annotations

import pytest

from taskgrove.commands.aggregation import (
    AggregationOutcome,
    SubtaskResult,
    TaskAggregationPolicy,
)
from taskgrove.commands.task import LeafTask, Task
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import FinishedDetail, LeftOut, SteeringRequest
from taskgrove.testing import EventLog

COMPLETED, FAILED, REJECTED, ABORTED = (
    TaskStatus.COMPLETED,
    TaskStatus.FAILED,
    TaskStatus.REJECTED,
    TaskStatus.ABORTED,
)
OK = (COMPLETED, ResultCode.OK, None)
MARKED = (COMPLETED, ResultCode.OK, "DEGRADED")
DEGRADED = (COMPLETED, ResultCode.FAILED, "DEGRADED")
SEVERE = (FAILED, ResultCode.FAILED, "FAILED")
REQUEST = SteeringRequest(id="r1", verb="accept", path="observe/scan", who="ann", why="by eye")


def ok(name: str = "ok") -> SubtaskResult:
    return SubtaskResult(name, COMPLETED, (ResultCode.OK, "fine"))


def bad(name: str = "bad", device: str | None = None) -> SubtaskResult:
    return SubtaskResult(name, FAILED, (ResultCode.FAILED, "boom"), device)


def accepted(name: str = "scan", who: str = "ann") -> SubtaskResult:
    words = f"accepted by {who}: seen by eye; boom"
    return SubtaskResult(name, COMPLETED, (ResultCode.OK, words), accepted=True, accepted_by=(who,))


def left_out(name: str = "tune", who: str = "ann") -> SubtaskResult:
    item = LeftOut(name, None, "operator", f"left out by {who}", said="no time")
    words = (ResultCode.REJECTED, f"left out by {who}: no time")
    return SubtaskResult(name, REJECTED, words, skipped=True, left_out=(item,))


def casualty(name: str = "rest") -> SubtaskResult:
    return SubtaskResult(name, REJECTED, (ResultCode.REJECTED, "skipped: x failed"), skipped=True)


def judged(*subs: SubtaskResult, rule: str | None = None, name: str = "t") -> AggregationOutcome:
    return TaskAggregationPolicy(name, is_root=True, rule=rule).aggregate(list(subs))


def with_cleanup(
    *subs: SubtaskResult, rule: str | None = None, name: str = "t"
) -> AggregationOutcome:
    policy = TaskAggregationPolicy(name, is_root=True, rule=rule, finally_name="finally")
    return policy.aggregate(list(subs))


def verdict(outcome: AggregationOutcome) -> tuple[TaskStatus, ResultCode, str | None]:
    return outcome.status, outcome.result, outcome.health_state


def reason(outcome: AggregationOutcome) -> str:
    assert outcome.decision is not None
    return outcome.decision.reason


# -- accepted -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [None, "all", "any", "quorum 2", "quorum 1.0"])
def test_an_accepted_failure_is_a_success_in_every_rule_and_marks_the_task(
    rule: str | None,
) -> None:
    outcome = judged(ok(), accepted(), rule=rule)
    assert verdict(outcome) == MARKED
    assert outcome.decision is not None
    assert (outcome.decision.succeeded, outcome.decision.verdict) == (2, "DEGRADED")
    assert (outcome.accepted, outcome.accepted_by) == (True, ("ann",))
    assert not outcome.ok
    assert reason(outcome).endswith(", 1 accepted by ann")
    assert "- scan - accepted by ann: seen by eye; boom" in outcome.message


def test_the_sum_of_a_group_of_beams_names_it() -> None:
    beams = [ok("b1"), accepted("b2", "bob"), accepted("b3", "ann")]
    outcome = judged(*beams, name="configure_pst")
    assert verdict(outcome) == MARKED
    assert reason(outcome) == "PST success 3/3, 2 accepted by ann and bob"
    first, _, _ = outcome.message.partition("\n")
    assert first == (
        "Task configure_pst completed in DEGRADED state:"
        " PST success 3/3, 2 accepted by ann and bob."
    )


def test_an_accepted_failure_hides_no_other_problem() -> None:
    outcome = judged(accepted(), bad())
    assert verdict(outcome) == SEVERE
    assert (outcome.accepted, outcome.accepted_by) == (False, ())
    assert reason(outcome) == "1 of 2 succeeded; bad failed, 1 accepted by ann"


def test_an_accepted_leaf_is_handed_up_and_is_a_success_in_its_parent() -> None:
    root = TaskTracker("observe", 2, is_root=True)
    log = EventLog()
    root.subscribe(log)
    middle = TaskTracker("middle", 1, root.update_task)
    middle.update_task(
        task_name="scan",
        status=COMPLETED,
        result=(ResultCode.OK, "accepted by ann: seen by eye; boom"),
        accepted=True,
        accepted_by=("ann",),
        request=REQUEST,
    )
    record = root.subtasks["middle"]
    assert (record.status, record.result_code, record.health_state) == MARKED
    assert (record.accepted, record.accepted_by) == (True, ("ann",))
    root.update_task(task_name="end", status=COMPLETED)
    outcome = root.outcome()
    assert verdict(outcome) == MARKED
    assert outcome.accepted_by == ("ann",)
    assert reason(outcome) == "2 of 2 succeeded, 1 accepted by ann"
    assert outcome.message.splitlines() == [
        "Task observe completed in DEGRADED state: 2 of 2 succeeded, 1 accepted by ann.",
        "Causes:",
        "- scan - accepted by ann: seen by eye; boom",
    ]
    told = log.assert_one_end("observe").detail
    assert isinstance(told, FinishedDetail)
    assert (told.accepted, told.accepted_by, told.request) == (True, ("ann",), None)


def test_the_end_of_a_leaf_carries_the_request_that_caused_it() -> None:
    root = Task("observe", subtasks=[LeafTask("scan", "x/y/z", "Scan")], is_root=True)
    log = EventLog()
    root.tracker.subscribe(log)
    root.subtasks[0].report(  # type: ignore[attr-defined]
        status=COMPLETED,
        result=(ResultCode.OK, "accepted"),
        accepted=True,
        accepted_by=("ann",),
        request=REQUEST,
    )
    told = log.assert_one_end("observe/scan").detail
    assert isinstance(told, FinishedDetail)
    assert (told.accepted, told.accepted_by, told.request) == (True, ("ann",), REQUEST)
    own = root.subtasks[0].tracker.outcome()
    assert (verdict(own), own.accepted, own.ok) == (OK, True, False)


# -- left out by an operator ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (None, MARKED),
        ("all", MARKED),
        ("any", MARKED),
        ("quorum 2", MARKED),
        ("quorum 3", SEVERE),
        ("quorum 1.0", SEVERE),
    ],
)
def test_a_step_left_out_is_no_problem_and_no_success(
    rule: str | None, expected: tuple[TaskStatus, ResultCode, str | None]
) -> None:
    outcome = judged(ok("a"), left_out(), ok("b"), rule=rule)
    assert verdict(outcome) == expected
    assert outcome.decision is not None
    assert (outcome.decision.succeeded, outcome.decision.total) == (2, 3)
    assert reason(outcome).endswith(", 1 left out by ann")
    assert [item.kind for item in outcome.left_out] == ["operator"]
    assert "- tune - left out by ann: no time" in outcome.message


@pytest.mark.parametrize(
    ("subs", "rule", "name", "expected"),
    [
        ([left_out()], None, "t", MARKED),
        ([left_out()], "any", "t", SEVERE),
        ([left_out("b1"), left_out("b2")], None, "scan_pst", MARKED),
        ([left_out("b1"), bad("b2")], None, "scan_pst", SEVERE),
        ([left_out(), bad("b", "mid-pst/beam/01")], None, "t", SEVERE),
        ([left_out(), bad("b", "mid-pst/beam/01"), ok()], None, "t", DEGRADED),
        ([left_out(), casualty(), bad()], None, "t", SEVERE),
    ],
)
def test_where_nothing_succeeds_a_step_left_out_softens_nothing(
    subs: list[SubtaskResult],
    rule: str | None,
    name: str,
    expected: tuple[TaskStatus, ResultCode, str | None],
) -> None:
    assert verdict(judged(*subs, rule=rule, name=name)) == expected


def test_a_refusal_beside_a_step_left_out_is_a_refusal() -> None:
    refused = SubtaskResult("on", REJECTED, (ResultCode.NOT_ALLOWED, "no"))
    assert verdict(judged(refused, left_out())) == (REJECTED, ResultCode.NOT_ALLOWED, None)


def test_a_step_left_out_far_below_marks_every_task_above_it() -> None:
    root = TaskTracker("observe", 1, is_root=True)
    middle = TaskTracker("middle", 1, root.update_task)
    lower = TaskTracker("lower", 2, middle.update_task)
    lower.update_task(task_name="scan", status=COMPLETED)
    item = LeftOut("tune", None, "operator", "left out by ann")
    words = (ResultCode.REJECTED, "left out by ann")
    lower.update_task(
        task_name="tune", status=REJECTED, result=words, skipped=True, left_out=(item,)
    )
    outcome = root.outcome()
    assert verdict(outcome) == MARKED
    assert not outcome.accepted
    assert reason(outcome) == "1 of 1 succeeded, 1 left out by ann"
    assert "- tune - left out by ann" in outcome.message
    assert root.progress == 100


def test_a_whole_task_left_out_is_no_casualty_above() -> None:
    root, log = TaskTracker("observe", 2, is_root=True), EventLog()
    root.expect(["configure", "scan"])
    root.subscribe(log)
    below = TaskTracker("configure", 1, root.update_task)
    item = LeftOut("configure", None, "operator", "left out by ann")
    below.conclude(
        REJECTED,
        ResultCode.REJECTED,
        "left out by ann",
        skipped=True,
        left_out=(item,),
        request=REQUEST,
    )
    root.update_task(task_name="scan", status=COMPLETED)
    assert verdict(root.outcome()) == MARKED


# -- the clean-up of a sequence -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "name", "expected"),
    [
        (None, "t", SEVERE),
        ("all", "t", SEVERE),
        ("any", "t", DEGRADED),
        ("quorum 2", "t", DEGRADED),
        ("quorum 1.0", "t", DEGRADED),
        (None, "scan_pst", DEGRADED),
    ],
)
def test_a_failing_cleanup_after_good_steps_is_a_failing_step(
    rule: str | None, name: str, expected: tuple[TaskStatus, ResultCode, str | None]
) -> None:
    outcome = with_cleanup(ok("a"), ok("b"), bad("finally"), rule=rule, name=name)
    assert verdict(outcome) == expected
    assert outcome.decision is not None
    assert (outcome.decision.succeeded, outcome.decision.total) == (2, 2)
    assert reason(outcome).endswith("finally failed")
    assert outcome.message.endswith("- finally - boom")


def test_the_causes_of_a_cleanup_follow_those_of_failed_steps() -> None:
    outcome = with_cleanup(bad("finally"), bad("a"), casualty("b"))
    alone = judged(bad("a"), casualty("b"))
    assert verdict(outcome) == verdict(alone) == SEVERE
    lines = [line.text for line in outcome.causes]
    assert lines == ["a - boom", "b - skipped: x failed", "finally - boom"]


@pytest.mark.parametrize("rule", ["any", "quorum 1", "quorum 0.5"])
def test_a_good_cleanup_rescues_nothing(rule: str) -> None:
    assert verdict(with_cleanup(bad("a"), ok("finally"), rule=rule)) == SEVERE


def test_a_cleanup_that_was_not_needed_changes_no_verdict() -> None:
    refused = SubtaskResult("on", REJECTED, (ResultCode.REJECTED, "no"))
    for steps in ([refused], [ok()], [left_out()], [bad()]):
        assert verdict(with_cleanup(*steps, casualty("finally"))) == verdict(judged(*steps))


def test_a_task_has_not_ended_before_its_cleanup() -> None:
    waiting, running = SubtaskResult("finally"), SubtaskResult("finally", TaskStatus.IN_PROGRESS)
    assert with_cleanup(SubtaskResult("a"), waiting).status is TaskStatus.QUEUED
    assert with_cleanup(ok(), waiting).status is TaskStatus.IN_PROGRESS
    assert with_cleanup(bad(), running).status is TaskStatus.IN_PROGRESS


def test_a_cleanup_that_was_stopped_aborts_the_task() -> None:
    stopped = SubtaskResult("finally", ABORTED, (ResultCode.ABORTED, "not run: stopped"))
    held = SubtaskResult("a", ABORTED, (ResultCode.ABORTED, "aborted while it was held; boom"))
    outcome = with_cleanup(held, stopped)
    assert verdict(outcome) == (ABORTED, ResultCode.ABORTED, None)
    assert [line.text for line in outcome.causes] == [
        "a - aborted while it was held; boom",
        "finally - not run: stopped",
    ]
    assert verdict(with_cleanup(ok(), stopped)) == (ABORTED, ResultCode.ABORTED, None)
    assert outcome.message.count("finally") == 1


def test_an_accepted_failure_below_does_not_hide_a_failing_cleanup() -> None:
    outcome = with_cleanup(accepted(), bad("finally"))
    assert verdict(outcome) == SEVERE
    assert not outcome.accepted
    assert reason(outcome) == "1 of 1 succeeded; finally failed, 1 accepted by ann"


def test_the_tracker_of_a_task_knows_its_cleanup() -> None:
    leaf = LeafTask("a", "x/y/z", "On")
    end = LeafTask("end", "x/y/z", "End")
    root = Task("observe", subtasks=[leaf], finally_tasks=[end], rule="any", is_root=True)
    assert (root.tracker.total_subtasks, list(root.tracker.subtasks)) == (2, ["a", "finally"])
    leaf.report(status=FAILED, result=(ResultCode.FAILED, "boom"))
    assert root.tracker.progress == 50
    assert not root.tracker.is_complete
    end.report(status=COMPLETED)
    outcome = root.tracker.outcome()
    assert verdict(outcome) == SEVERE
    assert outcome.decision is not None
    assert (outcome.decision.succeeded, outcome.decision.total) == (0, 1)


def test_a_severe_cleanup_is_told_once() -> None:
    severe = SubtaskResult("finally", FAILED, (ResultCode.FAILED, "boom"), severe=True)
    outcome = with_cleanup(ok(), severe)
    assert verdict(outcome) == SEVERE
    assert reason(outcome) == "1 of 1 succeeded, finally failed"
