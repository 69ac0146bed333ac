"""What is known of a run whose runner vanished. Pure; DESIGN: LOST is a state of the record."""

from __future__ import annotations

from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import RunStory
from taskgrove.view.reasons.causes import Findings
from taskgrove.view.reasons.deeds import again, deed, options_of
from taskgrove.view.reasons.words import ago_text, clock_text, counted, plain, who
from taskgrove.view.terminal_text import safe_text


def lost_words(story: RunStory, findings: Findings, command: str) -> str:
    """Return the sentence of a run that lost its runner, without what to do next."""
    last = story.last_ns
    told = f"{command} lost its runner"
    if story.state == "unknown":
        told = f"the events of {command} end before it does"
    if last is not None:
        when = f"{clock_text(last, story.now_ns)}, {ago_text(last, story.now_ns)}"
        told += f" (last sign of life {when})"
    running = still_open(findings)
    if running:
        told += f" while {who(running[0])} was running"
        if len(running) > 1:
            told += f" with {len(running) - 1:,} more"
    ended = findings.leaf_count - len(findings.open)
    told += f"; {ended:,} of {counted(findings.leaf_count, 'leaf', 'leaves')} had ended"
    if findings.failed:
        first = findings.failed[0]
        told += f"; before that {who(first.node)} {deed(first)}"
    note = story.state_note.partition("; last sign of life ")[0]  # that is told above
    if note:
        told += f"; {plain(note)}"
    return told


def next_of_lost(story: RunStory, findings: Findings) -> str:
    """Return what to do about it: pick up what still runs, then run what is missing."""
    outside = any(node.outside_id is not None for node in findings.open)
    if story.state == "unknown":
        return "see whether its process still runs"
    if not story.can_resume:
        look = "see what still runs, then " if outside else ""
        return f"{look}{again(story)}"
    if outside:
        recover = f"taskgrove recover {safe_text(story.run_id)}{options_of(story)}"
        return f"{recover} follows what still runs, then {again(story)} runs the rest"
    return f"{again(story)} runs what is missing"


def still_open(findings: Findings) -> list[RunNode]:
    """Return the leaves that were running, in the order in which they began."""
    running = [node for node in findings.open if node.started_ns is not None]
    return sorted(running, key=lambda node: node.started_ns or 0)
