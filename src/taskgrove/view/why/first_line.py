"""The first line of an explanation, for runs that have ended, run, or lost their runner. Pure.

It is short enough to be read at a glance: names and foreign words are cut in the middle, and what
does not fit is told below it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from taskgrove.story.node_state import NodeState, state_of
from taskgrove.story.run_story import OperatorVerdict, RunStory
from taskgrove.view.left_out import left_out_words
from taskgrove.view.terminal_text import clip, safe_text
from taskgrove.view.why.actions import Action, RunCommand, next_text, text_of
from taskgrove.view.why.ended_run import failure_clauses, with_failure, without_failure
from taskgrove.view.why.failed_leaf import is_below
from taskgrove.view.why.findings import Findings
from taskgrove.view.why.followed import before_clauses, blocked_clauses, stopped_clauses
from taskgrove.view.why.living_run import Wait, running_clauses, running_words
from taskgrove.view.why.lost_run import lost_clauses, lost_words
from taskgrove.view.why.phrases import (
    COLUMNS,
    counted,
    listed,
    name_of,
    plain,
)

#: The most characters of a first line.
LONGEST: Final = 299
#: The most characters of its beginning, so that there is room for what to do next; and how many
#: columns each name and foreign text in it may take, tried in this order.
_BEGINNING: Final = 250
_ROOMS: Final = (120, 80, 56, 40, 28, 20)
#: The same for what follows the beginning.
_ROOM: Final = 60
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


class FirstLine(NamedTuple):
    """The first line.

    Attributes:
        text: The line.
        next_step: What to do next, told whole.
        also: What did not fit into it, in clauses.
    """

    text: str
    next_step: str
    also: tuple[str, ...] = ()


def outcome_of(story: RunStory) -> NodeState:
    """Return the outcome of a run in one word, as every tree shows it."""
    root = story.root
    if story.status is not None:
        return state_of(story.status, story.result_code, story.health_state)
    if root is None:
        return "waiting"
    return root.state


def command_name(story: RunStory) -> str:
    """Return the name of the command, harmless; ``the run`` where it has none."""
    root = story.root
    return safe_text(story.command or ("" if root is None else root.name)) or "the run"


def resumed_words(story: RunStory) -> str:
    """Return by which runs it was resumed and how these ended; empty where it was not."""
    told = []
    for it in story.resumed_by:
        of = "" if it.of_run_id == story.run_id else f" (of {safe_text(it.of_run_id)})"
        ended = _RESUMED.get(it.outcome, f"is {it.outcome}")
        told.append(f"{safe_text(it.run_id)}{of}, which {ended}")
    return f"it was resumed by {listed(told)}" if told else ""


def sentence_of(
    story: RunStory,
    findings: Findings,
    outcome: NodeState,
    waits: Sequence[Wait],
    verdicts: Sequence[OperatorVerdict],
    actions: Sequence[Action],
) -> FirstLine:
    """Return the first line: what came first, what followed, what to do."""
    command = plain(command_name(story), _ROOM)

    def beginning(room: int) -> str:
        if story.state == "running":
            return running_words(story, findings, waits, command, room)
        if story.state in ("lost", "unknown"):
            return lost_words(story, findings, command, room)
        if findings.failed:
            return with_failure(story, findings, outcome, command, room)
        return without_failure(story, findings, outcome, command, room)

    clauses = _clauses(story, findings, outcome, waits)
    clauses += _accepted_clauses(findings) + _verdict_clauses(findings, verdicts)
    clauses += [text for text in (left_out_words(story.left_out), resumed_words(story)) if text]
    return _fitted(beginning, clauses, actions, story.now_ns)


def _fitted(
    beginning: Callable[[int], str],
    clauses: Sequence[str],
    actions: Sequence[Action],
    now_ns: int,
) -> FirstLine:
    """Put a line together: all of it, or what fits of it, with what to do first."""
    line = beginning(COLUMNS)
    whole = "; ".join([line, *clauses])
    told = next_text(actions, now_ns)
    end = f"; next: {told}" if told else ""
    if len(whole) + len(end) <= LONGEST:
        return FirstLine(whole + end, told)
    for room in _ROOMS:
        if len(line) <= _BEGINNING:
            break
        line = beginning(room)
    line = line if len(line) <= _BEGINNING else plain(line, _BEGINNING)[:_BEGINNING]
    if actions and len(line) + len(end) > LONGEST:
        first = text_of(actions[0], now_ns, short=True)
        is_cut = isinstance(actions[0], RunCommand)  # which would not work
        end = f"; next: {'see below' if is_cut else clip(first, LONGEST - len(line) - 8)}"
    also = []
    for clause in clauses:
        if len(line) + len(clause) + len(end) + 2 <= LONGEST:
            line = f"{line}; {clause}"
        else:
            also.append(clause)
    return FirstLine(line + end, told, tuple(also))


def _clauses(
    story: RunStory, findings: Findings, outcome: NodeState, waits: Sequence[Wait]
) -> list[str]:
    """Return what follows the beginning, the most important first."""
    if story.state == "running":
        return running_clauses(story, findings, waits, _ROOM)
    if story.state in ("lost", "unknown"):
        return lost_clauses(story, findings, _ROOM)
    told: list[str] = []
    if findings.failed:
        told += failure_clauses(findings.failed[0], story)
        told += blocked_clauses(findings) + before_clauses(findings)
    if outcome == "aborted" and findings.stop is not None:
        told += stopped_clauses(findings.stop)
    if findings.never_begun and findings.failed:
        told.append(f"{counted(findings.never_begun, 'leaf', 'leaves')} had not begun")
    return told


def _accepted_clauses(findings: Findings) -> list[str]:
    """Return which leaves did not succeed, and are treated as OK because somebody said so."""
    told: dict[tuple[str, str], list[str]] = {}
    for node, note in findings.accepted:
        said = (note.data.get("who", ""), note.data.get("why", ""))
        told.setdefault(said, []).append(name_of(node, _ROOM))
    return [
        f"{listed(names)} {'was' if len(names) == 1 else 'were'} treated as OK by"
        f" {plain(who, _ROOM) or 'an operator'}{f' ({plain(why, _ROOM)})' if why else ''}"
        for (who, why), names in told.items()
    ]


def _verdict_clauses(findings: Findings, verdicts: Sequence[OperatorVerdict]) -> list[str]:
    if not findings.failed:
        return []
    path = findings.failed[0].node.path
    for verdict in reversed(verdicts):
        if is_below(path, verdict.path):
            by = plain(verdict.who, _ROOM) or "an operator"
            reason = f" ({plain(verdict.why, _ROOM)})" if verdict.why else ""
            return [f"{by} said of it: {plain(verdict.words, _ROOM)}{reason}"]
    return []
