"""Which leaves failed, which of them first, and what only followed from it.

A *failed* leaf ended badly by itself. A *casualty* did not: it was skipped because an earlier
step failed, stopped because the run was aborted, never started because a limit had expired,
or came to a device that was gone already. Failed leaves with the same cause are one group.
Pure; SPEC S3 (problems and casualties), S7.2, S7.4, S7.5 say how leaves come to these ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from taskgrove.control_model import PROBLEM_CODES, TaskStatus
from taskgrove.story.node_note import NodeNote
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import RunStory
from taskgrove.view.reasons.deciding import deciding_first
from taskgrove.view.reasons.facts import Failed, device_of, is_below
from taskgrove.view.reasons.kinds import GONE, CauseKind, CauseReader, words_of

CasualtyKind: TypeAlias = Literal["skipped", "stopped", "abandoned", "not started", "same device"]

_COMPLETED: Final = TaskStatus.COMPLETED
_ABORTED: Final = TaskStatus.ABORTED
_FINAL: Final = frozenset(status for status in TaskStatus if status.is_final)
_COMPOSITE: Final = ("SEQUENTIAL", "PARALLEL")
_SKIPPED_FOR: Final = re.compile(r"skipped: (?P<name>.+) (?:failed|rejected|aborted)")
_LAST: Final = 1 << 62


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
        failed: Those that failed by themselves, the first first; where the command failed, the
            first of those that decided it.
        before: How many of the others failed before that one.
        casualties: Those that only followed, in the order of the tree.
        stop: The abort of the run, or None.
        open: Those that have not ended.
        leaf_count: All of them.
        retried: Those that succeeded, but not at once.
        reused: How many ends were taken over from an earlier run.
        blocked: The uppermost nodes that were skipped because of the first failure.
    """

    failed: list[Failed] = field(default_factory=list)
    before: int = 0
    casualties: list[Casualty] = field(default_factory=list)
    stop: Stop | None = None
    open: list[RunNode] = field(default_factory=list)
    leaf_count: int = 0
    retried: list[RunNode] = field(default_factory=list)
    reused: int = 0
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
    if note_of(node, "reused") is not None:
        findings.reused += 1


def _stop_of(story: RunStory) -> Stop | None:
    root = story.root
    note = None if root is None else note_of(root, "abort-asked")
    if note is None:
        return None
    return Stop(note.text.removeprefix("asked to stop: "), note.wall_ns)


def _sort_out(
    story: RunStory, ended: list[RunNode], skipped: list[RunNode], findings: Findings
) -> None:
    reader = CauseReader()
    suspects: list[Failed] = []
    for node in ended:
        casualty = None if findings.stop is None else _stopped(node, findings.stop)
        if casualty is not None:
            findings.casualties.append(casualty)
        else:
            suspects.append(Failed(node, reader.read(node)))
    suspects.sort(key=lambda item: order_of(item.node))
    links = _Links(suspects)
    for item in suspects:
        casualty = links.casualty(item)
        if casualty is None:
            findings.failed.append(item)
        else:
            findings.casualties.append(casualty)
    if len(findings.failed) > 1:
        findings.failed, findings.before = deciding_first(story, findings.failed)
    _add_skipped(skipped, findings)


def _stopped(node: RunNode, stop: Stop) -> Casualty | None:
    """Return the casualty that an abort of the run made of a leaf; None: it was none."""
    words = words_of(node)
    asked = note_of(node, "abort-asked") is not None
    if node.status is _ABORTED and words.startswith("not started: "):
        stop.not_started += 1
        return Casualty(node.path, device_of(node), "not started", stop.reason)
    if not asked and not (node.status is _ABORTED and (node.ended_ns or 0) >= stop.wall_ns):
        return None
    stop.running.append(node)
    if words.startswith("abandoned: ") or note_of(node, "abandoned") is not None:
        stop.abandoned.append(node)
        return Casualty(node.path, device_of(node), "abandoned", words)
    return Casualty(node.path, device_of(node), "stopped", words)


class _Links:
    """Finds failures that only followed from another one."""

    def __init__(self, suspects: Sequence[Failed]) -> None:
        self._limits: dict[str | None, Failed] = {}
        self._aborts: dict[str | None, Failed] = {}
        self._gone: dict[str | None, Failed] = {}
        self._lost: Failed | None = None
        for item in suspects:
            if item.cause.kind is CauseKind.LOST and self._lost is None:
                self._lost = item
            if item.cause.kind is CauseKind.TIMED_OUT:
                self._limits.setdefault(item.cause.limit_owner, item)
                if note_of(item.node, "abort-acknowledged") is not None:
                    self._aborts.setdefault(device_of(item.node), item)

    def casualty(self, item: Failed) -> Casualty | None:
        """Return the casualty that a leaf is; None: it failed by itself. The earliest first."""
        kind, device = item.cause.kind, device_of(item.node)
        if kind is CauseKind.NOT_STARTED:
            other = self._limits.get(item.cause.limit_owner)
            return _casualty(item, "not started", other, item.cause.words)
        if kind is CauseKind.NEVER_BEGUN:
            return _casualty(item, "not started", self._lost, item.cause.words)
        if kind is CauseKind.ABORTED and device is not None:
            other = self._aborts.get(device)
            name = "" if other is None else other.node.name
            words = f"{device} was aborted as a whole, because {name} ran out of time"
            return _casualty(item, "same device", other, words)
        if kind not in GONE or device is None:
            return None
        if kind is CauseKind.UNREACHABLE and device in self._gone:
            words = f"{device} was gone already"
            return _casualty(item, "same device", self._gone[device], words)
        self._gone.setdefault(device, item)
        return None


def _casualty(
    item: Failed, kind: CasualtyKind, other: Failed | None, because: str
) -> Casualty | None:
    if other is None:
        return None
    return Casualty(item.node.path, device_of(item.node), kind, because, other.node.path)


def _add_skipped(skipped: list[RunNode], findings: Findings) -> None:
    """Note the skipped steps, and which failed leaf each of them is a casualty of."""
    tops: dict[str, str | None] = {}
    first = findings.failed[0].node.path if findings.failed else None
    for node in skipped:
        parent = node.parent_path
        if parent in tops:
            tops[node.path] = of = tops[parent]
        else:
            tops[node.path] = of = _culprit(node, parent, findings)
            if first is not None and of == first:
                findings.blocked.append(node)
        if node.is_leaf:
            because = words_of(node)
            findings.casualties.append(Casualty(node.path, device_of(node), "skipped", because, of))


def _culprit(node: RunNode, parent: str, findings: Findings) -> str | None:
    """Return the failed leaf because of which a step was skipped; None where nothing tells."""
    found = _SKIPPED_FOR.match(words_of(node))
    breaker = f"{parent}/{found['name']}" if found is not None else parent
    for failed in findings.failed:
        if is_below(failed.node.path, breaker):
            return failed.node.path
    return None
