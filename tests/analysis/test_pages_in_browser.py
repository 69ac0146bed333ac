"""Published pages, opened in a browser without a network: the figures are there, drawn.

Pictures of the pages are kept in the folder that ``PAGE_PICTURES`` names, to be looked at.
"""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from taskgrove.analysis.pages import PagePublisher
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.results import ElogSummaryPlots
from tests.analysis import drawings
from tests.analysis.analysis_runs import until
from tests.analysis.chromium import Chromium, Page, why_no_chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.leaks("the browser of all these tests starts and ends its helpers as it likes"),
]
_PICTURES = os.environ.get("PAGE_PICTURES", "")
ORIGIN = PageOrigin("run-20261121-7", "observe/analyse/fit", "fit-rings", 1, "exp1", 12)

#: Bokeh and Panel draw inside shadow trees; this looks through all of them.
_DEEP = """
const deep = (selector, from = document) => {
  const found = [...from.querySelectorAll(selector)];
  for (const element of from.querySelectorAll('*'))
    if (element.shadowRoot) found.push(...deep(selector, element.shadowRoot));
  return found;
};
const painted = canvas => {
  if (canvas.width < 100 || canvas.getBoundingClientRect().height < 50) return false;
  const copy = document.createElement('canvas');
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const context = copy.getContext('2d');
  context.drawImage(canvas, 0, 0);
  const data = context.getImageData(0, 0, copy.width, copy.height).data;
  const colours = new Set();
  for (let i = 0; i < data.length; i += 4) colours.add(data[i] << 16 | data[i+1] << 8 | data[i+2]);
  return colours.size > 5;
};
const shown = element => element.checkVisibility({visibilityProperty: true}) &&
  element.getBoundingClientRect().height > 20;
"""
IMAGES = "document.images.length && [...document.images].every(i => i.naturalWidth > 100)"
CANVAS = "deep('canvas').some(painted)"
PLOTLY = "document.querySelector('.js-plotly-plot .scatterlayer path.js-line')"


