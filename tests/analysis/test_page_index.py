"""The index lists tabs, pages, runs and times; it is safe to show, and can be made anew."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskgrove.analysis.pages import PagePublisher
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.results import ElogSummaryPlots
from taskgrove.errors import AnalysisError
from taskgrove.testing import ManualClock

HOSTILE = PageOrigin(
    "<script>alert(1)</script>", "a/\"b'", "fit\u202egnp.exe\x1b[2J", 5, "</li></ul>", "1&2"
)


def plots(name: str) -> ElogSummaryPlots:
    return ElogSummaryPlots(name, "words")


class Links(HTMLParser):
    """The links of a page, with their texts, and the tags that it uses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[list[str]] = []
        self.headings: list[str] = []
        self._open = ""
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag in ("a", "h2"):
            self._open = tag
        if tag == "a":
            self.links.append([str(dict(attrs)["href"]), ""])
        elif tag == "h2":
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._open:
            self._open = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._open == "a":
            self.links[-1][1] += data
        elif self._open == "h2":
            self.headings[-1] += data


def index_page(root: Path) -> Links:
    return Links((root / "index.html").read_text(encoding="utf-8"))


def test_tabs_and_pages_are_listed_with_their_origin(tmp_path: Path) -> None:
    clock = ManualClock()
    publisher = PagePublisher(tmp_path, clock=clock)
    origin = PageOrigin("run-7", "configure/fit", "fit-rings", 1, "exp1", 12)
    for name in ("scans/run_10", "scans/run_2", "alone", "scans/deep/x"):
        publisher.publish(plots(name), origin=origin)
    shown = index_page(tmp_path)
    assert shown.headings == ["scans", "scans / deep"]
    assert [text for _, text in shown.links] == ["alone", "run_2", "run_10", "x"]
    for address, _ in shown.links:
        assert (tmp_path / address).is_file()
    for word in ("run-7", "configure/fit", "fit-rings", "exp1", "12", "4 pages", "UTC"):
        assert word in shown.text


def test_the_newest_page_and_its_tab_come_first(tmp_path: Path) -> None:
    clock = ManualClock()
    publisher = PagePublisher(tmp_path, clock=clock)
    for name in ("a/one", "b/one", "a/two", "b/two", "a/one"):
        publisher.publish(plots(name))
        clock.advance(60)
    shown = index_page(tmp_path)
    assert shown.headings == ["a", "b"]
    pages = [text for address, text in shown.links if address.endswith("/report.html")]
    assert pages == ["one", "two", "two", "one"]


def test_the_index_needs_neither_script_nor_style_of_its_own(tmp_path: Path) -> None:
    PagePublisher(tmp_path).publish(plots("a/b"), origin=HOSTILE)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    shown = Links(page)
    assert not shown.tags & {"script", "style", "img", "iframe"}
    assert not [name for name in shown.attributes if name.startswith("on") or name == "style"]
    (style,) = re.findall(r'<link rel="stylesheet" href="([^"]+)">', page)
    assert "prefers-color-scheme: dark" in (tmp_path / style).read_text()
    assert 'name="viewport"' in page


def test_what_analyses_say_is_escaped(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>/\"'&"
    PagePublisher(tmp_path).publish(plots(name), origin=HOSTILE)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    shown = Links(page)
    assert not shown.tags & {"img", "script"}
    assert shown.tags >= {"ul", "li"}
    assert page.count("<ul") == page.count("</ul") == 1
    assert "<script>alert(1)</script>" in shown.text
    assert "\\u202e" in shown.text
    assert "\\u001b" in shown.text
    assert "\u202e" not in page
    assert "\x1b" not in page


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=3))
def test_every_link_leads_to_its_page(tmp_path: Path, parts: list[str]) -> None:
    name = "/".join(parts)
    root = tmp_path / "root"
    try:
        PagePublisher(root).publish(plots(name))
    except AnalysisError:
        return
    addresses = [address for address, _ in index_page(root).links]
    base = "http://facility.example/stats/summary/index.html"
    found = {unquote(urlsplit(urljoin(base, address)).path) for address in addresses}
    assert f"/stats/summary/{name}/report.html" in found
    assert all(urljoin(base, address).startswith(base[:-10]) for address in addresses)


def test_former_versions_are_listed_with_their_runs(tmp_path: Path) -> None:
    clock = ManualClock()
    publisher = PagePublisher(tmp_path, clock=clock)
    for number in range(3):
        publisher.publish(plots("a"), origin=PageOrigin(f"run-{number}"))
        clock.advance(3600)
    shown = index_page(tmp_path)
    assert "2 former versions" in shown.text
    assert "details" in shown.tags
    assert len(shown.links) == 3
    for address, _ in shown.links:
        assert (tmp_path / address).is_file()
    assert shown.text.index("run-2") < shown.text.index("run-1") < shown.text.index("run-0")


def test_a_page_that_needs_the_network_says_so(tmp_path: Path) -> None:
    html = b"<!doctype html><script src='https://cdn.example.org/lib.js'></script>"
    page = PagePublisher(tmp_path).publish(ElogSummaryPlots("a", html))
    assert page.foreign == ("https://cdn.example.org/lib.js",)
    assert "loads something from the network: https://cdn" in index_page(tmp_path).text


# -- made anew ----------------------------------------------------------------------------------


def content(root: Path) -> object:
    return json.loads((root / "index.json").read_text())["pages"]


