"""TaskAggregationPolicy, rule by rule (seed 001, SPEC S3)."""

from __future__ import annotations

import inspect
import itertools

import pytest

from taskgrove.commands.aggregation import (
    AggregationOutcome,
    SubtaskResult,
    TaskAggregationPolicy,
)
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import LeftOut

CBF = "low-cbf/subarray/01"
PSS = "low-pss/subarray/01"
COMPLETED, FAILED, REJECTED, ABORTED = (
    TaskStatus.COMPLETED,
    TaskStatus.FAILED,
    TaskStatus.REJECTED,
    TaskStatus.ABORTED,
)


def beam(number: int) -> str:
    return f"mid-pst/beam/{number:02}"


def ok(name: str = "ok", device: str | None = None) -> SubtaskResult:
    return SubtaskResult(name, COMPLETED, (ResultCode.OK, "fine"), device)


def bad(
    name: str,
    device: str | None = None,
    status: TaskStatus = COMPLETED,
    code: ResultCode | None = ResultCode.FAILED,
    message: str = "boom",
    **more: object,
) -> SubtaskResult:
    result = None if code is None else (code, message)
    return SubtaskResult(name, status, result, device, **more)  # type: ignore[arg-type]


def casualty(name: str = "c", cause: str = "skipped: check_lock failed") -> SubtaskResult:
    return SubtaskResult(name, REJECTED, (ResultCode.REJECTED, cause), skipped=True)


def aggregate(*subs: SubtaskResult, name: str = "t", root: bool = True) -> AggregationOutcome:
    return TaskAggregationPolicy(name, is_root=root).aggregate(list(subs))


def verdict(outcome: AggregationOutcome) -> tuple[TaskStatus, ResultCode, str | None]:
    return outcome.status, outcome.result, outcome.health_state


# The verdicts, by name.
OK = (COMPLETED, ResultCode.OK, None)
DEGRADED = (COMPLETED, ResultCode.FAILED, "DEGRADED")
SEVERE = (FAILED, ResultCode.FAILED, "FAILED")


# -- the documented surface ---------------------------------------------------------------


def test_the_signature_is_the_documented_one() -> None:
    parameters = inspect.signature(TaskAggregationPolicy).parameters
    assert list(parameters)[:4] == ["task_name", "operation", "obs_mode", "is_root"]
    assert [parameters[name].default for name in ("operation", "obs_mode", "is_root")] == [
        None,
        None,
        False,
    ]
    assert all(item.kind is item.KEYWORD_ONLY for item in list(parameters.values())[4:])


@pytest.mark.parametrize(
    ("device", "kind"),
    [
        ("low-cbf/subarray/01", "CBF"),
        ("MID-CBF/x/y", "CBF"),
        ("mid-pst/beam/01", "PST"),
        ("low-PSS/subarray/01", "PSS"),
        ("pss-of-pst", "PST"),
        ("pst-of-cbf", "CBF"),
        ("mid-csp/control/0", "OTHER"),
        ("", "OTHER"),
    ],
)
def test_kind_of_a_device(device: str, kind: str) -> None:
    assert TaskAggregationPolicy._kind(device) == kind


def test_devices_to_report() -> None:
    devices = TaskAggregationPolicy._devices
    assert devices(SubtaskResult("a", device_name="x", failed_devices=["y", "z"])) == ["y", "z"]
    assert devices(SubtaskResult("a", device_name="x")) == ["x"]
    assert devices(SubtaskResult("a", device_name="x", failed_devices=[])) == ["x"]
    assert devices(SubtaskResult("a", devices=["x"])) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("configure_pst", True),
        ("configureScan_pst", True),
        ("allocate_resources_pst", True),
        ("CONFIGURE_PST", True),
        ("pst", True),
        ("PST", True),
        ("configurepst", False),
        ("configure_pst_2", False),
        ("pst_configure", False),
        ("configure", False),
    ],
)
def test_pst_group_by_name(name: str, expected: bool) -> None:
    assert TaskAggregationPolicy(name)._is_pst_group_task() is expected
    assert TaskAggregationPolicy(name, pst_group=True)._is_pst_group_task()
    assert not TaskAggregationPolicy(name, pst_group=False)._is_pst_group_task()


