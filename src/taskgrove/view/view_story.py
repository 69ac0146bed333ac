"""The story of a run from the view that a surface draws."""

from __future__ import annotations

from taskgrove.story.run_node import NodeNote, RunNode
from taskgrove.story.run_story import RunStory
from taskgrove.view.node_view import NodeView
from taskgrove.view.snapshot import RunView


def story_of_view(view: RunView, *, now_ns: int = 0, can_resume: bool = False) -> RunStory:
    """Return the story of a run from the view that a surface draws.

    Args:
        view: The view.
        now_ns: When it is looked at, UTC, nanoseconds since the epoch.
        can_resume: See :class:`RunStory`.
    """
    root = view.root
    nodes = () if root is None else tuple(_facts_of(node) for node in root.walk())
    return RunStory(
        run_id=view.run_id or "",
        command="" if root is None else root.name,
        state="final" if root is not None and root.is_final else "running",
        nodes=nodes,
        now_ns=now_ns,
        can_resume=can_resume,
    )


def _facts_of(node: NodeView) -> RunNode:
    notes = [NodeNote(note.topic, note.text, note.wall_ns) for note in node.notes]
    return RunNode(
        node.path,
        composed=node.composed,
        status=node.status,
        result_code=node.result_code,
        progress=node.percent,
        message=node.message,
        devices=node.devices,
        failed_devices=node.failed_devices,
        health_state=node.health_state,
        attempt=node.attempts,
        started_ns=node.started_ns,
        ended_ns=node.ended_ns,
        last_ns=node.ended_ns or node.started_ns,
        outside_id=node.outside,
        finished=node.finished,
        finished_sequence=node.finished_sequence,
        notes=notes,
    )
