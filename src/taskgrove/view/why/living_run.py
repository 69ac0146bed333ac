"""The leaves that a living run waits for, since when, and the last sign of life. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import RunStory
from taskgrove.view.act_words import pause_words, person
from taskgrove.view.phrases import (
    COLUMNS,
    ago_text,
    clock_text,
    counted,
    leaves,
    plain,
    seconds_between,
)
from taskgrove.view.terminal_text import duration_text, safe_text
from taskgrove.view.why.findings import Findings
from taskgrove.view.why.held_steps import decision_words, waiting_clauses
from taskgrove.view.why.naming import device_of, name_of, note_of, who, work_of

_NS: Final = 1_000_000_000


class Wait(msgspec.Struct, frozen=True):
    """Something that a living run waits for.

    Attributes:
        path: The leaf.
        device: Its device, or None.
        words: The leaf and its command, in words.
        since_ns: Since when, UTC, nanoseconds since the epoch, or None.
        last_ns: The last sign of life of the leaf, or None.
        progress: Percent done, 0..100.
        limit_s: The timeout that expires first, in seconds, or None.
        limit_owner: The node that set it.
        left_s: How long that timeout still has, in seconds; below 0 it has expired.
        asked_to_stop_ns: When the leaf was asked to stop, or None.
        silent_since_ns: Since when its device has not answered, or None.
    """

    path: str
    device: str | None
    words: str
    since_ns: int | None
    last_ns: int | None
    progress: int
    limit_s: float | None = None
    limit_owner: str | None = None
    left_s: float | None = None
    asked_to_stop_ns: int | None = None
    silent_since_ns: int | None = None


def waits_of(found: Findings) -> tuple[Wait, ...]:
    """Return the leaves that a run waits for; the one that was silent longest first."""
    awake = [node for node in found.open if node.wait is None]
    running = [node for node in awake if node.started_ns is not None]
    if not running:
        running = [node for node in awake if node.queued_ns is not None]
    limits = _limits_of(found.story) if running else {}
    waits = [_wait(node, found.story.now_ns, limits) for node in running]
    waits.sort(key=lambda it: (it.silent_since_ns is None, it.last_ns or 0, it.since_ns or 0))
    return tuple(waits)


def hangs(story: RunStory) -> bool:
    """Return whether the runner of a living run is stopped, or gives no sign of life."""
    return story.runner is not None and bool(story.runner.is_stopped or story.runner.is_silent)


def running_words(found: Findings, waits: Sequence[Wait], command: str, room: int) -> str:
    """Return the beginning of the sentence of a run that is alive."""
    story = found.story
    if hangs(story):
        return f"{command} makes no progress: {_runner_words(story, room)}"
    waiting = _waiting_words(found, room)
    if waiting and found.abort is None:
        return f"{command} {waiting}"
    root = story.root
    since = None if root is None else seconds_between(root.started_ns, story.now_ns)
    told = f"{command} is running"
    if since is not None:
        told = f"{command} has been running for {duration_text(since)}"
    if found.abort is not None:
        ago = ago_text(found.abort.wall_ns, story.now_ns)
        told = f"{command} was asked to stop {ago} ({plain(found.abort.reason, room)})"
    if waits:
        return f"{told} and waits for {wait_words(waits[0], story.now_ns, room)}"
    if found.waiting:
        rest = _rest(found, room)
        told += f": {'; '.join(rest)}"
    elif found.open:
        told += f" and has not begun any of its {leaves(len(found.open))}"
    elif found.leaf_count:
        told += " and every leaf has ended"
    if story.last_ns is None:
        return told
    return f"{told} (last sign of life {ago_text(story.last_ns, story.now_ns)})"


def running_clauses(found: Findings, waits: Sequence[Wait], room: int) -> list[str]:
    """Return further facts of a run that is alive, the most important first."""
    story = found.story
    told = []
    waiting = bool(_waiting_words(found, room)) and found.abort is None
    if waits and hangs(story):
        told.append(f"it waits for {wait_words(waits[0], story.now_ns, room)}")
    elif waits and waiting:
        is_one = len(waits) == 1
        told.append(f"{leaves(len(waits))} still {'runs' if is_one else 'run'}")
        if story.pause is not None:
            told[-1] += f", and {'its timeout counts' if is_one else 'their timeouts count'}"
    if waits or waiting:
        told += _rest(found, room)
    for node, request in found.pauses[:1]:
        by = "" if request is None else f", as {person(request, room)} asked"
        told.append(f"it will pause when {name_of(node, room)} is about to start{by}")
    if found.failed:
        first, more = found.failed[0], len(found.failed) - 1
        others = f" ({leaves(more)} failed after it)" if more else ""
        told.append(f"so far {who(first.node, room)} {first.deed(story.now_ns, room)}{others}")
    if len(waits) > 1 and not waiting:
        told.append(counted(len(waits) - 1, "more leaf runs", "more leaves run"))
    return told


def _rest(found: Findings, room: int) -> list[str]:
    """Return what waits besides the decisions."""
    story = found.story
    paused = story.pause is not None
    return waiting_clauses(found.waiting, found.parked, story.now_ns, room, is_paused=paused)


def _waiting_words(found: Findings, room: int) -> str:
    """Return the pause and the decision that a run waits for; empty where there is none."""
    story = found.story
    told = [] if story.pause is None else [f"is {pause_words(story.pause, story.now_ns, room)}"]
    if story.device_wait is not None:
        told.append(plain(story.device_wait.words))
    if found.held:
        told.append(decision_words(found.waiting, story.now_ns, room))
    return ", and ".join(told)


def wait_words(wait: Wait, now_ns: int, room: int = COLUMNS) -> str:
    """Return a leaf that is waited for, since when, with its last sign of life and timeout."""
    facts = []
    if wait.since_ns is not None:
        took = duration_text(seconds_between(wait.since_ns, now_ns))
        facts.append(f"for {took}, since {clock_text(wait.since_ns, now_ns)}")
    if wait.silent_since_ns is not None:
        since = clock_text(wait.silent_since_ns, now_ns)
        facts.append(f"its device has not answered since {since}")
    if wait.progress:
        facts.append(f"{wait.progress} % done")
    if wait.last_ns is not None and wait.silent_since_ns is None:
        facts.append(f"last sign of life {ago_text(wait.last_ns, now_ns)}")
    if wait.asked_to_stop_ns is not None:
        facts.append(f"asked to stop {ago_text(wait.asked_to_stop_ns, now_ns)}")
    if wait.left_s is not None:
        owner = "its" if wait.limit_owner == wait.path else f"{safe_text(wait.limit_owner)}'s"
        rest = f"has {duration_text(wait.left_s)} left" if wait.left_s > 0 else "has expired"
        facts.append(f"{owner} timeout of {wait.limit_s:g} s {rest}")
    words = plain(wait.words, 2 * room)
    return f"{words} ({', '.join(facts)})" if facts else words


def _wait(node: RunNode, now_ns: int, limits: dict[str, tuple[int, float]]) -> Wait:
    path = node.path
    candidates = []
    while path:
        if path in limits:
            candidates.append((*limits[path], path))
        path = path.rpartition("/")[0]
    asked = note_of(node, "abort-asked")
    end_ns, length_s, owner = min(candidates, default=(None, None, None))
    begun = node.started_ns is not None
    return Wait(
        node.path,
        device_of(node),
        f"{who(node)} {'to finish' if begun else 'to begin'} {work_of(node)}",
        node.started_ns if begun else node.queued_ns,
        node.last_ns,
        node.progress,
        length_s,
        owner,
        None if end_ns is None else (end_ns - now_ns) / _NS,
        None if asked is None else asked.wall_ns,
        _silent_since(node),
    )


def _limits_of(story: RunStory) -> dict[str, tuple[int, float]]:
    """Return when the timeout of each node that has one expires, and how long it is."""
    return {
        node.path: (node.started_ns + int(node.composed.timeout_s * _NS), node.composed.timeout_s)
        for node in story.nodes
        if node.composed is not None
        and node.composed.timeout_s is not None
        and node.started_ns is not None
    }


def _silent_since(node: RunNode) -> int | None:
    """Return since when the device of a leaf has not answered; None where it answers."""
    for note in reversed(node.notes):
        if note.topic in ("reconciled", "answers"):
            return None
        if note.topic == "silent":
            since = note.data.get("since_ns", "")
            return int(since) if since.isdecimal() else note.wall_ns
    return None


def _runner_words(story: RunStory, room: int) -> str:
    runner = story.runner
    assert runner is not None
    name = f"its runner, process {runner.pid} on {plain(runner.host, room)},"
    heard = f"last sign of life {ago_text(runner.heartbeat_ns, story.now_ns)}"
    if runner.is_stopped:
        return f"{name} is stopped by a signal ({heard})"
    return f"{name} has given no sign of life for too long ({heard})"
