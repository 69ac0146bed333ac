"""Why a run ended as it did, or what it waits for: one explanation for every surface.

:func:`why` takes the facts of a run and returns a :class:`Why`: one sentence, the shortest tree
that proves it, the failures by their cause, and apart from them what only followed. The same
words are shown on a terminal, on a page, in a notebook and in a report. Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from taskgrove.events import LeftOut
from taskgrove.story.node_state import NodeState
from taskgrove.story.run_story import (
    OperatorVerdict,
    ResumedBy,
    RunState,
    RunStory,
    verdict_words,
)
from taskgrove.view.reasons.causes import Casualty, Findings, find
from taskgrove.view.reasons.facts import Failed, device_of
from taskgrove.view.reasons.live import Wait, waits_of
from taskgrove.view.reasons.sentences import command_name, outcome_of, sentence_of, what_next
from taskgrove.view.reasons.tree import ProofLine, proof_of
from taskgrove.view.reasons.words import plain, seconds_between

_SHOWN_AS: Final[dict[RunState, NodeState]] = {
    "running": "running",
    "lost": "failed",
    "unknown": "not found",
}


@dataclass(frozen=True, slots=True)
class FirstFailure:
    """The leaf that failed first by itself; of a command that failed, the first that decided it.

    Attributes:
        path: Its path.
        device: Its device, or None.
        command_name: Its command or method, or None.
        kind: What kind of cause it was (the values of ``CauseKind``).
        cause: The cause, as it was told.
        wall_ns: When it ended, UTC, nanoseconds since the epoch, or None.
        after_s: How long after the run began, in seconds, or None.
        attempt_count: How often it was tried.
    """

    path: str
    device: str | None
    command_name: str | None
    kind: str
    cause: str
    wall_ns: int | None
    after_s: float | None
    attempt_count: int


@dataclass(frozen=True, slots=True)
class CauseGroup:
    """Failed leaves that have the same cause.

    Attributes:
        kind: What kind of cause it is (the values of ``CauseKind``).
        cause: The cause, as the first of them told it.
        paths: The leaves, in the order in which they ended.
        devices: Their devices, each once.
    """

    kind: str
    cause: str
    paths: tuple[str, ...]
    devices: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many leaves there are."""
        return len(self.paths)


