"""Plotly figures; plotly.js comes with the page and nothing from elsewhere."""

from __future__ import annotations

from typing import Final

import plotly
from plotly.basedatatypes import BaseFigure
from plotly.offline import get_plotlyjs

from taskgrove.analysis.figures.part import Asset, Part, unsupported

#: Height of a figure whose layout names none.
_HEIGHT: Final = "480px"


def render(obj: object, label: str) -> Part:  # noqa: ARG001 - the figure has its own title
    """Return a plotly figure as a part."""
    if not isinstance(obj, BaseFigure):
        raise unsupported(obj, "give a plotly.graph_objects.Figure")
    body = obj.to_html(
        full_html=False,
        include_plotlyjs=False,
        default_height=_HEIGHT,
        config={"displaylogo": False, "responsive": True, "plotlyServerURL": ""},
    )
    return Part(body, (Asset(f"plotly-{plotly.__version__}", get_plotlyjs()),))
