"""An analysis of the record in words: its result, its parameters, its process and its output."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from taskgrove.cli.analysis_words import limits_text, mebibytes_text, say_section
from taskgrove.cli.columns import Column, print_table
from taskgrove.cli.origin_words import origin_rows
from taskgrove.cli.terminal import Terminal
from taskgrove.events import AnalysisDetail
from taskgrove.events.value_origin import ValueOrigin
from taskgrove.store.queries.flat_values import cell_of, flat_values
from taskgrove.store.queries.run_rows import PageRow
from taskgrove.view.output_end import last_lines_of
from taskgrove.view.phrases import code_text
from taskgrove.view.terminal_text import duration_text, safe_lines, safe_text

#: How many values of a result are shown.
_MOST_VALUES: Final = 20
#: So many lines at the end of the output are shown.
_LAST_LINES: Final = 10
_LONG: Final = 200


def say_analysis(
    terminal: Terminal, detail: AnalysisDetail, pages: Sequence[PageRow], given: str
) -> None:
    """Print the record of an analysis, and the last lines of its output.

    Args:
        terminal: Where it is printed.
        detail: The analysis.
        pages: The pages that it published.
        given: The words for parameters that stand in no file, such as ``command line``.
    """
    say_section(terminal, "Result", _result_of(detail))
    _say_parameters(terminal, detail, given)
    say_section(terminal, "Process", _process_of(detail))
    say_section(terminal, "Pages", [(page.display_name, page.file) for page in pages])
    say_section(terminal, "Output", [("", file) for file in detail.output_files])
    for file in detail.output_files:
        _say_last_lines(terminal, file)


def _result_of(detail: AnalysisDetail) -> Iterator[tuple[str, str]]:
    summary = flat_values(detail.summary_values, "summary")
    if detail.summary and not summary:
        yield "summary", detail.summary
    values = {**summary, **flat_values(detail.payload, "payload")}
    for name, value in list(values.items())[:_MOST_VALUES]:
        yield name, _text(value)
    if len(values) > _MOST_VALUES:
        yield "…", f"and {len(values) - _MOST_VALUES} more, which 'taskgrove runs results' shows"
    if detail.impl_schemas:
        yield "schemas", detail.impl_schemas


def _say_parameters(terminal: Terminal, detail: AnalysisDetail, given: str) -> None:
    try:
        values = json.loads(detail.parameters)
    except (ValueError, RecursionError):
        return
    if not isinstance(values, Mapping) or not values:
        return
    origins = {origin.name: origin for origin in detail.origins}
    shown = [name for name in values if not origins or name in origins]
    rows = [row for name in shown for row in _rows(name, values[name], origins, given)]
    if rows:
        terminal.say("Parameters:", "bold")
        columns = [Column("NAME", cut=True), Column("VALUE", cut=True), Column("FROM", cut=True)]
        print_table(terminal, columns if origins else columns[:2], rows)


def _rows(
    name: str, value: Any, origins: Mapping[str, ValueOrigin], given: str
) -> Iterable[tuple[str, ...]]:
    text = _text(cell_of(value))
    origin = origins.get(name)
    return [(name, text)] if origin is None else origin_rows(name, text, origin, given)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"


def _process_of(detail: AnalysisDetail) -> Iterator[tuple[str, str]]:
    if detail.pid is not None:
        told = [f"pid {detail.pid} of {detail.user or '?'}@{detail.host or '?'}"]
        if detail.return_code is not None:
            told.append(f"exit status {detail.return_code}")
        if detail.duration_s is not None:
            told.append(duration_text(detail.duration_s))
        if detail.cpu_s is not None:
            told.append(f"CPU {duration_text(detail.cpu_s)}")
        if detail.max_rss_bytes is not None:
            told.append(mebibytes_text(detail.max_rss_bytes))
        yield "process", ", ".join(told)
    if detail.argv:
        yield "command", shlex.join(detail.argv)
        yield "in", detail.cwd
        yield "limits", limits_text(detail)
    if detail.code is not None:
        yield "code", code_text(detail.code)
    if detail.versions:
        yield "versions", ", ".join(f"{name} {it}" for name, it in detail.versions.items())


def _say_last_lines(terminal: Terminal, file: str) -> None:
    """Print the end of a file of output, where it is still there."""
    try:
        lines = last_lines_of(file, _LAST_LINES)
    except OSError as exc:
        terminal.say_item(f"{file} cannot be read: {exc.strerror or exc}")
        return
    if lines:
        terminal.say(f"Last lines of {safe_text(os.path.basename(file))}:", "bold")
        for line in lines:
            for shown in safe_lines(line):
                terminal.say(f"    {shown}")
