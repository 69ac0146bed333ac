"""The events of a run, folded into one record for each of its nodes.

Whatever shows, records, explains or recovers a run reads these facts; they are the same whether
the events come from the bus of a live run or from the store.

Threads: a :class:`RunNodes` belongs to one thread.
"""

from __future__ import annotations

import json
from bisect import insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from taskgrove.control_model import IS_FINAL, ResultCode, TaskStatus
from taskgrove.events import (
    AnalysisDetail,
    ComposedDetail,
    FinishedDetail,
    NoteDetail,
    PageDetail,
    StartedDetail,
    TaskEvent,
)
from taskgrove.story.node_note import (
    ABORT_TOPICS,
    MAX_NOTES,
    NodeNote,
    end_between,
    outside_end_of,
)
from taskgrove.story.node_state import PROBLEM_STATES, NodeState, state_of
from taskgrove.story.node_wait import PERSON_TOPICS, NodeWait, wait_in

_RUNNING: Final = TaskStatus.IN_PROGRESS


@dataclass(slots=True)
class RunNode:
    """The known facts of one node.

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
        has_waited: Whether it, or a step below it, waited for a person: held, or kept by a pause.
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
    has_waited: bool = field(default=False, compare=False)
    _outside_end_ns: int | None = field(default=None, compare=False, repr=False)
    _told_end_ns: int | None = field(default=None, compare=False, repr=False)
    # The numbers of the newest event that changed it, and of the newest note on it.
    _changed: int = field(default=0, compare=False, repr=False)
    _noted: int = field(default=0, compare=False, repr=False)

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
        """True for a step that was not run: an earlier one failed, or an operator left it out."""
        return self.finished is not None and self.finished.skipped

    @property
    def is_left_out(self) -> bool:
        """True for a step that an operator left out; those below it are skipped."""
        finished = self.finished
        return (
            finished is not None
            and finished.skipped
            and any(item.is_by_operator for item in finished.left_out[:1])
        )

    @property
    def is_accepted(self) -> bool:
        """True where a person accepted its failure, or all failures below it."""
        return self.finished is not None and self.finished.accepted

    @property
    def argin(self) -> Any:
        """The argument of a leaf: of its last attempt where that is known, else as composed."""
        for note in reversed(self.notes):
            if note.topic == "argument":
                return json.loads(note.data["argin"])
        return None if self.composed is None else self.composed.argin

    @property
    def wait(self) -> NodeWait | None:
        """Its wait for a decision, a delay or the end of a pause; None: it does not wait."""
        return None if self.is_final else self.last_wait

    @property
    def last_wait(self) -> NodeWait | None:
        """Its wait, also the one in which it ended."""
        if not self.notes:
            return None
        began_ns = self.attempt_started_ns
        begun = self.started_ns is not None or self.outside_id is not None
        return wait_in(self.notes, self.attempt, began_ns, has_begun=begun)

    @property
    def state(self) -> NodeState:
        """The one word for its status, its result code, its health and its wait."""
        if self.notes and (wait := self.wait) is not None:
            return wait.how
        status, code, health = self.status, self.result_code, self.health_state
        finished = self.finished
        if finished is None or not (finished.skipped or finished.accepted):
            return state_of(status, code, health)  # by far the most frequent
        left_out = self.is_left_out
        return state_of(
            status,
            code,
            health,
            skipped=finished.skipped,
            accepted=finished.accepted,
            left_out=left_out,
        )

    @property
    def is_problem(self) -> bool:
        """True in a state that a person must see."""
        return self.state in PROBLEM_STATES

    @property
    def decision(self) -> str | None:
        """The arithmetic of the outcome as a line (``quorum 0.8 of 16: …``), or None."""
        return None if self.finished is None else self.finished.line

    @property
    def shown_devices(self) -> tuple[str, ...]:
        """Devices involved; the composed target of a device leaf while none was reported."""
        composed = self.composed
        if self.devices or composed is None or composed.execution != "DEVICE":
            return self.devices
        return (composed.target,) if composed.target else ()

    @property
    def silent_since_ns(self) -> int | None:
        """Since when its target does not answer, UTC, nanoseconds since the epoch, or None."""
        if self.is_final:
            return None
        for note in reversed(self.notes):
            if note.topic == "silent":
                since = note.data.get("since_ns", "")
                return int(since) if since.isdecimal() else note.wall_ns
            if note.topic in ("answers", "retry"):
                return None
        return None

    @property
    def abort_ladder(self) -> dict[str, int]:
        """When an abort was ``asked``, ``acknowledged``, ``ended``, ``abandoned``.

        The values are UTC, nanoseconds since the epoch; a rung that was not reached is missing.
        """
        ladder: dict[str, int] = {}
        for note in self.notes:
            rung = ABORT_TOPICS.get(note.topic)
            if rung is not None:
                ladder.setdefault(rung, note.wall_ns)
        return ladder

    def elapsed_s(self, now_ns: int | None = None) -> float | None:
        """Return how long it ran, or has been running, in seconds.

        The instants of one run come from one reading of the wall clock and the monotonic clock
        after it (:class:`~taskgrove.events.EventBus`): the time between them truly passed.

        Args:
            now_ns: Now, on the clock of the run's events; None leaves the time of a node that
                still runs unknown.

        Returns:
            Seconds, never negative; None for a node that has not started.
        """
        end_ns = now_ns if self.ended_ns is None else self.ended_ns
        if self.started_ns is None or end_ns is None:
            return None
        return max(0, end_ns - self.started_ns) / 1e9

    # -- the fold ---------------------------------------------------------------------------

    def apply(self, event: TaskEvent) -> None:
        """Take in one event of this node.

        Events come in order of their sequence. One that newer ones have overtaken adds missing
        facts, and overrides nothing newer; but an end always counts: that with the lowest
        number is the end.
        """
        kind = event.kind
        if kind == "progress" and self.go_on(event) is not None:
            return
        late = event.sequence < self._changed
        if self.last_ns is None or event.wall_ns > self.last_ns:
            self.last_ns = event.wall_ns
        if kind == "note":
            self._note(event)
        elif kind == "composed":
            self._compose(event, late=late)
        elif late:
            self._add(event)
        elif not self.is_final:  # events after the end change nothing
            self._change(event)

    def go_on(self, event: TaskEvent) -> bool | None:
        """Take in progress of a running node that goes on: by far the most frequent event.

        Returns:
            Whether it has a new message; None where the event is another one: then nothing was
            taken in.
        """
        if (
            event.kind != "progress"
            or event.status is not _RUNNING
            or self.status is not _RUNNING
            or event.attempt != self.attempt
            or event.result_code is not self.result_code
            or event.detail is not None
            or event.sequence < self._changed
        ):
            return None
        self._changed = event.sequence
        if self.last_ns is None or event.wall_ns > self.last_ns:
            self.last_ns = event.wall_ns
        progress, message = event.progress, event.message
        if progress is not None and progress > self.progress:
            self.progress = progress
        if event.devices:
            self.devices = event.devices
        if message and message != self.message:
            self.message = message
            return True
        return False

    def _compose(self, event: TaskEvent, *, late: bool) -> None:
        if isinstance(event.detail, ComposedDetail) and not (late and self.composed):
            self.composed = event.detail
        self.devices = (late and self.devices) or event.devices

    def _note(self, event: TaskEvent) -> None:
        detail, late = event.detail, event.sequence < self._noted
        self._noted = max(self._noted, event.sequence)
        if isinstance(detail, AnalysisDetail):
            if self.analysis is None or not late:
                self.analysis = detail
        elif isinstance(detail, PageDetail):
            self.pages.append(detail)
        else:
            told = detail if isinstance(detail, NoteDetail) else NoteDetail("info")
            data = dict(told.data)
            note = NodeNote(
                told.topic, event.message, event.wall_ns, data, told.cause, told.request
            )
            if late:
                insort(self.notes, note, key=lambda other: other.wall_ns)
            else:
                self.notes.append(note)
            del self.notes[:-MAX_NOTES]
            self._hear_of_end_outside(event, late=late)

    def _hear_of_end_outside(self, event: TaskEvent, *, late: bool) -> None:
        outside_ns, known_ns = outside_end_of(event), self._outside_end_ns
        if self.finished_sequence is None or event.sequence < self.finished_sequence:
            self._outside_end_ns = (known_ns or outside_ns) if late else (outside_ns or known_ns)
            self._find_end()

    def _find_end(self) -> None:
        if self._told_end_ns is not None:
            self.ended_ns = end_between(self.started_ns, self._outside_end_ns, self._told_end_ns)

    def _change(self, event: TaskEvent) -> None:
        detail = event.detail
        self._changed = max(self._changed, event.sequence)
        if event.kind == "queued" and self.queued_ns is None:
            self.queued_ns = event.wall_ns
        if event.attempt > self.attempt:  # the id of the attempt before finds nothing any more
            self.attempt, self.outside_kind, self.outside_id = event.attempt, None, None
            self.attempt_started_ns = None
        if event.kind == "started" or event.status is _RUNNING:
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
        if event.kind == "finished":
            self._end(event)
        elif event.message and not isinstance(detail, StartedDetail):
            self.message = event.message

    def _end(self, event: TaskEvent) -> None:
        self.message = event.message
        self.failed_devices = event.failed_devices
        self.health_state = event.health_state
        self._told_end_ns = event.wall_ns
        self._find_end()
        self.finished_sequence = event.sequence
        self.finished = event.detail if isinstance(event.detail, FinishedDetail) else None
        if self.status is TaskStatus.COMPLETED:
            self.progress = 100

    def _add(self, event: TaskEvent) -> None:
        """Add the facts of a late event that no newer event has told."""
        if self.finished_sequence is not None and event.sequence > self.finished_sequence:
            return
        if event.kind == "finished":
            self._change(event)
            return
        detail, wall_ns = event.detail, event.wall_ns
        if event.kind == "queued":
            self.queued_ns = min(self.queued_ns or wall_ns, wall_ns)
        self.attempt = max(self.attempt, event.attempt)
        of_this_attempt = event.attempt == self.attempt
        if event.kind == "started" or event.status is _RUNNING:
            self.started_ns = min(self.started_ns or wall_ns, wall_ns)
            if of_this_attempt:
                self.attempt_started_ns = min(self.attempt_started_ns or wall_ns, wall_ns)
        if isinstance(detail, StartedDetail) and of_this_attempt and self.outside_id is None:
            self.outside_kind, self.outside_id = detail.outside_kind, detail.outside_id
        self.progress = max(self.progress, event.progress or 0)
        self.devices = self.devices or event.devices
        if self.result_code is None:
            self.result_code = event.result_code
        if not self.is_final and not isinstance(detail, StartedDetail):
            self.message = self.message or event.message
        self._find_end()


def mark_waits(nodes: Mapping[str, RunNode], event: TaskEvent) -> list[RunNode]:
    """Mark the nodes that waited for a person, as a note tells; return those newly marked.

    Args:
        nodes: The nodes of the run, by path.
        event: The event; it was taken in already.
    """
    marked: list[RunNode] = []
    detail, path = event.detail, event.path
    if type(detail) is not NoteDetail or detail.topic not in PERSON_TOPICS:
        return marked
    while path:
        node = nodes.get(path)
        if node is not None and not node.has_waited:
            node.has_waited = True
            marked.append(node)
        path = path.rpartition("/")[0]
    return marked


class RunNodes:
    """The nodes of one run.

    Attributes:
        nodes: The facts of each node, by path, in the order of composition.
        last_sequence: The highest number that was taken in.
        last_ns: When the run was last heard of, or None.
    """

    def __init__(self, events: Iterable[TaskEvent] = ()) -> None:
        self.nodes: dict[str, RunNode] = {}
        self.last_sequence = 0
        self.last_ns: int | None = None
        for event in events:
            self.fold(event)

    def fold(self, event: TaskEvent) -> RunNode:
        """Take in one event and return the node that it changed."""
        node = self.nodes.get(event.path)
        if node is None:
            node = self.nodes[event.path] = RunNode(event.path)
        node.apply(event)
        if event.kind == "note":
            mark_waits(self.nodes, event)
        self.last_sequence = max(self.last_sequence, event.sequence)
        if self.last_ns is None or event.wall_ns > self.last_ns:
            self.last_ns = event.wall_ns
        return node

    @property
    def root(self) -> RunNode | None:
        """The root, or None when nothing is known yet."""
        return next(iter(self.nodes.values()), None)

    def walk(self) -> Iterator[RunNode]:
        """Yield every node, parents before their children, as they were composed."""
        yield from self.nodes.values()