def test_the_index_can_be_made_anew_from_the_pages(tmp_path: Path) -> None:
    publisher = PagePublisher(tmp_path)
    for name in ("scans/a", "scans/a", "b", "b/c"):
        publisher.publish(plots(name), origin=PageOrigin("run-1", analysis="fit"))
    before = content(tmp_path)
    for name in ("index.json", "index.html"):
        (tmp_path / name).unlink()
    publisher.rebuild_index()
    assert content(tmp_path) == before
    assert len(index_page(tmp_path).links) == 4


@pytest.mark.parametrize("spoilt", [b"", b"{", b"\xff\xfe", b"[]", b'{"schema": 99}', None])
def test_a_spoilt_index_is_mended_by_the_next_page(tmp_path: Path, spoilt: bytes | None) -> None:
    publisher = PagePublisher(tmp_path)
    publisher.publish(plots("a"))
    if spoilt is None:
        (tmp_path / "index.json").unlink()
    else:
        (tmp_path / "index.json").write_bytes(spoilt)
    assert publisher.publish(plots("b")).index_trouble is None
    assert [text for _, text in index_page(tmp_path).links] == ["b", "a"]


def test_pages_that_others_wrote_are_listed_as_such(tmp_path: Path) -> None:
    publisher = PagePublisher(tmp_path)
    publisher.publish(plots("a"), origin=PageOrigin("run-1"))
    (tmp_path / "lute" / "page").mkdir(parents=True)
    (tmp_path / "lute" / "page" / "report.html").write_text("by other means")
    (tmp_path / "a" / "report.html").write_text("changed since")  # not the page that was recorded
    os.utime(tmp_path / "a" / "report.html", ns=(10**18, 10**18))
    (tmp_path / "a" / "page.json").read_text()
    index = publisher.rebuild_index()
    first, second = index.pages
    assert (first.display_name, first.origin, first.published_ns) == ("a", None, 10**18)
    assert (second.display_name, second.origin) == ("lute/page", None)
    assert "origin not known" in index_page(tmp_path).text


def test_what_cannot_be_a_page_is_not_listed(tmp_path: Path) -> None:
    publisher = PagePublisher(tmp_path)
    publisher.publish(plots("a"))
    (tmp_path / "report.html").write_text("at the root itself")
    (tmp_path / "b" / "report.html").mkdir(parents=True)
    (tmp_path / "c").symlink_to(tmp_path / "a")
    (tmp_path / "_taskgrove" / "report.html").write_text("x")
    (tmp_path / "bad\nname").mkdir()
    (tmp_path / "bad\nname" / "report.html").write_text("x")
    assert [page.display_name for page in publisher.rebuild_index().pages] == ["a"]


def test_records_that_lie_about_their_place_are_not_believed(tmp_path: Path) -> None:
    publisher = PagePublisher(tmp_path)
    publisher.publish(plots("a"))
    record = tmp_path / "a" / "page.json"
    told = json.loads(record.read_text())
    told["display_name"] = "../../etc"
    told["versions"] = [{"file": "../../x.html", "published_ns": 1, "size_bytes": 1, "sha256": "0"}]
    record.write_text(json.dumps(told))
    (page,) = publisher.rebuild_index().pages
    assert (page.display_name, page.versions) == ("a", ())
    # The same in the index itself, by which no file is found either:
    index = json.loads((tmp_path / "index.json").read_text())
    index["pages"][0]["versions"] = told["versions"]
    index["pages"][0]["display_name"] = "javascript:alert(1)"
    (tmp_path / "index.json").write_text(json.dumps(index))
    publisher.publish(plots("b"))
    addresses = [address for address, _ in index_page(tmp_path).links]
    assert addresses == ["./b/report.html", "./javascript%3Aalert%281%29/report.html"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("index.html", "<h1>Welcome to beamline 7</h1>"), ("index.json", '{"beamline": 7}')],
)
def test_an_index_that_somebody_else_made_is_left_as_it_is(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    page = PagePublisher(tmp_path).publish(plots("a"))
    assert page.file.exists()
    assert page.index_trouble is not None
    assert f"{tmp_path / name} was not written by taskgrove" in page.index_trouble
    assert (tmp_path / name).read_text() == text
    (tmp_path / name).unlink()
    assert PagePublisher(tmp_path).publish(plots("b")).index_trouble is None
    assert [text for _, text in index_page(tmp_path).links] == ["b", "a"]


def test_a_file_beside_a_page_that_somebody_else_made_is_left(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "page.json").write_text('{"width": 7}')
    page = PagePublisher(tmp_path).publish(plots("a"))
    assert "page.json was not written by taskgrove" in str(page.index_trouble)
    assert (tmp_path / "a" / "page.json").read_text() == '{"width": 7}'
    (tmp_path / "a" / "page.json").unlink()
    assert PagePublisher(tmp_path).publish(plots("a")).index_trouble is None


@pytest.mark.parametrize("keep_versions", [0, 1])
def test_a_page_that_somebody_else_made_is_kept_for_good(
    tmp_path: Path, keep_versions: int
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "report.html").write_text("by hand")
    publisher = PagePublisher(tmp_path, keep_versions=keep_versions)
    first = publisher.publish(plots("a"))
    assert first.former is not None
    for _ in range(3):
        publisher.publish(plots("a"))
    assert first.former.read_text() == "by hand"
    assert len(list((tmp_path / "a").glob("report-*.html"))) == 1 + keep_versions
