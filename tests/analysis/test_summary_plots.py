"""Figures become pages: complete, escaped, without a display or a network."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from html import escape
from html.parser import HTMLParser
from typing import Any

import pytest
from markupsafe import Markup

from taskgrove.analysis.publishing.page_references import foreign_addresses
from taskgrove.analysis.results import ElogSummaryPlots
from taskgrove.analysis.summary_plots import collect_plots, convert_payload, render_figures
from taskgrove.errors import AnalysisError
from tests.analysis import drawings

LIBRARIES = ("matplotlib", "bokeh", "plotly", "PIL", "holoviews", "panel")
MAKERS: dict[str, Callable[[], Any]] = {
    "matplotlib": drawings.matplotlib_figure,
    "bokeh": drawings.bokeh_plot,
    "plotly": drawings.plotly_figure,
    "PIL": drawings.pil_image,
    "holoviews": drawings.holoviews_image,
    "panel": drawings.panel_tabs,
}
_SCRIPT = re.compile(rb"<script data-taskgrove-asset.*?</script>", re.DOTALL)


class Outline(HTMLParser):
    """The tags and the text of a page, as a browser would read them."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def own_part(page: bytes) -> str:
    """Return a page without the scripts of libraries, which name many addresses in comments."""
    return _SCRIPT.sub(b"", page).decode()


def labels(page: bytes) -> list[str]:
    return [label.decode() for label in re.findall(rb'data-taskgrove-asset="([^"]*)"', page)]


# -- every library ------------------------------------------------------------------------------


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_figure_of_each_library_is_a_whole_page_without_a_network(library: str) -> None:
    page = render_figures(MAKERS[library](), title="scans/motor <1>")
    outline = Outline(page)
    assert page.startswith(b"<!DOCTYPE html>")
    assert outline.all("title")
    assert "<title>scans/motor &lt;1&gt;</title>" in page.decode()
    assert foreign_addresses(page) == ()
    addresses = set(re.findall(r"https?://[\w.-]+", own_part(page)))
    assert addresses <= {"http://www.w3.org"}
    (policy,) = [tag for tag in outline.all("meta") if tag.get("http-equiv")]
    assert "default-src 'none'" in str(policy["content"])
    assert "http" not in str(policy["content"])


@pytest.mark.parametrize(
    ("library", "make", "others"),
    [
        ("matplotlib", "drawings.matplotlib_figure()", {"bokeh", "plotly", "holoviews", "panel"}),
        ("bokeh", "drawings.bokeh_plot()", {"matplotlib", "plotly", "holoviews", "panel"}),
        ("plotly", "drawings.plotly_figure()", {"matplotlib", "bokeh", "holoviews", "panel"}),
        ("PIL", "drawings.pil_image()", {"matplotlib", "bokeh", "plotly", "holoviews", "panel"}),
        (None, "['words', '<p>html</p>', b'<b>raw</b>']", set(LIBRARIES)),
    ],
)
def test_only_the_library_of_the_figure_is_imported(
    library: str | None, make: str, others: set[str]
) -> None:
    program = (
        "import json, os, sys\n"
        "from tests.analysis import drawings\n"
        "from taskgrove.analysis.summary_plots import render_figures\n"
        f"figures = {make}\n"
        "before = set(sys.modules)\n"
        "environment = dict(os.environ)\n"
        "render_figures(figures)\n"
        "assert dict(os.environ) == environment\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": "."},
    )
    assert done.stderr == ""
    modules = set(json.loads(done.stdout))
    assert library is None or library in modules
    assert modules & others == set()


def test_a_page_of_all_holds_each_script_once_and_in_order() -> None:
    page = render_figures([MAKERS[name]() for name in ("bokeh", "panel", "holoviews", "plotly")])
    found = labels(page)
    assert len(found) == len(set(found))
    names = [re.sub(r"-[\d.]+\d$", "", label) for label in found]
    assert names.count("bokeh") == 1
    assert names.index("bokeh") < names.index("bokeh-widgets") < names.index("panel")
    assert [name for name in names if name.startswith("plotly")] == ["plotly"]
    assert foreign_addresses(page) == ()


# -- matplotlib ---------------------------------------------------------------------------------


def image_types(page: bytes) -> list[str]:
    found = [str(tag["src"]) for tag in Outline(page).all("img")]
    return [source.partition(";")[0].removeprefix("data:") for source in found]


