"""Bokeh models; BokehJS comes with the page and nothing from elsewhere."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final

from bokeh.document import Document
from bokeh.embed import components
from bokeh.models import UIElement
from bokeh.resources import Resources

from taskgrove.analysis.figures.bokeh_scripts import named_scripts
from taskgrove.analysis.figures.kinds import render_with
from taskgrove.analysis.figures.part import Part, type_name, unsupported
from taskgrove.analysis.figures.stretching import fills_height, in_place, kept_from_collapsing
from taskgrove.errors import AnalysisError

#: A model of a module that begins so needs the component of BokehJS.
_COMPONENTS: Final = (
    ("bokeh.models.widgets.tables", "bokeh-tables"),
    ("bokeh.models.widgets", "bokeh-widgets"),
)
#: How formulas look in the data of a plot. A wrong match only adds a script to the page.
_FORMULA: Final = re.compile(r"\$\$|\\\\[(\[]|\"(?:TeX|MathML|Ascii|math_text)\"|<math")


def render(obj: object, label: str) -> Part:
    """Return a plot, a layout or a document of Bokeh as a part."""
    roots: list[Any] = list(obj.roots) if isinstance(obj, Document) else [obj]
    if not roots or not all(isinstance(root, UIElement) for root in roots):
        raise unsupported(obj, "give a plot, a layout, or a document that holds one")
    models = {model for root in roots for model in root.references()}
    # Where the script of a model is kept, as Bokeh itself asks for it.
    foreign = sorted({str(model.__view_module__).partition(".")[0] for model in models} - {"bokeh"})
    if foreign == ["panel"]:
        import panel  # noqa: PLC0415 - the figure is made of models of Panel

        return render_with("panel", panel.Column(*map(panel.pane.Bokeh, roots)), label)
    if foreign:
        raise AnalysisError(
            f"{type_name(obj)} holds models of {', '.join(foreign)}, "
            "whose scripts cannot be put into a page",
            hint="save it with that package's own means, and give the HTML as bytes",
        )
    with kept_from_collapsing(models):
        script, divs = components(roots)
    placed = [
        in_place(div) if fills_height(partial(getattr, root)) else div
        for root, div in zip(roots, divs)
    ]
    resources = Resources(mode="inline", components=_components_of(models, script))
    # Not Bokeh's own bundle: that would hold the scripts of every package that extends Bokeh
    # and happens to be imported, as files that are not there.
    return Part("".join(placed) + script, named_scripts(("", text) for text in resources.js_raw))


def _components_of(models: set[Any], script: str) -> list[str]:
    modules = {type(model).__module__ for model in models}
    needed = {
        component for start, component in _COMPONENTS for name in modules if name.startswith(start)
    }
    if any(getattr(model, "output_backend", None) == "webgl" for model in models):
        needed.add("bokeh-gl")
    if _FORMULA.search(script):
        needed.add("bokeh-mathjax")
    if "bokeh-tables" in needed:
        needed.add("bokeh-widgets")
    order = ("bokeh", "bokeh-gl", "bokeh-widgets", "bokeh-tables", "bokeh-mathjax")
    return [name for name in order if name == "bokeh" or name in needed]