def test_the_first_cbf_subtask_is_found_problem_or_not() -> None:
    first, second = ok("a", CBF), bad("b", CBF)
    policy = TaskAggregationPolicy("t")
    assert policy._find_cbf_subtask([ok("x", PSS), first, second]) is first
    assert policy._find_cbf_subtask([bad("c", failed_devices=["x", CBF]), second]).name == "c"  # type: ignore[union-attr]
    assert policy._find_cbf_subtask([ok("x", PSS)]) is None
    assert policy._find_cbf_subtask([]) is None


@pytest.mark.parametrize(
    ("status", "code", "final", "counted"),
    [
        (FAILED, None, True, True),
        (FAILED, ResultCode.OK, True, True),
        (REJECTED, ResultCode.REJECTED, True, True),
        (COMPLETED, ResultCode.FAILED, True, True),
        (TaskStatus.IN_PROGRESS, ResultCode.FAILED, True, True),
        (COMPLETED, ResultCode.REJECTED, False, True),
        (COMPLETED, ResultCode.NOT_ALLOWED, False, True),
        (COMPLETED, ResultCode.ABORTED, False, True),
        (COMPLETED, ResultCode.UNKNOWN, False, True),
        (TaskStatus.IN_PROGRESS, ResultCode.UNKNOWN, False, False),
        (COMPLETED, ResultCode.OK, False, False),
        (COMPLETED, ResultCode.STARTED, False, False),
        (COMPLETED, None, False, False),
        (ABORTED, ResultCode.ABORTED, False, False),
        (None, None, False, False),
    ],
)
def test_what_is_a_problem(
    status: TaskStatus | None, code: ResultCode | None, final: bool, counted: bool
) -> None:
    policy = TaskAggregationPolicy("t")
    sub = SubtaskResult("a", status, code)
    assert policy._is_final_problem(sub) is final
    assert policy.is_problem(sub) is counted
    sub.skipped = True
    assert policy._is_final_problem(sub) is final
    assert policy.is_problem(sub) is False


def test_failed_devices_and_causes_are_gathered() -> None:
    subs = [
        bad("a", beam(1)),
        bad("b", failed_devices=[CBF, beam(1), "x/y/z"], message="Causes:\n- one\n- two"),
        bad("c", code=ResultCode.REJECTED, message="not a final problem"),
        ok(),
        bad("d", PSS, message="two"),
        bad("e", message="one"),
        bad("f", status=FAILED, code=None),
    ]
    failed, causes = TaskAggregationPolicy("t")._gather_failed_devices_and_causes(subs)
    assert failed == {"CBF": [CBF], "PST": [beam(1)], "PSS": [PSS], "OTHER": ["x/y/z"]}
    assert causes == [f"{beam(1)}: boom", "one", "two", f"{PSS}: two", "e - one"]


# -- S3.0 to S3.2 -------------------------------------------------------------------------


def test_no_subtasks() -> None:
    outcome = aggregate()
    assert verdict(outcome) == OK
    assert outcome.message == "Task t completed"


def test_aborted_dominates_everything() -> None:
    subs = [
        bad("a", CBF, FAILED),
        SubtaskResult("b", TaskStatus.IN_PROGRESS),
        SubtaskResult("c", ABORTED, (ResultCode.ABORTED, "by hand"), beam(1)),
        casualty("d"),
    ]
    outcome = aggregate(*subs)
    assert verdict(outcome) == (ABORTED, ResultCode.ABORTED, None)
    causes = f"Causes:\n- {beam(1)}: by hand\n- {CBF}: boom"
    assert outcome.message == f"Task t aborted\n{causes}"
    assert outcome.decision is not None
    assert outcome.decision.line == "1 of 4 aborted → ABORTED"
    assert aggregate(*subs, root=False).message == causes


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([None, TaskStatus.STAGING, TaskStatus.QUEUED], TaskStatus.QUEUED),
        ([None], TaskStatus.QUEUED),
        ([TaskStatus.QUEUED, COMPLETED], TaskStatus.IN_PROGRESS),
        ([TaskStatus.QUEUED, FAILED], TaskStatus.IN_PROGRESS),
        ([TaskStatus.IN_PROGRESS], TaskStatus.IN_PROGRESS),
        ([TaskStatus.NOT_FOUND], TaskStatus.IN_PROGRESS),
        ([COMPLETED, TaskStatus.NOT_FOUND], TaskStatus.IN_PROGRESS),
    ],
)
def test_not_all_final(statuses: list[TaskStatus | None], expected: TaskStatus) -> None:
    subs = [SubtaskResult(str(number), status) for number, status in enumerate(statuses)]
    code = ResultCode.QUEUED if expected is TaskStatus.QUEUED else ResultCode.STARTED
    outcome = aggregate(*subs)
    assert verdict(outcome) == (expected, code, None)
    words = "queued" if expected is TaskStatus.QUEUED else "in progress"
    assert outcome.message == f"Task t {words}"
    assert aggregate(*subs, root=False).message == ""


