"""``taskgrove runs results``: the results of analyses over many runs, as a table."""

from __future__ import annotations

import csv
import io
import json as jsons
import math
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from taskgrove.cli import options as opt
from taskgrove.cli.columns import Column, print_table
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.recorded import open_history, say_nothing_there, write_json
from taskgrove.cli.runs_list import shown_ids
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.errors import UsageError
from taskgrove.store.queries.run_filter import parse_filter
from taskgrove.store.queries.run_results import RUN_FACTS, ResultTable
from taskgrove.view.phrases import counted
from taskgrove.view.terminal_text import safe_text, width_of

#: A text of a cell is cut to so many characters where people read it.
_MOST_CHARACTERS: Final = 40
_GAP: Final = 2


@verb
def runs_results(
    filters: opt.Filters,
    column: opt.ResultColumns = None,
    by_run: opt.ByRun = False,
    db: opt.Database = None,
    limit: opt.ListLimit = 100,
    csv: opt.AsCsv = False,
    json: opt.AsJson = False,
) -> int:
    """Show the results of analyses over many runs: a row for each, a column for each value.

    Columns are the values of payloads and summaries; '--column' chooses some, and parameters.
    """
    if csv and json:
        raise UsageError("--csv and --json exclude each other", hint="give one of them")
    which = parse_filter(**filters, limit=limit)
    terminal, wanted = Terminal(), tuple(column or ())
    history = open_history(db)
    table = ResultTable()
    if history is not None:
        with history:
            table = history.results(which)
            if not (table or csv or json):
                _say_none(terminal, narrowed=which.is_narrow)
    if csv or json:
        rows = table.by_run(wanted) if by_run else table.records(wanted)
        if csv:
            terminal.write(_as_csv(rows))
        else:
            write_json(terminal, [_finite(row) for row in rows])
    elif history is None:
        say_nothing_there(terminal, None, narrowed=False)
    elif table:
        _say_grid(terminal, (_grid_by_run if by_run else _grid)(terminal, table, wanted))
        if len({row.run_id for row in table}) == limit:
            terminal.say(f"The newest {counted(limit, 'run')}; '--limit' shows more.", "dim")
    return ExitCode.OK


def _say_none(terminal: Terminal, *, narrowed: bool) -> None:
    where = " that match" if narrowed else ""
    terminal.say(f"The record holds no results of analyses{where}.")


class _Grid(NamedTuple):
    """A table as it is printed.

    Attributes:
        heads: The columns that say which result a row is.
        facts: Their texts, for each row.
        titles: The titles of the columns of values.
        values: The values, for each row.
    """

    heads: list[Column]
    facts: list[list[str]]
    titles: list[str]
    values: list[list[Any]]


def _grid(terminal: Terminal, table: ResultTable, wanted: tuple[str, ...]) -> _Grid:
    """Return a grid with a row for each result."""
    columns = table.columns(wanted)
    ids = shown_ids(terminal, [row.run_id for row in table])
    heads = [Column("RUN"), Column("ANALYSIS", cut=True)]
    facts = [[shown_id, row.analysis] for shown_id, row in zip(ids, table, strict=True)]
    if len({row.run_id for row in table}) < len(table):  # some runs have several
        heads.append(Column("STEP", cut=True))
        for row, fact in zip(table, facts, strict=True):
            fact.append(row.path.partition("/")[2])
    heads.append(Column("STATUS"))
    for row, fact in zip(table, facts, strict=True):
        fact.append(row.status.lower())
    titles = [column.title for column in columns]
    return _Grid(heads, facts, titles, [[row.value(it.name) for it in columns] for row in table])


def _grid_by_run(terminal: Terminal, table: ResultTable, wanted: tuple[str, ...]) -> _Grid:
    """Return a grid with a row for each run."""
    runs = table.by_run(wanted)
    ids = shown_ids(terminal, [run["run_id"] for run in runs])
    facts = [
        [shown_id, run["command"], run["outcome"]] for shown_id, run in zip(ids, runs, strict=True)
    ]
    titles = [name for name in (runs[0] if runs else {}) if name not in RUN_FACTS]
    heads = [Column("RUN"), Column("COMMAND", cut=True), Column("OUTCOME")]
    return _Grid(heads, facts, titles, [[run[name] for name in titles] for run in runs])


def _say_grid(terminal: Terminal, grid: _Grid) -> None:
    cells = [[_cell(value) for value in row] for row in grid.values]
    count = _fitting(terminal, grid, cells) if terminal.words.is_terminal else len(grid.titles)
    shown = [
        Column(title, right=_is_numeric(row[index] for row in grid.values))
        for index, title in enumerate(grid.titles[:count])
    ]
    rows = [[*fact, *cell[:count]] for fact, cell in zip(grid.facts, cells, strict=True)]
    print_table(terminal, [*grid.heads, *shown], rows)
    left = grid.titles[count:]
    if left:
        more = counted(len(left), "further column")
        terminal.say_paragraph(
            f"{more}, which '--column' or '--csv' shows: {safe_text(', '.join(left))}"
        )


def _fitting(terminal: Terminal, grid: _Grid, cells: list[list[str]]) -> int:
    """Return how many columns of values a terminal has room for, at least one."""
    used = sum(
        _GAP + max([width_of(head.title), *(width_of(fact[index]) for fact in grid.facts)])
        for index, head in enumerate(grid.heads)
    )
    for number, title in enumerate(grid.titles):
        used += _GAP + max([width_of(title), *(width_of(row[number]) for row in cells)])
        if number and used - _GAP > terminal.width:
            return number
    return len(grid.titles)


def _is_numeric(values: Iterable[Any]) -> bool:
    return all(type(value) in (int, float) for value in values if value is not None)


def _cell(value: Any) -> str:
    """Return a value as people read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else jsons.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"


def _as_csv(rows: list[dict[str, Any]]) -> bytes:
    """Return rows as comma-separated values; numbers whole, lists and dicts as JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if rows:
        writer.writerow(list(rows[0]))
    for row in rows:
        writer.writerow([_written(value) for value in row.values()])
    return text.getvalue().encode("utf-8", "backslashreplace")


def _written(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return jsons.dumps(value, ensure_ascii=False)
    return value.isoformat() if hasattr(value, "isoformat") else value


def _finite(value: Any) -> Any:
    """Return a value that JSON has a form for: a number that is none becomes its text."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
