"""``taskgrove runs show``: one run, with its tree, its causes and its source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskgrove.cli import options as opt
from taskgrove.cli.analysis_recorded import say_analysis
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.recorded import history_of_runs, write_json
from taskgrove.cli.runs_list import OUTCOME_STYLES, took_text
from taskgrove.cli.surfaces import print_tree
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.store.database.advice import quoted_line
from taskgrove.store.queries.run_rows import RunRow
from taskgrove.story.run_node import RunNode
from taskgrove.view.act_words import wait_summary
from taskgrove.view.phrases import counted
from taskgrove.view.record_view import state_words, story_of_record
from taskgrove.view.snapshot import RunView
from taskgrove.view.states import STATE_STYLES
from taskgrove.view.terminal_text import safe_text
from taskgrove.view.why import why
from taskgrove.view.why.rendering import shown_causes


@verb
def show_run(
    run: opt.RunReference,
    node: opt.OnlyNode = None,
    db: opt.Database = None,
    json: opt.AsJson = False,
) -> int:
    """Show a run: its outcome, its tree, and why it ended so.

    A run that is not over says when it was last heard of.
    """
    terminal = Terminal()
    with history_of_runs(db) as history:
        found, nodes, verdicts, requests = history.whole(run)
        pages = history.pages(found)
        location = history.store.location
        if node is not None:
            from taskgrove.cli.runs_show_node import find_node, say_node  # noqa: PLC0415 - slow

            chosen = find_node(nodes, node)
            if json:
                write_json(terminal, chosen)
            else:
                say_node(terminal, chosen, SYSTEM_CLOCK.wall_ns())
                if chosen.analysis is not None:
                    own = [page for page in pages if page.path == chosen.path]
                    say_analysis(terminal, chosen.analysis, own, given_words(found))
            return ExitCode.OK
        if json:
            told = {"run": found, "nodes": nodes, "pages": pages, "verdicts": verdicts}
            told["requests"] = requests
            write_json(terminal, told)
            return ExitCode.OK
    _say_head(terminal, found, location, nodes)
    now_ns = SYSTEM_CLOCK.wall_ns()
    words = why(
        story_of_record(
            found, nodes, now_ns=now_ns, verdicts=verdicts, requests=requests, location=location
        )
    )
    if nodes:
        terminal.say()
        keep = [group.paths[0] for group in shown_causes(words)]
        print_tree(terminal, RunView.of(found.run_id, nodes), keep)
    terminal.say()
    terminal.say_explanation(words)
    for note in (note for item in nodes for note in item.notes if note.topic == "logbook"):
        terminal.say_item(note.text)
    described = [item.analysis for item in nodes if item.analysis is not None]
    if len(described) == 1:
        say_analysis(terminal, described[0], pages, given_words(found))
        return ExitCode.OK
    for page in pages:
        terminal.say_item(f"page {page.display_name}: {page.file}")
    if described:
        line = quoted_line(location, "runs", "show", found.run_id, "--node", "PATH")
        terminal.say(safe_text(f"{line} shows an analysis: its result, parameters and output."))
    return ExitCode.OK


def given_words(run: RunRow) -> str:
    """Return the words for a parameter that stands in no file."""
    return "command line" if run.source.get("kind") == "analysis" else "argument of the step"


def _say_head(terminal: Terminal, run: RunRow, location: str, nodes: Sequence[RunNode]) -> None:
    now_ns = SYSTEM_CLOCK.wall_ns()
    style = STATE_STYLES[OUTCOME_STYLES[run.outcome]]
    took = took_text(run, now_ns)
    terminal.say(f"{safe_text(run.command)}: {run.outcome}, {took}", style)
    waits = wait_summary(nodes, now_ns) if run.state == "running" else ""
    for name, text in head_lines(run, now_ns, location, waits):
        terminal.say_line([(f"  {name:<9}", "dim"), (safe_text(text), "")])


def head_lines(run: RunRow, now_ns: int, location: str, waits: str = "") -> list[tuple[str, str]]:
    """Return the lines above the tree of a run, as names and texts.

    Args:
        run: The run.
        now_ns: When it is looked at, UTC, nanoseconds since the epoch.
        location: The record.
        waits: The pause and the waits of a run that has not ended, in words.
    """
    ended = "" if run.ended_at is None else f" to {run.ended_at:%Y-%m-%d %H:%M:%S}"
    leaves = counted(run.leaf_count, "leaf", "leaves")
    if run.failed_leaf_count:
        leaves += f", {run.failed_leaf_count} not OK"
    if run.retry_count:
        leaves += f", {run.retry_count} retried"
    kind = "config" if run.source.get("kind") == "analysis" else "map"
    where = "@".join(part for part in (run.user, run.host) if part)
    lines = [
        ("run", run.run_id),
        ("time", f"{run.created_at:%Y-%m-%d %H:%M:%S}{ended} UTC"),
        ("state", state_words(run, now_ns, location)),
        ("waits", waits),
        ("tree", leaves),
        ("resumes", run.parent_run_id or ""),
        ("resumed", _resumed_text(run)),
        ("by", where),
        ("labels", ", ".join(f"{name}={value}" for name, value in run.labels.items())),
        (kind, _text(run.source.get("file"))),
        ("record", _lost_words(run.lost_event_count)),
    ]
    return [(name, text) for name, text in lines if text]


def _resumed_text(run: RunRow) -> str:
    own = [it for it in run.resumed_by if it.of_run_id == run.run_id]
    return ", ".join(f"by {it.run_id} ({it.outcome or 'removed since'})" for it in own)


def _lost_words(count: int) -> str:
    return f"{count} of its events could not be kept" if count else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
