"""The story of a recorded run, from its rows: no event is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from taskgrove.store.database.advice import command_line, typed_again
from taskgrove.store.database.holders import runner_sign
from taskgrove.store.queries.run_rows import RunRow, VerdictRow
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import (
    OperatorVerdict,
    ResumedBy,
    RunState,
    RunStory,
)
from taskgrove.view.run_source import with_source
from taskgrove.view.sign_of_life import runner_gone

_STATES: Final[dict[str, RunState]] = {"running": "running", "final": "final", "lost": "lost"}


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
    state, note = _state_of(run, now_ns)
    story = RunStory(
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
        resumed_by=tuple(ResumedBy(it.run_id, it.of_run_id, it.outcome) for it in run.resumed_by),
        runner=runner_sign(run.lease, now_ns) if state == "running" and run.lease else None,
    )
    return with_source(story, run.source, location)


def resume_line(run: RunRow, location: str) -> str:
    """Return the command line that resumes a run, quoted for a shell.

    Args:
        run: The run.
        location: The record, as ``Store.location`` names it.
    """
    return command_line(location, "resume", run.run_id, *typed_again(run.source))


def _state_of(run: RunRow, now_ns: int) -> tuple[RunState, str]:
    """Return a run's state and its note; whose runner gives no sign of life, has lost it."""
    if run.state != "running":
        return _STATES.get(run.state, "lost"), run.state_note
    gone = runner_gone(run, now_ns)
    return ("running", run.state_note) if gone is None else ("lost", gone)


def _said(verdict: VerdictRow) -> OperatorVerdict:
    return OperatorVerdict(verdict.path, verdict.verdict, verdict.who, verdict.why, verdict.wall_ns)
