"""HoloViews objects, drawn by the backend that their author chose, or by one that is there."""

from __future__ import annotations

import importlib.util
from typing import Any, Final

import holoviews as hv
from holoviews.core import Dimensioned

from taskgrove.analysis.figures.part import Part, unsupported
from taskgrove.errors import AnalysisError, MissingExtraError

#: Backends in the order in which one is taken where the author chose none.
_BACKENDS: Final = ("bokeh", "matplotlib", "plotly")


def render(obj: object, label: str) -> Part:
    """Return a HoloViews object as a part; one with key dimensions gets sliders that work.

    Raises:
        AnalysisError: It is something else of HoloViews, or has no end of frames.
        MissingExtraError: No backend of HoloViews is installed.
    """
    if not isinstance(obj, Dimensioned):
        raise unsupported(obj)
    backend = _backend()
    if _has_frames(obj):
        return _with_sliders(obj, backend, label)
    drawn = hv.render(obj, backend=backend)
    if backend == "bokeh":
        from taskgrove.analysis.figures.bokeh_figures import render as render_drawn  # noqa: PLC0415
    elif backend == "matplotlib":
        from taskgrove.analysis.figures.matplotlib_figures import (  # noqa: PLC0415
            render as render_drawn,
        )
    else:
        import plotly.graph_objects  # noqa: PLC0415

        from taskgrove.analysis.figures.plotly_figures import (  # noqa: PLC0415
            render as render_drawn,
        )

        drawn = plotly.graph_objects.Figure(drawn)
    return render_drawn(drawn, label)


def _backend() -> str:
    """Return the backend that is loaded, or load the first that is installed."""
    if hv.Store.current_backend in hv.Store.renderers:
        return str(hv.Store.current_backend)
    for name in _BACKENDS:
        if importlib.util.find_spec(name) is not None:
            _load(name)
            return name
    raise MissingExtraError("plots", "drawing HoloViews objects")


def _load(name: str) -> None:
    # Not hv.extension(): it would bring Panel along and write into a notebook.
    if name == "bokeh":
        import holoviews.plotting.bokeh  # noqa: PLC0415
    elif name == "matplotlib":
        import holoviews.plotting.mpl  # noqa: PLC0415
    else:
        import holoviews.plotting.plotly  # noqa: PLC0415, F401
    hv.Store.set_current_backend(name)


def _has_frames(obj: Any) -> bool:
    return any(len(part.kdims) > 0 for part in obj.traverse(lambda part: part, [hv.HoloMap]))


def _with_sliders(obj: Any, backend: str, label: str) -> Part:
    if any(part.unbounded for part in obj.traverse(lambda part: part, [hv.DynamicMap])):
        raise AnalysisError(
            f"{type(obj).__name__} has a dimension without values: its frames have no end",
            hint="give the dimension values, or pass one frame of it",
        )
    import panel  # noqa: PLC0415 - HoloViews draws its sliders with Panel

    from taskgrove.analysis.figures.panel_figures import render as render_panel  # noqa: PLC0415

    return render_panel(panel.pane.HoloViews(obj, backend=backend).layout, label)
