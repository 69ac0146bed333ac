"""How nodes and handles show themselves in a notebook; the view is imported when it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def render_html(shown: Any) -> str:
    """Return the HTML of a node or a handle, escaped and self-contained."""
    html: str = import_module("taskgrove.view.tree_html").render_html(shown)
    return html
