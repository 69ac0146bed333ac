"""The first line, in parts, of a run that has ended or lost its runner. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from taskgrove.control_model import TaskStatus
from taskgrove.events import FinishedDetail, RuleKind, one_line
from taskgrove.story.legacy import rule_of
from taskgrove.story.node_state import NodeState
from taskgrove.story.node_wait import Waiting
from taskgrove.story.own_words import own_words
from taskgrove.story.run_node import RunNode
from taskgrove.view.act_words import person
from taskgrove.view.phrases import (
    ago_text,
    clock_text,
    counted,
    leaves,
    listed,
    plain,
    said,
    seconds_between,
)
from taskgrove.view.terminal_text import duration_text, safe_text
from taskgrove.view.why.cause_kinds import late_end
from taskgrove.view.why.failed_leaf import CauseReader, FailedLeaf
from taskgrove.view.why.findings import Abort, Findings, order_of
from taskgrove.view.why.naming import is_below, name_of, note_of, who

#: Where less room is left, names and foreign words go before the numbers of failures.
_COUNTED: Final = 40
#: How many columns each name and foreign text beside the first failure may take.
_ROOM: Final = 60
#: Rules whose sum explains an outcome; the others only count.
_TELLING_RULES: Final[tuple[RuleKind, ...]] = ("pst_group", "quorum", "all", "any")
_VERBS: Final[dict[NodeState, str]] = {
    "completed": "completed",
    "degraded": "completed DEGRADED",
    "failed": "failed",
    "rejected": "was rejected",
    "aborted": "was aborted",
}
_MOST_OF_IT: Final = 0.5
#: How failed steps waited: for one of them, and for several.
_WAITED: Final[dict[Waiting, tuple[str, str]]] = {
    "held": ("was held", "were held"),
    "undecided": ("was undecided", "were undecided"),
    "delayed": ("waited for its next attempt", "waited for their next attempts"),
}


def with_failure(found: Findings, command: str, room: int) -> str:
    """Return the end of a run in which a leaf failed, and the deed of that leaf."""
    first, now_ns = found.failed[0], found.story.now_ns
    total = _sum_above(found, first.node.path)
    facts = [] if total is None else [total]
    count = len(found.failed)
    if count > 1 and room > _COUNTED:  # they are listed below, too
        causes = counted(len(found.groups), "cause")
        facts.append(f"{count:,} of {found.leaf_count:,} failed, {causes}")
    if found.reused:
        facts.append(f"{leaves(found.reused)} taken from an earlier run")
    verb = _VERBS.get(found.outcome, "ended")
    if found.outcome == "aborted" and found.abort is not None:
        facts.insert(0, plain(found.abort.reason, room))
        verb = "was aborted after a failure"
    elif found.outcome == "completed":
        verb = "completed, although leaves failed"
    in_brackets = f" ({'; '.join(facts)})" if facts else ""
    order = "first, " if count > 1 and not found.before else ""
    told = f"{command} {verb}{in_brackets}: {order}{who(first.node, room)}"
    told += f" {first.deed(now_ns, room)}"
    others = found.failed[1 : found.deciding]
    other = next((item for item in others if item.key != first.key), None)
    if other is not None:  # it decided, too
        less = min(room, _ROOM)
        told += f"; also {who(other.node, less)}: {said(other.told, less)}"
    return told


def failure_clauses(found: Findings) -> list[str]:
    """Return facts of the first failure, the steps that it blocked, and earlier failures."""
    first = found.failed[0]
    node, told = first.node, []
    if first.cause.kind in ("timed_out", "not_started"):
        told += _spent_clauses(found, first)
        late = late_end(node)
        if late is not None:
            told.append(f"it {late}")
        elif note_of(node, "abandoned") is not None:
            told.append("it could not be stopped and may still be running")
    if node.attempt > 1:
        told.append(f"it was tried {node.attempt} times")
    followed = [item for item in found.casualties if item.of == node.path]
    blocked = []
    for top in found.blocked:
        below = sum(1 for item in followed if item.path.startswith(f"{top.path}/"))
        blocked.append(name_of(top) + (f" ({leaves(below)})" if below else ""))
    if blocked:
        told.append(f"it blocked {listed(blocked)}")
    kinds = [item.kind for item in followed]
    if count := kinds.count("not started"):
        told.append(f"{counted(count, 'leaf was', 'leaves were')} not started")
    if count := kinds.count("same device"):
        told.append(f"{counted(count, 'more command')} of that device could not run")
    if found.before:
        others = sorted(found.failed[found.deciding :], key=lambda item: order_of(item.node))
        names = listed([name_of(item.node) for item in others[: found.before]])
        told.append(f"before it {names} failed, but did not decide")
    return told


def abort_clauses(abort: Abort) -> list[str]:
    """Return the ends of the leaves when the run was aborted."""
    told = []
    if abort.abandoned:
        names = listed([name_of(node) for node in abort.abandoned])
        told.append(f"{names} did not stop when asked and may still be running")
    stopped = [name_of(node) for node in abort.running if node not in abort.abandoned]
    if stopped:
        told.append(f"{listed(stopped)} then stopped when asked")
    for how, words in _WAITED.items():
        waited = [name_of(node) for node in abort.waiting if _has_waited(node, how)]
        if waited:
            told.append(f"{listed(waited)} had failed and {words[len(waited) > 1]}")
    if abort.not_started:
        told.append(f"{leaves(abort.not_started)} had not begun")
    return told


def _has_waited(node: RunNode, how: Waiting) -> bool:
    wait = node.last_wait
    return wait is not None and wait.how == how


def without_failure(found: Findings, command: str, room: int) -> str:
    """Return the end of a run in which no leaf failed by itself."""
    story, outcome, root = found.story, found.outcome, found.story.root
    verb = _VERBS.get(outcome, "has not ended")
    if outcome == "completed":
        return f"{command} completed: {_all_well(found, room)}"
    if outcome == "aborted" and found.abort is not None:
        return f"{command} was aborted: {_aborted_words(found.abort, root, room)}"
    if outcome == "degraded" and (found.signed or found.dropped):
        return f"{command} {verb}: {'; '.join(marked_clauses(found, room))}"
    if found.never_begun:
        lost = f"the runner was lost before {found.never_begun:,} of {leaves(found.leaf_count)}"
        return f"{command} {verb}: no leaf failed, but {lost} had begun"
    if root is None:
        reason = plain(one_line(story.message), room)
        verb += " before anything was started" if outcome == "rejected" else ""
        return f"{command} {verb}: {reason}" if reason else f"{command} {verb}"
    node = _deepest_problem(found)
    reason = story.message if node is None else own_words(node)
    finished = None if node is None else node.finished
    if finished is not None and finished.line and rule_of(finished) in _TELLING_RULES:
        reason = f"no leaf failed, but {_sum_text(finished)}"
    place = "" if node is None or node is root else f", in {name_of(node, room)}"
    told = f"{command} {verb}{place}"
    return f"{told}: {plain(reason, room)}" if reason else f"{told}, and no reason is known"


def marked_clauses(found: Findings, room: int) -> list[str]:
    """Return which failures persons accepted, and which steps operators left out."""
    told: list[str] = []
    for nodes, done in ((found.signed, "accepted"), (found.dropped, "left out")):
        groups: dict[str, list[RunNode]] = {}
        for node in nodes:
            groups.setdefault(_signature(node, min(room, _ROOM)), []).append(node)
        for by, items in groups.items():
            names = listed([name_of(node, room) for node in items])
            verb = "was" if len(items) == 1 else "were"
            told.append(f"{names} {verb} {done} by {by}{_although(items, found, room)}")
    return told


def _signature(node: RunNode, room: int) -> str:
    """Return who accepted a failure, or left a step out, and why."""
    finished = node.finished
    if finished is None or finished.request is not None:
        return person(None if finished is None else finished.request, room)
    return plain(" and ".join(finished.accepted_by), room) or "an operator"


def _although(nodes: list[RunNode], found: Findings, room: int) -> str:
    """Return the failure that was accepted; empty where there are several, or none."""
    node, finished = nodes[0], nodes[0].finished
    if len(nodes) > 1 or finished is None or not finished.accepted:
        return ""
    words = next((note.words for note in reversed(node.notes) if note.cause is not None), "")
    cause = FinishedDetail(cause=finished.cause)
    ended = replace(node, status=TaskStatus.FAILED, message=words, finished=cause)
    failed = CauseReader().read(ended)
    return f", although it {failed.deed(found.story.now_ns, min(room, _ROOM))}"


def lost_words(found: Findings, command: str, room: int) -> str:
    """Return the beginning of the sentence of a run that lost its runner."""
    last, now_ns = found.story.last_ns, found.story.now_ns
    told = f"{command} lost its runner"
    if found.story.state == "unknown":
        told = f"the events of {command} stop before its end"
    if last is not None:
        told += f" (last sign of life {clock_text(last, now_ns)}, {ago_text(last, now_ns)})"
    return told + _while_running(found.running, room)


def lost_clauses(found: Findings, room: int) -> list[str]:
    """Return further facts of a run that lost its runner, the most important first."""
    ended = found.leaf_count - len(found.open)
    told = [f"{ended:,} of {leaves(found.leaf_count)} had ended"]
    if found.failed:
        first = found.failed[0]
        did = first.deed(found.story.now_ns, room)
        told.append(f"before that {who(first.node, room)} {did}")
    if found.story.state_note:
        told.append(plain(found.story.state_note))
    return told


def _spent_clauses(found: Findings, first: FailedLeaf) -> list[str]:
    """Return which other leaf used up most of a timeout that was not the leaf's own."""
    node, owner = first.node, first.cause.limit_owner
    if owner is None or owner == node.path:
        return []
    nodes = found.story.nodes
    began = next((item.started_ns for item in nodes if item.path == owner), None)
    whole = seconds_between(began, node.ended_ns)
    own = seconds_between(node.started_ns, node.ended_ns) or 0.0
    if not whole or own > _MOST_OF_IT * whole:
        return []
    spent: tuple[float, str] = (0.0, "")
    for item in nodes:
        if item is node or not item.is_leaf or not is_below(item.path, owner):
            continue
        took = seconds_between(item.started_ns, item.ended_ns)
        if took is not None and item.status is TaskStatus.COMPLETED:
            spent = max(spent, (took, name_of(item)))
    if spent[0] <= _MOST_OF_IT * whole:
        return []
    return [f"{spent[1]} before it took {duration_text(spent[0])} of that"]