# -- S3.3 ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (FAILED, ResultCode.FAILED, SEVERE),
        (FAILED, None, SEVERE),
        (FAILED, ResultCode.OK, SEVERE),
        (FAILED, ResultCode.UNKNOWN, SEVERE),
        (FAILED, ResultCode.ABORTED, (FAILED, ResultCode.ABORTED, "FAILED")),
        (FAILED, ResultCode.REJECTED, (REJECTED, ResultCode.REJECTED, None)),
        (COMPLETED, ResultCode.FAILED, SEVERE),
        (COMPLETED, ResultCode.UNKNOWN, SEVERE),
        (COMPLETED, ResultCode.NOT_ALLOWED, (FAILED, ResultCode.NOT_ALLOWED, "FAILED")),
        (COMPLETED, ResultCode.ABORTED, (FAILED, ResultCode.ABORTED, "FAILED")),
        (COMPLETED, ResultCode.REJECTED, (REJECTED, ResultCode.REJECTED, None)),
        (REJECTED, ResultCode.REJECTED, (REJECTED, ResultCode.REJECTED, None)),
        (REJECTED, ResultCode.NOT_ALLOWED, (REJECTED, ResultCode.NOT_ALLOWED, None)),
        (REJECTED, ResultCode.FAILED, (REJECTED, ResultCode.FAILED, None)),
        (REJECTED, ResultCode.UNKNOWN, (REJECTED, ResultCode.REJECTED, None)),
        (REJECTED, ResultCode.OK, (REJECTED, ResultCode.REJECTED, None)),
        (REJECTED, None, (REJECTED, ResultCode.REJECTED, None)),
    ],
)
def test_a_cbf_problem_dominates(
    status: TaskStatus,
    code: ResultCode | None,
    expected: tuple[TaskStatus, ResultCode, str | None],
) -> None:
    others = [ok("p1", beam(1)), bad("p2", beam(2)), bad("x", status=FAILED), casualty()]
    for device in ({"device": CBF}, {"failed_devices": [beam(3), CBF]}):
        cbf = bad("cbf", status=status, code=code, **device)  # type: ignore[arg-type]
        for name in ("t", "configure_pst"):
            assert verdict(aggregate(*others, cbf, name=name)) == expected
            assert verdict(aggregate(cbf, *others, name=name)) == expected


def test_a_problem_of_any_cbf_subtask_dominates_not_only_of_the_first() -> None:
    outcome = aggregate(ok("a", CBF), bad("b", "low-cbf/subarray/02"), ok("c", PSS))
    assert verdict(outcome) == SEVERE
    assert outcome.message == "Task t failed\nCauses:\n- low-cbf/subarray/02: boom"
    assert outcome.decision is not None
    assert outcome.decision.line == "CBF problem dominates → FAILED"
    assert not outcome.decision.severe


def test_a_failed_cbf_outweighs_a_rejected_one_in_any_order() -> None:
    subs = [
        bad("a", CBF, REJECTED, ResultCode.REJECTED),
        bad("b", CBF, COMPLETED, ResultCode.NOT_ALLOWED),
        bad("c", CBF, FAILED, ResultCode.FAILED),
    ]
    for order in itertools.permutations(subs):
        assert verdict(aggregate(*order)) == SEVERE


def test_of_two_cbf_refusals_the_graver_code_is_told_in_any_order() -> None:
    subs = [
        bad("a", CBF, REJECTED, ResultCode.REJECTED),
        bad("b", CBF, REJECTED, ResultCode.NOT_ALLOWED),
    ]
    for order in itertools.permutations(subs):
        assert verdict(aggregate(*order)) == (REJECTED, ResultCode.NOT_ALLOWED, None)


