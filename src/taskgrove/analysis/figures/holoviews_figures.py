"""HoloViews objects, drawn by the backend that their author chose, or by one that is there."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Final

import holoviews as hv
from holoviews.core import Dimensioned

from taskgrove.analysis.figures.kinds import render_with
from taskgrove.analysis.figures.part import Part, unsupported
from taskgrove.errors import AnalysisError, MissingExtraError

#: Backends in the order in which one is taken where the author chose none, and their modules.
_BACKENDS: Final = {"bokeh": "bokeh", "matplotlib": "mpl", "plotly": "plotly"}


def render(obj: object, label: str) -> Part:
    """Return a HoloViews object as a part; one with key dimensions gets sliders that work."""
    if not isinstance(obj, Dimensioned):
        raise unsupported(obj)
    backend = _backend()
    if any(part.kdims for part in obj.traverse(lambda part: part, [hv.HoloMap])):
        return _with_sliders(obj, backend, label)
    drawn = hv.render(obj, backend=backend)
    if backend == "plotly":  # HoloViews gives its data only
        drawn = importlib.import_module("plotly.graph_objects").Figure(drawn)
    return render_with(backend, drawn, label)


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
    importlib.import_module(f"holoviews.plotting.{_BACKENDS[name]}")
    hv.Store.set_current_backend(name)


def _with_sliders(obj: Any, backend: str, label: str) -> Part:
    if any(part.unbounded for part in obj.traverse(lambda part: part, [hv.DynamicMap])):
        raise AnalysisError(
            f"{type(obj).__name__} has a dimension without values: its frames have no end",
            hint="give the dimension values, or pass one frame of it",
        )
    import panel  # noqa: PLC0415 - HoloViews draws its sliders with Panel

    return render_with("panel", panel.pane.HoloViews(obj, backend=backend).layout, label)
