"""Matplotlib figures, without pyplot and without a display: SVG, or PNG where it would be huge."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any, Final

from matplotlib.artist import Artist
from matplotlib.figure import Figure, FigureBase

from taskgrove.analysis.figures.html_text import image_tag
from taskgrove.analysis.figures.part import Part, unsupported

#: A figure of more points than this is drawn as PNG: as SVG each is an element of its own,
#: and a browser takes seconds for them.
MAX_SVG_POINTS: Final = 20_000
#: An SVG larger than this is drawn anew as PNG.
MAX_SVG_BYTES: Final = 2_000_000
#: Pixels of a page per inch, and pixels of the PNG for each of them: sharp on a good screen.
_PAGE_DPI: Final = 96
_PNG_SCALE: Final = 2
#: Where an image says how wide it is: an SVG in points, a PNG in pixels.
_SVG_WIDTH: Final = re.compile(rb'<svg\b[^>]*?\swidth="([0-9.]+)pt"')
_SVG_DPI: Final = 72
_PNG_WIDTH: Final = slice(16, 20)


def render(obj: object, label: str) -> Part:
    """Return a figure, or the figure that a subfigure or axes belong to, as a part."""
    figure: Any = obj
    if isinstance(obj, Artist) and not isinstance(obj, Figure):
        figure = obj.get_figure()
    while isinstance(figure, FigureBase) and not isinstance(figure, Figure):
        figure = figure.figure
    if not isinstance(figure, Figure):
        raise unsupported(obj, "give the figure itself; an animation as text: .to_jshtml()")
    alt = _title_of(figure) or label
    if _point_count(figure) <= MAX_SVG_POINTS:
        svg = BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None}, bbox_inches="tight")
        if svg.tell() <= MAX_SVG_BYTES:
            found = _SVG_WIDTH.search(svg.getvalue())
            width = float(found[1]) if found else figure.get_figwidth() * _SVG_DPI
            width_px = round(width * _PAGE_DPI / _SVG_DPI)
            return Part(image_tag(svg.getvalue(), "image/svg+xml", alt, width_px))
    png = BytesIO()
    figure.savefig(png, format="png", dpi=_PAGE_DPI * _PNG_SCALE, bbox_inches="tight")
    width_px = round(int.from_bytes(png.getvalue()[_PNG_WIDTH], "big") / _PNG_SCALE)
    return Part(image_tag(png.getvalue(), "image/png", alt, width_px))


def _title_of(figure: Any) -> str:
    titles = [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]
    return " ".join(next((title for title in titles if title), "").split())


def _point_count(figure: Any) -> int:
    """Return roughly how many marks an SVG of the figure would hold."""
    total = 0
    for axes in figure.findobj(match=lambda artist: hasattr(artist, "get_children")):
        for line in getattr(axes, "lines", ()):
            total += len(line.get_xydata())
        for collection in getattr(axes, "collections", ()):
            array = collection.get_array()  # of a mesh: one value a cell
            total += max(
                len(collection.get_offsets()),
                sum(len(path.vertices) for path in collection.get_paths()[:MAX_SVG_POINTS]),
                0 if array is None else array.size,
            )
        total += len(getattr(axes, "patches", ()))
    return total
