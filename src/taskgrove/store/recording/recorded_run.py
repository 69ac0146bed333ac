"""The recorder's state of one run: its row, its nodes, and the parts that are to be written.

Threads: it belongs to the recorder's writer thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

from taskgrove.commands.run_recorder import ResumeClaim
from taskgrove.control_model import PROBLEM_CODES, TaskStatus
from taskgrove.events import (
    AnalysisDetail,
    PageDetail,
    ProgressDraft,
    TaskEvent,
    encode_event,
)
from taskgrove.events.plain_event import substitute
from taskgrove.events.steering_request import SteeringAnswer
from taskgrove.moves import IGNORE, Answer, table_of
from taskgrove.store.recording.coalescing import coalesce, in_order
from taskgrove.store.recording.writable import writable
from taskgrove.story.reorder import ReorderBuffer, begin_of
from taskgrove.story.run_node import RunNode, RunNodes, mark_waits


class RunStage(Enum):
    """How far the record of a run is."""

    NEW = "new"
    """The record has no row of the run yet."""
    KEPT = "kept"
    """The row of the run is committed."""
    ENDED = "ended"
    """The end of the run has come, and is not committed yet."""
    FINAL = "final"
    """The end of the run is committed."""
    BROKEN = "broken"
    """The run cannot be recorded: nothing more of it is written."""


class RecordRequest(Enum):
    """A request to the record of a run."""

    KEEP = "keep"
    """Its row was committed."""
    END = "end"
    """Its end has come."""
    FINISH = "finish"
    """All that was to be written was committed, its end included."""
    GIVE_UP = "give_up"
    """It cannot be recorded."""
    START_OVER = "start_over"
    """Its record is gone: it goes into another one."""


_NEW, _KEPT, _ENDED, _FINAL, _BROKEN = RunStage
_KEEP, _END, _FINISH, _GIVE_UP, _START_OVER = RecordRequest

# fmt: off
MOVES: Final = table_of(RunStage, RecordRequest, {
    _NEW:    {_KEEP: _KEPT,  _END: _ENDED, _FINISH: IGNORE, _GIVE_UP: _BROKEN, _START_OVER: IGNORE},
    _KEPT:   {_KEEP: IGNORE, _END: _ENDED, _FINISH: IGNORE, _GIVE_UP: _BROKEN, _START_OVER: _NEW},
    _ENDED:  {_KEEP: IGNORE, _END: IGNORE, _FINISH: _FINAL, _GIVE_UP: _BROKEN, _START_OVER: IGNORE},
    # An event that comes after the end may be impossible to write, too.
    _FINAL:  {_KEEP: IGNORE, _END: IGNORE, _FINISH: IGNORE, _GIVE_UP: _BROKEN, _START_OVER: IGNORE},
    _BROKEN: {_KEEP: IGNORE, _END: IGNORE, _FINISH: IGNORE, _GIVE_UP: IGNORE,  _START_OVER: IGNORE},
})
# fmt: on


class Ending(NamedTuple):
    """How a run ended, as its row says it."""

    status: int
    result_code: int
    health_state: str | None
    message: str
    ended_ns: int


#: An event as the log holds it: its number, its bytes, and itself.
KeptEvent: TypeAlias = tuple[int, bytes, TaskEvent]


@dataclass(slots=True)
class RecordedRun:
    """A run that is being recorded.

    Attributes:
        run_id: The run.
        row: The values of its row that do not change, by column of ``runs``.
        lease: The values of its lease, by column.
        resumed: It was in the record before, and goes on.
        foreign: It belonged to a process that is gone; only what that process left is written.
        claim: Its claim to resume another run, until the claim is committed.
        stage: How far its record is.
        trouble: Why it cannot be recorded; empty unless it is broken.
        ending: How it ended, once it has.
        run_key: Its key, once its row is committed.
        facts: Its nodes.
        numbers: The number of each node, by path.
        fresh: Nodes that have no row yet, by path.
        changed: Nodes whose row is behind.
        lazy: Nodes whose row is behind in progress only.
        lazy_since: Since when ``lazy`` waits, monotonic, in seconds.
        noted: Typed facts that become rows of ``analyses`` and ``pages``.
        answers: Answers to requests of operators that are not written yet.
        last_sequence: The highest number that was seen.
        covered: How many numbers are in the log, or on their way there.
        first_sequence: The number that its events begin with.
        told_lost: How many were lost before this recorder took over.
        disordered: Events came too late to be folded in order.
        unread: The log holds events that ``facts`` does not know.
        touched: Something of it is to be written.
    """

    run_id: str
    row: dict[str, Any]
    lease: Mapping[str, Any]
    resumed: bool = False
    foreign: bool = False
    unread: bool = False
    claim: ResumeClaim | None = None
    stage: RunStage = _NEW
    trouble: str = ""
    ending: Ending | None = None
    run_key: int | None = None
    facts: RunNodes = field(default_factory=RunNodes)
    numbers: dict[str, int] = field(default_factory=dict)
    fresh: dict[str, RunNode] = field(default_factory=dict)
    changed: dict[str, RunNode] = field(default_factory=dict)
    lazy: dict[str, RunNode] = field(default_factory=dict)
    lazy_since: float = 0.0
    noted: list[tuple[int, TaskEvent]] = field(default_factory=list)
    answers: list[SteeringAnswer] = field(default_factory=list)
    last_sequence: int = 0
    covered: int = 0
    first_sequence: int = 1
    told_lost: int = 0
    leaf_count: int = 0
    failed_leaf_count: int = 0
    retry_count: int = 0
    disordered: bool = False
    touched: bool = False
    _order: ReorderBuffer = field(default_factory=ReorderBuffer)

    @classmethod
    def of_a_gone_process(
        cls, run_id: str, row: dict[str, Any], lease: Mapping[str, Any], *, resumed: bool = True
    ) -> RecordedRun:
        """Return a run that belongs to no process any more; its log is read when it is written."""
        return cls(run_id, row, lease, resumed, foreign=True, unread=True)

    # -- how far its record is ------------------------------------------------------------------

    @property
    def is_broken(self) -> bool:
        """True when nothing more of it is written."""
        return self.stage is _BROKEN

    def end(self, ending: Ending) -> None:
        """Take its end, unless one came before."""
        if self._move(_END):
            self.ending = ending

    def give_up(self, why: str) -> None:
        """Write nothing more of it."""
        if self._move(_GIVE_UP):
            self.trouble = why

    def start_over(self) -> None:
        """Write it anew into another record; the log of the old record is missing there."""
        self._move(_START_OVER)
        self.run_key = None
        self.resumed = self.unread = False
        self.covered = 0
        self.fresh = dict(self.facts.nodes)
        self.touched = True

    def kept(self, run_key: int) -> None:
        """Take note that its row is committed."""
        self.run_key = run_key
        self._move(_KEEP)

    def committed(self, *, lazy: bool) -> None:
        """Take note that all that was to be written is committed."""
        self.fresh.clear()
        self.changed.clear()
        self.noted.clear()
        self.answers.clear()
        if lazy or self.ending is not None:
            self.lazy.clear()
        self.touched = False
        self._move(_FINISH)

    def _move(self, request: RecordRequest) -> bool:
        cell = MOVES[self.stage, request]
        if isinstance(cell, Answer):
            return False
        self.stage = cell
        return True

    # -- its facts ------------------------------------------------------------------------------

    @property
    def missing_count(self) -> int:
        """How many numbers up to the highest one never came, or could not be kept."""
        return self.told_lost + self.last_sequence - self.first_sequence + 1 - self.covered

    @property
    def began_nothing(self) -> bool:
        """True where it ended before any leaf began, and its record is whole enough to say so."""
        if self.ending is None or self.ending.status == TaskStatus.COMPLETED or self.missing_count:
            return False
        return not any(node.is_leaf and _may_have_begun(node) for node in self.facts.nodes.values())

    @property
    def has_gap(self) -> bool:
        """True while events are held back for ones before them."""
        return self._order.has_gap

    def go_on_after(self, last_sequence: int, told_lost: int) -> None:
        """Go on where the record ends; its nodes are folded from the log when it is written."""
        self.first_sequence = last_sequence + 1
        self.last_sequence = max(self.last_sequence, last_sequence)
        self.told_lost = told_lost

    def take(
        self,
        heard: Sequence[TaskEvent | ProgressDraft],
        redact: Callable[[TaskEvent], TaskEvent],
    ) -> list[KeptEvent]:
        """Take in events and return them as the log is to hold them.

        Args:
            heard: New events of the run, in any order; some may be drafts still.
            redact: Returns an event without secrets.
        """
        ordered = in_order(heard)
        nodes, lazy, changed, facts = self.facts.nodes, self.lazy, self.changed, self.facts
        if not lazy:
            self.lazy_since = time.monotonic()
        kept: list[KeptEvent] = []
        order, covered, expected = self._order, 0, self._order.expected
        last_ns = facts.last_ns or 0
        for heard_event in coalesce(ordered):
            event, body = writable(heard_event, redact)
            detail = event.detail
            if detail is not None and type(detail) in _TYPED:
                self.noted.append((event.sequence, event))
            sequence, begin = event.sequence, event.sequence_from
            if begin is None:
                begin = sequence
            kept.append((sequence, body, event))
            covered += sequence - begin + 1
            last_ns = max(last_ns, event.wall_ns)
            if begin != expected:
                order.expected = expected
                self._fold(order.push(event), late=begin < expected)
                expected = order.expected
                continue
            expected = sequence + 1
            node = nodes.get(event.path)
            told = None if node is None else node.go_on(event)
            if node is None or told is None:
                self._apply(event)
            elif told:
                changed[event.path] = node
            else:
                lazy[event.path] = node
        order.expected = expected
        self._fold(order.following())
        self.covered += covered
        if ordered:
            self.last_sequence = max(self.last_sequence, ordered[-1].sequence)
            facts.last_sequence = self.last_sequence
            facts.last_ns = last_ns
            self.touched = True
        return kept

    def adopt(self, event: TaskEvent) -> None:
        """Count an event that goes into the log as it is; it is folded from there."""
        if type(event.detail) in _TYPED:
            self.noted.append((event.sequence, event))
        self.covered += _span(event)
        self.last_sequence = max(self.last_sequence, event.sequence)
        self.facts.last_ns = max(self.facts.last_ns or 0, event.wall_ns)
        self.touched = True

    def answer(self, answer: SteeringAnswer) -> None:
        """Take the answer to a request; it is written with what came before it."""
        self.answers.append(answer)
        self.touched = True

    def keep(self, kept: Iterable[KeptEvent]) -> None:
        """Count events as kept, or on their way there."""
        self.covered += sum(_span(event) for _, _, event in kept)
        self.touched = True

    def forget(self, kept: Iterable[KeptEvent]) -> None:
        """Count events that could not be kept as missing."""
        self.covered -= sum(_span(event) for _, _, event in kept)
        self.touched = True

    def replace(self, kept: Iterable[KeptEvent], why: str) -> list[KeptEvent]:
        """Return substitutes of events; the nodes are folded anew from the log."""
        self.noted.clear()
        self.unread = True
        made = []
        for sequence, _, event in kept:
            bare = substitute(event, why)
            made.append((sequence, encode_event(bare), bare))
        return made

    # -- folding ----------------------------------------------------------------------------

    def fold_early(self, *, now: bool = False) -> None:
        """Fold the events that were held back long enough; ``now``: all of them."""
        ready = self._order.settle(None if now else time.monotonic())
        self._fold(ready)
        self.touched = self.touched or bool(ready)

    def _fold(self, ready: Iterable[TaskEvent], *, late: bool = False) -> None:
        for event in ready:
            self._apply(event, late=late)

    def _apply(self, event: TaskEvent, *, late: bool = False) -> None:
        path, nodes = event.path, self.facts.nodes
        node = nodes.get(path)
        # It belongs before events that were folded already: the order of the nodes may change.
        if late or (event.kind == "composed" and node is not None):
            self.disordered = True
        if node is None:
            node = nodes[path] = RunNode(path)
            node.apply(event)
            self.numbers[path] = len(nodes) - 1
            self.fresh[path] = node
            if event.kind == "composed":
                self.leaf_count += node.is_leaf
            elif node.is_final:
                self.failed_leaf_count += is_failed_leaf(node)
            if event.kind == "note":
                self._mark_waits(event)
            return
        status, attempt = node.status, node.attempt
        node.apply(event)
        if node.attempt != attempt and node.is_leaf:
            self.retry_count += node.attempt - attempt
        if node.status is not status and node.is_final:  # a final node stays as it is
            self.failed_leaf_count += is_failed_leaf(node)
        self.changed[path] = node
        if event.kind == "note":
            self._mark_waits(event)

    def _mark_waits(self, event: TaskEvent) -> None:
        self.changed.update({node.path: node for node in mark_waits(self.facts.nodes, event)})

    def refold(self, events: Iterable[TaskEvent]) -> None:
        """Fold the whole log: the run goes on, or events came too late to be folded in order."""
        self.facts, self._order = RunNodes(), ReorderBuffer()
        for event in events:
            self._order.accept(event)
            self.facts.fold(event)
        self._order.give_up_to(self.last_sequence + 1)
        self.numbers = {path: number for number, path in enumerate(self.facts.nodes)}
        self.fresh = dict(self.facts.nodes)
        self.changed, self.lazy = {}, {}
        self.disordered = self.unread = False
        self.touched = True
        self._count_all()

    def _count_all(self) -> None:
        leaves = [node for node in self.facts.nodes.values() if node.is_leaf]
        self.leaf_count = sum(node.composed is not None for node in leaves)
        self.failed_leaf_count = sum(is_failed_leaf(node) for node in leaves)
        self.retry_count = sum(node.attempt - 1 for node in leaves)


#: Details that become rows of their own.
_TYPED: Final = frozenset((AnalysisDetail, PageDetail))


def is_failed_leaf(node: RunNode) -> bool:
    """Return True for a leaf that ended badly of its own accord."""
    if not node.is_leaf or not node.is_final or node.skipped:
        return False
    return node.status is not TaskStatus.COMPLETED or node.result_code in PROBLEM_CODES


def _may_have_begun(node: RunNode) -> bool:
    """Return True for a leaf that was started, or that failed by itself."""
    began = node.started_ns is not None or node.outside_id is not None
    return began or (node.status is TaskStatus.FAILED and not node.skipped)


def _span(event: TaskEvent) -> int:
    """Return for how many numbers an event stands."""
    return event.sequence - begin_of(event) + 1
