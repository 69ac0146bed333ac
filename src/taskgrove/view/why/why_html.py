"""An explanation as a fragment of HTML: for a page, a notebook's cell and a report.

There is no script in it, and every text is escaped, whoever wrote it. Pure.
"""

from __future__ import annotations

from html import escape
from typing import Final

from taskgrove.view.state_colours import COLOURS
from taskgrove.view.terminal_text import UNICODE, duration_text, safe_text
from taskgrove.view.why.explanation import Explanation
from taskgrove.view.why.proof import ProofLine
from taskgrove.view.why.sections import sections_of

_CELL: Final = "padding:0 .8em 0 0;text-align:left;border:0;vertical-align:top"
_TABLE: Final = "border-collapse:collapse;font-family:monospace"


def render_why_html(why: Explanation) -> str:
    """Return an explanation as HTML, to stand inside a page's body."""
    rows = "".join(_row(line) for line in why.tree) if len(why.tree) > 1 else ""
    return _fragment(why, f'<table style="{_TABLE}">{rows}</table>' if rows else "")


def render_words_html(why: Explanation) -> str:
    """Return an explanation as HTML, without the tree that proves it: it is shown already."""
    return _fragment(why, "")


def _fragment(why: Explanation, proof: str) -> str:
    colour = COLOURS[why.shown_as]
    parts = [f'<p style="color:{colour}"><b>{_text(why.sentence)}</b></p>', proof]
    for title, items in sections_of(why):
        listed = "".join(f"<li>{_text(item)}</li>" for item in items)
        parts.append(f"<p>{_text(title)}</p><ul>{listed}</ul>")
    return f'<div class="taskgrove-why">{"".join(parts)}</div>'


def _row(line: ProofLine) -> str:
    level = 0 if line.is_root else min(len(line.ancestors) + 1, 40)
    name = f'<td style="{_CELL};padding-left:{1.5 * level:.1f}em">{_text(line.name)}</td>'
    if line.state is None:
        return f'<tr>{name}<td colspan="3"></td></tr>'
    mark = f"{UNICODE.marks[line.state]} {line.state}"
    cells = (
        f'<td style="{_CELL};color:{COLOURS[line.state]}">{_text(mark)}</td>'
        f'<td style="{_CELL}">{_text(duration_text(line.elapsed_s))}</td>'
        f'<td style="{_CELL}">{_text(line.words)}</td>'
    )
    return f"<tr>{name}{cells}</tr>"


def _text(value: str) -> str:
    return escape(safe_text(value), quote=True)
