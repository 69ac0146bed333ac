"""What holds of the policy whatever the subtasks are (SPEC S3)."""

from __future__ import annotations

import random
import re
from typing import Any, TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from taskgrove.commands.aggregation import (
    AggregationOutcome,
    SubtaskResult,
    TaskAggregationPolicy,
)
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import LeftOut

DEVICES = [
    "low-cbf/subarray/01",
    "mid-pst/beam/01",
    "mid-pst/beam/02",
    "low-pss/subarray/01",
    "mid-csp/control/0",
]
RULES = [None, "all", "any", "quorum 0.5", "quorum 2"]
#: How bad a final verdict is; a rejection is as bad as a failure.
RANKS = {"OK": 0, "DEGRADED": 1, "REJECTED": 2, "FAILED": 2}

texts = st.one_of(
    st.sampled_from(["boom", "", "Causes:\n- a\n- b", "Task x failed\nCauses:\n- a", "s1: x"]),
    st.text(max_size=40),
)
fields: dict[str, st.SearchStrategy[Any]] = {
    "result": st.one_of(
        st.none(),
        st.sampled_from(ResultCode),
        st.tuples(st.sampled_from(ResultCode), texts),
        texts,
        st.integers(),
        st.floats(),
    ),
    "device_name": st.one_of(st.none(), st.sampled_from(DEVICES)),
    "failed_devices": st.one_of(st.none(), st.lists(st.sampled_from(DEVICES), max_size=3)),
    "health_state": st.sampled_from([None, "DEGRADED", "FAILED"]),
    "severe": st.booleans(),
    "skipped": st.sampled_from([False, False, False, True]),
    "begun": st.sampled_from([None, False, True]),
    "accepted": st.sampled_from([False, False, True]),
    "accepted_by": st.sampled_from([(), ("ann",), ("bob", "ann")]),
}
names = st.sampled_from(["s1", "s2", "pst-beam-01", "x"])
any_status = st.one_of(st.none(), st.sampled_from(TaskStatus))
ended = st.sampled_from([TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.REJECTED])
any_sub = st.builds(SubtaskResult, names, any_status, **fields)
ended_sub = st.builds(SubtaskResult, names, ended, **fields)
plain_failure = st.builds(
    SubtaskResult,
    names,
    st.sampled_from([TaskStatus.COMPLETED, TaskStatus.FAILED]),
    st.just((ResultCode.FAILED, "boom")),
    st.sampled_from(DEVICES),
)
kept_out = st.builds(
    LeftOut,
    st.sampled_from(["cbf-subarray-01", "pst-beam-02"]),
    st.sampled_from([None, *DEVICES]),
    st.sampled_from(["selection", "guard", "fault"]),
    st.sampled_from(["no answer", "unknown device"]),
    branch=st.sampled_from(["", "", "configure_pst"]),
)
policies = st.builds(
    TaskAggregationPolicy,
    st.sampled_from(["configure", "configure_pst"]),
    st.sampled_from([None, "configure"]),
    st.none(),
    st.booleans(),
    rule=st.sampled_from(RULES),
    pst_group=st.sampled_from([None, None, True, False]),
    left_out=st.lists(kept_out, max_size=3),
)


def verdict(outcome: AggregationOutcome) -> tuple[TaskStatus, ResultCode, str | None]:
    return outcome.status, outcome.result, outcome.health_state


def word(outcome: AggregationOutcome) -> str:
    assert outcome.decision is not None
    return outcome.decision.verdict


