"""``taskgrove runs show RUN --node PATH``: all that is known of one node of a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

from taskgrove.cli.terminal import Terminal
from taskgrove.errors import UsageError, nearest
from taskgrove.events import Cause, SteeringRequest
from taskgrove.story.legacy import cause_of
from taskgrove.story.path_globs import path_of_command
from taskgrove.story.run_node import RunNode
from taskgrove.view.act_words import account
from taskgrove.view.phrases import clock_text, seconds_between, step_words
from taskgrove.view.states import STATE_STYLES
from taskgrove.view.terminal_text import duration_text, safe_lines, safe_text
from taskgrove.view.why.actions import place_text
from taskgrove.view.why.naming import device_of

#: Topics of the notes that tell how an attempt ended.
_ATTEMPTS: Final = ("retry", "attempt")
#: Fields of a cause that are texts of several lines, with lines of their own.
_LONG = ("said", "chain", "last_lines")


def find_node(nodes: Sequence[RunNode], path: str) -> RunNode:
    """Return the node at a path.

    Raises:
        UsageError: There is none; the hint names the nearest.
    """
    commands = ((node.path, node.composed.command_name) for node in nodes if node.composed)
    meant = {path, path_of_command(path, commands)}
    for node in nodes:
        if node.path in meant:
            return node
    near = nearest(path, [node.path for node in nodes])
    raise UsageError(f"the run has no node {path}", hint=f"did you mean {near}?" if near else None)


def say_node(terminal: Terminal, node: RunNode, now_ns: int) -> None:
    """Print one node: how it ended, each attempt with its cause, and its notes.

    Args:
        terminal: Where it is printed.
        node: The node.
        now_ns: When it is looked at, UTC, nanoseconds since the epoch.
    """
    terminal.say(f"{safe_text(node.path)}: {node.state}", STATE_STYLES[node.state])
    for name, text in _facts(node, now_ns):
        terminal.say_line([(f"  {name:<9}", "dim"), (safe_text(text), "")])
    failed = [note.cause for note in node.notes if note.topic in _ATTEMPTS and note.cause]
    for number, cause in enumerate(failed, 1):
        _say_cause(terminal, f"Attempt {cause.attempt or number}", cause, now_ns)
    wait = node.wait
    if wait is not None and wait.failure is not None and wait.failure.cause is not None:
        _say_cause(terminal, "Cause", wait.failure.cause, now_ns)
    elif node.is_problem or node.skipped:
        _say_cause(terminal, "Cause", cause_of(node), now_ns)
    if node.notes:
        terminal.say("Notes:", "bold")
        for note in node.notes:
            when = clock_text(note.wall_ns, now_ns)
            asked = "" if note.request is None else f" (asked by {_asker(note.request)})"
            terminal.say_item(f"{when} {note.topic}: {note.text}{asked}")


def _facts(node: RunNode, now_ns: int) -> Iterable[tuple[str, str]]:
    composed = node.composed
    yield "message", node.message
    yield from _steering_facts(node, now_ns)
    if (device := device_of(node)) is not None:
        yield "device", device
    if composed is not None:
        if composed.description:
            yield "about", composed.description
        if composed.call is not None:
            yield "calls", composed.call
        if composed.command_name:
            yield "command" if composed.step == "command" else "step", step_words(composed)
        if node.argin is not None:
            yield "argument", json.dumps(node.argin, ensure_ascii=False)
        if composed.place is not None:
            yield "place", place_text(composed.place)
        if composed.timeout_s is not None:
            yield "timeout", f"{composed.timeout_s:g} s"
    yield from _times(node, now_ns)
    if node.attempt > 1:
        yield "attempts", str(node.attempt)
    if node.outside_id is not None:
        yield "outside", f"{node.outside_kind or 'id'} {node.outside_id}"
    if node.finished is not None and node.finished.line:
        yield "decided", node.finished.line


def _times(node: RunNode, now_ns: int) -> Iterable[tuple[str, str]]:
    """Yield how long a leaf was in the queue of its device, and how long it ran."""
    if node.is_leaf and node.queued_ns is not None:
        until = node.started_ns or node.ended_ns or now_ns
        in_queue = duration_text(seconds_between(node.queued_ns, until))
        yield "queued", f"{clock_text(node.queued_ns, now_ns)}, {in_queue}"
    if node.started_ns is not None:
        took = duration_text(seconds_between(node.started_ns, node.ended_ns or now_ns))
        yield "began", f"{clock_text(node.started_ns, now_ns)}, {took}"


def _steering_facts(node: RunNode, now_ns: int) -> Iterable[tuple[str, str]]:
    """Yield the wait of a node, and the person who decided its end."""
    wait = node.wait
    if wait is not None:
        yield wait.how, f"since {clock_text(wait.since_ns, now_ns)}"
        if wait.until_ns is not None:
            yield "until", clock_text(wait.until_ns, now_ns)
    finished = node.finished
    if finished is None:
        return
    if finished.accepted:
        yield "accepted", f"by {' and '.join(finished.accepted_by) or 'an operator'}"
    if finished.request is not None:
        when = clock_text(finished.request.asked_ns, now_ns)
        yield "asked by", f"{_asker(finished.request)}, {when}"


def _asker(request: SteeringRequest) -> str:
    """Return who asked, from which account, and why."""
    login = account(request)
    told = request.who or request.user or "an operator"
    told += f", {login}" if login else ""
    return f"{told}: {request.why}" if request.why else told


def _say_cause(terminal: Terminal, title: str, cause: Cause, now_ns: int) -> None:
    terminal.say(f"{title}: {cause.kind}", "bold")
    for name in cause.__struct_fields__:
        value = getattr(cause, name)
        if value in (None, "", ()) or name in ("kind", "attempt", *_LONG):
            continue
        if name == "place":
            value = place_text(value)
        elif name == "last_answer_ns":
            value = clock_text(value, now_ns)
        terminal.say_item(f"{name}: {value}")
    _say_lines(terminal, "said", safe_lines(cause.said) if cause.said else ())
    for link in cause.chain:
        text = safe_lines(f"{link.type}: {link.text}" if link.text else link.type)
        _say_lines(terminal, "exception", text)
    _say_lines(terminal, "last lines", cause.last_lines)


def _say_lines(terminal: Terminal, title: str, lines: Sequence[str]) -> None:
    if len(lines) == 1:
        terminal.say_item(f"{title}: {lines[0]}")
    elif lines:
        terminal.say_item(f"{title}:")
        for line in lines:
            terminal.say(f"      {line}")
