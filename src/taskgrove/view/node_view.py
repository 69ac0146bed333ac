"""One node of a run, as far as its events tell.

Part of the view model of :mod:`taskgrove.view.snapshot`, which says who may call it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from taskgrove.control_model import IS_FINAL, ResultCode, TaskStatus
from taskgrove.events import ComposedDetail, FinishedDetail, NoteDetail, StartedDetail, TaskEvent
from taskgrove.story.node_state import PROBLEM_STATES, NodeState, state_of
from taskgrove.story.run_node import end_between, outside_end_of

#: The rungs of the abort ladder, in order, by the topic of the note that tells of them.
ABORT_TOPICS: Final = {
    "abort-asked": "asked",
    "abort-acknowledged": "acknowledged",
    "abort-ended": "ended",
    "abandoned": "abandoned",
}

# Which event last set which field: one number for each, see NodeView._newer.
_STATUS, _CODE, _PROGRESS, _MESSAGE, _DEVICES, _FAILED, _HEALTH, _OUTSIDE, _ENDED = range(9)
_END: Final = 1 << 62


class NoteView:
    """One note on a node.

    Attributes:
        sequence: Number of its event in the run.
        topic: As :class:`~taskgrove.events.NoteDetail`; ``info`` when it had none.
        text: The note itself.
        monotonic_s: When, in the monotonic seconds of the run's process.
        wall_ns: When, in nanoseconds since the epoch, UTC.
    """

    __slots__ = ("monotonic_s", "sequence", "text", "topic", "wall_ns")

    def __init__(self, event: TaskEvent) -> None:
        self.sequence = event.sequence
        self.topic = event.detail.topic if isinstance(event.detail, NoteDetail) else "info"
        self.text = event.message
        self.monotonic_s = event.monotonic_s
        self.wall_ns = event.wall_ns


class NodeView:
    """One node of a run, as far as its events tell.

    Attributes:
        path: Path of the node, such as ``configure/configure_pst/pst-beam-01``.
        name: Last part of the path.
        depth: Number of nodes above it.
        parent: The node above it, or None.
        composed: The whole node as it was composed, or None while that event is missing.
        status: Newest status, or None.
        result_code: Newest result code, or None.
        progress: Newest progress in percent, or None.
        message: Newest message that was not a note.
        devices: Devices involved; the target while none has been reported.
        failed_devices: Devices that failed.
        health_state: ``DEGRADED``, ``FAILED`` or None.
        attempts: Number of the newest attempt, from 1.
        started_s: Monotonic seconds of the start, or None.
        started_ns: The same, in nanoseconds since the epoch, UTC.
        ended_s: Monotonic seconds of the end, or None.
        ended_ns: The same, in nanoseconds since the epoch, UTC.
        outside_end_ns: When it ended as told from outside, or None.
        finished: How the end was decided, or None before it.
        outside: The id under which it runs outside, or None.
        tally: How many children are in each state.
        troubled: Children in one of :data:`PROBLEM_STATES`, or with such a node below them.
    """

    __slots__ = (
        "_children",
        "_common",
        "_devices",
        "_marks",
        "_notes",
        "_ordered",
        "_started_mark",
        "attempts",
        "composed",
        "depth",
        "ended_ns",
        "ended_s",
        "failed_devices",
        "finished",
        "health_state",
        "message",
        "name",
        "outside",
        "outside_end_ns",
        "parent",
        "path",
        "progress",
        "result_code",
        "started_ns",
        "started_s",
        "state",
        "status",
        "tally",
        "troubled",
    )

    def __init__(self, path: str, parent: NodeView | None) -> None:
        self.path = path
        self.name = path.rpartition("/")[2]
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.composed: ComposedDetail | None = None
        self.status: TaskStatus | None = None
        self.result_code: ResultCode | None = None
        self.progress: int | None = None
        self.message = ""
        self.failed_devices: tuple[str, ...] = ()
        self.health_state: str | None = None
        self.attempts = 1
        self.started_s: float | None = None
        self.started_ns: int | None = None
        self.ended_s: float | None = None
        self.ended_ns: int | None = None
        self.finished: FinishedDetail | None = None
        self.outside: str | None = None
        self.outside_end_ns: int | None = None
        self.tally: Counter[NodeState] = Counter()
        self.troubled: dict[str, NodeView] = {}
        self.state: NodeState = "waiting"
        self._devices: tuple[str, ...] = ()
        self._children: dict[str, NodeView] = {}
        self._ordered: tuple[NodeView, ...] | None = None
        self._common: str | None = None
        self._notes: dict[int, NoteView] | None = None
        self._started_mark = _END
        self._marks = [-1] * 9

    @property
    def children(self) -> tuple[NodeView, ...]:
        """The children in the order of the tree."""
        if self._ordered is None:
            names = () if self.composed is None else self.composed.children
            rank = {name: index for index, name in enumerate(names)}
            last = len(rank)
            nodes = self._children.values()
            self._ordered = tuple(
                sorted(nodes, key=lambda node: (rank.get(node.name, last), node.name))
            )
        return self._ordered

    @property
    def common_name(self) -> str:
        """What the names of all children begin with; may be empty."""
        if self._common is None:
            first, last = min(self._children, default=""), max(self._children, default="")
            end = 0
            while end < min(len(first), len(last)) and first[end] == last[end]:
                end += 1
            self._common = first[:end]
        return self._common

    @property
    def is_leaf(self) -> bool:
        """True while nothing is known below the node, and it was not composed as a composite."""
        if self._children:
            return False
        return self.composed is None or self.composed.execution not in ("SEQUENTIAL", "PARALLEL")

    @property
    def execution(self) -> str:
        """How the node is executed (``PARALLEL``); empty while it is not known."""
        return "" if self.composed is None else self.composed.execution

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices involved; the composed target of a device leaf while none was reported."""
        if self._devices or self.composed is None or self.composed.execution != "DEVICE":
            return self._devices
        return (self.composed.target,) if self.composed.target else ()

    @property
    def is_final(self) -> bool:
        """True once the node has ended."""
        return self.status is not None and IS_FINAL[self.status]

    @property
    def is_problem(self) -> bool:
        """True in a state that a person must see."""
        return self.state in PROBLEM_STATES

    @property
    def skipped(self) -> bool:
        """True for a step that was not run because an earlier one failed."""
        return self.finished is not None and self.finished.skipped

    @property
    def finished_sequence(self) -> int | None:
        """Number of the event that ended it: which of several came first; None before it."""
        return None if self.finished is None else _END - self._marks[_ENDED]

    @property
    def decision(self) -> str | None:
        """The arithmetic of the outcome as a line (``quorum 0.8 of 16: …``), or None."""
        return None if self.finished is None else self.finished.line

    @property
    def percent(self) -> int:
        """Percent done, 0..100; a node that completed has done everything."""
        if self.status is TaskStatus.COMPLETED:
            return 100
        return self.progress or 0

    @property
    def notes(self) -> tuple[NoteView, ...]:
        """The notes on the node, in order."""
        if self._notes is None:
            return ()
        return tuple(self._notes[sequence] for sequence in sorted(self._notes))

    @property
    def abort_ladder(self) -> dict[str, float]:
        """When an abort was ``asked``, ``acknowledged``, ``ended``, ``abandoned``.

        The values are the run's monotonic seconds; a rung that was not reached is missing.
        """
        ladder: dict[str, float] = {}
        for note in self.notes:
            rung = ABORT_TOPICS.get(note.topic)
            if rung is not None:
                ladder.setdefault(rung, note.monotonic_s)
        return ladder

    def elapsed_s(self, now_s: float | None = None) -> float | None:
        """Return how long the node ran, or has been running, in seconds.

        Args:
            now_s: The monotonic clock of the process that runs it; None leaves the time of a
                node that still runs unknown.

        Returns:
            Seconds, never negative; None for a node that has not started.
        """
        end = self.ended_s if self.ended_s is not None else now_s
        if self.started_s is None or end is None:
            return None
        return max(0.0, end - self.started_s)

    def walk(self) -> Iterator[NodeView]:
        """Yield this node and all below it, parents first."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))

    def adopt(self, child: NodeView) -> None:
        """Take a child that was not known before; it waits."""
        self._children[child.name] = child
        self._ordered = self._common = None
        self.tally["waiting"] += 1

    def fold(self, event: TaskEvent) -> None:
        """Take over what an event about this node says; its state is not changed here."""
        if event.kind == "note":
            if self._notes is None:
                self._notes = {}
            self._notes.setdefault(event.sequence, NoteView(event))
            self.outside_end_ns = outside_end_of(event) or self.outside_end_ns
            return
        if isinstance(event.detail, ComposedDetail):
            self.composed = event.detail
            self._ordered = None
        # The first end outranks everything; otherwise the newest event counts.
        rank = _END - event.sequence if event.kind == "finished" else event.sequence
        if event.status is not None and self._newer(_STATUS, rank):
            self.status = event.status
        if event.result_code is not None and self._newer(_CODE, rank):
            self.result_code = event.result_code
        if event.progress is not None and self._newer(_PROGRESS, rank):
            self.progress = event.progress
        # An end without words leaves none: those before it are not its reason.
        if (event.message or event.kind == "finished") and self._newer(_MESSAGE, rank):
            self.message = event.message
        if event.devices and self._newer(_DEVICES, rank):
            self._devices = event.devices
        if event.failed_devices and self._newer(_FAILED, rank):
            self.failed_devices = event.failed_devices
        if event.health_state is not None and self._newer(_HEALTH, rank):
            self.health_state = event.health_state
        self.attempts = max(self.attempts, event.attempt)
        self._fold_times(event, rank)

    def _fold_times(self, event: TaskEvent, rank: int) -> None:
        detail = event.detail
        running = event.kind == "started" or event.status is TaskStatus.IN_PROGRESS
        if running and event.sequence < self._started_mark:
            self._started_mark = event.sequence
            self.started_s, self.started_ns = event.monotonic_s, event.wall_ns
        if isinstance(detail, StartedDetail) and detail.outside_id and self._newer(_OUTSIDE, rank):
            self.outside = detail.outside_id
        if event.kind == "finished" and self._newer(_ENDED, rank):
            self.ended_ns = end_between(self.started_ns, self.outside_end_ns, event.wall_ns)
            self.ended_s = event.monotonic_s - (event.wall_ns - self.ended_ns) / 1e9
            self.finished = detail if isinstance(detail, FinishedDetail) else FinishedDetail()

    def _newer(self, field: int, rank: int) -> bool:
        if rank <= self._marks[field]:
            return False
        self._marks[field] = rank
        return True

    def read_state(self) -> NodeState:
        """Return the state that the fields add up to."""
        return state_of(self.status, self.result_code, self.health_state, skipped=self.skipped)

    def __repr__(self) -> str:
        return f"<NodeView {self.path!r} {self.state}>"
