"""``taskgrove runs stats``: statistics of many runs."""

from __future__ import annotations

from collections.abc import Sequence

from taskgrove.cli import options as opt
from taskgrove.cli.columns import Column, print_table
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.recorded import open_history, say_nothing_there, write_json
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.store.queries.run_filter import parse_filter
from taskgrove.store.queries.statistics import Counts, Statistics
from taskgrove.view.phrases import counted
from taskgrove.view.terminal_text import duration_text


@verb
def runs_stats(
    filters: opt.Filters,
    db: opt.Database = None,
    limit: opt.Limit = None,
    rows: opt.Rows = 20,
    json: opt.AsJson = False,
) -> int:
    """Tell usual durations, failure rates, and the devices that spoil most runs."""
    which = parse_filter(**filters, limit=limit)
    terminal = Terminal()
    history = open_history(db)
    if history is None:
        say_nothing_there(terminal, None, narrowed=False)
        return ExitCode.OK
    with history:
        found = history.stats(which)
        if json:
            write_json(terminal, found)
        elif not found.run_count:
            say_nothing_there(terminal, history, narrowed=which.is_narrow)
        else:
            _say_statistics(terminal, found, rows)
    return ExitCode.OK


def _say_statistics(terminal: Terminal, found: Statistics, rows: int) -> None:
    told = ", ".join(f"{count:,} {word}" for word, count in found.outcomes.items())
    terminal.say(f"{counted(found.run_count, 'run')}: {told}", "bold")
    terminal.say()
    commands = [
        (
            item.command,
            f"{item.run_count:,}",
            duration_text(item.p50_s),
            duration_text(item.p90_s),
            ", ".join(f"{count:,} {word}" for word, count in item.outcomes.items()),
        )
        for item in found.commands
    ]
    _print(terminal, ("COMMAND", "RUNS", "P50", "P90", "OUTCOMES"), commands, rows)
    nodes = [(_indented(item.path), *_counts(item)) for item in found.nodes]
    _print(terminal, ("NODE", "ENDS", "P50", "P90", "FAILED", "RETRIES"), nodes, rows)
    devices = [
        (item.device, *_counts(item), f"{item.spoiled_run_count:,}") for item in found.devices
    ]
    titles = ("DEVICE", "ENDS", "P50", "P90", "FAILED", "RETRIES", "RUNS SPOILED")
    _print(terminal, titles, devices, rows)
    terminal.say("P50, P90: 50 % and 90 % of the successful ends took at most this long.", "dim")


def _counts(item: Counts) -> tuple[str, ...]:
    rate = item.failure_rate
    failed = "" if rate is None else f"{100 * rate:.1f} %"
    return (
        f"{item.end_count:,}",
        duration_text(item.p50_s),
        duration_text(item.p90_s),
        failed,
        f"{item.retry_count:,}" if item.retry_count else "",
    )


def _indented(path: str) -> str:
    return "  " * path.count("/") + path.rpartition("/")[2]


def _print(
    terminal: Terminal, titles: tuple[str, ...], rows: Sequence[tuple[str, ...]], most: int
) -> None:
    if not rows:
        return
    last = len(titles) - 1
    columns = [
        Column(title, right=title not in (titles[0], "OUTCOMES"), cut=number in (0, last))
        for number, title in enumerate(titles)
    ]
    print_table(terminal, columns, rows[: most or None])
    if most and len(rows) > most:
        terminal.say(f"{len(rows) - most:,} more; '--rows 0' shows all.", "dim")
    terminal.say()
