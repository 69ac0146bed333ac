"""Why a run ended as it did, or what it waits for: one explanation for every surface.

:func:`why` takes the facts of a run and returns a :class:`Why`: one sentence, the shortest tree
that proves it, the failures by their cause, apart from them what only followed, and what to do
next. The same object is shown on a terminal, on a page, in a notebook and in a report. Pure: no
clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.story.run_story import OperatorVerdict, RunStory, story_of_facts
from taskgrove.view.snapshot import RunView
from taskgrove.view.why.advice import next_actions, pointers
from taskgrove.view.why.explanation import CauseGroup, Explanation, FirstFailure
from taskgrove.view.why.failed_leaf import Failed, device_of
from taskgrove.view.why.findings import Casualty, Findings, find
from taskgrove.view.why.first_line import command_name, outcome_of, sentence_of
from taskgrove.view.why.living_run import waits_of
from taskgrove.view.why.phrases import plain, seconds_between
from taskgrove.view.why.proof import proof_of
from taskgrove.view.why.why_html import render_why_html
from taskgrove.view.why.why_text import render_why

#: So much of what was told is kept, in columns: as much as the record keeps of a message.
_WHOLE: Final = 4096


@dataclass(frozen=True, slots=True)
class Why(Explanation):
    """An explanation that shows itself: as text when printed, as HTML in a notebook."""

    def __str__(self) -> str:
        return render_why(self)

    def _repr_html_(self) -> str:
        return render_why_html(self)


def why(story: RunStory) -> Why:
    """Explain a run.

    Args:
        story: Its facts.
    """
    findings = find(story)
    by_cause = _grouped(findings.failed)
    outcome = outcome_of(story)
    waits = waits_of(story, findings) if story.state == "running" else ()
    verdicts = (*(story.verdicts or _verdicts_in(story)), *_accepted_in(findings))
    actions = next_actions(story, findings, outcome, verdicts, waits)
    line = sentence_of(story, findings, outcome, waits, verdicts, actions)
    return Why(
        run_id=story.run_id,
        command=command_name(story),
        state=story.state,
        outcome=outcome,
        sentence=line.text,
        also=line.also,
        first=_first(story, findings),
        blocked=tuple(node.path for node in findings.blocked),
        next_step=line.next_step,
        actions=actions,
        see_also=pointers(story, findings, actions),
        groups=tuple(map(_group_of, by_cause)),
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


def explain(
    outcome: AggregationOutcome, view: RunView | None = None, story: RunStory | None = None
) -> Why:
    """Explain an outcome.

    Args:
        outcome: The outcome of a run.
        view: The view of the run: it tells which leaf failed, and why.
        story: The story of the run, where more is known of it than its view tells.
    """
    if story is None:
        nodes = RunView() if view is None else view
        story = story_of_facts(nodes, run_id=nodes.run_id or "", now_ns=nodes.last_ns or 0)
    return why(
        replace(
            story,
            state="final",
            message=outcome.message,
            status=outcome.status,
            result_code=outcome.result_code,
            health_state=outcome.health_state,
        )
    )


def _grouped(failed: Sequence[Failed]) -> list[list[Failed]]:
    groups: dict[tuple[object, ...], list[Failed]] = {}
    for item in failed:
        groups.setdefault(item.key, []).append(item)
    return list(groups.values())


def _group_of(group: Sequence[Failed]) -> CauseGroup:
    devices = dict.fromkeys(device for item in group if (device := device_of(item.node)))
    paths = tuple(item.node.path for item in group)
    told = tuple(item.told for item in group)
    return CauseGroup(
        group[0].cause.kind,
        plain(told[0], _WHOLE),
        paths,
        tuple(devices),
        tuple(plain(words) for words in told) if len(set(told)) > 1 else (),
    )


def _first(story: RunStory, findings: Findings) -> FirstFailure | None:
    if not findings.failed:
        return None
    item = findings.failed[0]
    node, root = item.node, story.root
    return FirstFailure(
        path=node.path,
        device=device_of(node),
        command_name=None if node.composed is None else node.composed.command_name,
        kind=item.cause.kind,
        cause=plain(item.told, _WHOLE),
        facts=item.cause,
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
            note.data.get("verdict", "note"),
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


def _accepted_in(findings: Findings) -> tuple[OperatorVerdict, ...]:
    """Return what operators said in an earlier run, by which leaves of this one count as OK."""
    return tuple(
        OperatorVerdict(
            node.path,
            note.data.get("verdict", "ok"),
            note.data.get("who", ""),
            note.data.get("why", ""),
            note.wall_ns,
        )
        for node, note in findings.accepted
    )