@given(policies, st.lists(any_sub, max_size=6))
def test_every_outcome_is_sound(policy: TaskAggregationPolicy, subs: list[SubtaskResult]) -> None:
    outcome = policy.aggregate(subs)
    assert outcome == policy.aggregate(subs), "the same input, the same outcome"
    decision = outcome.decision
    assert decision is not None
    faults = [item for item in policy.left_out if item.kind == "fault" and not item.branch]
    assert decision.total == len(subs) + len(faults)
    assert outcome.left_out == policy.left_out
    assert 0 <= decision.succeeded <= decision.total
    if outcome.status.is_final:
        assert outcome.result is not ResultCode.UNKNOWN
        assert outcome.result not in (ResultCode.QUEUED, ResultCode.STARTED)
    if outcome.status is TaskStatus.COMPLETED and outcome.result is not ResultCode.OK:
        assert outcome.health_state == "DEGRADED"
        assert word(outcome) == "DEGRADED"
        assert re.search(r"\d", decision.line), "a degraded outcome tells its sum"
        assert decision.line.endswith("→ DEGRADED")
    if outcome.result is ResultCode.OK:
        by_operator = any(item.kind == "operator" for item in outcome.left_out)
        marked = outcome.accepted or (by_operator and outcome.status.is_final)
        assert outcome.health_state == ("DEGRADED" if marked else None)
        assert not any(policy.is_problem(sub) or sub.skipped for sub in subs)
        assert not faults or not outcome.status.is_final
    if decision.severe and outcome.status is not TaskStatus.REJECTED:
        assert verdict(outcome) == (TaskStatus.FAILED, ResultCode.FAILED, "FAILED")


def without_left_out(policy: TaskAggregationPolicy, kept: list[LeftOut]) -> TaskAggregationPolicy:
    return TaskAggregationPolicy(
        policy.task_name,
        policy.operation,
        policy.obs_mode,
        policy.is_root,
        rule=policy.rule,
        pst_group=policy.pst_group,
        left_out=kept,
    )


@given(policies, st.lists(any_sub, max_size=6))
def test_what_was_left_out_by_choice_changes_no_verdict(
    policy: TaskAggregationPolicy, subs: list[SubtaskResult]
) -> None:
    faults = [item for item in policy.left_out if item.kind == "fault"]
    before, after = without_left_out(policy, faults).aggregate(subs), policy.aggregate(subs)
    assert verdict(after) == verdict(before)
    assert after.decision == before.decision
    assert after.message == before.message


@given(policies, st.lists(ended_sub, min_size=1, max_size=6), st.integers(1, 3))
def test_a_fault_never_improves_a_verdict_and_is_never_severe(
    policy: TaskAggregationPolicy, subs: list[SubtaskResult], count: int
) -> None:
    faults = [LeftOut(f"f{n}", f"low-cbf/subarray/{n}", "fault", "no answer") for n in range(count)]
    alone = without_left_out(policy, []).aggregate(subs)
    outcome = without_left_out(policy, faults).aggregate(subs)
    assert word(outcome) != "OK"
    assert RANKS[word(outcome)] >= RANKS[word(alone)]
    if policy.rule is None and word(alone) == "OK":
        expected = (TaskStatus.COMPLETED, ResultCode.FAILED, "DEGRADED")
        assert verdict(outcome) == expected
    if policy.rule is None:
        assert outcome.decision is not None
        assert alone.decision is not None
        assert outcome.decision.severe <= alone.decision.severe


refusal = st.builds(
    SubtaskResult, names, st.just(TaskStatus.REJECTED), **{**fields, "skipped": st.just(False)}
)
not_run = st.builds(
    SubtaskResult, names, st.just(TaskStatus.REJECTED), **{**fields, "skipped": st.just(True)}
)


@given(policies, st.lists(refusal, min_size=1, max_size=3), st.lists(not_run, max_size=3))
def test_by_default_what_was_refused_before_anything_began_is_rejected(
    policy: TaskAggregationPolicy, refused: list[SubtaskResult], skipped: list[SubtaskResult]
) -> None:
    subs = [*refused, *skipped]
    outcome = policy.aggregate(subs)
    if policy.rule is not None or policy._find_cbf_subtask(refused) is not None:
        return  # a rule of its own, or the correlator, decides
    if policy._is_pst_group_task() or any(sub.begun for sub in subs):
        assert outcome.status is TaskStatus.FAILED
        return
    codes = [sub.result_code for sub in refused]
    not_allowed = ResultCode.NOT_ALLOWED in codes
    code = ResultCode.NOT_ALLOWED if not_allowed else ResultCode.REJECTED
    assert verdict(outcome) == (TaskStatus.REJECTED, code, None)


