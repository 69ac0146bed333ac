"""Panel objects; the scripts and styles of Panel come with the page, none from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape, unescape
from io import StringIO
from pathlib import Path
from typing import Any, Final

from bokeh.resources import Resources
from jinja2 import Template
from panel import __version__ as _panel_version
from panel.io.resources import CDN_DIST, DIST_DIR
from panel.viewable import Viewable

from taskgrove.analysis.figures.bokeh_scripts import named_scripts
from taskgrove.analysis.figures.part import Part, unsupported
from taskgrove.analysis.figures.stretching import (
    MIN_HEIGHT_PX,
    collapses,
    fills_height,
    has_own_height,
    in_place,
)
from taskgrove.errors import AnalysisError

#: How many states of linked widgets are kept in a page at most, and how many of one widget.
MAX_STATES: Final = 500
MAX_OPTIONS: Final = 50

_CUT: Final = "<!--taskgrove:cut-->"
#: Names the pieces of Panel's page; the variables are those it documents for templates.
_PIECES: Final = ("bokeh_css", "bokeh_js", "plot_div", "plot_script")
_TEMPLATE: Final = Template(_CUT.join(["", *(f"{{{{ {name} or '' }}}}" for name in _PIECES), ""]))
#: Models of text; an image that stretches is text to Panel, too.
_TEXTS: Final = frozenset({"Div", "panel.models.markup.HTML"})
_SCRIPT: Final = re.compile(r"<script([^>]*)>(.*?)</script\s*>", re.DOTALL | re.IGNORECASE)
_PLAIN_TYPE: Final = re.compile(r"\s*(type=\"text/javascript\")?\s*")
_DATA: Final = re.compile(
    r'(<script type="application/json"[^>]*>)(.*?)(</script>)', re.DOTALL | re.IGNORECASE
)
#: A file that a style names by a path of its own: beside the page there is none.
_BESIDE: Final = re.compile(r"url\(\s*(?![\"']?(?:data:|#))[^)]*\)", re.IGNORECASE)


def render(obj: object, label: str) -> Part:  # noqa: ARG001 - a label would hide the object's own
    """Return a Panel object as a part; all tabs are drawn, linked widgets keep their states."""
    if not isinstance(obj, Viewable):
        raise unsupported(obj, "give a pane or a layout such as panel.Tabs")
    page = StringIO()
    with _all_tabs_drawn(obj):
        obj.save(
            page,
            resources=Resources(mode="inline"),
            template=_TEMPLATE,
            embed=True,
            max_states=MAX_STATES,
            max_opts=MAX_OPTIONS,
            progress=False,
        )
    pieces = page.getvalue().split(_CUT)
    if len(pieces) != 6 or "<script" not in pieces[4]:
        raise AnalysisError(
            f"Panel {_panel_version} did not fill the template of a page as expected",
            hint="taskgrove knows Panel 1.4 to 1.9",
        )
    _, styles, scripts, divs, drawing, _ = pieces
    data = [json.loads(unescape(found[1])) for found in _DATA.findall(drawing)]
    if any(map(_fills_its_place, data)):
        divs = in_place(divs)
    return Part(
        divs + _DATA.sub(_stand_alone, drawing),
        named_scripts(
            ("" if _PLAIN_TYPE.fullmatch(attributes) else attributes.strip(), text)
            for attributes, text in _SCRIPT.findall(scripts)
        ),
        _BESIDE.sub("url(data:,)", styles),
    )


@contextmanager
def _all_tabs_drawn(obj: Any) -> Iterator[None]:
    # A dynamic layout loads its content from a server; a page has no server.
    lazy = [one for one in obj.select() if getattr(one, "dynamic", False) is True]
    for layout in lazy:
        layout.dynamic = False
    try:
        yield
    finally:
        for layout in lazy:
            layout.dynamic = True


def _fills_its_place(data: Any) -> bool:
    """Return whether a root of the documents of a page is as high as its place."""
    return any(
        fills_height(root.get("attributes", {}).get)
        for document in data.values()
        for root in document.get("roots", ())
    )


def _stand_alone(match: re.Match[str]) -> str:
    """Put style sheets and heights into the models of a page."""
    data = json.loads(unescape(match.group(2)))
    for model, is_placed in _models(data):
        attributes = model["attributes"]
        if model["name"] == "ImportedStyleSheet":
            # The text of a style sheet of Panel replaces its address on the network.
            css = _style_of(str(attributes.get("url", "")))
            if css is not None:
                model["name"] = "InlineStyleSheet"
                model["attributes"] = {"css": css}
        elif not is_placed and collapses(attributes.get) and not _is_text(model):
            attributes["min_height"] = MIN_HEIGHT_PX
    # As Bokeh writes it: the script of the page reads it as the text of an element.
    return match.group(1) + escape(json.dumps(data), quote=False) + match.group(3)


def _models(data: Any) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield each model of a page, and whether it is in a layout that has a height."""
    pending = [(data, False)]
    while pending:
        value, is_placed = pending.pop()
        if isinstance(value, list):
            pending.extend((item, is_placed) for item in value)
        elif isinstance(value, dict):
            is_model = "name" in value and isinstance(value.get("attributes"), dict)
            inside = is_placed or (is_model and has_own_height(value["attributes"].get))
            pending.extend((item, inside) for item in value.values())
            if is_model:
                yield value, is_placed


def _is_text(model: dict[str, Any]) -> bool:
    """Return whether a model is as high as its text, or empty on purpose."""
    if model["name"] == "Spacer":
        return True
    return model["name"] in _TEXTS and "&lt;img" not in str(model["attributes"].get("text", ""))


def _style_of(url: str) -> str | None:
    """Return the text of one of Panel's own style sheets, or None for another address."""
    if not url.startswith(CDN_DIST):
        return None
    folder = Path(DIST_DIR).resolve()
    file = (folder / url.removeprefix(CDN_DIST).partition("?")[0]).resolve()
    if not file.is_relative_to(folder) or not file.is_file():
        return ""
    return _BESIDE.sub("url(data:,)", file.read_text(encoding="utf-8"))
