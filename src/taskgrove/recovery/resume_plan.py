"""The plan of a resume: for each leaf, whether its end is reused, or it runs again, or is left out.

A leaf is reused when it completed well in the earlier run, or an operator accepted its failure or
said to treat it as OK; only when it is still the same command of the same target; and only when
the order of the steps allows it (see ``resume_order``). A leaf that an operator left out stays left
out. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeAlias

from taskgrove.commands.prior import Prior, PriorEnd
from taskgrove.commands.task import LeafTask, Task
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import LeftOut, NoteDetail, SteeringRequest
from taskgrove.recovery.doubts import doubt_about
from taskgrove.recovery.earlier_runs import (
    Earlier,
    EarlierRun,
    earlier_run,
    is_accepted,
    went_well,
)
from taskgrove.recovery.finding_lost import moment_text
from taskgrove.recovery.resume_order import Demand, LeafPast, demanded_by_order
from taskgrove.redaction import holds_redacted
from taskgrove.store.queries.run_rows import VerdictRow
from taskgrove.story.node_note import verdict_in
from taskgrove.story.path_globs import match_paths
from taskgrove.story.run_node import RunNode

Action: TypeAlias = Literal["reuse", "redo", "skip"]


@dataclass(frozen=True, slots=True)
class PlannedLeaf:
    """The plan for one leaf.

    Attributes:
        path: The leaf.
        action: ``reuse``: its end is taken over; ``redo``: it runs; ``skip``: it is not part of
            the tree any more.
        why: The reason, as words for people.
        doubt: Of a leaf that runs again: why its work may be done twice; empty where it
            certainly is not.
        because: Of a leaf that runs again although it went well: the path of the leaf because
            of which the order of the steps demands that; else empty.
        ended: The node with the end that it reached by itself, where that decides; else None.
    """

    path: str
    action: Action
    why: str
    doubt: str = ""
    because: str = ""
    ended: RunNode | None = None


@dataclass(frozen=True, slots=True)
class ResumePlan:
    """The plan of a resume.

    Attributes:
        run_id: The run that is resumed.
        leaves: Every leaf, in the order of the tree; leaves that are left out come last.
        prior: The ends that are taken over, as the executor takes them.
    """

    run_id: str
    leaves: tuple[PlannedLeaf, ...]
    prior: dict[str, Prior] = field(default_factory=dict)

    def of(self, action: Action) -> tuple[PlannedLeaf, ...]:
        """Return the leaves of one action."""
        return tuple(leaf for leaf in self.leaves if leaf.action == action)

    @property
    def line(self) -> str:
        """The plan in one line: ``reuse 14, redo 2, skip 0``."""
        return ", ".join(f"{word} {len(self.of(word))}" for word in ("reuse", "redo", "skip"))


def plan_resume_of(
    task: Task,
    nodes: Sequence[RunNode],
    *,
    run_id: str,
    redo: Iterable[str] = (),
    verdicts: Iterable[VerdictRow] = (),
    family: Sequence[EarlierRun] = (),
) -> ResumePlan:
    """Return the plan for each leaf of a fresh tree.

    Args:
        task: The tree.
        nodes: The nodes of the earlier run.
        run_id: The earlier run.
        redo: Patterns of leaves to run again, whatever their ends were.
        verdicts: The verdicts of operators, in order.
        family: The earlier run and the others of its chain of resumes, in the order in which
            they began; empty: there is no other one.

    Raises:
        UsageError: A pattern matches no leaf.
    """
    tree = list(task.walk())
    leaves = [(path, node) for path, node in tree if isinstance(node, LeafTask)]
    composites = [path for path, node in tree if isinstance(node, Task)]
    wanted = match_paths(redo, [path for path, _ in leaves], composites)
    earlier = Earlier(run_id, family or [earlier_run(run_id, nodes, verdicts)])
    decided = {path: _decide(path, leaf, earlier, wanted) for path, leaf in leaves}
    pasts = {path: earlier.past_of(path) for path, _ in leaves}
    left_out = {path: it.left_out for path, it in decided.items() if it.left_out}
    demands = _to_run_again(task, leaves, decided, earlier, pasts, left_out)
    planned: list[PlannedLeaf] = []
    prior: dict[str, Prior] = {}
    for path, leaf in leaves:
        end, why, ended, _ = decided[path]
        demand = demands.get(path)
        if demand is not None:
            planned.append(PlannedLeaf(path, "redo", demand.why, because=demand.because))
        elif end is not None:
            planned.append(PlannedLeaf(path, "reuse", why, ended=ended))
            prior[path] = end
        else:
            doubt = doubt_about(leaf, earlier.facts_of(path)[1])
            planned.append(PlannedLeaf(path, "redo", why, doubt, ended=ended))
    for path, first in _left_out_as_a_whole(composites, left_out, decided).items():
        prior[path] = prior[first]
    there = {path for path, _ in tree}
    for node in nodes:
        if node.is_leaf and node.path not in there:
            planned.append(PlannedLeaf(node.path, "skip", "it is not part of the tree any more"))
    return ResumePlan(run_id, tuple(planned), prior)


def _to_run_again(
    task: Task,
    leaves: Sequence[tuple[str, LeafTask]],
    decided: dict[str, _Decision],
    earlier: Earlier,
    pasts: Mapping[str, LeafPast],
    left_out: Mapping[str, str],
) -> Mapping[str, Demand]:
    """Return the leaves that run again because of others, and complete the decisions.

    A leaf gives its result to a step that refers to it, or runs again with that step. Then the
    order of the tree may demand more.
    """
    givers = [(path, leaf.kept_result) for path, leaf in reversed(leaves) if leaf.kept_result]
    while True:
        due = {path: it.why for path, it in decided.items() if it.end is None}
        demands = demanded_by_order(task, due, pasts, left_out)
        again = due.keys() | demands.keys()
        before = len(again)
        for path, kept in givers:
            if path in again or path in left_out or again.isdisjoint(kept.needed_by):
                continue
            decided[path] = _with_result(decided[path], earlier.facts_of(path)[1])
            if decided[path].end is None:
                again |= {path}
        if len(again) == before:
            return demands


class _Decision(NamedTuple):
    """What is decided about one leaf.

    Attributes:
        end: The end to take over, or None.
        why: The reason.
        ended: The node whose end decides.
        left_out: The node that an operator left out, the leaf or one above it; else empty.
    """

    end: PriorEnd | None
    why: str
    ended: RunNode | None = None
    left_out: str = ""


def _decide(path: str, leaf: LeafTask, earlier: Earlier, wanted: Mapping[str, str]) -> _Decision:
    if path in wanted:
        return _Decision(None, f"requested by --redo {wanted[path]}")
    run_id, facts = earlier.facts_of(path)
    if facts is None:
        return _Decision(None, "it was not part of the earlier run")
    since = earlier.began_since(path)
    asked = None if since else earlier.left_out_by(path)
    if asked is not None:
        return _left_out(leaf, path, facts, run_id, *asked)
    changed = change_of(leaf, facts) or (since and f"it has run since, in run {since}")
    if changed:
        return _Decision(None, changed)
    return _end_of(facts, run_id, earlier.verdict_on(path))


def _with_result(decision: _Decision, facts: RunNode | None) -> _Decision:
    """Take over the result of a leaf that a step refers to; a leaf without one runs again."""
    finished = None if facts is None else facts.finished
    value = None if finished is None else finished.result_value
    if value is None:
        return _Decision(None, "a later step refers to its result, which is not on record")
    if holds_redacted(value):
        return _Decision(None, "a later step refers to its result, which is redacted on record")
    assert decision.end is not None
    end = replace(decision.end, fields={**decision.end.fields, "result_value": value})
    return decision._replace(end=end)


def _end_of(facts: RunNode, run_id: str, verdict: VerdictRow | None) -> _Decision:
    """Decide by the end that the record, or an operator, gives a leaf."""
    taken = verdict_in(facts.notes)
    if taken is not None:
        words = _verdict_words(taken.data)
        note = f"reused from run {run_id}, where it was taken as OK: {words}"
        return _as_ok(words, note, NoteDetail("reused", taken.data, taken.cause))
    if is_accepted(facts):
        return _accepted(facts, run_id)
    if went_well(facts):
        when = "" if facts.ended_ns is None else f" at {moment_text(facts.ended_ns)}"
        note = f"reused from run {run_id}, where it completed{when}"
        result = (ResultCode.OK, facts.message)
        from_run = NoteDetail("reused", {"run": run_id})
        fields: dict[str, object] = {"devices": facts.devices} if facts.devices else {}
        end = PriorEnd(TaskStatus.COMPLETED, result, note, fields, facts=from_run)
        return _Decision(end, "completed", facts)
    if verdict is not None:
        data = {"verdict": verdict.verdict, "who": verdict.who, "why": verdict.why, "run": run_id}
        data["state"] = facts.state
        cause = None if facts.finished is None else facts.finished.cause
        words = _verdict_words(data)
        note = f"taken as OK in place of {_ended(facts)} in run {run_id}: {words}"
        return _as_ok(words, note, NoteDetail("reused", data, cause))
    by_itself = facts.is_final and not facts.skipped
    return _Decision(None, _ended(facts), facts if by_itself else None)


def _accepted(facts: RunNode, run_id: str) -> _Decision:
    """Take over a failure that an operator accepted; it never looks like a success."""
    finished = facts.finished
    assert finished is not None
    names = ", ".join(finished.accepted_by)
    data = {"run": run_id, "accepted_by": names}
    fields: dict[str, object] = {
        "accepted": True,
        "accepted_by": finished.accepted_by,
        "cause": finished.cause,
        "request": finished.request,
        "health_state": facts.health_state,
    }
    if facts.devices:
        fields["devices"] = facts.devices
    words = f"its failure was accepted by {names}" if names else "its failure was accepted"
    end = PriorEnd(
        TaskStatus.COMPLETED,
        (ResultCode.OK, facts.message),
        f"reused from run {run_id}, where {words}",
        fields,
        facts=NoteDetail("reused", data, finished.cause, finished.request),
    )
    return _Decision(end, words, facts)


def _left_out(
    leaf: LeafTask, path: str, facts: RunNode, run_id: str, above: str, asked: SteeringRequest
) -> _Decision:
    """Leave out what an operator left out before."""
    words = f"left out by {asked.who}"
    left_out = LeftOut(leaf.name, leaf.device_name, "operator", words, path=path, said=asked.why)
    end = PriorEnd(
        TaskStatus.REJECTED,
        (ResultCode.REJECTED, facts.message if facts.skipped else left_out.why),
        f"left out as in run {run_id}: {left_out.why}",
        {"skipped": True, "left_out": (left_out,), "request": asked},
        facts=NoteDetail("reused", {"run": run_id}, request=asked),
    )
    return _Decision(end, left_out.why, left_out=above)


def _left_out_as_a_whole(
    composites: Iterable[str], left_out: Mapping[str, str], leaves: Iterable[str]
) -> dict[str, str]:
    """Return the composites that stay left out as a whole, each with a leaf below it."""
    found: dict[str, str] = {}
    whole = set(left_out.values())
    for path in composites:
        below = [leaf for leaf in leaves if leaf.startswith(f"{path}/")] if path in whole else []
        if below and all(left_out.get(leaf) == path for leaf in below):
            found[path] = below[0]
    return found


def _as_ok(words: str, note: str, told: NoteDetail) -> _Decision:
    end = PriorEnd(TaskStatus.COMPLETED, (ResultCode.OK, words), note, facts=told)
    return _Decision(end, words)


def _verdict_words(data: Mapping[str, str]) -> str:
    return f"{data.get('who')} said to treat it as OK: {data.get('why')}"


def change_of(leaf: LeafTask, facts: RunNode) -> str:
    """Return how a leaf differs from the one that ran; empty when it is the same."""
    composed = facts.composed
    if composed is None:
        return ""
    if composed.execution != leaf.task_type.name:
        return f"it is {leaf.task_type.name} now, and was {composed.execution}"
    if composed.step != leaf.step:
        return f"it is a {leaf.step} now, and was a {composed.step}"
    if composed.command_name != leaf.command_name:
        what = "command" if leaf.step == "command" else "attribute"
        return f"its {what} is {leaf.command_name} now, and was {composed.command_name}"
    if leaf.device_name is not None and composed.target != leaf.device_name:
        return f"its device is {leaf.device_name} now, and was {composed.target}"
    return ""


def _ended(facts: RunNode) -> str:
    """Return how a leaf that did not go well ended, in words."""
    if facts.status is None or not facts.is_final:
        return "it never ended" if facts.started_ns is not None else "it was not started"
    if facts.skipped:
        return facts.message or "skipped"
    word, first = facts.state, facts.message.strip().partition("\n")[0]
    return f"{word}: {first}" if first else word
