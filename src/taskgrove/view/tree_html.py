"""A run as static HTML: for a notebook's cell and for a page.

There is no script in it, and every text of a device, a map or a user is escaped. Nodes and
handles show themselves so (:mod:`taskgrove.commands.display`).
"""

from __future__ import annotations

from typing import Any

from taskgrove.commands.task import BaseTask
from taskgrove.view.snapshot import RunView
from taskgrove.view.task_view import view_of
from taskgrove.view.tree_lines import table_html
from taskgrove.view.tree_text import build_lines
from taskgrove.view.why.explaining import explain
from taskgrove.view.why.rendering import render_words_html


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
    words = "" if outcome is None else render_words_html(explain(outcome, view))
    return f'<div class="taskgrove">{table_html(build_lines(view))}{words}</div>'