def test_a_figure_is_drawn_as_svg_and_told_by_its_title() -> None:
    page = render_figures(drawings.matplotlib_figure("Rings & <peaks>"))
    assert image_types(page) == ["image/svg+xml"]
    (image,) = Outline(page).all("img")
    assert image["alt"] == "Rings & <peaks>"
    # Without the white margin of its 6 inches of 96 pixels; the image says the same in points.
    assert 400 < int(image["width"]) < 576
    svg = base64.b64decode(str(image["src"]).partition(",")[2])
    [points] = re.findall(rb'<svg[^>]* width="([0-9.]+)pt"', svg)
    assert int(image["width"]) == round(float(points) * 96 / 72)


def test_what_stands_outside_of_a_figure_is_not_cut_off() -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.plot([0, 1], label="a long name of a curve " * 3)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    (image,) = Outline(render_figures(figure)).all("img")
    assert int(image["width"]) > 3 * 96


def test_a_figure_of_very_many_points_is_drawn_as_png() -> None:
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().scatter(*np.random.default_rng(1).random((2, 30_000)), s=1)
    assert image_types(render_figures(figure)) == ["image/png"]
    mesh = Figure()
    mesh.subplots().pcolormesh(np.zeros((200, 200)))
    assert image_types(render_figures(mesh)) == ["image/png"]


def test_axes_and_subfigures_stand_for_their_figure() -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    part, _ = figure.subfigures(1, 2)
    axes = part.subplots()
    axes.set_title("Left")
    for given in (axes, part):
        (image,) = Outline(render_figures(given)).all("img")
        assert image["alt"] == "Left"


def test_drawing_leaves_the_figure_and_the_settings_as_they_were() -> None:
    import matplotlib

    figure = drawings.matplotlib_figure()
    before = (type(figure.canvas), figure.get_dpi(), dict(matplotlib.rcParams))
    first = render_figures(figure)
    assert (type(figure.canvas), figure.get_dpi(), dict(matplotlib.rcParams)) == before
    assert len(render_figures(figure)) == len(first)


# -- the other libraries ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I", "I;16", "F", "CMYK", "HSV"]
)
def test_images_of_every_mode_are_drawn(mode: str) -> None:
    from PIL import Image

    image = Image.new(mode, (8, 4)) if mode == "LA" else drawings.pil_image(mode)
    assert image_types(render_figures(image)) == ["image/png"]


def test_counts_are_spread_over_the_grey_scale() -> None:
    import base64
    from io import BytesIO

    from PIL import Image

    counts = Image.new("I", (2, 1))
    counts.putpixel((0, 0), 1000)
    counts.putpixel((1, 0), 1003)
    (image,) = Outline(render_figures(counts)).all("img")
    shown = Image.open(BytesIO(base64.b64decode(str(image["src"]).partition(",")[2])))
    assert [shown.getpixel((column, 0)) for column in (0, 1)] == [0, 255]


def test_formulas_and_widgets_bring_their_scripts_along() -> None:
    from bokeh.layouts import column
    from bokeh.models import ColumnDataSource, DataTable, Slider, TableColumn

    def parts(figure: Any) -> set[str]:
        return {re.sub(r"-[\d.]+\d$", "", label) for label in labels(render_figures(figure))}

    plain = parts(drawings.bokeh_plot())
    assert "bokeh" in plain
    assert not plain & {"bokeh-mathjax", "bokeh-widgets", "bokeh-tables", "bokeh-gl"}
    assert "bokeh-mathjax" in parts(drawings.bokeh_plot(r"$$\sin(x)$$"))
    assert "bokeh-mathjax" in parts(drawings.bokeh_plot(r"\(x\)"))
    slider = Slider(start=0, end=1, value=0)
    assert "bokeh-widgets" in parts(column(drawings.bokeh_plot(), slider))
    table = DataTable(source=ColumnDataSource({"a": [1]}), columns=[TableColumn(field="a")])
    assert {"bokeh-tables", "bokeh-widgets"} <= parts(table)


def test_a_document_of_bokeh_is_drawn_and_an_empty_one_is_not() -> None:
    from bokeh.document import Document

    document = Document()
    with pytest.raises(AnalysisError, match=r"bokeh.document.document.Document cannot be drawn"):
        render_figures(document)
    document.add_root(drawings.bokeh_plot())
    document.add_root(drawings.bokeh_plot())
    assert own_part(render_figures(document)).count("data-root-id") == 2


