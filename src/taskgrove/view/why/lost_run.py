"""What is known of a run whose runner vanished. Pure."""

from __future__ import annotations

from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import RunStory
from taskgrove.view.why.deeds import deed
from taskgrove.view.why.findings import Findings
from taskgrove.view.why.phrases import COLUMNS, ago_text, clock_text, counted, plain, who


def lost_words(story: RunStory, findings: Findings, command: str, room: int = COLUMNS) -> str:
    """Return the beginning of the sentence of a run that lost its runner."""
    last = story.last_ns
    told = f"{command} lost its runner"
    if story.state == "unknown":
        told = f"the events of {command} end before it does"
    if last is not None:
        when = f"{clock_text(last, story.now_ns)}, {ago_text(last, story.now_ns)}"
        told += f" (last sign of life {when})"
    running = still_open(findings)
    if running:
        told += f" while {who(running[0], room)} was running"
        if len(running) > 1:
            told += f" with {len(running) - 1:,} more"
    return told


def lost_clauses(story: RunStory, findings: Findings, room: int = COLUMNS) -> list[str]:
    """Return what else is known of a run that lost its runner, the most important first."""
    ended = findings.leaf_count - len(findings.open)
    told = [f"{ended:,} of {counted(findings.leaf_count, 'leaf', 'leaves')} had ended"]
    if findings.failed:
        first = findings.failed[0]
        did = deed(first, story.now_ns, room)
        told.append(f"before that {who(first.node, room)} {did}")
    if story.state_note:
        told.append(plain(story.state_note, room))
    return told


def still_open(findings: Findings) -> list[RunNode]:
    """Return the leaves that were running, in the order in which they began."""
    running = [node for node in findings.open if node.started_ns is not None]
    return sorted(running, key=lambda node: node.started_ns or 0)