def test_a_rejected_cbf_has_the_sentence_of_a_rejection() -> None:
    outcome = aggregate(bad("a", CBF, REJECTED, ResultCode.REJECTED, "busy"), ok())
    assert outcome.message == f"Task t rejected\nCauses:\n- {CBF}: busy"


# -- S3.4 ---------------------------------------------------------------------------------


def test_some_pst_beams_succeed() -> None:
    subs = [ok("a", beam(1)), bad("b", beam(2)), bad("c", beam(3), FAILED, message="dead")]
    outcome = aggregate(*subs, name="configure_pst")
    assert verdict(outcome) == DEGRADED
    assert outcome.message == (
        "Task configure_pst completed in DEGRADED state: PST success 1/3.\n"
        f"Causes:\n- {beam(2)}: boom\n- {beam(3)}: dead"
    )
    decision = outcome.decision
    assert decision is not None
    assert (decision.succeeded, decision.total, decision.verdict) == (1, 3, "DEGRADED")
    assert decision.line == "PST success 1/3 → DEGRADED"
    nested = aggregate(*subs, name="configure_pst", root=False)
    assert nested.message == (
        f"Causes:\n- configure_pst - PST success 1/3\n- {beam(2)}: boom\n- {beam(3)}: dead"
    )


@pytest.mark.parametrize(
    ("status", "health"), [(COMPLETED, "DEGRADED"), (REJECTED, "DEGRADED"), (FAILED, "FAILED")]
)
def test_all_pst_beams_fail(status: TaskStatus, health: str) -> None:
    outcome = aggregate(bad("a", beam(1)), bad("b", beam(2), status), name="configure_pst")
    assert verdict(outcome) == (FAILED, ResultCode.FAILED, health)
    assert outcome.message == (
        "Task configure_pst failed: PST success 0/2.\n"
        f"Causes:\n- {beam(1)}: boom\n- {beam(2)}: boom"
    )


def test_all_pst_beams_succeed() -> None:
    outcome = aggregate(ok("a", beam(1)), ok("b", beam(2)), name="configure_pst")
    assert verdict(outcome) == OK
    assert outcome.message == "Task configure_pst completed"
    assert outcome.decision is not None
    assert outcome.decision.line == "PST success 2/2 → OK"


def test_a_degraded_child_of_a_pst_group_is_neither_success_nor_failure() -> None:
    child = bad("a", failed_devices=[beam(1)], health_state="DEGRADED")
    outcome = aggregate(child, bad("b", beam(2), FAILED), name="x_pst")
    assert verdict(outcome) == DEGRADED
    assert outcome.decision is not None
    assert outcome.decision.line == "PST success 0/2 → DEGRADED"


def test_nothing_with_a_casualty_is_ok_in_a_pst_group_either() -> None:
    assert verdict(aggregate(ok("a", beam(1)), casualty(), name="pst")) == DEGRADED
    assert verdict(aggregate(bad("a", beam(1)), casualty(), name="pst")) == (
        FAILED,
        ResultCode.FAILED,
        "DEGRADED",
    )


def test_the_composer_overrides_the_name() -> None:
    subs = [ok("a", beam(1)), bad("b", "x/y/z")]
    told = TaskAggregationPolicy("configure", pst_group=True).aggregate(subs)
    assert verdict(told) == DEGRADED
    told = TaskAggregationPolicy("configure_pst", pst_group=False).aggregate(subs)
    assert verdict(told) == SEVERE


# -- S3.5, S3.6 ---------------------------------------------------------------------------


def test_no_problems() -> None:
    subs = [ok("a"), SubtaskResult("b", COMPLETED), SubtaskResult("c", COMPLETED, "Completed")]
    outcome = aggregate(*subs)
    assert verdict(outcome) == OK
    assert outcome.message == "Task t completed"
    assert outcome.decision is not None
    assert outcome.decision.line == "3 of 3 succeeded → OK"
    assert aggregate(*subs, root=False).message == ""


def test_problems_of_pst_and_pss_devices_only_degrade() -> None:
    outcome = aggregate(ok(), bad("b", beam(1)), bad("c", PSS, FAILED))
    assert verdict(outcome) == DEGRADED
    assert outcome.message == (
        f"Task t completed in DEGRADED state\nCauses:\n- {beam(1)}: boom\n- {PSS}: boom"
    )
    assert outcome.decision is not None
    assert outcome.decision.line == (
        "1 of 3 succeeded, failed devices are PST and PSS only → DEGRADED"
    )
    assert not outcome.decision.severe


