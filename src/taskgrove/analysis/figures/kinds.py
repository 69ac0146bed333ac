"""Which module draws an object: decided by the package that its class comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from taskgrove.analysis.figures import html_text
from taskgrove.analysis.figures.part import Part, type_name, unsupported
from taskgrove.errors import AnalysisError, TaskgroveError

_Renderer: TypeAlias = Callable[[object, str], Part]


def render_one(obj: object, label: str) -> Part:
    """Return one figure as a part.

    Args:
        obj: The figure.
        label: What stands in place of an image where images are not seen.

    Raises:
        AnalysisError: It cannot be drawn on a page; the error names its type.
    """
    if isinstance(obj, str | bytes | bytearray | memoryview):
        return html_text.render(obj, label)
    for cls in type(obj).__mro__:
        renderer = _RENDERERS.get(cls.__module__.partition(".")[0])
        if renderer is not None:
            break
    else:
        raise unsupported(obj)
    try:
        return renderer(obj, label)
    except (TaskgroveError, MemoryError):
        raise
    except Exception as exc:
        # Whatever a library of figures raises is about this figure, and its author can mend it.
        raise AnalysisError(
            f"{type_name(obj)} could not be drawn: {type(exc).__name__}: {exc}"
        ) from exc


def _matplotlib(obj: object, label: str) -> Part:
    from taskgrove.analysis.figures.matplotlib_figures import render  # noqa: PLC0415

    return render(obj, label)


def _holoviews(obj: object, label: str) -> Part:
    from taskgrove.analysis.figures.holoviews_figures import render  # noqa: PLC0415

    return render(obj, label)


def _panel(obj: object, label: str) -> Part:
    from taskgrove.analysis.figures.panel_figures import render  # noqa: PLC0415

    return render(obj, label)


def _bokeh(obj: object, label: str) -> Part:
    from taskgrove.analysis.figures.bokeh_figures import render  # noqa: PLC0415

    return render(obj, label)


def _plotly(obj: object, label: str) -> Part:
    from taskgrove.analysis.figures.plotly_figures import render  # noqa: PLC0415

    return render(obj, label)


def _pil(obj: object, label: str) -> Part:
    from taskgrove.analysis.figures.pil_images import render  # noqa: PLC0415

    return render(obj, label)


#: The top-level package that a class comes from, and what draws it.
_RENDERERS: Final[dict[str, _Renderer]] = {
    "matplotlib": _matplotlib,
    "holoviews": _holoviews,
    "panel": _panel,
    "bokeh": _bokeh,
    "plotly": _plotly,
    "PIL": _pil,
}
