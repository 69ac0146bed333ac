"""A note on a node, and the facts in notes: the end of work outside, the steps of an abort."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from taskgrove.events import Cause, NoteDetail, SteeringRequest, TaskEvent

#: Notes kept for one node; the record holds all of them as events.
MAX_NOTES: Final = 50
#: The fact of a note (UTC, nanoseconds since the epoch) that tells when work outside ended.
OUTSIDE_END: Final = "ended_ns"
#: The rungs of the abort ladder, in order, by the topic of the note that tells of them.
ABORT_TOPICS: Final = {
    "abort-asked": "asked",
    "abort-acknowledged": "acknowledged",
    "abort-ended": "ended",
    "abandoned": "abandoned",
}


@dataclass(frozen=True, slots=True)
class NodeNote:
    """A note on a node.

    Attributes:
        topic: As :class:`~taskgrove.events.NoteDetail`.
        text: The words.
        wall_ns: When, UTC, nanoseconds since the epoch.
        data: Small facts that belong to it.
        cause: Why an attempt ended so, where the note tells of a retry or a hold.
        request: The request of an operator that led to it, or None.
    """

    topic: str
    text: str
    wall_ns: int
    data: dict[str, str] = field(default_factory=dict)
    cause: Cause | None = None
    request: SteeringRequest | None = None

    @property
    def words(self) -> str:
        """The words that were told of a failed attempt; of any other note its text."""
        return self.data.get("words") or self.text


def verdict_in(notes: Iterable[NodeNote]) -> NodeNote | None:
    """Return the note by which a leaf counts as OK because a person said so, or None.

    Its data tell the person, the reason, the run, and in one word the end of the leaf there.
    """
    return next((note for note in notes if note.topic == "reused" and "verdict" in note.data), None)


def outside_end_of(event: TaskEvent) -> int | None:
    """Return when a note says that work outside ended, UTC, in nanoseconds; None: it does not.

    A recovery may look at the work long after its end: then the instant of the event
    that ends the node says when it was looked at, and this one when it was over.
    """
    detail = event.detail
    text = detail.data.get(OUTSIDE_END) if isinstance(detail, NoteDetail) else None
    return int(text) if text is not None and text.isascii() and text.isdecimal() else None


def end_between(started_ns: int | None, outside_ns: int | None, told_ns: int) -> int:
    """Return when a node ended: as told from outside, where that can be.

    The clock of a device may differ from ours: an end before the start, or after it was heard
    of, is not believed.

    Args:
        started_ns: When it began, or None.
        outside_ns: When it ended as told from outside, or None.
        told_ns: When its end was told here.
    """
    if outside_ns is None or started_ns is None or not started_ns <= outside_ns <= told_ns:
        return told_ns
    return outside_ns
