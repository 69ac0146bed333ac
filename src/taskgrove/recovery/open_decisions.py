"""The decision that was open on a leaf when the runner was lost: only its notes tell of it.

A leaf that waits for a decision has not ended, and nothing of it is at work: its last attempt has
failed, and the failure stands when nobody can decide any more. Pure.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from taskgrove.story.node_note import NodeNote
from taskgrove.story.run_node import RunNode

#: Topic of the note on a leaf that waited for a decision when the runner was lost.
WAS_HELD: Final = "was-held"

#: How the leaf waited: for a decision, for the ends of its group, for its next attempt, or for
#: the end of a pause.
Waiting: TypeAlias = Literal["held", "undecided", "delayed", "parked"]
_TOPICS: Final[dict[str, Waiting]] = {
    "held": "held",
    "undecided": "undecided",
    "delayed": "delayed",
    "hold-expired": "held",  # the end that follows was lost
}


class OpenDecision(NamedTuple):
    """A decision that was open.

    Attributes:
        waiting: How the leaf waited.
        failure: The note that tells of the failure, with its cause.
    """

    waiting: Waiting
    failure: NodeNote


def open_decision(node: RunNode) -> OpenDecision | None:
    """Return the decision that is open on a leaf that has not ended; None: there is none.

    Args:
        node: The leaf, from its events.
    """
    failure: NodeNote | None = None
    waiting: Waiting | None = None
    for note in node.notes:
        if note.topic == "retry":  # a further attempt was about to begin
            failure, waiting = _failure(note, failure), None
        elif note.topic == "parked":
            waiting = "parked"
        elif note.topic in _TOPICS:
            failure, waiting = _failure(note, failure), _TOPICS[note.topic]
    if failure is None or waiting is None:
        return None
    began_ns = node.attempt_started_ns
    if began_ns is not None and began_ns > failure.wall_ns:
        return None  # the attempt after it has begun
    return OpenDecision(waiting, failure)


def is_parked(node: RunNode) -> bool:
    """Return True for a leaf that never began, because a pause kept it from starting."""
    return (
        node.started_ns is None
        and node.outside_id is None
        and any(note.topic == "parked" for note in node.notes)
    )


def _failure(note: NodeNote, before: NodeNote | None) -> NodeNote:
    """Return the note that tells of the failure: the last one with a cause."""
    return note if note.cause is not None or before is None else before