@pytest.mark.parametrize(
    ("subs", "line"),
    [
        ([ok(), casualty()], "1 of 2 succeeded, 1 skipped → FAILED"),
        ([ok(), bad("b", beam(1)), casualty()], "1 of 3 succeeded, 1 skipped → FAILED"),
        ([bad("a", beam(1)), bad("b", PSS)], "0 of 2 succeeded → FAILED"),
        ([ok(), bad("b")], "1 of 2 succeeded; b failed → FAILED"),
        ([ok(), bad("b", status=REJECTED)], "1 of 2 succeeded; b rejected → FAILED"),
        ([ok(), bad("b", "x/y/z")], "1 of 2 succeeded; b failed → FAILED"),
        (
            [ok(), bad("b", failed_devices=[beam(1), "x/y/z"])],
            "1 of 2 succeeded; b failed → FAILED",
        ),
        ([ok(), bad("b", beam(1), severe=True)], "1 of 2 succeeded, b is severe → FAILED"),
    ],
    ids=[
        "casualty",
        "casualty and PST",
        "every",
        "step",
        "refused step",
        "unknown",
        "one of two",
        "mark",
    ],
)
def test_severe_problems_fail(subs: list[SubtaskResult], line: str) -> None:
    outcome = aggregate(*subs)
    assert verdict(outcome) == SEVERE
    assert outcome.decision is not None
    assert outcome.decision.severe
    assert outcome.decision.line == line


# -- S3.14 --------------------------------------------------------------------------------


def refused(name: str = "r", code: ResultCode | None = ResultCode.REJECTED, **more: object):
    return bad(name, status=REJECTED, code=code, message="not now", **more)


@pytest.mark.parametrize(
    ("subs", "code"),
    [
        ([refused()], ResultCode.REJECTED),
        ([refused(), casualty(), refused("s")], ResultCode.REJECTED),
        ([refused(code=ResultCode.NOT_ALLOWED)], ResultCode.NOT_ALLOWED),
        ([refused(), refused("s", ResultCode.NOT_ALLOWED)], ResultCode.NOT_ALLOWED),
        ([refused(code=ResultCode.UNKNOWN)], ResultCode.REJECTED),
        ([refused(code=ResultCode.OK)], ResultCode.REJECTED),
        ([refused(code=None)], ResultCode.REJECTED),
        ([refused(device=beam(1)), refused("s", device=PSS)], ResultCode.REJECTED),
    ],
)
def test_refusals_before_anything_began_reject(subs: list, code: ResultCode) -> None:
    for order in (subs, subs[::-1]):
        outcome = aggregate(*order)
        assert verdict(outcome) == (REJECTED, code, None)
        assert outcome.message.startswith("Task t rejected\nCauses:\n")
        assert outcome.decision is not None
        assert outcome.decision.rule == "nothing begun"
        assert outcome.decision.line == (
            f"0 of {len(subs)} succeeded, nothing was begun → REJECTED"
        )


@pytest.mark.parametrize(
    "other",
    [
        refused("b", begun=True),
        SubtaskResult("b", REJECTED, skipped=True, begun=True),
        bad("b"),
        bad("b", code=ResultCode.REJECTED),
        bad("b", status=FAILED),
        ok("b"),
    ],
    ids=["begun", "skipped after it began", "failed", "ran and was refused", "broke off", "ok"],
)
def test_a_refusal_beside_work_that_began_fails(other: SubtaskResult) -> None:
    assert verdict(aggregate(refused(), other)) == SEVERE
    assert verdict(aggregate(other, refused())) == SEVERE


def test_what_a_fault_left_out_has_begun_nothing_either() -> None:
    fault = LeftOut("b", beam(2), "fault", "no answer")
    outcome = TaskAggregationPolicy("t", left_out=[fault]).aggregate([refused(device=beam(1))])
    assert verdict(outcome) == (REJECTED, ResultCode.REJECTED, None)
    assert outcome.decision is not None
    assert outcome.decision.line == (
        "0 of 2 succeeded, 1 left out: no answer, nothing was begun → REJECTED"
    )


def test_casualties_alone_are_no_refusal() -> None:
    assert verdict(aggregate(casualty(), casualty("d"))) == SEVERE


