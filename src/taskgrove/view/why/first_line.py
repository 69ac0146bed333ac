"""The first line of an explanation, for runs that have ended, run, or lost their runner. Pure.

It is short enough to be read at a glance: names and foreign words are cut in the middle, and
clauses that do not fit are told below it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from taskgrove.story.run_story import RunStory
from taskgrove.view.phrases import COLUMNS, leaves, left_out_words, listed, plain
from taskgrove.view.terminal_text import clip, safe_text
from taskgrove.view.why.actions import Action, RunCommand, next_text, text_of
from taskgrove.view.why.ended_run import (
    abort_clauses,
    failure_clauses,
    lost_clauses,
    lost_words,
    marked_clauses,
    with_failure,
    without_failure,
)
from taskgrove.view.why.findings import Findings
from taskgrove.view.why.living_run import Wait, running_clauses, running_words
from taskgrove.view.why.naming import is_below, name_of

#: The most characters of a first line.
LONGEST: Final = 299
#: The most characters of its beginning, so that there is room for what to do next; and how many
#: columns each name and foreign text in it may take, tried in this order.
_BEGINNING: Final = 250
_ROOMS: Final = (120, 80, 56, 40, 28, 20)
#: The same for the clauses after the beginning.
_ROOM: Final = 60
#: The end of a run that resumed another.
_RESUMED: Final[dict[str | None, str]] = {
    "ok": "completed",
    "degraded": "completed DEGRADED",
    "failed": "failed",
    "rejected": "was rejected",
    "aborted": "was aborted",
    "running": "is running",
    "lost": "lost its runner",
    None: "is no longer in the record",
}


class FirstLine(NamedTuple):
    """The first line.

    Attributes:
        text: The line.
        next_step: The next step, told whole.
        also: Clauses that did not fit into it.
    """

    text: str
    next_step: str
    also: tuple[str, ...] = ()


def first_line(found: Findings, waits: Sequence[Wait], actions: Sequence[Action]) -> FirstLine:
    """Return the first line: the first failure, its consequences, the next step."""
    command = plain(found.command, _ROOM)
    state = found.story.state

    def beginning(room: int) -> str:
        if state == "running":
            return running_words(found, waits, command, room)
        if state in ("lost", "unknown"):
            return lost_words(found, command, room)
        return (with_failure if found.failed else without_failure)(found, command, room)

    clauses = [
        *_clauses(found, waits),
        *_marked_clauses(found),
        *_accepted_clauses(found),
        *_verdict_clauses(found),
        left_out_words(found.left_out),
        _resumed_words(found.story),
    ]
    return _fitted(beginning, list(filter(None, clauses)), actions, found.story.now_ns)


def _fitted(
    beginning: Callable[[int], str],
    clauses: Sequence[str],
    actions: Sequence[Action],
    now_ns: int,
) -> FirstLine:
    """Put a line together: all of it, or the clauses that fit, with the next step."""
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


def _clauses(found: Findings, waits: Sequence[Wait]) -> list[str]:
    """Return the clauses after the beginning, the most important first."""
    if found.story.state == "running":
        return running_clauses(found, waits, _ROOM)
    if found.story.state in ("lost", "unknown"):
        return lost_clauses(found, _ROOM)
    told = failure_clauses(found) if found.failed else []
    if found.outcome == "aborted" and found.abort is not None:
        told += abort_clauses(found.abort)
    if found.never_begun and found.failed:
        told.append(f"{leaves(found.never_begun)} had not begun")
    return told


def _marked_clauses(found: Findings) -> list[str]:
    """Return the acts of operators that a sentence does not begin with."""
    if found.story.state == "final" and found.outcome == "degraded" and not found.failed:
        return []
    return marked_clauses(found, _ROOM)


def _accepted_clauses(found: Findings) -> list[str]:
    """Return which leaves did not succeed, and are treated as OK because somebody said so."""
    told: dict[tuple[str, str], list[str]] = {}
    for node, note in found.accepted:
        said = (note.data.get("who", ""), note.data.get("why", ""))
        told.setdefault(said, []).append(name_of(node, _ROOM))
    return [
        f"{listed(names)} {'was' if len(names) == 1 else 'were'} treated as OK by {_by(who, why)}"
        for (who, why), names in told.items()
    ]


def _verdict_clauses(found: Findings) -> list[str]:
    if not found.failed:
        return []
    path = found.failed[0].node.path
    for verdict in reversed(found.verdicts):
        if is_below(path, verdict.path):
            reason = f" ({plain(verdict.why, _ROOM)})" if verdict.why else ""
            return [f"verdict of {_by(verdict.who)}: {plain(verdict.words, _ROOM)}{reason}"]
    return []


def _by(who: str, why: str = "") -> str:
    return (plain(who, _ROOM) or "an operator") + (f" ({plain(why, _ROOM)})" if why else "")


def _resumed_words(story: RunStory) -> str:
    """Return by which runs it was resumed and how these ended; empty where it was not."""
    told = []
    for it in story.resumed_by:
        of = "" if it.of_run_id == story.run_id else f" (of {safe_text(it.of_run_id)})"
        ended = _RESUMED.get(it.outcome, f"is {it.outcome}")
        told.append(f"{safe_text(it.run_id)}{of}, which {ended}")
    return f"it was resumed by {listed(told)}" if told else ""
