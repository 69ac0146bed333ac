"""The words of the acts of operators on a run: who did what, when and why, and refused requests.

Pure. Everything that people and programs said is made harmless here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from taskgrove.events.steering_request import SteeringAnswer, SteeringRequest, SteeringVerb
from taskgrove.story.node_wait import RunPause, Waiting, device_wait_in, pause_in
from taskgrove.story.operator_acts import OperatorAct
from taskgrove.story.run_node import RunNode
from taskgrove.view.phrases import ago_text, clock_text, counted, day_text, listed, plain
from taskgrove.view.steering_words import answer_lines, asked_words
from taskgrove.view.terminal_text import safe_text

#: The act on nodes, with their names, and the act on the whole run.
_ON_NODES: Final[dict[SteeringVerb, str]] = {
    "retry": "had {} tried again",
    "accept": "accepted {}",
    "skip": "skipped {}",
    "fail": "let the failure of {} stand",
    "pause": "had the run pause before {}",
}
_ON_RUN: Final[dict[SteeringVerb, str]] = {
    "pause": "paused the run",
    "continue": "let the run go on",
    "abort": "aborted the run",
}
_WAITS: Final[tuple[Waiting, ...]] = ("held", "undecided", "delayed", "parked")
#: How many names one line has before the rest is counted.
_NAMED: Final = 3


def person(request: SteeringRequest | None, room: int = 60) -> str:
    """Return who asked, with the reason: ``ann (the receiver was restarted)``."""
    if request is None:
        return "an operator"
    who = plain(request.who or request.user, room) or "an operator"
    return f"{who} ({plain(request.why, room)})" if request.why else who


def account(request: SteeringRequest) -> str:
    """Return the account that a request came from: ``ann@host``; empty where it is not known."""
    return plain("@".join(part for part in (request.user, request.host) if part))


def pause_words(pause: RunPause, now_ns: int | None, room: int = 60) -> str:
    """Return by whom a run was paused, why, and since when."""
    by = f" by {person(pause.request, room)}" if pause.request is not None else ""
    if now_ns is None:
        return f"paused{by} since {day_text(pause.since_ns).partition(' ')[2]}"
    since = clock_text(pause.since_ns, now_ns)
    return f"paused{by} since {since}, {ago_text(pause.since_ns, now_ns)}"


def wait_summary(nodes: Sequence[RunNode], now_ns: int) -> str:
    """Return the pause of a living run and how many steps of it wait; empty where nothing does.

    Args:
        nodes: The nodes of the run, the root first.
        now_ns: When they are looked at, UTC, nanoseconds since the epoch.
    """
    pause = pause_in(nodes[0].notes) if nodes and not nodes[0].is_final else None
    told = [] if pause is None else [pause_words(pause, now_ns)]
    holder = device_wait_in(nodes[0].notes) if nodes and not nodes[0].is_final else None
    told += [] if holder is None else [plain(holder.words)]
    tally = Counter(node.wait.how for node in nodes if node.notes and node.wait is not None)
    told += [f"{counted(tally[how], 'step')} {how}" for how in _WAITS if tally[how]]
    return "; ".join(told)


def act_line(act: OperatorAct, now_ns: int) -> str:
    """Return one act as a line: ``12:00:01 UTC, ann (ann@host): accepted scan: seen by eye``."""
    request = act.request
    known = account(request)
    who = plain(request.who) or "an operator"
    by = f"{who} ({known})" if known and known != who else who
    why = plain(request.why)
    if act.fate != "done":
        told = f"{_deed(act)}{f' (the reason given: {why})' if why else ''}"
    else:
        told = f"{_deed(act)}{f': {why}' if why else ''}"
    return f"{clock_text(act.when_ns, now_ns)}, {by}: {told}"


def _deed(act: OperatorAct) -> str:
    request, verb = act.request, act.request.verb
    if act.fate is None:
        return f"asked to {asked_words(request)}, and has no answer yet"
    if act.fate != "done":
        answer = SteeringAnswer(request_id=request.id, fate=act.fate, objections=act.objections)
        told = answer_lines(request, answer, "")[0]
        return f"asked to {asked_words(request)}, which was {told}"
    if verb in _ON_NODES and request.path:
        return _ON_NODES[verb].format(_names(act))
    more = ", and its clean-up" if request.stop_finally else ""
    return f"{_ON_RUN.get(verb, verb)}{more}"


def _names(act: OperatorAct) -> str:
    names = [safe_text(path.partition("/")[2] or path) for path in act.paths]
    if not names:
        return plain(act.request.path)
    if act.count > _NAMED:
        return f"{counted(act.count, 'step')} ({', '.join(names[:_NAMED])}, …)"
    return listed(names)
