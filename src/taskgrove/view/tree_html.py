"""A run as static HTML: for a notebook's cell and for a page.

There is no script in it, and every text of a device, a map or a user is escaped. Importing
this module lets nodes and handles show themselves (:mod:`taskgrove.commands.display`).
"""

from __future__ import annotations

from html import escape
from typing import Any, Final

from taskgrove.commands.display import set_renderer
from taskgrove.commands.task import BaseTask
from taskgrove.view.snapshot import RunView
from taskgrove.view.state_colours import COLOURS
from taskgrove.view.task_view import view_of
from taskgrove.view.terminal_text import UNICODE, duration_text, safe_text
from taskgrove.view.tree_text import TreeLine, build_lines
from taskgrove.view.why.explaining import explain
from taskgrove.view.why.why_html import render_words_html

_CELL: Final = "padding:0 .8em 0 0;text-align:left;border:0"


def render_html(shown: BaseTask | RunView | Any) -> str:
    """Return a tree as a fragment of HTML.

    Args:
        shown: A task, a view, or the handle of a run (anything with ``task`` and ``outcome``).

    Raises:
        TypeError: It is none of these.
    """
    outcome = None
    if isinstance(shown, RunView):
        view = shown
    elif isinstance(shown, BaseTask):
        view = view_of(shown)
    elif isinstance(getattr(shown, "task", None), BaseTask):
        view = view_of(shown.task)
        outcome = getattr(shown, "outcome", None)
    else:
        raise TypeError(f"cannot show {type(shown).__name__} as a tree")
    rows = "".join(_row(line) for line in build_lines(view))
    words = "" if outcome is None else render_words_html(explain(outcome, view))
    return (
        f'<div class="taskgrove"><table style="border-collapse:collapse;font-family:monospace">'
        f"{rows}</table>{words}</div>"
    )


def _row(line: TreeLine) -> str:
    level = 0 if line.node is not None and not line.node.parent_path else len(line.ancestors) + 1
    name = f'<td style="{_CELL};padding-left:{1.5 * min(level, 40):.1f}em">{_text(line.label)}</td>'
    node = line.node
    if node is None:
        return f'<tr>{name}<td colspan="4"></td></tr>'
    colour = COLOURS[node.state]
    cells = [
        f'<td style="{_CELL};color:{colour}">{UNICODE.marks[node.state]} {escape(node.state)}</td>',
        f'<td style="{_CELL}">{escape(duration_text(line.elapsed_s))}</td>',
        f'<td style="{_CELL}">{f"{node.progress} %" if node.state == "running" else ""}</td>',
        f'<td style="{_CELL}">{_text(line.detail)}</td>',
    ]
    return f"<tr>{name}{''.join(cells)}</tr>"


def _text(value: str) -> str:
    return escape(safe_text(value), quote=True)


set_renderer(render_html)
