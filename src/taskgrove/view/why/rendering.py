"""An explanation as text and as HTML: on a terminal, in a log, on a page, in a notebook. Pure."""

from __future__ import annotations

from typing import Final

from taskgrove.view.report_style import COLOURS
from taskgrove.view.terminal_text import UNICODE, Charset, wrapped
from taskgrove.view.tree_lines import (
    Segment,
    format_line,
    html_text,
    name_width,
    plain_text,
    table_html,
)
from taskgrove.view.why.explanation import Explanation
from taskgrove.view.why.titled_lists import commands_of, lists_of

_LEAST_WIDTH: Final = 40


def lines_of(why: Explanation, width: int = 80, charset: Charset = UNICODE) -> list[list[Segment]]:
    """Return an explanation as lines of styled pieces, harmless on a terminal.

    Args:
        why: The explanation.
        width: Columns that a line may take, at least 40; only names longer than that exceed it.
        charset: The signs to draw the tree with.
    """
    width = max(width, _LEAST_WIDTH)
    whole = commands_of(why)
    first = wrapped(why.sentence, width, whole=whole)
    lines: list[list[Segment]] = [[(line, why.shown_as)] for line in first]
    if len(why.tree) > 1:
        names = name_width(why.tree, width)
        lines.append([("", "")])
        lines += [format_line(line, width, names, charset) for line in why.tree]
    for title, items in lists_of(why):
        lines += [[("", "")], [(f"{title}:", "bold")]]
        for item in items:
            lines += [[(part, "")] for part in wrapped(f"  - {item}", width, "    ", whole)]
    return lines


def render_why(why: Explanation, width: int = 80, charset: Charset = UNICODE) -> str:
    """Return an explanation as plain text, without colours and without trailing blanks.

    Args:
        why: The explanation.
        width: See :func:`lines_of`.
        charset: See :func:`lines_of`.
    """
    return "\n".join(map(plain_text, lines_of(why, width, charset)))


def render_why_html(why: Explanation) -> str:
    """Return an explanation as HTML, to stand inside a page's body."""
    return _fragment(why, table_html(why.tree) if len(why.tree) > 1 else "")


def render_words_html(why: Explanation) -> str:
    """Return an explanation as HTML, without the tree that proves it: it is shown already."""
    return _fragment(why, "")


def _fragment(why: Explanation, proof: str) -> str:
    colour = COLOURS[why.shown_as]
    parts = [f'<p style="color:{colour}"><b>{html_text(why.sentence)}</b></p>', proof]
    for title, items in lists_of(why):
        listed = "".join(f"<li>{html_text(item)}</li>" for item in items)
        parts.append(f"<p>{html_text(title)}</p><ul>{listed}</ul>")
    return f'<div class="taskgrove-why">{"".join(parts)}</div>'
