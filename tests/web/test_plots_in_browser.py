"""Plots in a real browser: drawn in their frame, with a way back, and without power outside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.analysis import drawings
from tests.analysis.chromium import Chromium, Page, why_no_chromium
from tests.web.browsing import keep_picture
from tests.web.conftest import Site
from tests.web.plots import recorded_plots

pytestmark = [
    pytest.mark.browser,
    pytest.mark.leaks("the browser of all these tests starts and ends its helpers as it likes"),
]

#: What a page may try that wants more than to be looked at.
HOSTILE = b"""<!doctype html><title>x</title><p id="p">here</p>
<img src="http://evil.example/img"><script src="http://evil.example/lib.js"></script>
<link rel="stylesheet" href="http://evil.example/s.css">
<form action="http://evil.example/form"><button>x</button></form>
<script>
const told = {};
const attempt = (name, act) => {
  try { told[name] = String(act()); } catch (error) { told[name] = 'refused'; }
};
attempt('cookie', () => document.cookie);
attempt('parent', () => parent.document.title);
attempt('top', () => { top.location = 'http://evil.example/top'; });
attempt('storage', () => localStorage.length);
attempt('popup', () => open('http://evil.example/popup'));
attempt('alert', () => alert('hello'));
attempt('form', () => document.forms[0].submit());
attempt('beacon', () => navigator.sendBeacon('http://evil.example/beacon'));
const asked = ['http://evil.example/fetch', '/api/runs', '/api/about', '/'].map(address =>
  fetch(address, {credentials: 'include'}).then(() => 'answered', () => 'refused'));
