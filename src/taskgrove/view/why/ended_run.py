"""What became of a run that has ended: the beginning of its first line, and more of it. Pure."""

from __future__ import annotations

from typing import Final

from taskgrove.control_model import TaskStatus
from taskgrove.events import FinishedDetail, RuleKind, one_line
from taskgrove.story.legacy import rule_of
from taskgrove.story.node_state import NodeState
from taskgrove.story.own_words import own_words
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import RunStory
from taskgrove.view.terminal_text import duration_text, safe_text
from taskgrove.view.why.deeds import deed, late_end
from taskgrove.view.why.failed_leaf import Failed, is_below
from taskgrove.view.why.findings import Findings, Stop, note_of
from taskgrove.view.why.phrases import counted, listed, name_of, plain, said, seconds_between, who

#: Where less room is left, names and foreign words go before the numbers of failures.
_COUNTED: Final = 40
#: How many columns each name and foreign text beside the first failure may take.
_ROOM: Final = 60
#: Rules whose sum explains an outcome; the others only count.
_TELLING_RULES: Final[tuple[RuleKind, ...]] = ("pst_group", "quorum", "all", "any")
_VERBS: Final[dict[str, str]] = {
    "completed": "completed",
    "degraded": "completed DEGRADED",
    "failed": "failed",
    "rejected": "was rejected",
    "aborted": "was aborted",
}
_MOST_OF_IT: Final = 0.5


def with_failure(
    story: RunStory, findings: Findings, outcome: NodeState, command: str, room: int
) -> str:
    """Return what became of a run in which something failed, and what failed."""
    first = findings.failed[0]
    facts = [text for text in (_sum_above(story, first.node.path),) if text]
    count = len(findings.failed)
    if count > 1 and room > _COUNTED:  # they are listed below, too
        causes = counted(len({item.key for item in findings.failed}), "cause")
        leaves = counted(findings.leaf_count, "leaf", "leaves")
        facts.append(f"{count:,} of {leaves} failed, {causes}")
    if findings.reused:
        facts.append(f"{counted(findings.reused, 'leaf', 'leaves')} taken over from an earlier run")
    verb = _VERBS.get(outcome, "ended")
    stop = findings.stop
    if outcome == "aborted" and stop is not None:
        facts.insert(0, plain(stop.reason, room))
        verb = "was aborted after a failure"
    elif outcome == "completed":
        verb = "completed, although leaves failed"
    told = f"{command} {verb}"
    if facts:
        told += f" ({'; '.join(facts)})"
    order = "first, " if count > 1 and not findings.before else ""
    told += f": {order}{who(first.node, room)} {deed(first, story.now_ns, room)}"
    other = _independent(findings)
    if other is not None:
        words = said(other.told, min(room, _ROOM))
        told += f"; also {who(other.node, min(room, _ROOM))}: {words}"
    return told


def _independent(findings: Findings) -> Failed | None:
    """Return the first failure that decided, too, and has another cause."""
    first = findings.failed[0]
    others = findings.failed[1 : findings.deciding]
    return next((item for item in others if item.key != first.key), None)


def failure_clauses(first: Failed, story: RunStory) -> list[str]:
    """Return what belongs to the first failure."""
    node, cause = first.node, first.cause
    told = []
    if cause.kind in ("timed_out", "not_started"):
        told += _spent_clauses(first, story)
        late = late_end(node)
        if late is not None:
            told.append(f"it {late}")
        elif note_of(node, "abandoned") is not None:
            told.append("it could not be stopped and goes on")
    if node.attempt > 1:
        told.append(f"it was tried {node.attempt} times")
    return told


def _spent_clauses(first: Failed, story: RunStory) -> list[str]:
    """Return who used up most of a limit that was not the leaf's own, when it was another."""
    node, owner = first.node, first.cause.limit_owner
    if owner is None or owner == node.path:
        return []
    began = next((item.started_ns for item in story.nodes if item.path == owner), None)
    whole = seconds_between(began, node.ended_ns)
    own = seconds_between(node.started_ns, node.ended_ns) or 0.0
    if not whole or own > _MOST_OF_IT * whole:
        return []
    spent: tuple[float, str] = (0.0, "")
    for item in story.nodes:
        if item is node or not item.is_leaf or not is_below(item.path, owner):
            continue
        took = seconds_between(item.started_ns, item.ended_ns)
        if took is not None and item.status is TaskStatus.COMPLETED:
            spent = max(spent, (took, name_of(item)))
    if spent[0] <= _MOST_OF_IT * whole:
        return []
    return [f"{spent[1]} before it took {duration_text(spent[0])} of that"]


