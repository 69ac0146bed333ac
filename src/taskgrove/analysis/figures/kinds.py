"""Which module draws an object: decided by the package that its class comes from."""

from __future__ import annotations

import importlib
from typing import Final

from taskgrove.analysis.figures import html_text
from taskgrove.analysis.figures.part import Part, type_name, unsupported
from taskgrove.errors import AnalysisError, TaskgroveError

#: The top-level package that a class comes from, and the module here that draws its objects.
_RENDERERS: Final = {
    "matplotlib": "matplotlib_figures",
    "holoviews": "holoviews_figures",
    "panel": "panel_figures",
    "bokeh": "bokeh_figures",
    "plotly": "plotly_figures",
    "PIL": "pil_images",
    "pandas": "pandas_tables",
}


def render_one(obj: object, label: str) -> Part:
    """Return one figure as a part.

    Args:
        obj: The figure.
        label: The alternative text of an image.

    Raises:
        AnalysisError: It cannot be drawn on a page; the error names its type.
    """
    if isinstance(obj, (str, bytes, bytearray, memoryview)):
        return html_text.render(obj, label)
    packages = (cls.__module__.partition(".")[0] for cls in type(obj).__mro__)
    package = next((name for name in packages if name in _RENDERERS), None)
    if package is None:
        raise unsupported(obj)
    try:
        return render_with(package, obj, label)
    except (TaskgroveError, MemoryError):
        raise
    except Exception as exc:
        # An error of a library of figures is an error of this figure.
        raise AnalysisError(
            f"{type_name(obj)} could not be drawn: {type(exc).__name__}: {exc}"
        ) from exc


def render_with(package: str, obj: object, label: str) -> Part:
    """Return an object of a package of figures as a part; only that package is imported."""
    module = importlib.import_module(f"taskgrove.analysis.figures.{_RENDERERS[package]}")
    part: Part = module.render(obj, label)
    return part
