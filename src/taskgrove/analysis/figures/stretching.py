"""Plots that fill the height of their place: a page has no height to fill, so they get one here.

Bokeh draws a plot as high as its place, and the place of a plot on a page is as high as the plot:
without a height from outside, both collapse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from bokeh.models import Plot

#: The least height of a plot that fills its place, in pixels.
MIN_HEIGHT_PX: Final = 320

_TALL: Final = frozenset({"stretch_height", "stretch_both", "scale_height", "scale_both"})
#: Attributes in which a model holds others that it arranges.
_ARRANGED: Final = ("children", "tabs", "objects")


def fills_height(read: Callable[[str, Any], Any]) -> bool:
    """Return whether a model of Bokeh is as high as its place.

    Args:
        read: Returns an attribute of the model by its name, or the value given as default.
    """
    return read("sizing_mode", None) in _TALL or read("height_policy", None) == "max"


def has_own_height(read: Callable[[str, Any], Any]) -> bool:
    """Return whether a model of Bokeh arranges others in a height that its author gave."""
    return _arranges(read) and bool(read("height", None)) and not fills_height(read)


def collapses(read: Callable[[str, Any], Any]) -> bool:
    """Return whether a model of Bokeh has no height in a place that has none."""
    if read("min_height", None) or _arranges(read):
        return False
    without_height = read("height", 0) is None and read("aspect_ratio", None) is None
    return fills_height(read) or without_height


def _arranges(read: Callable[[str, Any], Any]) -> bool:
    return any(read(name, None) is not None for name in _ARRANGED)


def in_place(html: str) -> str:
    """Return the HTML of a figure that fills its height, in a place that has one."""
    return f'<div class="place">{html}</div>'


@contextmanager
def kept_from_collapsing(models: Iterable[Any]) -> Iterator[None]:
    """Give the plots among models of Bokeh a least height while they are written."""
    models = list(models)
    placed: set[Any] = set()
    for model in models:
        if has_own_height(partial(getattr, model)):
            placed |= model.references()
    changed = [
        model
        for model in models
        if isinstance(model, Plot) and model not in placed and collapses(partial(getattr, model))
    ]
    before = [plot.min_height for plot in changed]
    try:
        for plot in changed:
            plot.min_height = MIN_HEIGHT_PX
        yield
    finally:
        for plot, height in zip(changed, before):
            plot.min_height = height