def without_failure(
    story: RunStory, findings: Findings, outcome: NodeState, command: str, room: int
) -> str:
    """Return what became of a run in which no leaf failed by itself."""
    stop = findings.stop
    verb = _VERBS.get(outcome, "has not ended")
    if outcome == "completed":
        return f"{command} completed: {_all_well(story, findings, room)}"
    if outcome == "aborted" and stop is not None:
        return f"{command} was aborted: {_aborted_words(stop, story.root, room)}"
    if findings.never_begun:
        leaves = counted(findings.leaf_count, "leaf", "leaves")
        lost = f"the runner was lost before {findings.never_begun:,} of {leaves} had begun"
        return f"{command} {verb}: no leaf failed, but {lost}"
    if not story.nodes:
        reason = plain(one_line(story.message), room)
        verb += " before anything was started" if outcome == "rejected" else ""
        return f"{command} {verb}: {reason}" if reason else f"{command} {verb}"
    node = _deepest_problem(story)
    place = "" if node is None or node is story.root else f", in {name_of(node, room)}"
    reason = story.message if node is None else own_words(node)
    finished = None if node is None else node.finished
    if finished is not None and finished.line and rule_of(finished) in _TELLING_RULES:
        reason = f"no leaf failed, but {sum_text(finished)}"
    told = f"{command} {verb}{place}"
    return f"{told}: {plain(reason, room)}" if reason else f"{told}, and nothing tells why"


def _aborted_words(stop: Stop, root: RunNode | None, room: int) -> str:
    told = plain(stop.reason, room)
    after = None if root is None else seconds_between(root.started_ns, stop.wall_ns)
    if after is not None:
        told += f", {duration_text(after)} after it began"
    if stop.running:
        told += f", while {who(stop.running[0], room)} was running"
        if len(stop.running) > 1:
            told += f" with {len(stop.running) - 1:,} more"
    return told


def _all_well(story: RunStory, findings: Findings, room: int) -> str:
    root = story.root
    took = None if root is None else seconds_between(root.started_ns, root.ended_ns)
    well = "" if findings.accepted else "nothing failed, "
    told = f"{well}{counted(findings.leaf_count, 'leaf', 'leaves')}"
    if took is not None:
        told += f" in {duration_text(took)}"
    if findings.reused:
        told += f", {findings.reused:,} of them taken over from an earlier run"
    if findings.retried:
        names = [f"{name_of(node)} ({node.attempt} attempts)" for node in findings.retried]
        told += f"; not at once: {listed(names)}"
    if findings.stop is not None:
        told += f"; the abort came too late ({plain(findings.stop.reason, room)})"
    return told


def _deepest_problem(story: RunStory) -> RunNode | None:
    """Return the deepest node that ended badly, where no leaf tells why."""
    found: RunNode | None = None
    for node in story.nodes:
        if node.state in ("failed", "rejected", "aborted", "degraded") and (
            found is None or node.path.count("/") > found.path.count("/")
        ):
            found = node
    return found


def _sum_above(story: RunStory, path: str) -> str | None:
    """Return the sum of the deepest composite above a leaf that decided by a sum."""
    found = None
    for node in story.nodes:
        finished = node.finished
        if finished is None or not finished.line or not is_below(path, node.path):
            continue
        if rule_of(finished) in _TELLING_RULES:
            found = sum_text(finished)
    return None if found is None else safe_text(found)


def sum_text(finished: FinishedDetail) -> str:
    """Return the sum that decided: ``PST success 14/16``."""
    rule, succeeded, total = finished.rule, finished.succeeded, finished.total
    if succeeded is None or total is None:
        return finished.line or ""
    if rule_of(finished) == "pst_group":
        return f"PST success {succeeded}/{total}"
    needed = "" if finished.needed is None else f", {finished.needed} needed"
    return f"{rule} of {total}: {succeeded} succeeded{needed}"
