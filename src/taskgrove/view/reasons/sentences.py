"""The one sentence of an explanation, for runs that have ended, run, or lost their runner. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from taskgrove.control_model import TaskStatus
from taskgrove.story.node_state import NodeState, state_of
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import OperatorVerdict, RunStory
from taskgrove.view.explain import split_message
from taskgrove.view.left_out import left_out_words
from taskgrove.view.reasons.causes import Findings, Stop, note_of
from taskgrove.view.reasons.deeds import again, deed, late_end, next_after, options_of
from taskgrove.view.reasons.facts import Failed, is_below
from taskgrove.view.reasons.followed import before_words, blocked_words, stopped_words
from taskgrove.view.reasons.kinds import CauseKind
from taskgrove.view.reasons.live import Wait, running_words
from taskgrove.view.reasons.lost import lost_words, next_of_lost
from taskgrove.view.reasons.words import (
    counted,
    listed,
    name_of,
    plain,
    seconds_between,
    who,
)
from taskgrove.view.terminal_text import duration_text, safe_text

#: Rules whose sum explains an outcome; the others only count.
_TELLING_RULES: Final = ("PST group", "quorum", "all", "any")
_VERBS: Final[dict[str, str]] = {
    "completed": "completed",
    "degraded": "completed DEGRADED",
    "failed": "failed",
    "rejected": "was rejected",
    "aborted": "was aborted",
}
#: What became of a run that resumed another.
_RESUMED: Final[dict[str | None, str]] = {
    "ok": "completed",
    "degraded": "completed DEGRADED",
    "failed": "failed",
    "rejected": "was rejected",
    "aborted": "was aborted",
    "running": "is running",
    "lost": "lost its runner",
    None: "is not in the record any more",
}
_MOST_OF_IT: Final = 0.5
_REFUSED_BEFORE: Final = re.compile(r"^.* is rejected before anything was started(?:: |$)")


def outcome_of(story: RunStory) -> NodeState:
    """Return the outcome of a run in one word, as every tree shows it."""
    root = story.root
    if story.status is not None:
        return state_of(story.status, story.result_code, story.health_state)
    if root is None:
        return "waiting"
    return state_of(root.status, root.result_code, root.health_state)


def command_name(story: RunStory) -> str:
    """Return the name of the command, harmless; ``the run`` where it has none."""
    root = story.root
    return safe_text(story.command or ("" if root is None else root.name)) or "the run"


def what_next(
    story: RunStory, findings: Findings, outcome: NodeState, device_count: int = 1
) -> str:
    """Return what to do next, as a clause; empty when there is nothing to do.

    Args:
        story: The run.
        findings: What became of its leaves.
        outcome: Its outcome in one word.
        device_count: How many devices have the first cause.
    """
    if story.resumed_by:
        return _next_of_resumed(story)
    if story.state in ("lost", "unknown"):
        return next_of_lost(story, findings)
    if story.state == "running":
        return ""
    if findings.failed:
        return next_after(findings.failed[0], story, device_count)
    return "" if outcome == "completed" else _next_without_failure(story, findings.stop)


def _next_of_resumed(story: RunStory) -> str:
    """Return what to do where another run went on with it: that one tells."""
    newest = story.resumed_by[-1]
    if newest.outcome in (None, "ok"):
        return ""
    return f"taskgrove why {safe_text(newest.run_id)}{options_of(story)}"


def resumed_words(story: RunStory) -> str:
    """Return by which runs it was resumed and how these ended; empty where it was not."""
    told = []
    for it in story.resumed_by:
        of = "" if it.of_run_id == story.run_id else f" (of {safe_text(it.of_run_id)})"
        ended = _RESUMED.get(it.outcome, f"is {it.outcome}")
        told.append(f"{safe_text(it.run_id)}{of}, which {ended}")
    return f"it was resumed by {listed(told)}" if told else ""


def _next_without_failure(story: RunStory, stop: Stop | None) -> str:
    if stop is None:
        return f"mend that, then {again(story)}"
    if stop.abandoned:
        left = listed([name_of(node) for node in stop.abandoned])
        return f"see to {left}, then {again(story)}"
    return f"{again(story)} when ready"


def sentence_of(
    story: RunStory,
    findings: Findings,
    outcome: NodeState,
    group_count: int,
    waits: Sequence[Wait],
    verdicts: Sequence[OperatorVerdict],
    next_step: str,
) -> str:
    """Return the whole of it in one sentence: what came first, what followed, what to do."""
    if story.state == "running":
        told = running_words(story, findings, waits, command_name(story))
    elif story.state in ("lost", "unknown"):
        told = lost_words(story, findings, command_name(story))
    elif not findings.failed:
        told = _without_failure(story, findings, outcome)
    else:
        told = _with_failure(story, findings, outcome, group_count)
    missing = left_out_words(story.left_out)
    told += f"; {missing}" if missing else ""
    told += _verdict_words(findings, verdicts)
    resumed = resumed_words(story)
    told += f"; {resumed}" if resumed else ""
    return f"{told}; next: {next_step}" if next_step else told


# -- runs that have ended -----------------------------------------------------------------------


def _with_failure(story: RunStory, findings: Findings, outcome: NodeState, group_count: int) -> str:
    first = findings.failed[0]
    facts = [text for text in (_sum_above(story, first.node.path),) if text]
    count = len(findings.failed)
    if count > 1:
        causes = counted(group_count, "cause")
        leaves = counted(findings.leaf_count, "leaf", "leaves")
        facts.append(f"{count:,} of {leaves} failed, {causes}")
    if findings.reused:
        facts.append(f"{counted(findings.reused, 'leaf', 'leaves')} taken over from an earlier run")
    verb = _VERBS.get(outcome, "ended")
    stop = findings.stop
    if outcome == "aborted" and stop is not None:
        facts.insert(0, plain(stop.reason))
        verb = "was aborted after a failure"
    elif outcome == "completed":
        verb = "completed, although leaves failed"
    told = f"{command_name(story)} {verb}"
    if facts:
        told += f" ({'; '.join(facts)})"
    order = "first, " if count > 1 and not findings.before else ""
    told += f": {order}{failure_words(first, story)}"
    told += blocked_words(findings)
    told += before_words(findings)
    if outcome == "aborted" and stop is not None:
        told += stopped_words(stop)
    return told


def failure_words(first: Failed, story: RunStory) -> str:
    """Return who failed and how, with what belongs to it."""
    node, cause = first
    told = f"{who(node)} {deed(first)}"
    if cause.kind in (CauseKind.TIMED_OUT, CauseKind.NOT_STARTED):
        told += _spent_words(first, story)
        late = late_end(node)
        if late is not None:
            told += f"; it {late}"
        elif note_of(node, "abandoned") is not None:
            told += "; it could not be stopped and goes on"
    if node.attempt > 1:
        told += f"; it was tried {node.attempt} times"
    return told


def _spent_words(first: Failed, story: RunStory) -> str:
    """Return who used up most of a limit that was not the leaf's own, when it was another."""
    node, cause = first
    owner = cause.limit_owner
    if owner is None or owner == node.path:
        return ""
    began = next((item.started_ns for item in story.nodes if item.path == owner), None)
    whole = seconds_between(began, node.ended_ns)
    own = seconds_between(node.started_ns, node.ended_ns) or 0.0
    if not whole or own > _MOST_OF_IT * whole:
        return ""
    spent: tuple[float, str] = (0.0, "")
    for item in story.nodes:
        if item is node or not item.is_leaf or not is_below(item.path, owner):
            continue
        took = seconds_between(item.started_ns, item.ended_ns)
        if took is not None and item.status is TaskStatus.COMPLETED:
            spent = max(spent, (took, name_of(item)))
    if spent[0] <= _MOST_OF_IT * whole:
        return ""
    return f"; {spent[1]} before it took {duration_text(spent[0])} of that"