def test_panel_is_drawn_with_its_styles_and_all_of_its_tabs() -> None:
    import panel as pn

    tabs = pn.Tabs(("A", pn.pane.HTML("<i>first</i>")), ("B", "the second one"), dynamic=True)
    page = own_part(render_figures(tabs))
    assert "the second one" in page
    assert tabs.dynamic is True
    assert "ImportedStyleSheet" not in page
    assert "InlineStyleSheet" in page


def test_frames_get_sliders_and_frames_without_end_are_refused() -> None:
    import holoviews as hv

    frames = hv.HoloMap({n: hv.Curve([n, 1, 2]) for n in (1, 2, 3)}, kdims="frame")
    assert "panel" in "".join(labels(render_figures(frames)))
    endless = hv.DynamicMap(lambda x: hv.Curve([x]), kdims="x")
    with pytest.raises(AnalysisError, match="its frames have no end"):
        render_figures(endless)


@pytest.mark.parametrize("backend", ["matplotlib", "plotly", "bokeh"])
def test_holoviews_draws_with_the_backend_that_was_chosen(backend: str) -> None:
    from taskgrove.analysis.figures.holoviews_figures import _load

    try:
        _load(backend)
        page = render_figures(drawings.holoviews_image())
    finally:
        # As where nobody has chosen. What HoloViews names as current before is not yet loaded.
        _load("bokeh")
    marks = {"matplotlib": "data:image/svg+xml", "plotly": "plotly-graph-div"}
    for name, mark in marks.items():
        assert (mark in own_part(page)) == (name == backend)


# -- text and bytes -----------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["<p>a</p>", "<!doctype html>x", "<b>half", "a < b", "<3>"])
def test_plain_text_is_text_whatever_stands_in_it(text: str) -> None:
    page = render_figures(text).decode()
    assert f'<pre class="text">{escape(text)}</pre>' in page


def test_text_is_escaped_and_html_is_not() -> None:
    page = render_figures(["I < 5 <script>alert(1)</script> & more", b"<p class='x'>ok</p>"])
    outline = Outline(page)
    assert outline.all("script") == []
    assert "I < 5 <script>alert(1)</script> & more" in outline.text
    assert {"class": "x"} in outline.all("p")


def test_a_whole_document_is_kept_byte_for_byte() -> None:
    for document in (
        b"<!doctype html><title>x</title><p>\xe2\x82\xac",
        b"<?xml version='1.0'?>\n<html><body>x</body></html>",
        b'<!DOCTYPE html><meta charset="latin-1"><p>\xe9</p>',
        b"<!-- made by hand -->\n<HTML>x</HTML>",
    ):
        assert render_figures(document) == document
        assert render_figures(memoryview(document)) == document
    marked = Markup("<html>\u20ac</html>")
    assert render_figures(marked) == marked.encode()


def test_a_document_among_others_gets_a_frame_of_its_own() -> None:
    page = render_figures([b"<!doctype html><title>x</title></section></div>", b"<p>y</p>"])
    (frame,) = Outline(page).all("iframe")
    assert frame["srcdoc"] == "<!doctype html><title>x</title></section></div>"
    assert frame["sandbox"] == "allow-scripts allow-popups allow-downloads"


def test_bytes_of_image_files_are_images_and_other_bytes_are_refused() -> None:
    assert image_types(render_figures(b"\x89PNG\r\n\x1a\n....")) == ["image/png"]
    assert image_types(render_figures(b'<?xml version="1.0"?><svg xmlns="x">')) == ["image/svg+xml"]
    with pytest.raises(AnalysisError, match="6 bytes are neither HTML nor an image"):
        render_figures(b"\xff\xfe\x00\x01\x02\x80")
    assert "<b>caf\u00e9</b>" in render_figures("<b>caf\u00e9</b>".encode()).decode()


def test_half_a_surrogate_pair_does_not_break_the_page() -> None:
    assert b"x?y" in render_figures("x\ud800y")
    assert b"x?y" in render_figures("<html>x\ud800y</html>")


def test_only_an_authors_own_html_may_load_from_elsewhere() -> None:
    assert b"Content-Security-Policy" in render_figures("words")
    page = render_figures(["words", b'<img src="https://example.org/x.png">'])
    assert b"Content-Security-Policy" not in page
    assert foreign_addresses(page) == ("https://example.org/x.png",)