def deeply(expression: str) -> str:
    return f"(() => {{ {_DEEP} return {expression}; }})()"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    if (reason := why_no_chromium()) is not None:
        pytest.skip(reason)
    browser = Chromium()
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture
def look(
    chromium: Chromium, request: pytest.FixtureRequest
) -> Iterator[Callable[[str | Path], Page]]:
    """Open a page; at the end of the test it must have met no error and no network."""
    pages: list[Page] = []

    def open_page(address: str | Path) -> Page:
        page = chromium.open(address.as_uri() if isinstance(address, Path) else address)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
        assert page.errors == []
        assert page.foreign() == []


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keep a picture of a page, where somebody wants to look at it."""

    def keep(page: Page, name: str = "") -> None:
        if _PICTURES:
            test = re.sub(r"[^\w-]+", "_", request.node.name).strip("_")
            (Path(_PICTURES) / f"{test}{name}.png").write_bytes(page.picture())

    return keep


def frames() -> Any:
    import holoviews as hv

    return hv.HoloMap({n: hv.Curve([n, 1, 3 * n]) for n in (1, 2, 3)}, kdims="frame")


KINDS: dict[str, tuple[Callable[[], Any], str]] = {
    "matplotlib": (drawings.matplotlib_figure, IMAGES),
    "pil": (drawings.pil_image, IMAGES),
    "bokeh": (drawings.bokeh_plot, CANVAS),
    "formula": (lambda: drawings.bokeh_plot(r"$$\sin(x)^2$$"), CANVAS),
    "holoviews": (drawings.holoviews_image, CANVAS),
    "frames": (frames, CANVAS + " && deep('.noUi-handle').length"),
    "plotly": (drawings.plotly_figure, PLOTLY),
    "panel": (drawings.panel_tabs, "deep('h1').some(h => h.textContent.includes('A heading'))"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_of_each_library_is_drawn(
    kind: str, tmp_path: Path, look: Callable[..., Page], picture: Callable[..., None]
) -> None:
    make, drawn = KINDS[kind]
    published = PagePublisher(tmp_path).publish(ElogSummaryPlots(f"kinds/{kind}", make()))
    page = look(published.file)
    page.wait_for(deeply(drawn))
    picture(page)


def test_a_page_alone_is_drawn_where_it_is_carried(
    tmp_path: Path, look: Callable[..., Page]
) -> None:
    publisher = PagePublisher(tmp_path / "root", share_scripts=False)
    published = publisher.publish(ElogSummaryPlots("a/b", drawings.bokeh_plot()))
    carried = published.file.rename(tmp_path / "carried away.html")
    look(carried).wait_for(deeply(CANVAS))


def test_a_page_leads_to_the_index_and_its_picture_back(
    tmp_path: Path, look: Callable[..., Page], picture: Callable[..., None]
) -> None:
    table = tmp_path / "peaks.csv"
    table.write_text("x,y\n")
    figures = [drawings.matplotlib_figure(), drawings.pandas_table(), table]
    parameters = {f"p{number}": str(number) for number in range(9)}
    published = PagePublisher(tmp_path / "pages").publish(
        ElogSummaryPlots("scans/motor", figures), origin=ORIGIN, parameters=parameters
    )
    page = look(published.file)
    page.wait_for(IMAGES)
    assert not page.evaluate("document.querySelector('details').open")
    page.evaluate("document.querySelector('summary').click()")
    page.wait_for("document.querySelector('.taskgrove').innerText.includes('p8')")
    picture(page, "-page")
    page.size(420, 800)
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    leaves = "(location = document.querySelector('.taskgrove nav a').href, true)"
    page.evaluate(leaves)
    page.wait_for("document.title === 'Summary plots' && document.images[0].naturalWidth > 100")
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    picture(page, "-index")
    # The picture is a link, too: the name's reaches over it.
    place = "document.images[0].getBoundingClientRect()"
    found = f"document.elementFromPoint({place}.x + 20, {place}.y + 20).closest('a').href"
    assert page.evaluate(found) == published.file.as_uri()


def test_the_tabs_of_panel_can_be_turned(
    tmp_path: Path, look: Callable[..., Page], picture: Callable[..., None]
) -> None:
    published = PagePublisher(tmp_path).publish(ElogSummaryPlots("a", drawings.panel_tabs()))
    page = look(published.file)
    page.wait_for(deeply("deep('.bk-tab').length == 3"))
    # Tabs are there before they listen: each is clicked until it has turned.
    shown = "deep('img').some(i => i.naturalWidth > 100 && shown(i))"
    page.wait_for(deeply(f"(deep('.bk-tab')[1].click(), {shown})"))
    picture(page, "-2")
    shown = "deep('canvas').some(c => painted(c) && shown(c))"
    page.wait_for(deeply(f"(deep('.bk-tab')[2].click(), {shown})"))
    picture(page, "-3")


def test_frames_follow_their_slider_without_a_server(
    tmp_path: Path, look: Callable[..., Page], picture: Callable[..., None]
) -> None:
    page = look(PagePublisher(tmp_path).publish(ElogSummaryPlots("a", frames())).file)
    page.wait_for(deeply(CANVAS))
    title = "deep('div').some(d => d.shadowRoot == null && d.textContent.includes('frame: 3'))"
    assert not page.evaluate(deeply(title))
    key = "new KeyboardEvent('keydown', {key: 'End', bubbles: true})"
    # The handle may be drawn before it listens: the key is pressed until the frame has come.
    page.wait_for(deeply(f"(deep('.noUi-handle')[0].dispatchEvent({key}), {title})"))
    picture(page)


def everything() -> dict[str, Any]:
    return {
        "matplotlib": [drawings.matplotlib_figure("First"), drawings.matplotlib_figure("Second")],
        "bokeh & <b>": drawings.bokeh_plot(),
        "panel": drawings.panel_tabs(),
        "plotly": drawings.plotly_figure(),
        "more": {
            "image": drawings.pil_image(),
            "text": "3 < 4\n<script>window.hit = 1</script>",
            "plotly again": drawings.plotly_figure("Again"),
        },
        "holoviews": drawings.holoviews_image(),
    }


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_dict_of_everything_is_one_page_of_tabs(
    tmp_path: Path, look: Callable[..., Page], picture: Callable[..., None]
) -> None:
    page = look(PagePublisher(tmp_path).publish(ElogSummaryPlots("a", everything())).file)
    names = page.evaluate(
        "[...document.querySelectorAll('.tabs > input')].map(i => i.labels[0].textContent)"
    )
    assert names == ["matplotlib", "bokeh & <b>", "panel", "plotly", "more", "holoviews",
                     "image", "text", "plotly again"]  # fmt: skip
    in_view = (
        "[...document.querySelectorAll('.tabs > .panels > .panel')].filter(shown)"
        ".map(p => document.getElementById(p.id.replace('-panel', '')).labels[0].textContent)"
    )
    checks = {
        "matplotlib": "[...document.images].filter(shown).length == 2",
        "bokeh & <b>": "deep('canvas').some(c => painted(c) && shown(c))",
        "panel": "deep('h1').some(h => h.textContent.includes('A heading') && shown(h))",
        "plotly": "[...document.querySelectorAll('.plot-container')].some(shown)",
        "holoviews": "deep('canvas').some(c => painted(c) && shown(c))",
    }
    for number, (name, drawn) in enumerate(checks.items()):
        click = f"[...document.querySelectorAll('label')].find(l => l.textContent == '{name}')"
        page.evaluate(f"{click}.click()")
        page.wait_for(deeply(drawn))
        assert page.evaluate(deeply(in_view)) == [name]
        picture(page, f"-{number}")
    # Tabs within a tab; a figure in what was hidden has the width of the page all the same.
    page.evaluate("document.querySelectorAll('.tabs > label').forEach(l => "
                  "['more', 'plotly again'].includes(l.textContent) && l.click())")  # fmt: skip
    assert page.evaluate(deeply(in_view)) == ["more", "plotly again"]
    wide = "[...document.querySelectorAll('.main-svg')].filter(shown).pop().clientWidth > 800"
    page.wait_for(deeply(wide))
    picture(page, "-9")
    assert page.evaluate("window.hit") is None


def test_a_page_cannot_reach_the_network(chromium: Chromium, tmp_path: Path) -> None:
    """The page's own policy holds it back, whatever a figure asks for."""
    figure = drawings.plotly_figure()
    image = {"source": "https://elsewhere.example/x.png", "x": 0, "y": 1, "sizex": 1, "sizey": 1}
    figure.add_layout_image(image)
    published = PagePublisher(tmp_path).publish(ElogSummaryPlots("a", figure))
    page = chromium.open(published.file.as_uri())
    page.wait_for(PLOTLY)
    blocked = "fetch('https://elsewhere.example/y').then(() => 'answered', error => 'blocked')"
    assert page.evaluate(blocked) == "blocked"

    def refused(address: str) -> bool:
        page.evaluate("1")  # what the browser has told meanwhile is read with the answer
        told = [error for error in page.errors if "Content Security Policy" in error]
        return any(address in error for error in told)

    until(lambda: refused("x.png"))
    until(lambda: refused("/y"))
    page.close()