def test_a_refusal_changes_no_rule_but_the_default_one() -> None:
    beams = [refused("a", device=beam(1)), refused("b", device=beam(2))]
    assert aggregate(*beams, name="configure_pst").status is FAILED
    for rule in ("all", "any", "quorum 1"):
        explicit = TaskAggregationPolicy("t", rule=rule).aggregate(beams)
        assert explicit.status is FAILED
    cbf = aggregate(refused("a", device=CBF), refused("b"))
    assert cbf.decision is not None
    assert cbf.decision.rule == "CBF dominates"


def test_nesting_does_not_soften_a_group_that_was_refused_whole() -> None:
    inner = aggregate(refused("a", device=PSS), refused("b", device=PSS), root=False)
    assert inner.decision is not None
    group = SubtaskResult(
        "inner",
        inner.status,
        (inner.result, inner.message),
        failed_devices=[PSS],
        severe=inner.decision.severe,
    )
    assert verdict(aggregate(ok(), group)) == SEVERE
    assert verdict(aggregate(refused(), group)) == (REJECTED, ResultCode.REJECTED, None)


def test_a_casualty_is_no_success_whatever_its_result() -> None:
    skipped = SubtaskResult("c", COMPLETED, (ResultCode.OK, "fine"), skipped=True)
    assert verdict(aggregate(ok(), skipped)) == SEVERE


def test_the_sum_of_what_has_ended() -> None:
    odd = SubtaskResult("a", COMPLETED, (ResultCode.STARTED, "a code of no problem"))
    outcome = aggregate(odd, ok(), SubtaskResult("c", TaskStatus.IN_PROGRESS), SubtaskResult("d"))
    assert outcome.decision is not None
    assert outcome.decision.line == "2 of 4 ended → IN_PROGRESS"
    assert outcome.decision.succeeded == 2


@pytest.mark.parametrize(
    "code", [ResultCode.REJECTED, ResultCode.NOT_ALLOWED, ResultCode.ABORTED, ResultCode.UNKNOWN]
)
def test_completed_with_a_bad_code_is_a_problem(code: ResultCode) -> None:
    assert verdict(aggregate(ok(), bad("b", beam(1), code=code))) == DEGRADED
    assert verdict(aggregate(ok(), bad("b", code=code))) == SEVERE


def test_a_degraded_subtask_is_never_severe_and_does_not_count_towards_every() -> None:
    degraded = bad("a", failed_devices=["x/y/z"], health_state="DEGRADED", severe=True)
    assert verdict(aggregate(degraded)) == DEGRADED
    assert verdict(aggregate(degraded, bad("b", PSS))) == DEGRADED
    outcome = aggregate(degraded, ok())
    assert verdict(outcome) == DEGRADED
    assert outcome.decision is not None
    assert outcome.decision.line == "1 of 2 succeeded, 1 DEGRADED → DEGRADED"
    # Only a COMPLETED one: what did not run to its end is judged by its devices.
    degraded.status = FAILED
    assert verdict(aggregate(degraded, ok())) == SEVERE


def test_nesting_never_softens_a_severe_verdict() -> None:
    inner = aggregate(ok("a"), bad("b", beam(1)), casualty(), name="inner", root=False)
    assert inner.decision is not None
    payload = SubtaskResult(
        "inner",
        inner.status,
        (inner.result, inner.message),
        failed_devices=[beam(1)],
        health_state=inner.health_state,
        severe=inner.decision.severe,
    )
    assert verdict(aggregate(ok(), payload)) == SEVERE


# -- S3.8 ---------------------------------------------------------------------------------


def test_causes_keep_their_order_and_casualties_come_last() -> None:
    outcome = aggregate(
        casualty("c"),
        bad("check_lock", message="locked"),
        casualty("d", "skipped: check_lock failed"),
        ok(),
    )
    assert outcome.message == (
        "Task t failed\nCauses:\n- check_lock - locked\n"
        "- c - skipped: check_lock failed\n- d - skipped: check_lock failed"
    )


