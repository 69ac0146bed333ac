"""What surfaces show: one view model, its words, and trees as text and HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskgrove.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from taskgrove.view.snapshot import RunView as RunView
    from taskgrove.view.tree_html import render_html as render_html
    from taskgrove.view.tree_text import render_plain as render_plain
    from taskgrove.view.why.explaining import explain as explain
    from taskgrove.view.why.explanation import Explanation as Explanation

_LATER = {
    "Explanation": "taskgrove.view.why.explanation",
    "RunView": "taskgrove.view.snapshot",
    "explain": "taskgrove.view.why.explaining",
    "render_html": "taskgrove.view.tree_html",
    "render_plain": "taskgrove.view.tree_text",
}

__getattr__, __dir__ = lazy_exports(globals(), _LATER)
