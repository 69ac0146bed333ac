"""The story of a recorded run, and whether the run is still alive, from rows: no event is read.

``now_ns`` is the time of the look, UTC, in nanoseconds since the epoch. ``location`` is the
record, as ``Store.location`` names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from taskgrove.store.database.advice import command_line, db_option, quoted_line, typed_again
from taskgrove.store.database.holders import runner_sign, why_expired
from taskgrove.store.queries.run_rows import RequestRow, RunRow, RunSummary, VerdictRow
from taskgrove.story.run_node import RunNode
from taskgrove.story.run_story import OperatorVerdict, ResumedBy, RunState, RunStory
from taskgrove.view.phrases import ago_text, day_text, left_out_words

_STATES: Final[dict[str, RunState]] = {"running": "running", "final": "final", "lost": "lost"}


def story_of_record(
    run: RunRow,
    nodes: Sequence[RunNode],
    *,
    now_ns: int,
    verdicts: Sequence[VerdictRow] = (),
    requests: Sequence[RequestRow] = (),
    location: str | None = None,
) -> RunStory:
    """Return the story of a recorded run, to be explained.

    Args:
        run: The run.
        nodes: Its nodes, as the record has them.
        now_ns: The time, UTC, nanoseconds since the epoch.
        verdicts: Verdicts of operators on it.
        requests: Requests of operators to it while it lived.
        location: The record, for command lines in advice; None: the usual record.
    """
    state, note = _STATES.get(run.state, "lost"), run.state_note
    gone = runner_gone(run, now_ns)
    if gone is not None:
        state, note = "lost", gone
    story = RunStory(
        run_id=run.run_id,
        command=run.command,
        state=state,
        nodes=nodes,
        now_ns=now_ns,
        state_note=note,
        last_ns=max(run.last_ns, run.lease.heartbeat_ns if run.lease else 0),
        verdicts=tuple(
            OperatorVerdict(it.path, it.verdict, it.who, it.why, it.wall_ns) for it in verdicts
        ),
        message=run.message,
        status=run.status,
        result_code=run.result_code,
        health_state=run.health_state,
        resumed_by=tuple(ResumedBy(it.run_id, it.of_run_id, it.outcome) for it in run.resumed_by),
        runner=runner_sign(run.lease, now_ns) if state == "running" and run.lease else None,
        asked=tuple((it.request, it.answer) for it in requests),
    )
    return with_source(story, run.source, location)


def with_source(story: RunStory, source: Mapping[str, Any], location: str | None) -> RunStory:
    """Return the story of a recorded run with the facts that command lines about it need.

    Args:
        story: The story without them.
        source: The source that the run was composed from; empty where only its program knows it.
        location: The record; None: the usual record.
    """
    file = source.get("file")
    return replace(
        story,
        map_file=file if isinstance(file, str) else None,
        can_resume=bool(source),
        recorded=True,
        options=() if location is None else db_option(location),
        resume_options=typed_again(source),
    )


def resume_line(run: RunRow, location: str) -> str:
    """Return the command line that resumes a run, quoted for a shell."""
    return command_line(location, "resume", run.run_id, *typed_again(run.source))


def runner_gone(run: RunRow, now_ns: int) -> str | None:
    """Return why a run that has not ended has no runner any more; None: it has one, or has ended.

    On the machine that ran it, its process is looked for; elsewhere its heartbeat counts.
    """
    if run.state != "running":
        return None
    return "nobody holds it" if run.lease is None else why_expired(run.lease, now_ns)


def state_words(run: RunRow, now_ns: int, location: str) -> str:
    """Return the state of a run that has not ended, in words; empty for one that has."""
    more = f"{quoted_line(location, 'recover', run.run_id)} finds out more"
    heard = f"last event {ago_text(run.last_ns, now_ns)}, at {day_text(run.last_ns)}"
    gone, lease = runner_gone(run, now_ns), run.lease
    if run.state == "lost":
        return f"lost; {heard}{f'; {run.state_note}' if run.state_note else ''}; {more}"
    if run.state != "running":
        return ""
    if lease is None or gone is not None:
        return f"not over, but {gone}; {heard}; {more}"
    sign = f"gave a sign of life {ago_text(lease.heartbeat_ns, now_ns)}"
    if runner_sign(lease, now_ns).is_stopped:
        sign = f"is stopped (SIGCONT continues it) and {sign}"
    return f"running in process {lease.pid} on {lease.host}, which {sign}; {heard}"


def told_of_run(run: RunSummary, waits: str = "") -> str:
    """Return what a list says of a run besides its outcome: its first cause, or its progress.

    Args:
        run: The run.
        waits: What a run that has not ended waits for, in words.
    """
    if run.outcome == "lost":
        return run.state_note or f"last heard of at {run.last_at:%Y-%m-%d %H:%M:%S} UTC"
    if run.outcome == "running":
        return "; ".join(filter(None, (waits, f"{run.progress} % done")))
    resumed = "" if run.resumed_by_run_id is None else f"resumed by {run.resumed_by_run_id}"
    return "; ".join(filter(None, (resumed, end_words(run))))


def end_words(run: RunRow | RunSummary) -> str:
    """Return the first causes of a run, and the steps that were left out of it, each told once."""
    if run.outcome == "ok":
        return left_out_words(run.left_out)
    left_out = run.left_out
    if run.outcome == "degraded" and run.headline_is_whole:  # it names those by operators
        left_out = tuple(it for it in left_out if not it.is_by_operator)
    return "; ".join(filter(None, (run.headline, left_out_words(left_out))))
