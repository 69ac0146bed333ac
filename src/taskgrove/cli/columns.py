"""Tables of text: columns as wide as they need to be, cut where a terminal ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from taskgrove.cli.terminal import Terminal
from taskgrove.view.terminal_text import clip, pad, safe_text, width_of

_GAP: Final = 2
#: The least that is left of a column that is cut.
_LEAST: Final = 8


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its title.
        right: Whether its texts stand on the right, as numbers do.
        cut: Whether it gives way where the table is wider than the terminal; of several, the
            last gives way first.
    """

    title: str
    right: bool = False
    cut: bool = False


def print_table(
    terminal: Terminal,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    styles: Sequence[Sequence[str]] = (),
) -> None:
    """Print a table; on a terminal it fits, in a pipe nothing is cut.

    Args:
        terminal: Where it goes.
        columns: Its columns.
        rows: The texts of each row; they are made harmless here, as titles are.
        styles: For each row the style of each text; empty for none.
    """
    shown = [[safe_text(text) for text in row] for row in rows]
    titles = [safe_text(column.title) for column in columns]
    widths = [
        max([width_of(title), *(width_of(row[index]) for row in shown)])
        for index, title in enumerate(titles)
    ]
    if terminal.words.is_terminal:
        _fit(widths, columns, terminal.width)
    _print_row(terminal, columns, widths, titles, ["dim"] * len(columns))
    for number, row in enumerate(shown):
        row_styles = styles[number] if styles else [""] * len(columns)
        _print_row(terminal, columns, widths, row, row_styles)


def _fit(widths: list[int], columns: Sequence[Column], width: int) -> None:
    over = sum(widths) + _GAP * (len(widths) - 1) - width
    for index in range(len(columns) - 1, -1, -1):
        if over > 0 and columns[index].cut:
            given = min(over, max(0, widths[index] - _LEAST))
            widths[index] -= given
            over -= given


def _print_row(
    terminal: Terminal,
    columns: Sequence[Column],
    widths: Sequence[int],
    row: Sequence[str],
    styles: Sequence[str],
) -> None:
    last = max((index for index, text in enumerate(row) if text), default=0)
    segments = []
    for index in range(last + 1):
        text = clip(row[index], widths[index], terminal.charset.ellipsis)
        if columns[index].right:
            text = " " * (widths[index] - width_of(text)) + text
        elif index < last:
            text = pad(text, widths[index])
        segments.append((text, styles[index]))
        if index < last:
            segments.append((" " * _GAP, ""))
    terminal.say_line(segments)
