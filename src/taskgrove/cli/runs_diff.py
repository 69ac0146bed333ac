"""``taskgrove runs diff``: the differences between two runs."""

from __future__ import annotations

from itertools import groupby
from typing import Final

from taskgrove.cli import options as opt
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.recorded import history_of_runs, write_json
from taskgrove.cli.runs_list import OUTCOME_STYLES
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.store.queries.run_diff import Difference, RunDiff
from taskgrove.store.queries.run_rows import RunRow
from taskgrove.view.states import STATE_STYLES
from taskgrove.view.terminal_text import clip, safe_text

_TITLES: Final = {
    "outcome": "Outcome",
    "cause": "Causes",
    "node": "Nodes in one of them only",
    "status": "Status",
    "retries": "Retries",
    "duration": "Durations beyond their usual spread",
    "devices": "Devices",
    "parameters": "Parameters",
    "environment": "Environment",
    "requests": "Requests of operators",
    "versions": "Versions",
}
#: How many rows of one topic are shown; JSON has all.
_SHOWN: Final = 40


@verb
def diff_runs(
    first: opt.FirstRun,
    second: opt.SecondRun,
    db: opt.Database = None,
    json: opt.AsJson = False,
) -> int:
    """Print the differences between two runs."""
    terminal = Terminal()
    with history_of_runs(db) as history:
        found = history.diff(first, second)
    if json:
        write_json(terminal, found)
        return ExitCode.OK
    _say_run(terminal, "A", found.first)
    _say_run(terminal, "B", found.second)
    _say_differences(terminal, found)
    return ExitCode.OK


def _say_run(terminal: Terminal, name: str, run: RunRow) -> None:
    style = STATE_STYLES[OUTCOME_STYLES[run.outcome]]
    words = f"  {run.run_id}  {safe_text(run.command)}  "
    terminal.say_line([(name, "bold"), (words, ""), (run.outcome, style)])


def _say_differences(terminal: Terminal, found: RunDiff) -> None:
    if found.same:
        same = "A and B are the same run." if found.first.run_id == found.second.run_id else ""
        terminal.say(same or "Nothing differs beyond the usual spread of durations.")
    for topic, group in groupby(found.differences, key=lambda item: item.topic):
        items = list(group)
        terminal.say()
        terminal.say(f"{_TITLES[topic]}:", "bold")
        for item in items[:_SHOWN]:
            _say_difference(terminal, item)
        if len(items) > _SHOWN:
            terminal.say(f"  … and {len(items) - _SHOWN:,} more; '--json' has all", "dim")


def _say_difference(terminal: Terminal, item: Difference) -> None:
    if item.topic == "cause":
        side, text = ("A", item.first) if item.second is None else ("B", item.second)
        terminal.say_item(f"only {side}: {text}")
        return
    words = f"{_value(terminal, item.first)} → {_value(terminal, item.second)}"
    if item.first is None or item.second is None:
        side, text = ("A", item.first) if item.second is None else ("B", item.second)
        words = f"only {side}: {_value(terminal, text)}"
    note = f" ({item.note})" if item.note else ""
    terminal.say_item(f"{item.where}: {words}{note}")


def _value(terminal: Terminal, text: str | None) -> str:
    return clip(safe_text("nothing" if text is None else text), 200, terminal.charset.ellipsis)