Promise.all(asked).then(all => { told.fetched = all.join(); window.told = told; });
</script>"""
#: Names and values that no program of ours makes.
EVIL = "<script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>\u202e\u200b"


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
def look(chromium: Chromium, site: Site) -> Iterator[Callable[[str], Page]]:
    """Open an address of the page; at the end it must have met no error and asked no stranger."""
    pages: list[Page] = []
    chromium.open(site.server.new_link()).close()

    def open_page(address: str) -> Page:
        pages.append(chromium.open(f"{site.server.address}{address}"))
        return pages[-1]

    yield open_page
    for page in pages:
        page.close()
        assert page.errors == []
        assert [url for url in page.requests if not url.startswith(site.server.address)] == []


def show(page: Page, name: str) -> Page:
    """Follow the card of a plot, and return the frame that shows it."""
    cards = "[...document.querySelectorAll('.card')]"
    card = f"{cards}.find(one => one.innerText.endsWith({json.dumps(name)}))"
    page.wait_for(card)
    page.evaluate(f"{card}.click()")
    page.wait_for("document.querySelector('iframe.plot')")
    return page.frame()


def test_an_interactive_plot_works_in_its_frame_and_leads_back(
    site: Site, look: Callable[[str], Page], tmp_path: Path
) -> None:
    table = tmp_path / "peaks.csv"
    table.write_text("x,y\n1,2\n")
    figures = {
        "scans/motor": [drawings.bokeh_plot(), table],
        "scans/other": drawings.matplotlib_figure(),
        "words": "some",
    }
    recorded_plots(site.record, tmp_path, "run-1", figures)
    page = look("/plots")
    page.wait_for("document.querySelectorAll('.card img').length === 1")
    page.wait_for("[...document.images].every(one => one.naturalWidth > 100)")
    keep_picture(page, "plots")
    frame = show(page, "motor")
    frame.wait_for("window.Bokeh && Bokeh.documents.length === 1")
    model = "Bokeh.documents[0].get_model_by_name('') ?? Bokeh.documents[0].roots()[0]"
    frame.wait_for(f"({model}).x_range === undefined || ({model}).x_range.end > 2")
    assert frame.evaluate("self.origin") == "null"
    assert not frame.evaluate(
        "document.querySelector('.taskgrove').checkVisibility()"
    )  # the page around it tells the same
    assert frame.errors == []
    keep_picture(page, "plot")
    text = page.evaluate("document.querySelector('main').innerText")
    for words in ("scans / motor", "analysis fit-rings", "exp1 run 12", "run-1", "root/fit",
                  "2 parameters", "distance", "0.1", "peaks.csv, 8 B", "5 rings"):  # fmt: skip
        assert words in text
    rows = "[...document.querySelectorAll('.tabs')]"
    tabs = f"{rows}.map(row => [...row.children].map(a => a.innerText))"
    assert page.evaluate(tabs) == [["scans", "(no tab)"], ["motor", "other"]]
    page.evaluate(
        "[...document.querySelectorAll('.tabs a')].find(a => a.innerText === 'other').click()"
    )
    page.wait_for("document.querySelector('h1').innerText === 'scans / other'")
    page.evaluate("document.querySelector('.facts a').click()")
    page.wait_for("location.pathname === '/runs/run-1' && document.querySelector('.node')")
    page.wait_for(
        "[...document.querySelectorAll('.node dd a')].map(a => a.innerText).join()"
        " === 'scans/motor,scans/other,words'"
    )
    page.wait_for(
        "[...document.querySelectorAll('nav a')].some(a => a.innerText === '3 plots of this run')"
    )
    page.evaluate("[...document.querySelectorAll('nav a')].at(-1).click()")
    page.wait_for(
        "location.search === '?run=run-1' && document.querySelectorAll('.card').length === 3"
    )


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["panel_tabs", "plotly_figure"])
def test_plots_of_other_libraries_are_drawn_in_their_frame(
    site: Site, look: Callable[[str], Page], tmp_path: Path, kind: str
) -> None:
    recorded_plots(site.record, tmp_path, "run-1", {kind: getattr(drawings, kind)()})
    frame = show(look("/plots"), kind)
    drawn = {
        "panel_tabs": "window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].roots().length",
        "plotly_figure": "document.querySelector('.js-plotly-plot .scatterlayer path.js-line')",
    }[kind]
    frame.wait_for(drawn)
    assert frame.errors == []


def test_a_hostile_page_reaches_nothing(
    site: Site, look: Callable[[str], Page], tmp_path: Path
) -> None:
    recorded_plots(site.record, tmp_path, "run-1", {"javascript:alert(1)": HOSTILE})
    page = look("/plots")
    frame = show(page, "javascript:alert(1)")
    frame.wait_for("window.told")
    told = frame.evaluate("window.told")
    assert told["fetched"] == "refused,refused,refused,refused"
    for name in ("cookie", "parent", "storage"):
        assert told[name] == "refused", name
    assert told["popup"] in ("null", "refused")
    assert page.evaluate("location.pathname").startswith("/plots/run-1/")
    page.wait_for(
        "document.querySelector('main').innerText.includes('not allowed here: http://evil.example/')"
    )
    # The frame's own requests never reached the network.
    assert not [
        url
        for url in frame.requests
        if url.startswith("http://evil.example") and url in page.requests
    ]


def test_a_page_that_leads_elsewhere_goes_nowhere(
    chromium: Chromium, site: Site, tmp_path: Path
) -> None:
    away = b"""<!doctype html><title>x</title><script>
    setTimeout(() => { location = "http://evil.example/"; }, 0);</script>"""
    recorded_plots(site.record, tmp_path, "run-1", {"away": away})
    chromium.open(site.server.new_link()).close()
    page = chromium.open(f"{site.server.address}/plots")
    try:
        frame = show(page, "away")
        page.browser.read_until(lambda: any("evil.example" in error for error in page.errors))
        assert all("frame-src 'self'" in error for error in page.errors)
        for url in (*page.requests, *frame.requests):
            assert url.startswith((site.server.address, "chrome-error:", "data:")), url
    finally:
        page.close()


def test_a_page_of_an_author_reads_its_files_in_the_frame(
    site: Site, look: Callable[[str], Page], tmp_path: Path
) -> None:
    density = tmp_path / "final.ccp4"
    density.write_bytes(b"density")
    viewer = b"""<!doctype html><title>x</title><p>a viewer<script>
    fetch("taskgrove-file:final.ccp4").then(answer => answer.text()).then(text => {
      document.querySelector("p").textContent = text; });
    </script>"""
    recorded_plots(site.record, tmp_path, "run-1", {"map": [viewer, density]})
    page = look("/plots")
    frame = show(page, "map")
    frame.wait_for("document.querySelector('p').textContent === 'density'")
    assert frame.errors == []


def test_hostile_names_and_values_are_text(
    site: Site, look: Callable[[str], Page], tmp_path: Path
) -> None:
    name = "<img src=x onerror=alert(1)>/\"'&{{7*7}}"
    parameters: dict[str, Any] = {EVIL: EVIL, "long": "\u202e" + "x" * 1_000_000}
    recorded_plots(
        site.record, tmp_path, "run-1", {name: "words"}, analysis=EVIL, parameters=parameters
    )
    page = look("/plots")
    frame = show(page, "{{7*7}}")
    frame.wait_for("document.body.innerText.includes('words')")
    page.wait_for("document.querySelector('main').innerText.includes('2 parameters')")
    text = page.evaluate("document.querySelector('main').innerText")
    assert "<script>alert(1)</script>" in text
    assert "\\u202e\\u200b" in text
    assert "\u202e" not in text
    assert len(text) < 20_000
    assert page.evaluate("document.querySelectorAll('main script, main img').length") == 0


def test_without_plots_the_page_says_what_to_do(site: Site, look: Callable[[str], Page]) -> None:
    assert site.get("/api/plots").data["plots"] == []
    page = look("/plots")
    page.wait_for("document.querySelector('main').innerText.includes('--pages pages')")
    page = look("/plots?name=nothing")
    page.wait_for("document.querySelector('main').innerText.includes('No plots match')")
    page = look("/runs/good")
    page.wait_for("document.querySelector('.line')")
    assert "plots of this run" not in page.evaluate("document.querySelector('nav').innerText")


def test_a_new_version_is_told_and_does_not_disturb_the_plot(
    site: Site, look: Callable[[str], Page], tmp_path: Path
) -> None:
    recorded_plots(site.record, tmp_path, "run-1", {"a": "first"})
    page = look("/plots")
    frame = show(page, "a")
    frame.wait_for("document.body.innerText.includes('first')")
    frame.evaluate("window.mine = 1")
    recorded_plots(site.record, tmp_path, "run-2", {"a": "second"})
    page.wait_for("document.querySelector('main').innerText.includes('A newer version')")
    assert frame.evaluate("window.mine") == 1
    page.evaluate("document.querySelector('.tone-warn a').click()")
    page.wait_for("location.pathname.startsWith('/plots/run-2/')")