def test_addresses_on_the_network_are_found() -> None:
    page = (
        b'<link rel="stylesheet" href="//a.org/s.css"><link rel="canonical" href="http://no">'
        b'<script src=" HTTPS://b.org/x.js "></script><script>"<img src=\'http://no\'>"</script>'
        b'<a href="http://no">x</a><img src="data:x"><img src="y.png"><video poster="ftp://c/x">'
        b'<script src="https://b.org/y.js"></script><script src="https://b.org/y.js"></script>'
    )
    assert foreign_addresses(page) == (
        "//a.org/s.css", "HTTPS://b.org/x.js", "ftp://c/x", "https://b.org/y.js",
    )  # fmt: skip


# -- lists and dicts ----------------------------------------------------------------------------


def test_a_dict_becomes_tabs_and_a_list_stands_below_one_another() -> None:
    page = render_figures({"A & <b>": ["one", "two"], 7: {"inner": "three", "other": "four"}})
    outline = Outline(page)
    inputs = outline.all("input")
    assert [tag["type"] for tag in inputs] == ["radio"] * 4
    assert len({tag["id"] for tag in inputs}) == 4
    assert len({tag["name"] for tag in inputs}) == 2
    assert sum("checked" in tag for tag in inputs) == 2
    assert "A & <b>" in outline.text
    order = [outline.text.index(word) for word in ("one", "two", "three", "four")]
    assert order == sorted(order)
    assert outline.all("script") == []


def test_a_tab_without_a_name_can_be_seen() -> None:
    assert "(no name)" in Outline(render_figures({"": "one", "b": "two"})).text


def test_what_holds_nothing_or_itself_is_refused() -> None:
    for empty in ([], {}, (), {"a": []}):
        with pytest.raises(AnalysisError, match="holds no figure"):
            render_figures(empty)
    loop: list[Any] = ["x"]
    loop.append(loop)
    with pytest.raises(AnalysisError, match="nested"):
        render_figures(loop)


@pytest.mark.parametrize(
    ("figures", "name"),
    [
        (None, "NoneType"),
        (3.5, "float"),
        ({"ok": "x", "bad": {1, 2}}, "set"),
        ([object()], "object"),
        (MAKERS, "function"),
    ],
)
def test_what_cannot_be_drawn_is_named_with_what_can(figures: Any, name: str) -> None:
    with pytest.raises(AnalysisError, match=f"^{name} cannot be drawn on a page") as told:
        render_figures(figures)
    assert "matplotlib figures, HoloViews objects, Panel objects" in str(told.value)


def test_other_objects_of_known_libraries_are_named_too() -> None:
    import numpy as np
    from bokeh.models import ColumnDataSource
    from matplotlib.colors import Normalize

    for thing, words in (
        (Normalize(), "matplotlib.colors.Normalize cannot be drawn"),
        (ColumnDataSource(), "ColumnDataSource cannot be drawn"),
        (np.zeros(3), "numpy.ndarray cannot be drawn"),
    ):
        with pytest.raises(AnalysisError, match=words):
            render_figures(thing)


def test_what_a_library_raises_is_told_with_the_type() -> None:
    figure = drawings.matplotlib_figure()

    def spoilt(*args: object, **options: object) -> None:
        raise RuntimeError("no font")

    figure.savefig = spoilt
    words = r"matplotlib.figure.Figure could not be drawn: RuntimeError: no font"
    with pytest.raises(AnalysisError, match=words):
        render_figures(figure)


# -- payloads -----------------------------------------------------------------------------------

Pair = namedtuple("Pair", "first second")


def test_plots_are_converted_where_they_stand() -> None:
    one = ElogSummaryPlots("scans/one", "first")
    two = ElogSummaryPlots("two", ["second"])
    payload = {"a": one, "b": [1, (two, "x")], "c": Pair(one, 2), "d": [3]}
    assert collect_plots(payload) == [one, two, one]
    changed = convert_payload(payload)
    assert isinstance(changed["a"].figures, bytes)
    assert changed["a"].display_name == "scans/one"
    assert isinstance(changed["b"][1], tuple)
    assert b"second" in changed["b"][1][0].figures
    assert isinstance(changed["c"], Pair)
    assert changed["d"] is payload["d"]
    assert one.figures == "first"
    assert convert_payload(changed["a"]).figures == changed["a"].figures


def test_a_payload_without_plots_is_not_touched() -> None:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    for payload in (None, [1, 2], {"a": (1,)}, "text", loop):
        assert convert_payload(payload) is payload
        assert collect_plots(payload) == []


def test_an_error_names_the_page() -> None:
    with pytest.raises(AnalysisError, match="the page scans/x: float cannot be drawn"):
        convert_payload([ElogSummaryPlots("scans/x", 1.5)])
