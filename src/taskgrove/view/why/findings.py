"""Which leaves failed, which of them first, and which ends only followed from a failure.

A *failed* leaf ended badly by itself. A *casualty* did not: it was skipped because an earlier
step failed, stopped because the run was aborted, never started because a timeout had expired,
or came to a device that was gone already. Failed leaves with the same cause are one group. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from taskgrove.control_model import PROBLEM_CODES, TaskStatus
from taskgrove.events import Cause, LeftOut, SteeringRequest, one_line
from taskgrove.story.legacy import cause_of, stop_reason
from taskgrove.story.node_note import NodeNote
from taskgrove.story.node_state import NodeState, state_of
from taskgrove.story.node_wait import pause_ahead_in
from taskgrove.story.operator_acts import OperatorAct, acts_of
from taskgrove.story.own_words import own_words
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import OperatorVerdict, RunStory
from taskgrove.view.terminal_text import safe_text
from taskgrove.view.why.cause_kinds import KINDS
from taskgrove.view.why.deciding import deciding_first
from taskgrove.view.why.failed_leaf import CauseReader, FailedLeaf, grouped
from taskgrove.view.why.held_steps import WaitingLeaf, waiting_leaves
from taskgrove.view.why.naming import device_of, is_below, note_of

CasualtyKind: TypeAlias = Literal[
    "skipped", "stopped", "waiting", "abandoned", "not started", "same device"
]

_COMPLETED: Final = TaskStatus.COMPLETED
_ABORTED: Final = TaskStatus.ABORTED
_FINAL: Final = frozenset(status for status in TaskStatus if status.is_final)
_COMPOSITE: Final = ("SEQUENTIAL", "PARALLEL")
_LAST: Final = 1 << 62
_ENDED: Final = {"rejected": "was rejected", "aborted": "was aborted"}


class Casualty(msgspec.Struct, frozen=True):
    """A leaf that did not fail by itself.

    Attributes:
        path: The leaf.
        device: Its device, or None.
        kind: What happened to it.
        because: Why, in words.
        of: The failed leaf, or the step, that it is a casualty of; None: the abort, or unknown.
    """

    path: str
    device: str | None
    kind: CasualtyKind
    because: str
    of: str | None = None


class Abort(msgspec.Struct):
    """An abort of the whole run.

    Attributes:
        reason: The person, signal or program that asked for it, in words.
        wall_ns: When, UTC, nanoseconds since the epoch.
        running: Leaves that ran when it was asked for.
        waiting: Leaves that had failed, and were held or waited for a further attempt then.
        abandoned: Of those that ran, the ones that did not stop in time.
        not_started: How many leaves had not begun.
    """

    reason: str
    wall_ns: int
    running: list[RunNode] = []
    waiting: list[RunNode] = []
    abandoned: list[RunNode] = []
    not_started: int = 0


class Findings(msgspec.Struct):
    """The end of a run, and of every leaf of it.

    Attributes:
        story: The run.
        command: The name of its command, harmless; ``the run`` where it has none.
        outcome: Its outcome in one word, as every tree shows it.
        left_out: Steps that were left out of it, and why.
        failed: Leaves that failed by themselves, the first first; where the command failed, those
            that decided it before the others.
        groups: The same by their cause, in the order of the first of each.
        deciding: How many of them decided it; all, where nothing tells which did.
        before: How many of the others failed before the first of these.
        casualties: Leaves that only followed.
        abort: The abort of the run, or None.
        open: Leaves that have not ended.
        leaf_count: The number of all leaves.
        retried: Leaves that succeeded, but not at once.
        reused: How many ends were taken from an earlier run.
        accepted: Leaves that an operator treats as OK, with the note that says so.
        never_begun: How many had not begun when the run lost its runner.
        blocked: The uppermost nodes that were skipped because of the first failure.
        verdicts: Verdicts of operators, those of this run first.
        waiting: Leaves whose last attempt failed and that have not ended, by wait and cause.
        parked: Nodes that a pause keeps from starting.
        pauses: Nodes before which the run will pause, each with the request; None: the run was
            started so.
        acts: Acts of operators, in the order of their effects.
        signed: Leaves whose failure a person accepted.
        dropped: Nodes that an operator left out.
    """

    story: RunStory
    command: str
    outcome: NodeState
    left_out: tuple[LeftOut, ...]
    failed: list[FailedLeaf] = []
    groups: list[list[FailedLeaf]] = []
    deciding: int = 0
    before: int = 0
    casualties: list[Casualty] = []
    abort: Abort | None = None
    open: list[RunNode] = []
    leaf_count: int = 0
    retried: list[RunNode] = []
    reused: int = 0
    accepted: list[tuple[RunNode, NodeNote]] = []
    never_begun: int = 0
    blocked: list[RunNode] = []
    verdicts: tuple[OperatorVerdict, ...] = ()
    waiting: list[list[WaitingLeaf]] = []
    parked: list[RunNode] = []
    pauses: list[tuple[RunNode, SteeringRequest | None]] = []
    acts: tuple[OperatorAct, ...] = ()
    signed: list[RunNode] = []
    dropped: list[RunNode] = []

    @property
    def held(self) -> list[list[WaitingLeaf]]:
        """Leaves that wait for a decision, by their cause."""
        return [group for group in self.waiting if group[0].wait.how == "held"]

    @property
    def running(self) -> list[RunNode]:
        """Leaves that were running, in the order in which they began."""
        started = (node for node in self.open if node.started_ns is not None)
        running = [node for node in started if node.wait is None]
        return sorted(running, key=lambda node: node.started_ns or 0)


def find(story: RunStory) -> Findings:
    """Sort the leaves of a run by their ends, and find the first failure."""
    root = story.root
    outcome: NodeState = "waiting" if root is None else root.state
    if story.status is not None:
        outcome = state_of(story.status, story.result_code, story.health_state)
    command = safe_text(story.command or ("" if root is None else root.name)) or "the run"
    found = Findings(story, command, outcome, story.left_out)
    asked = None if root is None else note_of(root, "abort-asked")
    if asked is not None:
        found.abort = Abort(stop_reason(asked), asked.wall_ns)
    ended: list[RunNode] = []
    skipped: list[RunNode] = []
    leaf_count = 0
    for node in story.nodes:
        composed = node.composed
        composite = composed is not None and composed.execution in _COMPOSITE
        status = node.status
        if not composite:
            leaf_count += 1
            if status is _COMPLETED and node.result_code not in PROBLEM_CODES:
                if node.notes or node.attempt > 1 or node.is_accepted:
                    _note_success(node, found)
                continue
        if status not in _FINAL:
            if not composite:
                found.open.append(node)
        elif node.finished is not None and node.finished.skipped:
            (found.dropped if node.is_left_out else skipped).append(node)
        elif not composite:
            ended.append(node)
    found.leaf_count = leaf_count
    if story.state == "running":
        waits = ((node, node.wait) for node in story.nodes if node.notes)
        waiting = [(node, wait) for node, wait in waits if wait is not None]
        found.waiting = waiting_leaves(waiting)
        found.parked = [node for node, wait in waiting if wait.failure is None]
        found.pauses = _pauses_ahead(story)
    found.acts = acts_of(story.nodes, story.asked)
    if skipped or ended:
        _sort_out(found, ended, skipped)
    said = story.verdicts or _verdicts_in(story)
    accepted = (_verdict(node, note, "ok") for node, note in found.accepted)
    found.verdicts = (*said, *accepted)
    return found


def _pauses_ahead(story: RunStory) -> list[tuple[RunNode, SteeringRequest | None]]:
    """Return the nodes before which a run will pause: that did not begin, and were not reached."""
    root = story.root
    paused = [note for note in root.notes if note.topic == "paused"] if root is not None else []
    came = {note.data.get("before") for note in paused}
    ahead = (
        (node, pause_ahead_in(node.notes))
        for node in story.nodes
        if node.notes and node.started_ns is None and not node.is_final and node is not root
    )
    return [(node, note.request) for node, note in ahead if note and node.path not in came]


def order_of(node: RunNode) -> tuple[int, int]:
    """Return when a node ended, to be compared with others of its run."""
    sequence, ended_ns = node.finished_sequence, node.ended_ns
    return (_LAST if sequence is None else sequence, _LAST if ended_ns is None else ended_ns)


def _note_success(node: RunNode, found: Findings) -> None:
    if node.is_accepted:
        found.signed.append(node)
        return
    if node.attempt > 1:
        found.retried.append(node)
    reused = note_of(node, "reused")
    if reused is not None and "verdict" in reused.data:
        found.accepted.append((node, reused))
    elif reused is not None:
        found.reused += 1


def _verdicts_in(story: RunStory) -> list[OperatorVerdict]:
    found = [
        _verdict(node, note, "note", note.text)
        for node in story.nodes
        if node.notes
        for note in node.notes
        if note.topic == "operator"
    ]
    return sorted(found, key=lambda verdict: verdict.wall_ns)


def _verdict(node: RunNode, note: NodeNote, verdict: str, why: str = "") -> OperatorVerdict:
    data = note.data
    reason = data.get("why", "") or why
    said = data.get("verdict", verdict)
    return OperatorVerdict(node.path, said, data.get("who", ""), reason, note.wall_ns)


def _sort_out(found: Findings, ended: list[RunNode], skipped: list[RunNode]) -> None:
    reader = CauseReader()
    suspects: list[FailedLeaf] = []
    for node in ended:
        item = reader.read(node)
        casualty = None if found.abort is None else _stopped(item, found.abort)
        if casualty is not None:
            found.casualties.append(casualty)
        else:
            suspects.append(item)
    suspects.sort(key=lambda item: order_of(item.node))
    links = _Links(suspects)
    failed: list[FailedLeaf] = []
    for item in suspects:
        found.never_begun += item.cause.kind == "never_begun"
        casualty = links.casualty(item)
        if casualty is None:
            failed.append(item)
        else:
            found.casualties.append(casualty)
    found.failed, found.deciding, found.before = deciding_first(found.story, failed)
    found.groups = grouped(found.failed)
    if skipped:
        _add_skipped(found, skipped)
    if len(found.casualties) > 1:
        rank = {node.path: index for index, node in enumerate(found.story.nodes)}
        found.casualties.sort(key=lambda item: rank[item.path])


def _stopped(item: FailedLeaf, abort: Abort) -> Casualty | None:
    """Return the casualty that an abort of the run made of a leaf; None: it was none."""
    node, kind = item.node, item.cause.kind
    if node.status is _ABORTED and kind in ("not_started", "never_begun"):
        abort.not_started += 1
        return _casualty(item, "not started", None, abort.reason)
    after = node.status is _ABORTED and (node.ended_ns or 0) >= abort.wall_ns
    if not after and note_of(node, "abort-asked") is None:
        return None
    wait = node.last_wait
    if kind != "abandoned" and wait is not None and wait.is_open:
        abort.waiting.append(node)
        return _casualty(item, "waiting", None, item.words)
    abort.running.append(node)
    if kind == "abandoned" or note_of(node, "abandoned") is not None:
        abort.abandoned.append(node)
        return _casualty(item, "abandoned", None, _because(item.cause))
    return _casualty(item, "stopped", None, item.words)


class _Links:
    """Finds failures that only followed from another one."""

    def __init__(self, suspects: Sequence[FailedLeaf]) -> None:
        self._limits: dict[str | None, FailedLeaf] = {}
        self._aborts: dict[str | None, FailedLeaf] = {}
        self._gone: dict[str | None, FailedLeaf] = {}
        self._lost = next((item for item in suspects if item.cause.kind == "lost"), None)
        for item in suspects:
            if item.cause.kind == "timed_out":
                self._limits.setdefault(item.cause.limit_owner, item)
                if note_of(item.node, "abort-acknowledged") is not None:
                    self._aborts.setdefault(device_of(item.node), item)

    def casualty(self, item: FailedLeaf) -> Casualty | None:
        """Return the casualty that a leaf is; None: it failed by itself. The earliest first."""
        cause, device = item.cause, device_of(item.node)
        if cause.kind == "never_begun":
            return _casualty(item, "not started", self._lost, _because(cause))
        if cause.kind == "not_started" and cause.limit_owner:
            first = self._limits.setdefault(cause.limit_owner, item)
            # The first leaf that a timeout kept from starting has no other leaf to blame.
            return None if first is item else _casualty(item, "not started", first, _because(cause))
        if device is None:
            return None
        if cause.kind == "aborted" and device in self._aborts:
            first = self._aborts[device]
            because = f"{device} was aborted, because {first.node.name} timed out"
            return _casualty(item, "same device", first, because)
        if cause.kind == "unreachable" and device in self._gone:
            return _casualty(item, "same device", self._gone[device], f"{device} was gone already")
        if KINDS[cause.kind].is_gone:
            self._gone.setdefault(device, item)
        return None


def _because(cause: Cause) -> str:
    """Return why a leaf was not started, or was given up."""
    limit = "" if cause.limit_s is None else f"{cause.limit_s:g} s"
    if cause.kind == "never_begun":
        return "the runner of this run was lost"
    if cause.kind == "not_started" and cause.limit_owner is not None:
        return f"the timeout of {limit} set by {cause.limit_owner} expired"
    if cause.kind == "not_started" or not limit:
        return one_line(cause.said)
    return f"it did not end within {limit}"


def _casualty(
    item: FailedLeaf, kind: CasualtyKind, other: FailedLeaf | None, because: str
) -> Casualty:
    of = None if other is None else other.node.path
    return Casualty(item.node.path, device_of(item.node), kind, because, of)


def _add_skipped(found: Findings, skipped: list[RunNode]) -> None:
    """Note the skipped steps, and which failed leaf each of them is a casualty of."""
    tops: dict[str, str | None] = {}
    nodes = {node.path: node for node in found.story.nodes}
    first = found.failed[0].node.path if found.failed else None
    left_out = {node.path for node in found.dropped}
    for node in skipped:
        if cause_of(node).because_of in left_out:
            continue
        parent, breaker = node.parent_path, cause_of(node).because_of
        if parent in tops:
            tops[node.path] = of = tops[parent]
        else:
            above = breaker or parent
            failed = (it.node.path for it in found.failed if is_below(it.node.path, above))
            tops[node.path] = of = next(failed, None)
            if first is not None and of == first:
                found.blocked.append(node)
        if node.is_leaf:
            broken = nodes.get(breaker or "")
            ended = "" if broken is None else f"{broken.name} {_ENDED.get(broken.state, 'failed')}"
            because = ended or own_words(node)
            found.casualties.append(Casualty(node.path, device_of(node), "skipped", because, of))