# -- the index ----------------------------------------------------------------------------------


def filled(root: Path) -> PagePublisher:
    publisher = PagePublisher(root)
    names = ("scans/run_2/rings", "scans/run_10/rings", "scans/<script>window.hit=1</script>",
             "calibration", "scans/a_very_long_name_" + "without_a_break_" * 8)  # fmt: skip
    for name in names:
        publisher.publish(ElogSummaryPlots(name, drawings.matplotlib_figure(name)), origin=ORIGIN)
    publisher.publish(ElogSummaryPlots("calibration", "new"), origin=ORIGIN)
    return publisher


def test_the_index_leads_to_its_pages(
    tmp_path: Path, look: Callable[..., Page], picture: Callable[..., None]
) -> None:
    filled(tmp_path)
    page = look(tmp_path / "index.html")
    picture(page, "-light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.dark()
    page.wait_for(f"{background} == 'rgb(13, 17, 23)'")
    assert light != page.evaluate(background)
    picture(page, "-dark")
    page.size(360, 700)
    page.wait_for("innerWidth == 360 && document.documentElement.scrollWidth <= 360")
    picture(page, "-phone")
    assert page.evaluate("window.hit") is None
    links = page.evaluate("[...document.links].map(link => link.href)")
    assert len(links) == 6
    for link in links:
        look(link).wait_for(f"{IMAGES} || document.querySelector('pre.text')")


class StrictServer(SimpleHTTPRequestHandler):
    """A facility's web server: files, under a strict policy."""

    def end_headers(self) -> None:
        if "index" in self.path:
            self.send_header("Content-Security-Policy", "default-src 'self'")
        super().end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    handler = partial(StrictServer, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


def test_a_web_server_can_serve_the_root(tmp_path: Path, served: str, chromium: Chromium) -> None:
    publisher = filled(tmp_path)
    for name in ("plots/one", "plots/two"):
        publisher.publish(ElogSummaryPlots(name, drawings.bokeh_plot()))
    (tmp_path / "favicon.ico").touch()
    index = chromium.open(f"{served}/index.html")
    index.wait_for("getComputedStyle(document.querySelector('h1')).marginTop == '0px'")
    pages = [chromium.open(f"{served}/plots/{name}/report.html") for name in ("one", "two")]
    for page in pages:
        page.wait_for(deeply(CANVAS))
    for page in (index, *pages):
        page.close()
        assert page.errors == []
        assert [url for url in page.foreign() if not url.startswith(served)] == []
    assert any("_taskgrove/assets/bokeh-" in url for url in pages[0].requests)


def _stretching() -> dict[str, Callable[[], Any]]:
    """Return what fills the height of its place, in each way that its library has."""
    import holoviews as hv
    import panel as pn
    from bokeh.layouts import column, gridplot, row
    from bokeh.models import TabPanel, Tabs
    from bokeh.plotting import figure

    hv.extension("bokeh")

    def plot(mode: str | None = "stretch_both", **options: Any) -> Any:
        drawn = figure(sizing_mode=mode, **options)
        drawn.line([1, 2, 3], [1, 4, 9])
        return drawn

    def curve(**options: Any) -> Any:
        return hv.Curve([1, 4, 9]).opts(responsive=True, **options)

    def pane(mode: str = "stretch_both") -> Any:
        return pn.pane.HoloViews(hv.Curve([1, 4, 9]), sizing_mode=mode)

    def grid(**options: Any) -> Any:
        spec = pn.GridSpec(**options)
        spec[0, :2] = pn.pane.HoloViews(curve(), sizing_mode="stretch_both")
        spec[1, 0] = plot()
        return spec

    modes = ("stretch_width", "stretch_height", "stretch_both", "scale_width", "scale_height",
             "scale_both", "fixed", "inherit")  # fmt: skip
    both, wide = {"sizing_mode": "stretch_both"}, {"sizing_mode": "stretch_width"}
    return {
        **{f"bokeh, {mode}": partial(plot, mode) for mode in modes},
        **{f"panel, {mode}": lambda m=mode: pn.Column(pane(m)) for mode in modes[:-1]},
        "policy": lambda: plot(None, height_policy="max", width_policy="max"),
        "column": lambda: column(plot(), plot(), **both),
        "column of a width": lambda: column(plot(), **wide),
        "column of a height": lambda: column(
            plot(), plot(), height=400, sizing_mode="stretch_width"
        ),
        "eight in a column": lambda: column(*(plot() for _ in range(8)), **both),
        "row": lambda: row(plot(), plot("stretch_height"), **both),
        "grid": lambda: gridplot([[plot(), plot()], [plot(), plot()]], **both),
        "tabs": lambda: Tabs(tabs=[TabPanel(child=plot(), title="a")], **both),
        "responsive": curve,
        "responsive, aspect": lambda: curve(aspect=2),
        "responsive layout": lambda: (curve() + curve()).cols(1),
        "frames": lambda: hv.HoloMap({n: curve() for n in (1, 2)}, kdims="frame"),
        "panel.Tabs": lambda: pn.Tabs(("Scan", pn.Column(pane(), **both)), **both),
        "panel.GridSpec": lambda: grid(**both),
        "panel.GridSpec of a size": lambda: grid(width=800, height=600),
        "panel.GridSpec of a width": lambda: grid(**wide),
        "panel.GridBox": lambda: pn.GridBox(curve(), curve(), curve(), ncols=2, **both),
        "panel.FlexBox": lambda: pn.FlexBox(curve(), curve()),
        "panel.Card": lambda: pn.Card(curve(), title="card", **both),
        "panel.Accordion": lambda: pn.Accordion(("a", curve()), active=[0], **both),
        "title and plot": lambda: pn.Column("# Title", pane(), **wide),
        "a dict": lambda: {"a": plot(), "b": curve()},
        "a list": lambda: [plot(), curve()],
    }


@pytest.mark.parametrize(
    "chosen",
    [
        pytest.param("bokeh, stretch_both|responsive|panel.GridSpec|title and plot", id="usual"),
        pytest.param(".*", id="all", marks=pytest.mark.thorough),
    ],
)
def test_what_fills_its_place_has_a_useful_height(
    chosen: str, tmp_path: Path, look: Callable[..., Page], picture: Callable[..., None]
) -> None:
    pytest.importorskip("panel")
    publisher = PagePublisher(tmp_path)
    # Drawn means: as many canvases as plots, of which none has changed in ten looks.
    drawn = deeply(
        "(() => { const now = JSON.stringify(deep('canvas').map(c => c.getBoundingClientRect()));"
        " window.same = now == window.last ? (window.same || 0) + 1 : 0; window.last = now;"
        " return now != '[]' && window.same > 10; })()"
    )
    heights = deeply("deep('canvas').map(c => Math.round(c.getBoundingClientRect().height))")
    low = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Panel tells of sizes that it overrides
        for number, (name, make) in enumerate(_stretching().items()):
            if not re.fullmatch(chosen, name):
                continue
            page = look(publisher.publish(ElogSummaryPlots(f"stretch/{number}", make())).file)
            page.size(1200, 900)
            page.wait_for(drawn)
            picture(page, f"-{name}")
            if min(seen := page.evaluate(heights)) < 150:
                low[name] = seen
            page.close()
    assert low == {}
