"""The hook through which nodes and handles show themselves in a notebook.

``view/`` fills it when it is imported; ``commands/`` knows nothing of views.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_renderers: dict[str, Callable[[Any], str]] = {}


def set_renderer(function: Callable[[Any], str]) -> None:
    """Have ``function`` make the HTML of nodes and handles, escaped and self-contained."""
    _renderers["html"] = function


def render_html(shown: Any) -> str | None:
    """Return the HTML of a node or a handle; None when no view is loaded (repr is shown then)."""
    function = _renderers.get("html")
    return None if function is None else function(shown)
