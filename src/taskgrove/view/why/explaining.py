"""Why a run ended as it did, or what it waits for: one explanation for every surface.

:func:`why` takes the facts of a run and returns a :class:`Why`: one sentence, the shortest tree
that proves it, the failures by their cause, apart from them the leaves that only followed, and
what to do next. The same object is shown on a terminal, on a page, in a notebook and in a
report. Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from taskgrove.events import SteeringRequest
from taskgrove.story.node_wait import RunPause
from taskgrove.story.run_story import RunStory, story_of_facts
from taskgrove.view.phrases import plain, seconds_between
from taskgrove.view.snapshot import RunView
from taskgrove.view.why.explanation import CauseGroup, Explanation, FirstFailure, PauseFacts
from taskgrove.view.why.failed_leaf import FailedLeaf
from taskgrove.view.why.findings import find
from taskgrove.view.why.first_line import first_line
from taskgrove.view.why.held_steps import told_group
from taskgrove.view.why.living_run import waits_of
from taskgrove.view.why.naming import device_of
from taskgrove.view.why.next_steps import choices_of, next_actions, pointers
from taskgrove.view.why.proof import proof_of
from taskgrove.view.why.rendering import render_why, render_why_html

if TYPE_CHECKING:
    from taskgrove.commands.aggregation.base import AggregationOutcome

#: So much of the words is kept, in columns: as much as the record keeps of a message.
_WHOLE: Final = 4096


class Why(Explanation, frozen=True):
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
    found = find(story)
    waits = waits_of(found) if story.state == "running" else ()
    actions = next_actions(found, waits)
    line = first_line(found, waits, actions)
    last_ns = story.last_ns
    if last_ns is None:
        heard = (node.last_ns for node in story.nodes if node.last_ns is not None)
        last_ns = max(heard, default=None)
    return Why(
        run_id=story.run_id,
        command=found.command,
        state=story.state,
        outcome=found.outcome,
        sentence=line.text,
        also=line.also,
        first=_first(story, found.failed[0]) if found.failed else None,
        blocked=tuple(node.path for node in found.blocked),
        next_step=line.next_step,
        actions=actions,
        see_also=pointers(found, actions),
        groups=tuple(map(_group_of, found.groups)),
        casualties=tuple(found.casualties),
        waiting=waits,
        last_sign_of_life_ns=last_ns,
        now_ns=story.now_ns,
        leaf_count=found.leaf_count,
        tree=proof_of(found, waits),
        verdicts=found.verdicts,
        resumed_by=tuple(story.resumed_by),
        left_out=found.left_out,
        held=tuple(map(told_group, found.waiting)),
        parked=tuple(node.path for node in found.parked),
        pause=None if story.pause is None else _pause(story.pause),
        choices=choices_of(found),
        acts=found.acts,
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


def _group_of(group: Sequence[FailedLeaf]) -> CauseGroup:
    devices = dict.fromkeys(device for item in group if (device := device_of(item.node)))
    told = tuple(item.told for item in group)
    return CauseGroup(
        group[0].cause.kind,
        plain(told[0], _WHOLE),
        tuple(item.node.path for item in group),
        tuple(devices),
        tuple(map(plain, told)) if len(set(told)) > 1 else (),
    )


def _pause(pause: RunPause) -> PauseFacts:
    request = pause.request or SteeringRequest(id="", verb="pause")
    return PauseFacts(pause.since_ns, request.who, request.why, request.user, request.host)


def _first(story: RunStory, item: FailedLeaf) -> FirstFailure:
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