def _without_failure(story: RunStory, findings: Findings, outcome: NodeState) -> str:
    command = command_name(story)
    root = story.root
    stop = findings.stop
    if outcome == "completed":
        return f"{command} completed: {_all_well(story, findings)}"
    if outcome == "aborted" and stop is not None:
        return f"{command} was aborted: {_aborted_words(stop, root)}"
    node = _deepest_problem(story)
    message = node.message if node is not None else story.message
    summary, causes = split_message(message)
    reason = causes[0] if causes else summary
    finished = None if node is None else node.finished
    if finished is not None and finished.line and (finished.rule or "").startswith(_TELLING_RULES):
        reason = f"no leaf failed, but {finished.line.partition(' → ')[0]}"
    if not story.nodes:
        reason = _REFUSED_BEFORE.sub("", reason)
        word = f"{command} {_VERBS.get(outcome, 'ended')} before anything was started"
    else:
        place = "" if node is None or node is root else f", in {name_of(node)}"
        word = f"{command} {_VERBS.get(outcome, 'has not ended')}{place}"
    return f"{word}: {plain(reason)}" if reason else f"{word}, and nothing tells why"


def _aborted_words(stop: Stop, root: RunNode | None) -> str:
    told = plain(stop.reason)
    after = None if root is None else seconds_between(root.started_ns, stop.wall_ns)
    if after is not None:
        told += f", {duration_text(after)} after it began"
    if stop.running:
        told += f", while {who(stop.running[0])} was running"
        if len(stop.running) > 1:
            told += f" with {len(stop.running) - 1:,} more"
    return told + stopped_words(stop)


def _all_well(story: RunStory, findings: Findings) -> str:
    root = story.root
    took = None if root is None else seconds_between(root.started_ns, root.ended_ns)
    told = f"nothing failed, {counted(findings.leaf_count, 'leaf', 'leaves')}"
    if took is not None:
        told += f" in {duration_text(took)}"
    if findings.reused:
        told += f", {findings.reused:,} of them taken over from an earlier run"
    if findings.retried:
        names = [f"{name_of(node)} ({node.attempt} attempts)" for node in findings.retried]
        told += f"; not at once: {listed(names)}"
    if findings.stop is not None:
        told += f"; the abort came too late ({plain(findings.stop.reason)})"
    return told


def _deepest_problem(story: RunStory) -> RunNode | None:
    """Return the deepest node that ended badly, where no leaf tells why."""
    found: RunNode | None = None
    for node in story.nodes:
        state = state_of(node.status, node.result_code, node.health_state, skipped=node.skipped)
        if state in ("failed", "rejected", "aborted", "degraded") and (
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
        if (finished.rule or "").startswith(_TELLING_RULES):
            found = finished.line.partition(" → ")[0]
    return None if found is None else safe_text(found)


def _verdict_words(findings: Findings, verdicts: Sequence[OperatorVerdict]) -> str:
    if not findings.failed:
        return ""
    path = findings.failed[0].node.path
    for verdict in reversed(verdicts):
        if is_below(path, verdict.path):
            by = safe_text(verdict.who) or "an operator"
            reason = f" ({plain(verdict.why)})" if verdict.why else ""
            return f"; {by} said of it: {plain(verdict.verdict)}{reason}"
    return ""
