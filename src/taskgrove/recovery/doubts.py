"""Doubts about a leaf that is to run again: its work may be done twice.

Pure; decided by causes and by the topics and data of notes.
"""

from __future__ import annotations

from typing import Final

from taskgrove.commands.attribute_condition import READING_STEPS
from taskgrove.commands.task import LeafTask
from taskgrove.story.open_work import OpenWork, open_work
from taskgrove.story.run_node import RunNode

#: Topic of a note on a leaf that was, or may have been, at work when the runner was lost.
DOUBT: Final = "lost"
#: Topic of the note on a leaf that waited for a decision when the runner was lost, and the fact in
#: that note that a further attempt may have begun.
WAS_HELD: Final = "was-held"
MAY_HAVE_BEGUN: Final = "may_have_begun"
#: Why work may go on, in words about the device, or ``it``.
_WORDS: Final[dict[OpenWork, str]] = {
    "unknown": "its end is not known",
    "unfollowed": "{where} was not followed to its end, and may still run",
    "unheeding": "{where} did not stop when it was asked to, and may still run",
    "unstopped": "{where} was not stopped when its timeout expired, and may still run",
}


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
    for note in node.notes:
        if note.topic == DOUBT or (note.topic == WAS_HELD and MAY_HAVE_BEGUN in note.data):
            return note.text
    why = open_work(node)
    return "" if why is None else _WORDS[why].format(where=leaf.device_name or "it")
