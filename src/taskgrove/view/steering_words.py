"""The words of requests to a live run, and of the answers of the run.

Pure. A line of advice is a command line that works as it is printed.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Final

from taskgrove.events.steering_request import (
    SteeringAnswer,
    SteeringFate,
    SteeringObjection,
    SteeringReason,
    SteeringRequest,
    SteeringVerb,
)
from taskgrove.story.path_globs import is_pattern
from taskgrove.view.phrases import at_most, counted, day_text, plain

#: The word of each fate.
FATE_WORDS: Final[dict[SteeringFate, str]] = {
    "done": "done",
    "refused": "refused",
    "too_late": "too late",
}
#: The effect of a request on one node, and on several.
_EFFECTS: Final[dict[SteeringVerb, tuple[str, str]]] = {
    "retry": ("is tried again", "are tried again"),
    "accept": ("is accepted", "are accepted"),
    "skip": ("is skipped", "are skipped"),
    "fail": ("fails: its failure stands", "fail: their failures stand"),
}
_OF_RUN: Final[dict[SteeringVerb, str]] = {
    "abort": "the run is being aborted",
    "pause": "the run is paused; running steps go on, and so do their timeouts",
    "continue": "the run goes on",
}
#: An answer names so many further objections, each on a line.
_OBJECTIONS: Final = 5


def answer_lines(
    request: SteeringRequest, answer: SteeringAnswer, run_id: str, options: Sequence[str] = ()
) -> list[str]:
    """Return the words of an answer: one line, then paths, objections and the next command.

    Args:
        request: The request.
        answer: Its answer.
        run_id: The run.
        options: The options of every command line that is advised, such as ``--db FILE``.
    """
    word = FATE_WORDS[answer.fate]
    objections = answer.objections
    if answer.fate == "done":
        lines = _done_lines(request, answer)
        lines += [f"  not {_named(it, request)}" for it in objections[:_OBJECTIONS]]
        if len(objections) > _OBJECTIONS:
            lines.append(f"  not … and {len(objections) - _OBJECTIONS:,} more")
    elif len(objections) == 1:
        lines = [f"{word}: {_named(objections[0], request)}"]
    else:
        lines = [f"{word}: {asked_words(request)}"]
        lines += [f"  {line}" for line in at_most([_named(it, request) for it in objections])]
    step = next(filter(None, (_next(it, request, run_id, options) for it in objections)), None)
    return lines if step is None else [*lines, f"Next: {step}"]


def answer_line(request: SteeringRequest, answer: SteeringAnswer) -> str:
    """Return an answer as one line: what was asked for, and the fate."""
    first = answer_lines(request, answer, "")[0]
    who = f" (asked by {plain(request.who)})" if request.who else ""
    return f"{request.verb}: {first}{who}"


def asked_words(request: SteeringRequest) -> str:
    """Return what a request asks for: ``retry observe/scan``, ``pause before observe/scan``."""
    before = "before " if request.verb == "pause" and request.path else ""
    return f"{request.verb} {before}{plain(request.path)}".rstrip()


def request_line(
    request: SteeringRequest, run_id: str, options: Sequence[str] = (), *, path: str | None = None
) -> str:
    """Return the command line of a request.

    Args:
        request: The request.
        run_id: The run.
        options: Further options.
        path: The path in place of that of the request.
    """
    node = request.path if path is None else path
    words = ["taskgrove", request.verb, run_id]
    if node:
        words += ["--before", node] if request.verb == "pause" else [node]
    words += ["--abort-first"] * request.abort_first + ["--stop-finally"] * request.stop_finally
    if request.why:
        words += ["--why", request.why]
    if request.who and request.who != request.user:
        words += ["--by", request.who]
    return shlex.join([*words, *options])


def decision_lines(run_id: str, path: str, options: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the command lines that decide on a held step.

    Args:
        run_id: The run.
        path: The step, or a pattern.
        options: Further options, such as ``--db FILE``.
    """
    return tuple(
        shlex.join(["taskgrove", verb, run_id, path, *more, *options])
        for verb, more in (
            ("retry", ()),
            ("accept", ("--why", "REASON")),
            ("skip", ()),
            ("fail", ()),
        )
    )


def _done_lines(request: SteeringRequest, answer: SteeringAnswer) -> list[str]:
    if request.verb == "pause" and request.path:
        return [f"done: the run pauses when {plain(request.path)} is about to start"]
    if request.verb in _OF_RUN:
        more = ", and its clean-up is stopped" if request.stop_finally else ""
        return [f"done: {_OF_RUN[request.verb]}{more}"]
    later = " when the pause ends" if answer.is_kept_by_pause else ""
    one, many = (f"{words}{later}" for words in _EFFECTS[request.verb])
    if answer.acted_count <= 1:
        return [f"done: {plain(answer.paths[0] if answer.paths else request.path)} {one}"]
    paths = [f"  {plain(path)}" for path in answer.paths]
    if answer.acted_count > len(paths):
        paths.append(f"  … and {answer.acted_count - len(paths):,} more")
    return [f"done: {counted(answer.acted_count, 'step')} {many}", *paths]


def _named(objection: SteeringObjection, request: SteeringRequest) -> str:
    """Return an objection after the path of its node."""
    words = _WORDS[objection.reason](objection, request)
    path = objection.path or (request.path if objection.reason != "no_such_node" else "")
    by_run = objection.reason in _ABOUT_RUN or not path
    return words if by_run else f"{plain(path)}: {words}"


