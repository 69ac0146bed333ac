"""What a run's events say of each of its nodes, folded into one record a node.

The record, the explanation and the recovery of a run all read these facts; they are the same
whether the events come from the bus of a live run or from the store.

Threads: a :class:`RunNodes` belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from taskgrove.control_model import IS_FINAL, ResultCode, TaskStatus
from taskgrove.events import (
    AnalysisDetail,
    Cause,
    ComposedDetail,
    FinishedDetail,
    NoteDetail,
    PageDetail,
    StartedDetail,
    TaskEvent,
)

#: Notes kept for one node; the record holds all of them as events.
MAX_NOTES: Final = 50
#: The fact of a note (UTC, nanoseconds since the epoch) that tells when work outside ended.
OUTSIDE_END: Final = "ended_ns"


@dataclass(frozen=True, slots=True)
class NodeNote:
    """A note on a node.

    Attributes:
        topic: As :class:`~taskgrove.events.NoteDetail`.
        text: The words.
        wall_ns: When, UTC, nanoseconds since the epoch.
        data: Small facts that belong to it.
        cause: Why an attempt ended so, where the note tells of a retry.
    """

    topic: str
    text: str
    wall_ns: int
    data: dict[str, str] = field(default_factory=dict)
    cause: Cause | None = None


def outside_end_of(event: TaskEvent) -> int | None:
    """Return when a note says that work outside ended, UTC, in nanoseconds; None: it does not.

    What followed the work may have come late, such as a recovery: then the instant of the event
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


