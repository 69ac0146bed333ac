"""Which leaves failed, which of them first, and what only followed from it.

A *failed* leaf ended badly by itself. A *casualty* did not: it was skipped because an earlier
step failed, stopped because the run was aborted, never started because a limit had expired,
or came to a device that was gone already. Failed leaves with the same cause are one group.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from taskgrove.control_model import PROBLEM_CODES, TaskStatus
from taskgrove.events import Cause, CauseKind, one_line
from taskgrove.story.legacy import cause_of, stop_reason
from taskgrove.story.node_note import NodeNote
from taskgrove.story.own_words import own_words
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import RunStory
from taskgrove.view.why.deciding import deciding_first
from taskgrove.view.why.failed_leaf import GONE, CauseReader, Failed, device_of, is_below

CasualtyKind: TypeAlias = Literal["skipped", "stopped", "abandoned", "not started", "same device"]

_COMPLETED: Final = TaskStatus.COMPLETED
_ABORTED: Final = TaskStatus.ABORTED
_FINAL: Final = frozenset(status for status in TaskStatus if status.is_final)
_COMPOSITE: Final = ("SEQUENTIAL", "PARALLEL")
_LAST: Final = 1 << 62
_ENDED: Final = {"rejected": "was rejected", "aborted": "was aborted"}
#: What was not begun did not fail.
_NEVER_STARTED: Final[frozenset[CauseKind]] = frozenset({"not_started", "never_begun"})


@dataclass(frozen=True, slots=True)
class Casualty:
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


@dataclass(slots=True)
class Stop:
    """An abort of the whole run.

    Attributes:
        reason: Who or what asked for it, in words.
        wall_ns: When, UTC, nanoseconds since the epoch.
        running: Leaves that ran when it was asked for.
        abandoned: Of those, the ones that did not stop in time.
        not_started: How many leaves had not begun.
    """

    reason: str
    wall_ns: int
    running: list[RunNode] = field(default_factory=list)
    abandoned: list[RunNode] = field(default_factory=list)
    not_started: int = 0


@dataclass(slots=True)
class Findings:
    """Every leaf of a run, sorted by what became of it.

    Attributes:
        failed: Those that failed by themselves, the first first; where the command failed, those
            that decided it before the others.
        deciding: How many of them decided it; all, where nothing tells which did.
        before: How many of the others failed before the first of these.
        casualties: Those that only followed, in the order of the tree.
        stop: The abort of the run, or None.
        open: Those that have not ended.
        leaf_count: All of them.
        retried: Those that succeeded, but not at once.
        reused: How many ends were taken over from an earlier run.
        accepted: Those that an operator treats as OK, with the note that says so.
        never_begun: How many had not begun when the run lost its runner.
        blocked: The uppermost nodes that were skipped because of the first failure.
    """

    failed: list[Failed] = field(default_factory=list)
    deciding: int = 0
    before: int = 0
    casualties: list[Casualty] = field(default_factory=list)
    stop: Stop | None = None
    open: list[RunNode] = field(default_factory=list)
    leaf_count: int = 0
    retried: list[RunNode] = field(default_factory=list)
    reused: int = 0
    accepted: list[tuple[RunNode, NodeNote]] = field(default_factory=list)
    never_begun: int = 0
    blocked: list[RunNode] = field(default_factory=list)


def find(story: RunStory) -> Findings:
    """Return what became of every leaf of a run, and which failure was the first."""
    findings = Findings(stop=_stop_of(story))
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
                if node.notes or node.attempt > 1:
                    _note_success(node, findings)
                continue
        if status not in _FINAL:
            if not composite:
                findings.open.append(node)
        elif node.finished is not None and node.finished.skipped:
            skipped.append(node)
        elif not composite:
            ended.append(node)
    findings.leaf_count = leaf_count
    if skipped or ended:
        _sort_out(story, ended, skipped, findings)
    return findings


def note_of(node: RunNode, topic: str) -> NodeNote | None:
    """Return the first note of a topic on a node, or None."""
    for note in node.notes:
        if note.topic == topic:
            return note
    return None


def order_of(node: RunNode) -> tuple[int, int]:
    """Return when a node ended, to be compared with others of its run."""
    sequence, ended_ns = node.finished_sequence, node.ended_ns
    return (_LAST if sequence is None else sequence, _LAST if ended_ns is None else ended_ns)


def _note_success(node: RunNode, findings: Findings) -> None:
    if node.attempt > 1:
        findings.retried.append(node)
    reused = note_of(node, "reused")
    if reused is not None and "verdict" in reused.data:
        findings.accepted.append((node, reused))
    elif reused is not None:
        findings.reused += 1


def _stop_of(story: RunStory) -> Stop | None:
    root = story.root
    note = None if root is None else note_of(root, "abort-asked")
    if note is None:
        return None
    return Stop(stop_reason(note), note.wall_ns)


def _sort_out(
    story: RunStory, ended: list[RunNode], skipped: list[RunNode], findings: Findings
) -> None:
    reader = CauseReader()
    suspects: list[Failed] = []
    for node in ended:
        item = reader.read(node)
        casualty = None if findings.stop is None else _stopped(item, findings.stop)
        if casualty is not None:
            findings.casualties.append(casualty)
        else:
            suspects.append(item)
    suspects.sort(key=lambda item: order_of(item.node))
    links = _Links(suspects)
    for item in suspects:
        findings.never_begun += item.cause.kind == "never_begun"
        casualty = links.casualty(item)
        if casualty is None:
            findings.failed.append(item)
        else:
            findings.casualties.append(casualty)
    findings.failed, findings.deciding, findings.before = deciding_first(story, findings.failed)
    _add_skipped(story, skipped, findings)


def _stopped(item: Failed, stop: Stop) -> Casualty | None:
    """Return the casualty that an abort of the run made of a leaf; None: it was none."""
    node, kind = item.node, item.cause.kind
    asked = note_of(node, "abort-asked") is not None
    if node.status is _ABORTED and kind in _NEVER_STARTED:
        stop.not_started += 1
        return Casualty(node.path, device_of(node), "not started", stop.reason)
    if not asked and not (node.status is _ABORTED and (node.ended_ns or 0) >= stop.wall_ns):
        return None
    stop.running.append(node)
    if kind == "abandoned" or note_of(node, "abandoned") is not None:
        stop.abandoned.append(node)
        return Casualty(node.path, device_of(node), "abandoned", _because(item.cause))
    return Casualty(node.path, device_of(node), "stopped", item.words)


class _Links:
    """Finds failures that only followed from another one."""

    def __init__(self, suspects: Sequence[Failed]) -> None:
        self._limits: dict[str | None, Failed] = {}
        self._aborts: dict[str | None, Failed] = {}
        self._gone: dict[str | None, Failed] = {}
        self._lost: Failed | None = None
        for item in suspects:
            if item.cause.kind == "lost" and self._lost is None:
                self._lost = item
            if item.cause.kind == "timed_out":
                self._limits.setdefault(item.cause.limit_owner, item)
                if note_of(item.node, "abort-acknowledged") is not None:
                    self._aborts.setdefault(device_of(item.node), item)

    def casualty(self, item: Failed) -> Casualty | None:
        """Return the casualty that a leaf is; None: it failed by itself. The earliest first."""
        cause, device = item.cause, device_of(item.node)
        if cause.kind == "never_begun" or (cause.kind == "not_started" and cause.limit_owner):
            return self._never_started(item, cause)
        if cause.kind == "aborted" and device is not None and device in self._aborts:
            other = self._aborts[device]
            words = f"{device} was aborted as a whole, because {other.node.name} ran out of time"
            return _casualty(item, "same device", other, words)
        if cause.kind not in GONE or device is None:
            return None
        if cause.kind == "unreachable" and device in self._gone:
            words = f"{device} was gone already"
            return _casualty(item, "same device", self._gone[device], words)
        self._gone.setdefault(device, item)
        return None

    def _never_started(self, item: Failed, cause: Cause) -> Casualty | None:
        if cause.kind == "never_begun":
            return _casualty(item, "not started", self._lost, _because(cause))
        other = self._limits.setdefault(cause.limit_owner, item)
        # The first that its limit kept from starting has nothing else to blame.
        return None if other is item else _casualty(item, "not started", other, _because(cause))


def _because(cause: Cause) -> str:
    """Return why a leaf was not started, or was given up."""
    limit = "" if cause.limit_s is None else f"{cause.limit_s:g} s"
    if cause.kind == "never_begun":
        return "the runner of this run was lost"
    if cause.kind == "not_started" and cause.limit_owner is not None:
        return f"the limit of {limit} set by {cause.limit_owner} expired"
    if cause.kind == "not_started" or not limit:
        return one_line(cause.said)
    return f"it did not end within {limit}"


def _casualty(item: Failed, kind: CasualtyKind, other: Failed | None, because: str) -> Casualty:
    of = None if other is None else other.node.path
    return Casualty(item.node.path, device_of(item.node), kind, because, of)


def _add_skipped(story: RunStory, skipped: list[RunNode], findings: Findings) -> None:
    """Note the skipped steps, and which failed leaf each of them is a casualty of."""
    tops: dict[str, str | None] = {}
    nodes = {node.path: node for node in story.nodes}
    first = findings.failed[0].node.path if findings.failed else None
    for node in skipped:
        parent, breaker = node.parent_path, cause_of(node).because_of
        if parent in tops:
            tops[node.path] = of = tops[parent]
        else:
            tops[node.path] = of = _culprit(breaker or parent, findings)
            if first is not None and of == first:
                findings.blocked.append(node)
        if node.is_leaf:
            because = _broken_words(nodes.get(breaker or "")) or own_words(node)
            findings.casualties.append(Casualty(node.path, device_of(node), "skipped", because, of))


def _broken_words(breaker: RunNode | None) -> str:
    if breaker is None:
        return ""
    return f"{breaker.name} {_ENDED.get(breaker.state, 'failed')}"


def _culprit(breaker: str, findings: Findings) -> str | None:
    """Return the failed leaf because of which a step was skipped; None where nothing tells."""
    for failed in findings.failed:
        if is_below(failed.node.path, breaker):
            return failed.node.path
    return None
