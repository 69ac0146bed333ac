"""``taskgrove runs results``: the results of analyses over many runs, as a table."""

from __future__ import annotations

import csv
import io
import json as jsons
import math
from typing import Any, Final

from taskgrove.cli import options as opt
from taskgrove.cli.columns import Column, print_table
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.recorded import open_history, say_nothing_there, write_json
from taskgrove.cli.runs_list import shown_ids
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.errors import UsageError
from taskgrove.store.queries.run_filter import parse_filter
from taskgrove.store.queries.run_results import ResultTable, ValueColumn
from taskgrove.view.phrases import counted
from taskgrove.view.terminal_text import width_of

#: A text of a cell is cut to so many characters where people read it.
_MOST_CHARACTERS: Final = 40
_GAP: Final = 2


@verb
def runs_results(
    filters: opt.Filters,
    analysis: opt.OfAnalysis = None,
    column: opt.ResultColumns = None,
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
            table = history.results(which, analysis=analysis)
            if not (table or csv or json):
                narrowed = which.is_narrow or analysis is not None
                _say_none(terminal, narrowed=narrowed)
    if csv:
        terminal.write(_as_csv(table, wanted))
    elif json:
        write_json(terminal, [_finite(row) for row in table.records(wanted)])
    elif history is None:
        say_nothing_there(terminal, None, narrowed=False)
    elif table:
        _say_table(terminal, table, table.columns(wanted))
        if len({row.run_id for row in table}) == limit:
            terminal.say(f"The newest {counted(limit, 'run')}; '--limit' shows more.", "dim")
    return ExitCode.OK


def _say_none(terminal: Terminal, *, narrowed: bool) -> None:
    where = " that match" if narrowed else ""
    terminal.say(f"The record holds no results of analyses{where}.")


def _say_table(terminal: Terminal, table: ResultTable, columns: list[ValueColumn]) -> None:
    heads, facts = _heads(terminal, table)
    cells = [[_cell(row.value(column.name)) for column in columns] for row in table]
    shown = columns
    if terminal.words.is_terminal:
        shown = columns[: _fitting(terminal, heads, facts, columns, cells)]
    print_table(
        terminal,
        [*heads, *(Column(it.title, right=_is_numeric(table, it)) for it in shown)],
        [[*fact, *cell[: len(shown)]] for fact, cell in zip(facts, cells, strict=True)],
    )
    left = columns[len(shown) :]
    if left:
        names = ", ".join(column.title for column in left)
        more = counted(len(left), "further column")
        terminal.say_paragraph(f"{more}, which '--column' or '--csv' shows: {names}")


def _heads(terminal: Terminal, table: ResultTable) -> tuple[list[Column], list[list[str]]]:
    """Return the columns that say which result a row is, and their texts."""
    ids = shown_ids(terminal, [row.run_id for row in table])
    heads, facts = [Column("RUN"), Column("ANALYSIS", cut=True)], [[it] for it in ids]
    for row, fact in zip(table, facts, strict=True):
        fact.append(row.analysis)
    if len({row.run_id for row in table}) < len(table):  # some runs have several
        heads.append(Column("STEP", cut=True))
        for row, fact in zip(table, facts, strict=True):
            fact.append(row.path.partition("/")[2])
    heads.append(Column("STATUS"))
    for row, fact in zip(table, facts, strict=True):
        fact.append(row.status.lower())
    return heads, facts


def _fitting(
    terminal: Terminal,
    heads: list[Column],
    facts: list[list[str]],
    columns: list[ValueColumn],
    cells: list[list[str]],
) -> int:
    """Return how many columns of values a terminal has room for, at least one."""
    used = sum(
        _GAP + max([width_of(head.title), *(width_of(fact[index]) for fact in facts)])
        for index, head in enumerate(heads)
    )
    for number, column in enumerate(columns):
        used += _GAP + max([width_of(column.title), *(width_of(row[number]) for row in cells)])
        if number and used - _GAP > terminal.width:
            return number
    return len(columns)


def _is_numeric(table: ResultTable, column: ValueColumn) -> bool:
    found = (row.value(column.name) for row in table)
    return all(type(value) in (int, float) for value in found if value is not None)


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


def _as_csv(table: ResultTable, wanted: tuple[str, ...]) -> bytes:
    """Return a table as comma-separated values; numbers whole, lists and dicts as JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = table.records(wanted)
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