@dataclass(frozen=True, slots=True)
class Why:
    """A run in words.

    Attributes:
        run_id: The run.
        command: Its command.
        state: Whether it runs, has ended, or lost its runner.
        outcome: Its outcome in one word, as every tree shows it.
        sentence: All of it in one sentence.
        first: The leaf that failed first, or None when none failed by itself.
        blocked: Paths of the uppermost steps that were not run because of it.
        next_step: What to do next, as a clause; empty when there is nothing to do.
        groups: The failed leaves by their cause, in the order of their first.
        casualties: Leaves that did not fail by themselves, in the order of the tree.
        waiting: What a living run waits for; what was silent longest comes first.
        last_sign_of_life_ns: When the run was last heard of, UTC, nanoseconds since the epoch.
        now_ns: When it was looked at, UTC, nanoseconds since the epoch.
        leaf_count: How many leaves it has.
        tree: The shortest tree that proves it.
        verdicts: What operators said of it, oldest first.
        resumed_by: The runs that resumed it, and that resumed those, as they began.
        left_out: What was left out of it, and why.
    """

    run_id: str
    command: str
    state: RunState
    outcome: NodeState
    sentence: str
    first: FirstFailure | None
    blocked: tuple[str, ...]
    next_step: str
    groups: tuple[CauseGroup, ...]
    casualties: tuple[Casualty, ...]
    waiting: tuple[Wait, ...]
    last_sign_of_life_ns: int | None
    now_ns: int
    leaf_count: int
    tree: tuple[ProofLine, ...]
    verdicts: tuple[OperatorVerdict, ...] = ()
    resumed_by: tuple[ResumedBy, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def shown_as(self) -> NodeState:
        """The state in whose colour the sentence is shown."""
        return _SHOWN_AS.get(self.state, self.outcome)

    def __str__(self) -> str:
        from taskgrove.view.reasons.text import render_why  # noqa: PLC0415 - it shows this class

        return render_why(self)

    def _repr_html_(self) -> str:
        from taskgrove.view.reasons.html import render_why_html  # noqa: PLC0415 - as above

        return render_why_html(self)


def why(story: RunStory) -> Why:
    """Explain a run.

    Args:
        story: Its facts.
    """
    findings = find(story)
    by_cause = _grouped(findings.failed)
    groups = tuple(map(_group_of, by_cause))
    outcome = outcome_of(story)
    waits = waits_of(story, findings) if story.state == "running" else ()
    verdicts = tuple(story.verdicts) or _verdicts_in(story)
    device_count = len(groups[0].devices) if groups else 1
    next_step = what_next(story, findings, outcome, device_count)
    return Why(
        run_id=story.run_id,
        command=command_name(story),
        state=story.state,
        outcome=outcome,
        sentence=sentence_of(story, findings, outcome, len(groups), waits, verdicts, next_step),
        first=_first(story, findings),
        blocked=tuple(node.path for node in findings.blocked),
        next_step=next_step,
        groups=groups,
        casualties=_in_tree_order(story, findings),
        waiting=waits,
        last_sign_of_life_ns=_last_sign_of_life(story),
        now_ns=story.now_ns,
        leaf_count=findings.leaf_count,
        tree=proof_of(story, findings, by_cause, waits),
        verdicts=verdicts,
        resumed_by=tuple(story.resumed_by),
        left_out=story.left_out,
    )


def _grouped(failed: Sequence[Failed]) -> list[list[Failed]]:
    groups: dict[str, list[Failed]] = {}
    for item in failed:
        groups.setdefault(item.cause.key, []).append(item)
    return list(groups.values())


def _group_of(group: Sequence[Failed]) -> CauseGroup:
    cause = group[0].cause
    devices = dict.fromkeys(device for item in group if (device := device_of(item.node)))
    paths = tuple(item.node.path for item in group)
    return CauseGroup(cause.kind.value, plain(cause.words), paths, tuple(devices))


def _first(story: RunStory, findings: Findings) -> FirstFailure | None:
    if not findings.failed:
        return None
    node, cause = findings.failed[0]
    root = story.root
    return FirstFailure(
        path=node.path,
        device=device_of(node),
        command_name=None if node.composed is None else node.composed.command_name,
        kind=cause.kind.value,
        cause=plain(cause.words),
        wall_ns=node.ended_ns,
        after_s=None if root is None else seconds_between(root.started_ns, node.ended_ns),
        attempt_count=node.attempt,
    )


def _in_tree_order(story: RunStory, findings: Findings) -> tuple[Casualty, ...]:
    casualties = findings.casualties
    if len(casualties) > 1:
        rank = {node.path: index for index, node in enumerate(story.nodes)}
        casualties = sorted(casualties, key=lambda item: rank.get(item.path, len(rank)))
    return tuple(casualties)


def _last_sign_of_life(story: RunStory) -> int | None:
    if story.last_ns is not None:
        return story.last_ns
    return max((node.last_ns for node in story.nodes if node.last_ns is not None), default=None)


def _verdicts_in(story: RunStory) -> tuple[OperatorVerdict, ...]:
    found = [
        OperatorVerdict(
            node.path,
            verdict_words(note.data.get("verdict", "note")),
            note.data.get("who", ""),
            note.data.get("why", "") or note.text,
            note.wall_ns,
        )
        for node in story.nodes
        if node.notes
        for note in node.notes
        if note.topic == "operator"
    ]
    return tuple(sorted(found, key=lambda verdict: verdict.wall_ns))
