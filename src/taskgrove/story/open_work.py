"""Whether the work of a leaf may still go on although the leaf has ended. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from taskgrove.control_model import TaskStatus
from taskgrove.events import CauseKind
from taskgrove.story.legacy import cause_of, ended_late
from taskgrove.story.node_note import NodeNote
from taskgrove.story.run_node import RunNode

#: Why work may go on: nobody knows how it ended; it was not followed to its end; it did not stop
#: when it was asked to; it was not stopped when its limit expired.
OpenWork: TypeAlias = Literal["unknown", "unfollowed", "unheeding", "unstopped"]

#: Causes that do not say how the work ended.
_END_NOT_KNOWN: Final[frozenset[CauseKind]] = frozenset(
    {"lost", "fate_unknown", "silent", "forgotten"}
)
#: Topics of notes that tell why an attempt ended so.
_OF_ATTEMPTS: Final = ("attempt", "held", "undecided")
#: Causes of a late end that does not count: the work was not followed any longer.
_LET_GO: Final = _END_NOT_KNOWN | {"timed_out", "abandoned"}


def open_work(node: RunNode) -> OpenWork | None:
    """Return why the work of a leaf may still go on; None: it has ended, or never began.

    Args:
        node: A leaf that has ended.
    """
    topics = {note.topic: note for note in node.notes}
    if "lost" in topics:
        return "unknown"
    if node.status not in (TaskStatus.FAILED, TaskStatus.ABORTED) or node.skipped:
        return None
    kind = cause_of(node).kind
    if kind in _END_NOT_KNOWN or _last_attempt_kind(node) in _END_NOT_KNOWN:
        return "unknown"
    if kind == "abandoned" or "abandoned" in topics:
        return "unheeding" if "abandoned" in topics else "unfollowed"
    if "timeout" in topics and node.started_ns is not None and not _ended_late(node.notes):
        return "unstopped"
    return None


def _last_attempt_kind(node: RunNode) -> CauseKind | None:
    """Return why the last attempt ended so, where the end that is told is that of another one."""
    for note in reversed(node.notes):
        if note.topic in _OF_ATTEMPTS and note.cause is not None:
            return note.cause.kind if note.cause.attempt in (None, node.attempt) else None
    return None


def _ended_late(notes: Sequence[NodeNote]) -> bool:
    """Return True where the work reported its end after the end of the leaf was decided."""
    late = [note for note in notes if note.topic == "late"]
    return any(
        ended_late(note)
        if "status" not in note.data
        else note.cause is None or note.cause.kind not in _LET_GO
        for note in late
    )