def test_a_problem_without_a_message_is_named_all_the_same() -> None:
    policy = TaskAggregationPolicy("t", is_root=True)
    silent = [
        bad("a", beam(1), FAILED, None),
        bad("b", status=REJECTED, code=None),
        bad("c", PSS, message=""),
        SubtaskResult("d", REJECTED, skipped=True),
        SubtaskResult("e", FAILED, ResultCode.UNKNOWN),
        SubtaskResult("f", COMPLETED, ResultCode.UNKNOWN),
    ]
    assert [policy._extract_causes_from_subtask(sub) for sub in silent] == [[]] * 6
    assert policy.aggregate([*silent, ok()]).message == (
        "Task t failed\nCauses:\n"
        f"- {beam(1)}: FAILED without a message\n"
        "- b - REJECTED without a message\n"
        f"- {PSS}: FAILED without a message\n"
        "- e - FAILED without a message\n"
        "- f - UNKNOWN without a message\n"
        "- d - skipped"
    )


def test_the_message_helpers() -> None:
    root, nested = TaskAggregationPolicy("t", is_root=True), TaskAggregationPolicy("t")
    assert root._message_failed("Task t failed", ["a", "b"]) == "Task t failed\nCauses:\n- a\n- b"
    assert root._message_failed("Task t failed", []) == "Task t failed"
    assert nested._message_failed("Task t failed", ["a"]) == "Causes:\n- a"
    assert nested._message_failed("Task t failed", []) == ""
    title = "Task t completed in DEGRADED state"
    assert root._message_degraded({"PST": [beam(1)]}, ["a"]) == f"{title}\nCauses:\n- a"
    assert root._message_degraded({}, []) == title
    assert root._message_degraded({"PST": [beam(1)]}, []) == (
        f"{title}\nCauses:\n- {beam(1)}: failed"
    )


def test_five_levels_give_one_flat_list_in_which_no_line_is_prefixed_twice() -> None:
    sub = bad("pst-beam-01", beam(1))
    outcome = aggregate(ok(), sub, name="configure_pst", root=False)
    for name in ("level_3", "level_2", "level_1", "root"):
        child = SubtaskResult(
            "configure_pst" if name == "level_3" else f"below_{name}",
            outcome.status,
            (outcome.result, outcome.message),
            failed_devices=[beam(1)],
            health_state=outcome.health_state,
        )
        outcome = aggregate(child, ok(), bad(f"pss_{name}", PSS), name=name, root=name == "root")
    assert verdict(outcome) == DEGRADED
    assert outcome.message == (
        "Task root completed in DEGRADED state\nCauses:\n"
        "- configure_pst - PST success 1/2\n"
        f"- {beam(1)}: boom\n"
        f"- {PSS}: boom"
    )


def test_more_than_two_hundred_causes_are_counted() -> None:
    subs = [bad(f"s{number}", message=f"m{number}") for number in range(250)]
    outcome = aggregate(*subs)
    lines = outcome.message.splitlines()
    assert len(lines) == 2 + 200 + 1
    assert lines[201] == "- s199 - m199"
    assert outcome.message.endswith("… and 50 more")
    # Two such lists, nested: shown and counted causes add up.
    children = [
        SubtaskResult(f"c{number}", FAILED, (ResultCode.FAILED, outcome.message))
        for number in range(2)
    ]
    children.append(bad("last", message="m"))
    lines = aggregate(*children).message.splitlines()
    assert len(lines) == 2 + 200 + 1
    assert lines[-1] == "- … and 101 more"


def test_a_long_cause_line_is_never_cut_inside() -> None:
    long = "x" * 4000
    outcome = aggregate(*(bad(f"s{number}", message=long) for number in range(5)))
    child = SubtaskResult("c", FAILED, (ResultCode.FAILED, outcome.message), CBF)
    assert child.message == outcome.message
    assert aggregate(child).message.count(long) == 5


# -- purity -------------------------------------------------------------------------------


def test_aggregate_changes_nothing_and_says_the_same_again() -> None:
    subs = [ok(), bad("b", beam(1), devices=[beam(1)]), casualty()]
    before = [repr(sub) for sub in subs]
    policy = TaskAggregationPolicy("t")
    assert policy.aggregate(subs) == policy.aggregate(subs)
    assert [repr(sub) for sub in subs] == before


def test_operation_and_obs_mode_change_no_default_verdict() -> None:
    subs = [ok(), bad("b", beam(1))]
    plain = TaskAggregationPolicy("t").aggregate(subs)
    assert TaskAggregationPolicy("t", "configure", "PULSAR_TIMING").aggregate(subs) == plain