def _aborted_words(abort: Abort, root: RunNode | None, room: int) -> str:
    told = plain(abort.reason, room)
    after = None if root is None else seconds_between(root.started_ns, abort.wall_ns)
    if after is not None:
        told += f", {duration_text(after)} after it began"
    # A clean-up that a second abort stopped began after the first one.
    begun = [node for node in abort.running if (node.started_ns or 0) <= abort.wall_ns]
    running = _while_running(begun, room)
    return f"{told},{running}" if running else told


def _while_running(running: list[RunNode], room: int) -> str:
    if not running:
        return ""
    more = f" with {len(running) - 1:,} more" if len(running) > 1 else ""
    return f" while {who(running[0], room)} was running{more}"


def _all_well(found: Findings, room: int) -> str:
    root = found.story.root
    took = None if root is None else seconds_between(root.started_ns, root.ended_ns)
    told = f"{'' if found.accepted else 'nothing failed, '}{leaves(found.leaf_count)}"
    if took is not None:
        told += f" in {duration_text(took)}"
    if found.reused:
        told += f", {found.reused:,} of them taken from an earlier run"
    if found.retried:
        names = [f"{name_of(node)} ({node.attempt} attempts)" for node in found.retried]
        told += f"; retried: {listed(names)}"
    if found.abort is not None:
        told += f"; the abort came too late ({plain(found.abort.reason, room)})"
    return told


def _deepest_problem(found: Findings) -> RunNode | None:
    """Return the deepest node that ended badly, where no leaf tells why."""
    bad = ("failed", "rejected", "aborted", "degraded")
    nodes = (node for node in found.story.nodes if node.state in bad)
    return max(nodes, key=lambda node: node.path.count("/"), default=None)


def _sum_above(found: Findings, path: str) -> str | None:
    """Return the sum of the deepest composite above a leaf that decided by a sum."""
    total = None
    for node in found.story.nodes:
        finished = node.finished
        if finished is None or not finished.line or not is_below(path, node.path):
            continue
        if rule_of(finished) in _TELLING_RULES:
            total = safe_text(_sum_text(finished))
    return total


def _sum_text(finished: FinishedDetail) -> str:
    """Return the sum that decided: ``PST success 14/16``."""
    succeeded, total = finished.succeeded, finished.total
    if succeeded is None or total is None:
        return finished.line or ""
    if rule_of(finished) == "pst_group":
        return f"PST success {succeeded}/{total}"
    needed = "" if finished.needed is None else f", {finished.needed} needed"
    return f"{finished.rule} of {total}: {succeeded} succeeded{needed}"
