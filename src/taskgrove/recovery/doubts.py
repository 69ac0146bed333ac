"""Doubts about a leaf that is to run again: its work may be done twice.

Pure; decided by causes and by the topics and data of notes.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Final

from taskgrove.commands.attribute_condition import READING_STEPS
from taskgrove.commands.task import LeafTask
from taskgrove.control_model import TaskStatus
from taskgrove.events.cause import CauseKind
from taskgrove.story.legacy import cause_of, ended_late
from taskgrove.story.node_note import NodeNote
from taskgrove.story.run_node import RunNode

#: Topic of a note on a leaf that was, or may have been, at work when the runner was lost.
DOUBT: Final = "lost"
#: Topic of the note on a leaf that waited for a decision when the runner was lost, and the fact in
#: that note that a further attempt may have begun.
WAS_HELD: Final = "was-held"
MAY_HAVE_BEGUN: Final = "may_have_begun"
#: Causes that do not say how the work ended.
_END_NOT_KNOWN: Final[frozenset[CauseKind]] = frozenset(
    {"lost", "fate_unknown", "silent", "forgotten"}
)
#: Topics of notes that tell why an attempt ended so.
_OF_ATTEMPTS: Final = ("attempt", "held", "undecided")
#: Causes of a late end that does not count: the work was not followed any longer.
_LET_GO: Final = _END_NOT_KNOWN | {"timed_out", "abandoned"}


def doubt_of_lost(leaf: LeafTask, since: str) -> str:
    """Return the doubt about a leaf of a run that lost its runner.

    Args:
        leaf: The leaf.
        since: How far the leaf had come, as words.
    """
    if leaf.step in READING_STEPS:
        return f"{since} when the runner was lost: it only reads, and changed nothing"
    what = f"{leaf.command_name} reached {leaf.device_name}" if leaf.device_name else "it ran"
    if leaf.step == "write":
        what = f"{leaf.command_name} of {leaf.device_name} was written"
    return f"{since} when the runner was lost: whether {what} is not known"


def doubt_about(leaf: LeafTask, node: RunNode | None) -> str:
    """Return why a leaf may be at work still, or may have done its work; else an empty text.

    Args:
        leaf: The leaf, as it is to run again.
        node: The node with the end that it reached, or None.
    """
    if node is None or leaf.step in READING_STEPS:
        return ""
    notes = {note.topic: note for note in node.notes}
    for note in node.notes:
        if note.topic == DOUBT or (note.topic == WAS_HELD and MAY_HAVE_BEGUN in note.data):
            return note.text
    if node.status not in (TaskStatus.FAILED, TaskStatus.ABORTED) or node.skipped:
        return ""
    cause = cause_of(node)
    if cause.kind in _END_NOT_KNOWN or _last_attempt_kind(node) in _END_NOT_KNOWN:
        return "its end is not known"
    where = leaf.device_name or "it"
    if cause.kind == "abandoned" and "abandoned" not in notes:
        return f"{where} was not followed to its end, and may still run"
    return _may_go_on(where, node, notes)


def _last_attempt_kind(node: RunNode) -> CauseKind | None:
    """Return why the last attempt ended so, where the end that is told is that of another one."""
    for note in reversed(node.notes):
        if note.topic in _OF_ATTEMPTS and note.cause is not None:
            return note.cause.kind if note.cause.attempt in (None, node.attempt) else None
    return None


def _may_go_on(where: str, node: RunNode, topics: Container[str]) -> str:
    """Return why work may go on whose end was not reported; else an empty text."""
    if "abandoned" in topics:
        return f"{where} did not stop when it was asked to, and may still run"
    if "timeout" in topics and node.started_ns is not None and not _ended_late(node.notes):
        return f"{where} was not stopped when its timeout expired, and may still run"
    return ""


def _ended_late(notes: Sequence[NodeNote]) -> bool:
    """Return True where the work reported its end after the end of the leaf was decided."""
    late = [note for note in notes if note.topic == "late"]
    return any(
        ended_late(note)
        if "status" not in note.data
        else note.cause is None or note.cause.kind not in _LET_GO
        for note in late
    )
