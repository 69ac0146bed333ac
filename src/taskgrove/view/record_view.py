"""A recorded run as surfaces draw it, from its nodes' rows: no event is read.

The rows hold wall-clock instants only; the times of such a view are counted on that clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from taskgrove.events import FinishedDetail, NoteDetail, StartedDetail, TaskEvent
from taskgrove.store.database.advice import command_line, db_option, typed_again
from taskgrove.store.queries.run_rows import RunRow, VerdictRow
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import (
    OperatorVerdict,
    ResumedBy,
    RunState,
    RunStory,
    verdict_words,
)
from taskgrove.view.sign_of_life import runner_gone
from taskgrove.view.snapshot import RunView

_SECOND_NS: Final = 1_000_000_000
_STATES: Final[dict[str, RunState]] = {"running": "running", "final": "final", "lost": "lost"}


def view_of_nodes(run_id: str, nodes: Iterable[RunNode]) -> RunView:
    """Return the view of a run from what is known of its nodes.

    Args:
        run_id: The run.
        nodes: Its nodes, parents before their children.
    """
    view = RunView(run_id)
    for node in nodes:
        for event in _events_of(run_id, node):
            view.apply(event)
    return view


def story_of_record(
    run: RunRow,
    nodes: Sequence[RunNode],
    *,
    now_ns: int,
    verdicts: Sequence[VerdictRow] = (),
    location: str | None = None,
) -> RunStory:
    """Return the story of a recorded run, to be explained.

    Args:
        run: The run.
        nodes: Its nodes, as the record has them.
        now_ns: When it is looked at, UTC, nanoseconds since the epoch.
        verdicts: What operators said of it.
        location: The record, as ``Store.location`` names it, so that command lines in advice
            work on it; None: they are those of the usual record.
    """
    source = run.source
    file = source.get("file") if source.get("kind") == "map" else None
    state, note = _state_of(run, now_ns)
    return RunStory(
        run_id=run.run_id,
        command=run.command,
        state=state,
        nodes=nodes,
        now_ns=now_ns,
        state_note=note,
        last_ns=max(run.last_ns, run.lease.heartbeat_ns if run.lease else 0),
        verdicts=tuple(_said(verdict) for verdict in verdicts),
        message=run.message,
        status=run.status,
        result_code=run.result_code,
        health_state=run.health_state,
        map_file=file if isinstance(file, str) else None,
        can_resume=bool(source),
        options="" if location is None else db_option(location),
        resume_options=typed_again(source),
        resumed_by=tuple(ResumedBy(it.run_id, it.of_run_id, it.outcome) for it in run.resumed_by),
    )


def resume_line(run: RunRow, location: str) -> str:
    """Return the command line that resumes a run, quoted for a shell.

    Args:
        run: The run.
        location: The record, as ``Store.location`` names it.
    """
    return f"{command_line(location, 'resume', run.run_id)} {typed_again(run.source)}".strip()


def _state_of(run: RunRow, now_ns: int) -> tuple[RunState, str]:
    """Return a run's state and its note; whose runner gives no sign of life, has lost it."""
    if run.state != "running":
        return _STATES.get(run.state, "lost"), run.state_note
    gone = runner_gone(run, now_ns)
    return ("running", run.state_note) if gone is None else ("lost", gone)


def _said(verdict: VerdictRow) -> OperatorVerdict:
    words = verdict_words(verdict.verdict)
    return OperatorVerdict(verdict.path, words, verdict.who, verdict.why, verdict.wall_ns)


def _events_of(run_id: str, node: RunNode) -> Iterator[TaskEvent]:
    """Yield events that say the same as the row; their numbers count within the node only."""
    common: dict[str, Any] = {"run_id": run_id, "path": node.path, "attempt": node.attempt}
    number = 1

    def event(kind: Any, wall_ns: int | None, **fields: Any) -> TaskEvent:
        nonlocal number
        number += 1
        at_ns = wall_ns or 0
        return TaskEvent(
            sequence=number,
            kind=kind,
            monotonic_s=at_ns / _SECOND_NS,
            wall_ns=at_ns,
            **common,
            **fields,
        )

    if node.composed is not None:
        yield event("composed", node.queued_ns, detail=node.composed, devices=node.devices)
    for note in node.notes:
        detail = NoteDetail(note.topic, note.data, note.cause)
        yield event("note", note.wall_ns, message=note.text, detail=detail)
    if node.started_ns is not None:
        outside = StartedDetail(node.outside_kind, node.outside_id)
        yield event("started", node.started_ns, detail=outside)
    if node.status is None:
        return
    told = {
        "status": node.status,
        "result_code": node.result_code,
        "progress": node.progress,
        "message": node.message,
        "devices": node.devices,
        "failed_devices": node.failed_devices,
        "health_state": node.health_state,
    }
    if not node.is_final:
        yield event("progress", node.started_ns or node.last_ns, **told)
        return
    if node.finished_sequence is not None:
        number = node.finished_sequence - 1  # which end came first is read from the numbers
    yield event("finished", node.ended_ns, detail=node.finished or FinishedDetail(), **told)
