"""``taskgrove runs list``: past runs, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from taskgrove.cli import options as opt
from taskgrove.cli.columns import Column, print_table
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.recorded import open_history, say_nothing_there, write_json
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.store.history import History
from taskgrove.store.queries.run_filter import parse_filter
from taskgrove.store.queries.run_rows import RunSummary
from taskgrove.view.act_words import wait_summary
from taskgrove.view.record_view import told_of_run
from taskgrove.view.terminal_text import duration_text

#: How an outcome is coloured where colours exist (keys of STATE_STYLES).
OUTCOME_STYLES: Final = {
    "ok": "completed",
    "degraded": "degraded",
    "failed": "failed",
    "rejected": "rejected",
    "aborted": "aborted",
    "running": "running",
    "lost": "not found",
}
#: An id begins with the second in which the run began; less of it is never shown.
_LEAST_ID: Final = 16
#: From this width on ids are shown whole.
_WIDE: Final = 100
#: So many runs that have not ended are looked at for what they wait for.
_LOOKED_AT: Final = 20


@verb
def list_runs(
    filters: opt.Filters,
    db: opt.Database = None,
    limit: opt.ListLimit = 20,
    json: opt.AsJson = False,
) -> int:
    """List past runs, newest first, with their outcomes and first causes."""
    which = parse_filter(**filters, limit=limit + 1)
    terminal = Terminal()
    history = open_history(db)
    waits: dict[str, str] = {}
    if history is None:
        found: Sequence[RunSummary] = []
    else:
        with history:
            found = history.runs(which)
            if not json:
                waits = _waits(history, found[:limit])
            if not found and not json:
                say_nothing_there(terminal, history, narrowed=which.is_narrow)
    if json:
        write_json(terminal, found[:limit])
        return ExitCode.OK
    if history is None:
        say_nothing_there(terminal, None, narrowed=False)
    elif found:
        print_runs(terminal, found[:limit], waits)
        if len(found) > limit:
            terminal.say(f"The newest {limit} runs; '--limit' shows more.", "dim")
    return ExitCode.OK


def _waits(history: History, runs: Sequence[RunSummary]) -> dict[str, str]:
    """Return the pause and the waits of runs that have not ended, by id."""
    now_ns, running = SYSTEM_CLOCK.wall_ns(), [run for run in runs if run.state == "running"]
    return {run.run_id: wait_summary(history.nodes(run), now_ns) for run in running[:_LOOKED_AT]}


def print_runs(
    terminal: Terminal, runs: Sequence[RunSummary], waits: Mapping[str, str] | None = None
) -> None:
    """Print runs as a table.

    Args:
        terminal: Where it is printed.
        runs: The runs.
        waits: The pause and the waits of runs that have not ended, in words, by id.
    """
    told = waits or {}
    now_ns = SYSTEM_CLOCK.wall_ns()
    columns = (
        Column("RUN"),
        Column("COMMAND", cut=True),
        Column("OUTCOME"),
        Column("TOOK", right=True),
        Column("LEAVES", right=True),
        Column("WHY", cut=True),
    )
    ids = shown_ids(terminal, [run.run_id for run in runs])
    rows = [
        (
            shown_id,
            run.command,
            run.outcome,
            took_text(run, now_ns),
            _leaves(run),
            told_of_run(run, told.get(run.run_id, "")),
        )
        for shown_id, run in zip(ids, runs, strict=True)
    ]
    styles = [("", "", OUTCOME_STYLES[run.outcome], "dim", "", "") for run in runs]
    print_table(terminal, columns, rows, styles)


def shown_ids(terminal: Terminal, ids: Sequence[str]) -> list[str]:
    """Return ids as they are shown: whole, or on a narrow terminal as short as is unique."""
    if not terminal.words.is_terminal or terminal.width >= _WIDE:
        return list(ids)
    ordered = sorted(ids)
    needed = max([_LEAST_ID, *(1 + _alike(*pair) for pair in pairwise(ordered))])
    return [run_id[:needed] for run_id in ids]


def _alike(first: str, second: str) -> int:
    """Return how many characters two texts begin with alike."""
    pairs = zip(first, second, strict=False)
    return next((number for number, (a, b) in enumerate(pairs) if a != b), len(first))


def took_text(run: RunSummary, now_ns: int) -> str:
    """Return how long a run took; with a plus sign how long it has been going."""
    if run.duration_s is not None:
        return duration_text(run.duration_s)
    end_ns = now_ns if run.state == "running" else run.last_ns
    return f"{duration_text(max(0, end_ns - run.created_ns) / 1e9)}+"


def _leaves(run: RunSummary) -> str:
    if run.failed_leaf_count:
        return f"{run.failed_leaf_count}/{run.leaf_count} bad"
    return str(run.leaf_count)