@given(policies, st.lists(any_sub, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_the_subtasks_changes_no_verdict(
    policy: TaskAggregationPolicy, subs: list[SubtaskResult], rng: random.Random
) -> None:
    before = policy.aggregate(subs)
    shuffled = rng.sample(subs, len(subs))
    after = policy.aggregate(shuffled)
    assert verdict(after) == verdict(before)
    assert word(after) == word(before)
    assert after.decision is not None
    assert before.decision is not None
    assert after.decision.severe == before.decision.severe


@given(policies, st.lists(ended_sub, max_size=6), plain_failure)
def test_one_more_failure_never_improves_a_verdict(
    policy: TaskAggregationPolicy, subs: list[SubtaskResult], failure: SubtaskResult
) -> None:
    before, after = policy.aggregate(subs), policy.aggregate([*subs, failure])
    assert RANKS[word(after)] >= RANKS[word(before)]
    assert word(after) != "OK"


@given(policies, st.lists(any_sub, max_size=6))
def test_the_message_is_flat(policy: TaskAggregationPolicy, subs: list[SubtaskResult]) -> None:
    outcome = policy.aggregate(subs)
    head, _, block = outcome.message.partition("Causes:\n")
    assert head == "" if not policy.is_root else head.startswith(f"Task {policy.task_name} ")
    lines = block.split("\n") if block else []
    assert len(lines) == len(set(lines))
    assert all(line.startswith("- ") and not line.startswith("- - ") for line in lines)
    assert "- Causes:" not in lines


# -- nesting ------------------------------------------------------------------------------

leaves = st.tuples(
    st.booleans(), st.sampled_from(["boom", "dead"]), st.one_of(st.none(), st.sampled_from(DEVICES))
)
trees = st.recursive(leaves, lambda children: st.lists(children, min_size=1, max_size=3))


Causes: TypeAlias = dict[str, list[str]]


def run(tree: Any, name: str, depth: int = 0) -> tuple[SubtaskResult, Causes]:
    """Return what a parent gets from a tree, and its causes, each with the leaves that have it."""
    if isinstance(tree, tuple):
        failed, message, device = tree
        result = (ResultCode.FAILED if failed else ResultCode.OK, message)
        line = f"{device}: {message}" if device else f"{name} - {message}"
        sub = SubtaskResult(name, TaskStatus.COMPLETED, result, device)
        return sub, {line: [""]} if failed else {}
    children = [run(child, f"{name}.{number}", depth + 1) for number, child in enumerate(tree)]
    policy = TaskAggregationPolicy(name, pst_group=len(tree) > 1, is_root=depth == 0)
    outcome = policy.aggregate([sub for sub, _ in children])
    causes: Causes = {}
    for sub, more in children:
        for line, paths in more.items():
            below = [f"{sub.name}/{path}".rstrip("/") for path in paths]
            causes.setdefault(line, []).extend(below)
    assert outcome.decision is not None
    if word(outcome) == "DEGRADED" and depth and outcome.decision.rule == "PST group":
        causes[f"{name} - {outcome.decision.reason}"] = []
    devices = sorted(
        {device for sub, _ in children if policy.is_problem(sub) for device in policy._devices(sub)}
    )
    sub = SubtaskResult(
        name,
        outcome.status,
        (outcome.result, outcome.message),
        failed_devices=devices,
        health_state=outcome.health_state,
        severe=outcome.decision.severe,
        causes=outcome.causes,
    )
    return sub, causes


@given(trees)
def test_nesting_of_any_depth_gives_one_list_of_the_leaves_own_lines(tree: Any) -> None:
    sub, expected = run(tree if isinstance(tree, list) else [tree], "root")
    head, _, block = sub.message.partition("\nCauses:\n")
    assert head.startswith("Task root ")
    assert {line.text: (line.count, line.leaves) for line in sub.causes} == {
        line: (len(paths), tuple(paths[:20])) for line, paths in expected.items()
    }
    lines = [line.removeprefix("- ") for line in block.split("\n")] if block else []
    assert len(lines) == len(set(lines))
    assert lines == [str(line) for line in sub.causes]
