"""Explicit rules: all, any, quorum (SPEC S3.9), and the interface behind them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from taskgrove.commands.aggregation import (
    AggregationOutcome,
    AggregationRule,
    SubtaskResult,
    TaskAggregationPolicy,
    parse_rule,
)
from taskgrove.commands.aggregation.rules import (
    AllRule,
    AnyRule,
    QuorumRule,
    RuleContext,
    RuleLike,
    Verdict,
)
from taskgrove.commands.aggregation.tally import Tally
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError

OK = (TaskStatus.COMPLETED, ResultCode.OK, None)
DEGRADED = (TaskStatus.COMPLETED, ResultCode.FAILED, "DEGRADED")
FAILED = (TaskStatus.FAILED, ResultCode.FAILED, "FAILED")


def beams(good: int, bad: int) -> list[SubtaskResult]:
    codes = [ResultCode.OK] * good + [ResultCode.FAILED] * bad
    return [
        SubtaskResult(f"b{number}", TaskStatus.COMPLETED, (code, "x"), f"x/y/{number}")
        for number, code in enumerate(codes)
    ]


def aggregate(
    rule: RuleLike, subs: list[SubtaskResult], name: str = "t", *, root: bool = True
) -> AggregationOutcome:
    return TaskAggregationPolicy(name, is_root=root, rule=rule).aggregate(subs)


def verdict(outcome: AggregationOutcome) -> tuple[TaskStatus, ResultCode, str | None]:
    return outcome.status, outcome.result, outcome.health_state


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("all", "all"),
        ("any", "any"),
        (" ANY ", "any"),
        ("quorum 0.8", "quorum 0.8"),
        ("quorum: 0.8", "quorum 0.8"),
        ("quorum .5", "quorum 0.5"),
        ("quorum: 13", "quorum 13"),
        ("quorum 80%", "quorum 0.8"),
        ("quorum: 12.5 %", "quorum 0.125"),
        ({"quorum": 0.8}, "quorum 0.8"),
        ({"quorum": 13}, "quorum 13"),
        ({"quorum": "80%"}, "quorum 0.8"),
        ({"quorum": "13"}, "quorum 13"),
        ({"quorum": Decimal("0.80")}, "quorum 0.8"),
        ({"quorum": 1}, "quorum 1"),
        ({"quorum": 1.0}, "quorum 1.0"),
        ("quorum: 100%", "quorum 1.0"),
        (QuorumRule(3), "quorum 3"),
        (AllRule(), "all"),
        (AnyRule(), "any"),
    ],
)
def test_forms_of_a_rule(value: RuleLike, label: str) -> None:
    rule = parse_rule(value)
    assert rule is not None
    assert rule.label == str(rule) == label
    assert parse_rule(rule) is rule
    assert parse_rule(label) == rule, "a label reads back as its rule"


def test_no_rule_is_none() -> None:
    assert parse_rule(None) is None
    assert TaskAggregationPolicy("t").rule is None


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("al", "did you mean 'all'"),
        ("qorum 3", "did you mean 'quorum'"),
        ("most", "a rule is"),
        ("", "a rule is"),
        ("quorum", "a whole number"),
        ("quorum: lots", "'lots'"),
        ("quorum 0", "the text '0'"),
        ("quorum -1", "a share"),
        ("quorum .", "a share"),
        ("quorum 120%", "a share"),
        ("quorum 1e-3", "a share"),
        ({"quorum": 0}, "the integer 0"),
        ({"quorum": -3}, "the integer -3"),
        ({"quorum": True}, "the bool True"),
        ({"quorum": None}, "nothing"),
        ({"quorum": 0.0}, "the number 0.0"),
        ({"quorum": 13.0}, "write no point: 13"),
        ({"quorum": 1.5}, "a share"),
        ({"quorum": float("nan")}, "the number nan"),
        ({"quorum": float("inf")}, "the number inf"),
        ({"quorum": Decimal("1e-999999")}, "a share"),
        ({"quorum": Decimal("1e999999")}, "a share"),
        ({"quorum": 10**5000}, "very large"),
        ({"quorum": [1]}, "a list of length 1"),
        ({"qourum": 3}, "did you mean 'quorum'"),
        ({"all": True}, "takes no value"),
        ({"quorum": 1, "all": 2}, "one key"),
        ({}, "one key"),
        (5, "no int"),
        (["all"], "no list"),
    ],
)
def test_what_is_no_rule_is_refused_with_a_hint(value: object, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_rule(value)  # type: ignore[arg-type]
    assert says in str(caught.value)
    with pytest.raises(UsageError):
        TaskAggregationPolicy("t", rule=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limit", "total", "needed"),
    [
        (0.8, 16, 13),
        (0.7, 10, 7),  # 0.7 * 10 is a little more than 7 in binary arithmetic
        (0.1, 10, 1),
        (0.29, 100, 29),
        (0.07, 100, 7),
        (0.5, 3, 2),
        (0.01, 3, 1),
        (1.0, 7, 7),
        (Decimal("0.333"), 3, 1),
        (Decimal("0.334"), 3, 2),
        (4, 16, 4),
        (20, 16, 20),
        ("12.5%", 16, 2),
    ],
)
def test_needed_is_the_ceiling_in_decimal_arithmetic(
    limit: int | float | Decimal | str, total: int, needed: int
) -> None:
    assert QuorumRule(limit).needed(total) == needed  # type: ignore[arg-type]


def test_a_quorum_that_can_never_be_met_says_so() -> None:
    assert QuorumRule(17).check(16) == "quorum 17 can never be met: there are 16 subtasks"
    assert QuorumRule(3).check(1) == "quorum 3 can never be met: there is 1 subtask"
    assert QuorumRule(16).check(16) is None
    assert QuorumRule(Decimal("0.8")).check(1) is None
    assert AllRule().check(16) is None
    assert AnyRule().check(16) is None
    outcome = aggregate("quorum 3", beams(2, 0), root=False)
    assert verdict(outcome) == FAILED
    assert outcome.message == "Causes:\n- t - quorum 3 of 2: 2 succeeded, 3 needed"


@pytest.mark.parametrize(
    ("rule", "good", "bad", "expected", "line"),
    [
        ("all", 3, 0, OK, "all of 3: 3 succeeded, 3 needed → OK"),
        ("all", 2, 1, FAILED, "all of 3: 2 succeeded, 3 needed → FAILED"),
        ("all", 0, 3, FAILED, "all of 3: 0 succeeded, 3 needed → FAILED"),
        ("any", 3, 0, OK, "any of 3: 3 succeeded, 1 needed → OK"),
        ("any", 1, 2, DEGRADED, "any of 3: 1 succeeded, 1 needed → DEGRADED"),
        ("any", 0, 3, FAILED, "any of 3: 0 succeeded, 1 needed → FAILED"),
        ("quorum 0.8", 16, 0, OK, "quorum 0.8 of 16: 16 succeeded, 13 needed → OK"),
        ("quorum 0.8", 14, 2, DEGRADED, "quorum 0.8 of 16: 14 succeeded, 13 needed → DEGRADED"),
        ("quorum 0.8", 13, 3, DEGRADED, "quorum 0.8 of 16: 13 succeeded, 13 needed → DEGRADED"),
        ("quorum 0.8", 12, 4, FAILED, "quorum 0.8 of 16: 12 succeeded, 13 needed → FAILED"),
        ("quorum 13", 13, 3, DEGRADED, "quorum 13 of 16: 13 succeeded, 13 needed → DEGRADED"),
        ("quorum 13", 12, 4, FAILED, "quorum 13 of 16: 12 succeeded, 13 needed → FAILED"),
    ],
)
def test_verdicts(rule: str, good: int, bad: int, expected: tuple[object, ...], line: str) -> None:
    outcome = aggregate(rule, beams(good, bad))
    assert verdict(outcome) == expected
    decision = outcome.decision
    assert decision is not None
    assert decision.line == line
    assert decision.rule == rule
    assert decision.kind == rule.partition(" ")[0]
    assert (decision.succeeded, decision.total) == (good, good + bad)
    assert decision.needed is not None
    assert decision.severe == (expected == FAILED)  # what was missed is not softened above


def test_an_explicit_rule_stands_in_place_of_the_default_ones() -> None:
    cbf = SubtaskResult("cbf", TaskStatus.FAILED, (ResultCode.FAILED, "x"), "low-cbf/a/1")
    assert verdict(aggregate("any", [*beams(1, 0), cbf])) == DEGRADED
    assert verdict(aggregate("all", beams(1, 1), "configure_pst")) == FAILED


def test_what_holds_in_every_rule() -> None:
    for rule in ("all", "any", "quorum 5"):
        assert verdict(aggregate(rule, [])) == OK
        aborted = SubtaskResult("a", TaskStatus.ABORTED)
        assert aggregate(rule, [*beams(1, 1), aborted]).status is TaskStatus.ABORTED
        running = SubtaskResult("a", TaskStatus.IN_PROGRESS)
        assert aggregate(rule, [*beams(1, 1), running]).status is TaskStatus.IN_PROGRESS
        assert aggregate(rule, [SubtaskResult("a")]).status is TaskStatus.QUEUED


def test_casualties_and_degraded_children_are_no_successes() -> None:
    casualty = SubtaskResult("c", TaskStatus.REJECTED, (5, "skipped: b failed"), skipped=True)
    degraded = SubtaskResult("d", TaskStatus.COMPLETED, (3, "x"), health_state="DEGRADED")
    for extra in (casualty, degraded):
        assert verdict(aggregate("all", [*beams(2, 0), extra])) == FAILED
        assert verdict(aggregate("any", [*beams(2, 0), extra])) == DEGRADED
        assert verdict(aggregate("any", [extra])) == FAILED
        assert verdict(aggregate("quorum 3", [*beams(2, 0), extra])) == FAILED


def test_messages_tell_the_sum() -> None:
    outcome = aggregate("quorum 0.5", beams(1, 1))
    assert outcome.message == (
        "Task t completed in DEGRADED state: quorum 0.5 of 2: 1 succeeded, 1 needed.\n"
        "Causes:\n- x/y/1: x"
    )
    nested = aggregate("quorum 0.5", beams(1, 1), root=False)
    assert nested.message == ("Causes:\n- t - quorum 0.5 of 2: 1 succeeded, 1 needed\n- x/y/1: x")
    missed = aggregate("all", beams(1, 1))
    assert missed.message == (
        "Task t failed: all of 2: 1 succeeded, 2 needed.\nCauses:\n- x/y/1: x"
    )
    assert aggregate("all", beams(1, 1), root=False).message == "Causes:\n- x/y/1: x"
    assert aggregate("all", beams(2, 0)).message == "Task t completed"


class Lenient(AggregationRule):
    """A rule of a user: it sees the context, and may leave the case to the others."""

    label = "lenient"

    def decide(self, tally: Tally, context: RuleContext) -> Verdict | None:
        if context.operation != "standby":
            return None
        return Verdict(
            status=TaskStatus.FAILED, result=ResultCode.UNKNOWN, reason=str(context.obs_mode)
        )


def test_a_rule_of_ones_own_gets_the_context_and_may_pass() -> None:
    subs = beams(1, 1)
    for sub in subs:
        sub.device_name = "mid-pst/beam/01"
    assert verdict(aggregate(Lenient(), subs)) == DEGRADED
    outcome = TaskAggregationPolicy("t", "standby", "IDLE", rule=Lenient()).aggregate(subs)
    # UNKNOWN never leaves the policy in a final outcome.
    assert (outcome.status, outcome.result) == (TaskStatus.FAILED, ResultCode.FAILED)
    assert outcome.decision is not None
    assert outcome.decision.rule == "lenient"
    assert outcome.decision.line == "IDLE → FAILED"