def _status(objection: SteeringObjection) -> str:
    return "" if objection.status is None else objection.status.name


def _since(objection: SteeringObjection) -> str:
    return "" if objection.since_ns is None else f" at {day_text(objection.since_ns)}"


def _by(objection: SteeringObjection) -> str:
    return f" by {plain(objection.who)}" if objection.who else ""


def _no_such_node(it: SteeringObjection, request: SteeringRequest) -> str:
    near = f"; did you mean {it.nearest!r}?" if it.nearest else ""
    path = it.path or request.path
    if is_pattern(path):
        return f"the pattern {path!r} matches no node of the run{near}"
    return f"the run has no node {path!r}{near}"


def _not_held(it: SteeringObjection, _request: SteeringRequest) -> str:
    status = _status(it)
    return f"no decision is open on it{f'; it is {status}' if status else ''}"


def _at_work(it: SteeringObjection) -> str:
    return f" (as {plain(it.outside_id)})" if it.outside_id else ""


def _has_begun(_it: SteeringObjection, request: SteeringRequest) -> str:
    if request.verb == "pause":
        return "it has begun, so the run cannot pause before it"
    return "it has begun, so it cannot be left out"


def _may_be_at_work(it: SteeringObjection, _request: SteeringRequest) -> str:
    return f"its earlier attempt may still be at work{_at_work(it)}"


def _still_at_work(it: SteeringObjection, _request: SteeringRequest) -> str:
    return f"its earlier attempt was asked to stop and has not ended{_at_work(it)}"


def _needed_later(it: SteeringObjection, _request: SteeringRequest) -> str:
    later = plain(it.because_of) if it.because_of else "a later step"
    return f"{later} needs its result"


def _already(it: SteeringObjection, request: SteeringRequest) -> str:
    if request.verb == "pause" and not it.path:
        return f"the run is paused already{_by(it)}{_since(it)}"
    return f"the same was asked for before{_by(it)}{_since(it)}"


def _node_ended(it: SteeringObjection, _request: SteeringRequest) -> str:
    return f"it has ended {_status(it)}".rstrip() + _since(it)


def _run_ended(it: SteeringObjection, _request: SteeringRequest) -> str:
    return f"the run has ended {_status(it)}".rstrip() + _since(it)


def _runner_lost(it: SteeringObjection, _request: SteeringRequest) -> str:
    return f"the runner of the run was lost{_since(it)}"


def _limit_expired(it: SteeringObjection, _request: SteeringRequest) -> str:
    owner = f" of {plain(it.because_of)}" if it.because_of else " above it"
    return f"the limit{owner} has expired"


def _fault(it: SteeringObjection, _request: SteeringRequest) -> str:
    return f"the run could not carry it out{f': {plain(it.said)}' if it.said else ''}"


def _fixed(words: str) -> Callable[[SteeringObjection, SteeringRequest], str]:
    return lambda _objection, _request: words


_WORDS: Final[
    dict[SteeringReason, Callable[[SteeringObjection, SteeringRequest], str]]
] = {
    "no_such_node": _no_such_node,
    "not_held": _not_held,
    "has_begun": _has_begun,
    "may_be_at_work": _may_be_at_work,
    "still_at_work": _still_at_work,
    "needed_later": _needed_later,
    "already": _already,
    "aborting": _fixed("the run is being aborted"),
    "not_paused": _fixed("the run is not paused"),
    "not_begun": _fixed("the run has not begun, and cannot pause"),
    "limit_expired": _limit_expired,
    "in_finally": _fixed("it belongs to the clean-up, which always runs"),
    "node_ended": _node_ended,
    "run_ended": _run_ended,
    "runner_lost": _runner_lost,
    "fault": _fault,
}  # fmt: skip
#: Reasons that speak of the run, not of a node.
_ABOUT_RUN: Final[frozenset[SteeringReason]] = frozenset(
    ("no_such_node", "aborting", "not_paused", "not_begun", "run_ended", "runner_lost")
)


def _next(
    it: SteeringObjection, request: SteeringRequest, run_id: str, options: Sequence[str]
) -> str | None:
    """Return the command line that an objection calls for, or None."""
    node = it.path or request.path
    if it.reason == "no_such_node":
        if it.nearest is None:
            return shlex.join(["taskgrove", "why", run_id, *options])
        return request_line(request, run_id, options, path=it.nearest)
    if it.reason == "already" and not (request.verb == "pause" and not it.path):
        return None
    words = {
        "not_held": ("why", run_id),
        "has_begun": ("why", run_id),
        "may_be_at_work": ("retry", run_id, node, "--abort-first"),
        "still_at_work": ("retry", run_id, node, "--abort-first"),
        "already": ("continue", run_id),
        "aborting": ("watch", run_id),
        "not_paused": ("why", run_id),
        "not_begun": ("why", run_id),
        "needed_later": ("why", run_id),
        "limit_expired": ("watch", run_id),
        "node_ended": ("why", run_id),
        "run_ended": ("why", run_id),
        "runner_lost": ("recover", run_id),
        "fault": ("why", run_id),
    }.get(it.reason)
    return None if words is None else shlex.join(["taskgrove", *words, *options])
