"""Summary plots, turned into HTML in the process that made them.

An analysis gives :class:`~taskgrove.analysis.results.ElogSummaryPlots` as its payload, or a list
or dict that holds some. :func:`convert_payload` replaces their figures by the bytes of a page,
before the payload leaves the process: no other process needs the library that drew them. The
page needs neither a display nor a network, and is one file; the publisher
(:mod:`taskgrove.analysis.pages`) may share the scripts of large libraries among pages.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskgrove.analysis.drawn_page import DrawnPage
from taskgrove.analysis.figures.attached_files import without_files
from taskgrove.analysis.figures.html_document import render_figures
from taskgrove.analysis.plain.plain_words import MAX_DEPTH
from taskgrove.analysis.results import ElogSummaryPlots
from taskgrove.errors import AnalysisError

__all__ = ["collect_plots", "convert_payload", "draw_page", "map_plots", "render_figures"]


def draw_page(plots: ElogSummaryPlots, folder: str | Path | None = None) -> bytes | DrawnPage:
    """Return summary plots as a page; with the files that are named among its figures.

    Args:
        plots: The plots; drawn ones come back as they are.
        folder: To which relative paths of files belong; None: the current folder.

    Raises:
        AnalysisError: A figure cannot be drawn, or a file is not there.
    """
    if isinstance(plots.figures, DrawnPage):
        return plots.figures
    figures, files = without_files(plots.figures, folder)
    html = render_figures("" if figures is None else figures, title=plots.display_name)
    return DrawnPage(html, files) if files else html


def convert_payload(payload: Any) -> Any:
    """Return ``payload`` with the figures of all its summary plots as HTML bytes, or drawn pages.

    To be called in the process that drew the figures. Plots are found where the payload is one,
    and in the lists, tuples and dict values of it. A payload without plots comes back as it is.

    Raises:
        AnalysisError: Figures cannot be drawn; the error names the page and the type.
    """
    done: dict[int, ElogSummaryPlots] = {}

    def convert(plots: ElogSummaryPlots) -> ElogSummaryPlots:
        if id(plots) in done:  # payload and summary may hold the same plots
            return done[id(plots)]
        try:
            page = draw_page(plots)
        except AnalysisError as exc:
            said = f"the page {plots.display_name}: {exc.message}"
            raise AnalysisError(said, hint=exc.hint) from exc
        done[id(plots)] = replace(plots, figures=page)
        return done[id(plots)]

    return map_plots(payload, convert)


def collect_plots(payload: Any) -> list[ElogSummaryPlots]:
    """Return every summary plot of a payload, in order; a list in several places counts once."""
    found: list[ElogSummaryPlots] = []
    map_plots(payload, found.append)
    return found


def map_plots(payload: Any, change: Callable[[ElogSummaryPlots], Any]) -> Any:
    """Return ``payload`` with ``change(plots)`` in place of each summary plot.

    A collection without plots is not copied. A list, tuple or dict that is in several places is
    changed once.
    """
    return _mapped(payload, change, 0, {})


if TYPE_CHECKING:
    from typing import TypeAlias

#: By the id of each collection: itself, so that its id stays taken, and its changed form.
_Done: TypeAlias = dict[int, tuple[Any, Any]]


def _mapped(value: Any, change: Callable[[ElogSummaryPlots], Any], depth: int, done: _Done) -> Any:
    if isinstance(value, ElogSummaryPlots):
        return change(value)
    # Deeper values are refused when they are sent.
    if not isinstance(value, (list, tuple, dict)) or depth >= MAX_DEPTH:
        return value
    if id(value) in done:
        return done[id(value)][1]
    done[id(value)] = (value, value)  # where it contains itself
    items = list(value.values() if isinstance(value, dict) else value)
    new = [_mapped(item, change, depth + 1, done) for item in items]
    if any(map(operator.is_not, new, items)):
        made: Any = new
        if isinstance(value, dict):
            made = dict(zip(value, new))
        elif isinstance(value, tuple):  # a named tuple is made from its fields, one by one
            made = type(value)(*new) if hasattr(value, "_fields") else tuple(new)
        done[id(value)] = (value, made)
    return done[id(value)][1]