@dataclass(slots=True)
class RunNode:
    """What is known of one node.

    Attributes:
        path: Its path.
        composed: The node as it was composed.
        status: Its status; None until something was heard of it.
        result_code: Its result code, when known.
        progress: Percent done, 0..100.
        message: Its last message that is not a note's; for a final node, the outcome's.
        devices: Devices involved.
        failed_devices: Devices that failed.
        health_state: ``DEGRADED``, ``FAILED`` or None.
        attempt: The last attempt, from 1.
        queued_ns: When it was queued, UTC, nanoseconds since the epoch, or None.
        started_ns: When it was first in progress, or None.
        ended_ns: When it ended, or None: as its device says, where the end was only read later
            (see :func:`outside_end_of`), else when it was told.
        last_ns: When it was last heard of, or None.
        outside_kind: ``command``, ``process``, ``job`` or None; of the last attempt.
        outside_id: The id under which it runs outside, or None; of the last attempt.
        finished: How the end was decided, or None.
        finished_sequence: The number of the event that ended it: which came first; or None.
        notes: The last notes on it, oldest first, at most ``MAX_NOTES``.
        analysis: The last description of its analysis, or None.
        pages: The pages that it published.
        attempt_started_ns: When the last attempt began, or None; from events only, a row of the
            record does not hold it.
    """

    path: str
    composed: ComposedDetail | None = None
    status: TaskStatus | None = None
    result_code: ResultCode | None = None
    progress: int = 0
    message: str = ""
    devices: tuple[str, ...] = ()
    failed_devices: tuple[str, ...] = ()
    health_state: str | None = None
    attempt: int = 1
    queued_ns: int | None = None
    started_ns: int | None = None
    ended_ns: int | None = None
    last_ns: int | None = None
    outside_kind: str | None = None
    outside_id: str | None = None
    finished: FinishedDetail | None = None
    finished_sequence: int | None = None
    notes: list[NodeNote] = field(default_factory=list)
    analysis: AnalysisDetail | None = None
    pages: list[PageDetail] = field(default_factory=list)
    attempt_started_ns: int | None = field(default=None, compare=False)
    _outside_end_ns: int | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def parent_path(self) -> str:
        """The path of the parent; empty for the root."""
        return self.path.rpartition("/")[0]

    @property
    def is_leaf(self) -> bool:
        """True for a leaf; a node that was never composed counts as one."""
        return self.composed is None or self.composed.execution not in ("SEQUENTIAL", "PARALLEL")

    @property
    def is_final(self) -> bool:
        """True once it has ended."""
        return self.status is not None and bool(IS_FINAL[self.status])

    @property
    def skipped(self) -> bool:
        """True for a casualty: a step that was not run because an earlier one failed."""
        return self.finished is not None and self.finished.skipped

    def apply(self, event: TaskEvent) -> None:
        """Take in one event of this node; events of a node come in order of their sequence."""
        self.last_ns = event.wall_ns
        detail = event.detail
        if event.kind == "composed":
            if isinstance(detail, ComposedDetail):
                self.composed = detail
            self.devices = event.devices
            return
        if event.kind == "note":
            self._note(event)
            return
        if self.is_final:
            return  # what comes after the end changes nothing
        self._change(event)

    def _note(self, event: TaskEvent) -> None:
        detail = event.detail
        if isinstance(detail, AnalysisDetail):
            self.analysis = detail
        elif isinstance(detail, PageDetail):
            self.pages.append(detail)
        else:
            told = detail if isinstance(detail, NoteDetail) else NoteDetail("info")
            self.notes.append(
                NodeNote(told.topic, event.message, event.wall_ns, dict(told.data), told.cause)
            )
            del self.notes[:-MAX_NOTES]
            self._outside_end_ns = outside_end_of(event) or self._outside_end_ns

    def _change(self, event: TaskEvent) -> None:
        detail = event.detail
        if event.kind == "queued" and self.queued_ns is None:
            self.queued_ns = event.wall_ns
        if event.attempt > self.attempt:  # the id of the attempt before finds nothing any more
            self.attempt, self.outside_kind, self.outside_id = event.attempt, None, None
            self.attempt_started_ns = None
        if event.kind == "started" or event.status is TaskStatus.IN_PROGRESS:
            self.started_ns = self.started_ns or event.wall_ns
            self.attempt_started_ns = self.attempt_started_ns or event.wall_ns
        if isinstance(detail, StartedDetail) and detail.outside_id is not None:
            self.outside_kind, self.outside_id = detail.outside_kind, detail.outside_id
        if event.progress is not None:
            self.progress = max(self.progress, event.progress)
        if event.status is not None:
            self.status = event.status
        if event.result_code is not None:
            self.result_code = event.result_code
        if event.devices:
            self.devices = event.devices
        if event.kind != "finished":
            if event.message and not isinstance(detail, StartedDetail):
                self.message = event.message
            return
        self.message = event.message
        self.failed_devices = event.failed_devices
        self.health_state = event.health_state
        self.ended_ns = end_between(self.started_ns, self._outside_end_ns, event.wall_ns)
        self.finished_sequence = event.sequence
        if isinstance(detail, FinishedDetail):
            self.finished = detail
        if self.status is TaskStatus.COMPLETED:
            self.progress = 100


class RunNodes:
    """The nodes of one run.

    Attributes:
        nodes: What is known of each node, by path, in the order in which they were composed.
        last_sequence: The highest number that was taken in.
        last_ns: When the run was last heard of, or None.
    """

    def __init__(self, events: Iterable[TaskEvent] = ()) -> None:
        self.nodes: dict[str, RunNode] = {}
        self.last_sequence = 0
        self.last_ns: int | None = None
        for event in events:
            self.apply(event)

    def apply(self, event: TaskEvent) -> RunNode:
        """Take in one event and return the node that it changed."""
        node = self.nodes.get(event.path)
        if node is None:
            node = self.nodes[event.path] = RunNode(event.path)
        node.apply(event)
        self.last_sequence = max(self.last_sequence, event.sequence)
        self.last_ns = event.wall_ns if self.last_ns is None else max(self.last_ns, event.wall_ns)
        return node

    @property
    def root(self) -> RunNode | None:
        """The root, or None when nothing is known yet."""
        return next(iter(self.nodes.values()), None)

    def children(self, path: str) -> list[RunNode]:
        """Return the children of a node, in their composed order."""
        node = self.nodes[path]
        names = () if node.composed is None else node.composed.children
        return [found for name in names if (found := self.nodes.get(f"{path}/{name}")) is not None]
