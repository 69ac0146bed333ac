"""Acts of operators and clean-ups in random trees, against a small model of its own."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from taskgrove.commands.aggregation import parse_rule
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import FinishedDetail, LeftOut
from taskgrove.testing import EventLog
from tests.property.test_tracker_properties import assert_counters_are_what_the_records_say

BEAM, OTHER = "mid-pst/beam/01", "x/y/z"
FAIL = ("FAILED", "FAILED", "FAILED")
DEGRADE = ("COMPLETED", "FAILED", "DEGRADED")
ABORT = ("ABORTED", "ABORTED", None)


@dataclass
class Leaf:
    """One way in which a leaf can end."""

    end: str
    device: str = OTHER


@dataclass
class Node:
    """A task: steps, a rule, and perhaps a clean-up."""

    steps: list[Any]
    rule: str | None
    cleanup: Leaf | None


@dataclass
class End:
    """What the model says of a node."""

    status: str
    code: str
    health: str | None = None
    begun: bool = False
    severe: bool = False
    skipped: bool = False
    accepted: set[str] = field(default_factory=set)
    left_out: int = 0
    failed: set[str] = field(default_factory=set)

    @property
    def good(self) -> bool:
        return (self.status, self.code) == ("COMPLETED", "OK")

    @property
    def problem(self) -> bool:
        return not self.good and not self.skipped and self.status != "ABORTED"

    @property
    def degraded(self) -> bool:
        return self.problem and (self.status, self.health) == ("COMPLETED", "DEGRADED")


def of_leaf(leaf: Leaf) -> End:
    if leaf.end == "ok":
        return End("COMPLETED", "OK", begun=True)
    if leaf.end == "failed":
        return End("FAILED", "FAILED", begun=True, failed={leaf.device})
    if leaf.end == "refused":
        return End("REJECTED", "REJECTED", failed={leaf.device})
    if leaf.end == "aborted":
        return End("ABORTED", "ABORTED")
    if leaf.end == "skipped":
        return End("REJECTED", "REJECTED", skipped=True)
    if leaf.end == "left out":
        return End("REJECTED", "REJECTED", skipped=True, left_out=1)
    return End("COMPLETED", "OK", begun=True, accepted={leaf.end.removeprefix("accepted by ")})


def of_node(node: Node) -> End:
    """Judge a node as the specification says, in the plainest words."""
    steps = [of_node(step) if isinstance(step, Node) else of_leaf(step) for step in node.steps]
    cleanup = of_leaf(node.cleanup) if node.cleanup else None
    every = [*steps, *([cleanup] if cleanup else [])]
    left_out = sum(end.left_out for end in every)
    found = End("", "", left_out=left_out)
    if any(end.status == "ABORTED" for end in every):
        verdict, severe = ABORT, False
    else:
        verdict, severe = by_rule(node.rule, steps, None)
        if verdict[1] == "OK" and cleanup and cleanup.problem:
            verdict, severe = by_rule(node.rule, steps, cleanup)
    found.status, found.code, found.health = verdict
    found.severe = severe
    if found.good:
        found.accepted = {name for end in steps if end.good for name in end.accepted}
        if found.accepted or left_out:
            found.health = "DEGRADED"
    found.failed = {device for end in every if end.problem for device in end.failed}
    found.begun = any(end.begun or end.status in ("COMPLETED", "FAILED") for end in every)
    return found


def by_rule(
    rule: str | None, steps: list[End], cleanup: End | None
) -> tuple[tuple[str, str, str | None], bool]:
    good = [end for end in steps if end.good]
    by_operator = [end for end in steps if end.skipped and end.left_out]
    casualties = [end for end in steps if end.skipped and not end.left_out]
    problems = [end for end in steps if end.problem] + ([cleanup] if cleanup else [])
    fine: tuple[str, str, str | None] = ("COMPLETED", "OK", None)
    bad = bool(problems or casualties)
    if rule is not None:
        needed = {
            "all": len(steps) - len(by_operator),
            "any": 1,
            "quorum 2": 2,
            "quorum 0.5": max(1, ceil(len(steps) / 2)),
        }[rule]
        missed = len(good) < needed or (rule == "all" and bad)
        return (FAIL if missed else DEGRADE if bad else fine), missed
    if not bad:
        return fine, False
    if problems and not good:
        unbegun = all(
            end.status == "REJECTED" and not end.begun for end in [*problems, *casualties]
        )
        if unbegun:
            return ("REJECTED", "REJECTED", None), True
    plain = [end for end in problems if not end.degraded]
    severe = (
        bool(casualties)
        or (not good and len(plain) == len(problems))
        or any(end.severe or not end.failed or end.failed != {BEAM} for end in plain)
    )
    return (FAIL, True) if severe else (DEGRADE, False)


rules = st.sampled_from([None, None, None, "all", "any", "quorum 2", "quorum 0.5"])


def trees_of(ends: list[str], ends_of_cleanups: list[str]) -> st.SearchStrategy[Node]:
    """Return trees whose leaves end so."""
    leaves = st.builds(Leaf, st.sampled_from(ends), st.sampled_from([BEAM, OTHER]))
    cleanups = st.none() | st.builds(Leaf, st.sampled_from(ends_of_cleanups), st.just(OTHER))

    def nodes(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.builds(Node, st.lists(children, min_size=1, max_size=4), rules, cleanups)

    return nodes(st.recursive(leaves, nodes, max_leaves=8))


BY_PERSONS = ["left out", "accepted by ann", "accepted by bob"]
# Most ends hide the others: an abort hides all, a failure hides the acts of persons.
trees = st.one_of(
    trees_of(["ok", *BY_PERSONS], ["ok", "ok", "skipped"]),
    trees_of(["ok", *BY_PERSONS], ["ok", "failed", "refused"]),
    trees_of(["ok", "ok", "failed", "refused", *BY_PERSONS], ["ok", "failed", "skipped"]),
    trees_of(
        ["ok", "failed", "refused", "skipped", "aborted", *BY_PERSONS],
        ["ok", "failed", "refused", "skipped", "aborted"],
    ),
)


def update_of(name: str, leaf: Leaf) -> dict[str, Any]:
    end = of_leaf(leaf)
    fields: dict[str, Any] = {
        "task_name": name,
        "status": TaskStatus[end.status],
        "result": (ResultCode[end.code], f"{name} {leaf.end}"),
        "skipped": end.skipped,
        "accepted": bool(end.accepted),
        "accepted_by": tuple(end.accepted),
    }
    if end.left_out:
        fields["left_out"] = (LeftOut(name, None, "operator", "left out by ann"),)
    if not end.skipped:
        fields["device_name"] = leaf.device
    return fields


def grown(
    node: Node, name: str, above: TaskTracker | None, work: list[Any], trackers: list[Any]
) -> TaskTracker:
    """Make the trackers of a tree; ``work`` takes every update that is to come."""
    count = len(node.steps) + (node.cleanup is not None)
    tracker = TaskTracker(
        name,
        count,
        None if above is None else above.update_task,
        rule=parse_rule(node.rule),
        is_root=above is None,
        finally_name="finally" if node.cleanup else None,
    )
    names = [f"{name}.{number}" for number in range(len(node.steps))]
    tracker.expect([*names, *(["finally"] if node.cleanup else [])])
    trackers.append((node, tracker))
    for own, step in zip(names, node.steps, strict=True):
        if isinstance(step, Node):
            grown(step, own, tracker, work, trackers)
        else:
            work.append((tracker, update_of(own, step)))
    if node.cleanup:
        work.append((tracker, update_of("finally", node.cleanup)))
    return tracker


@settings(max_examples=4 * settings().max_examples)
@given(trees, st.randoms(use_true_random=False))
def test_every_task_of_a_tree_ends_as_the_model_says(tree: Node, rng: random.Random) -> None:
    work: list[Any] = []
    trackers: list[Any] = []
    root = grown(tree, "t", None, work, trackers)
    log = EventLog()
    root.subscribe(log)
    rng.shuffle(work)
    for tracker, fields in work:
        tracker.update_task(**fields)
        assert_counters_are_what_the_records_say(tracker)
    for node, tracker in trackers:
        expected, outcome = of_node(node), tracker.outcome()
        told = (outcome.status.name, outcome.result.name, outcome.health_state)
        assert told == (expected.status, expected.code, expected.health), outcome.decision
        assert outcome.accepted == bool(expected.accepted)
        assert outcome.accepted_by == tuple(sorted(expected.accepted))
        assert outcome.decision.severe == expected.severe
        assert outcome.decision.total == len(node.steps)
        by_operator = [item for item in outcome.left_out if item.kind == "operator"]
        assert len(by_operator) == expected.left_out
        if expected.accepted:
            assert f"accepted by {' and '.join(sorted(expected.accepted))}" in (
                outcome.decision.line
            )
            assert "accepted by" in outcome.message, "the persons' acts are among the causes"
        if expected.left_out and outcome.status is not TaskStatus.ABORTED:
            assert f"{expected.left_out} left out by ann" in outcome.decision.line
    assert root.progress == 100
    detail = log.assert_one_end("t").detail
    assert isinstance(detail, FinishedDetail)
    assert detail.accepted == bool(of_node(tree).accepted)


@given(trees)
def test_a_good_cleanup_and_one_that_was_not_needed_change_no_verdict(tree: Node) -> None:
    for end in ("ok", "skipped"):
        verdicts = []
        for cleanup in (None, Leaf(end)):
            root = Node(tree.steps, tree.rule, cleanup)
            work: list[Any] = []
            tracker = grown(root, "t", None, work, [])
            for owner, fields in work:
                owner.update_task(**fields)
            outcome = tracker.outcome()
            verdicts.append((outcome.status, outcome.result, outcome.health_state))
        assert verdicts[0] == verdicts[1]
