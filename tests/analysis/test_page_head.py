"""What a page tells of itself: its head, the files beside it, its small picture."""

from __future__ import annotations

import json
import os
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from taskgrove.analysis.drawn_page import DrawnPage
from taskgrove.analysis.pages import PagePublisher
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.results import ElogSummaryPlots
from taskgrove.analysis.summary_plots import convert_payload, draw_page
from taskgrove.errors import AnalysisError
from taskgrove.testing import ManualClock
from tests.analysis import drawings

ORIGIN = PageOrigin("run-7", "configure/fit", "fit-rings", 1, "exp1", 12)


class Head(HTMLParser):
    """The texts and the links of the head of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.text = ""
        self.links: list[str] = []
        self.tags: list[str] = []
        self.is_open = True
        found = re.search(r'<header class="taskgrove".*?</header>', page.read_text(), re.DOTALL)
        self.is_there = found is not None
        self.feed("" if found is None else found[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href" and value]
        if tag == "details":
            self.is_open = "open" in dict(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_page_says_run_analysis_parameters_and_leads_back(tmp_path: Path) -> None:
    figure = drawings.matplotlib_figure()
    parameters = {"distance": "0.1", "rings": "5"}
    page = PagePublisher(tmp_path).publish(
        ElogSummaryPlots("scans/deep/fit", figure), origin=ORIGIN, parameters=parameters
    )
    head = Head(page.file)
    for words in ("scans / deep / fit", "analysisfit-rings", "experimentexp1", "run12",
                  "taskgrove runrun-7", "stepconfigure/fit", "distance0.1", "rings5"):  # fmt: skip
        assert words in head.text
    assert [(page.file.parent / link).resolve() for link in head.links] == [
        tmp_path.resolve() / "index.html"
    ]
    assert head.is_open


def test_many_parameters_are_folded_and_very_many_are_counted(tmp_path: Path) -> None:
    parameters = {f"p{number}": "x" * 5_000 for number in range(600)}
    page = PagePublisher(tmp_path).publish(ElogSummaryPlots("a", "text"), parameters=parameters)
    head = Head(page.file)
    assert not head.is_open
    assert "600 parameters" in head.text
    assert "100 more are in the record of the run" in head.text
    assert page.size_bytes < 1_000_000
    assert "originnot known" in head.text


@pytest.mark.usefixtures("berlin")
def test_times_are_local_with_utc_beside(tmp_path: Path) -> None:
    clock = ManualClock()
    clock.advance(1_772_368_205 - clock.wall_ns() / 1e9)
    page = PagePublisher(tmp_path, clock=clock).publish(ElogSummaryPlots("a", "text"))
    for file in (page.file, tmp_path / "index.html"):
        assert (
            '<time datetime="2026-03-01T12:30:05Z" title="2026-03-01 12:30:05 UTC">'
            "2026-03-01 13:30:05 +01:00</time>"
        ) in file.read_text()


def test_what_the_head_says_is_text(tmp_path: Path) -> None:
    evil = "</header><script>alert(1)</script>\u202e\x1b"
    origin = PageOrigin(evil, evil, evil, 1, evil, evil)
    page = PagePublisher(tmp_path).publish(
        ElogSummaryPlots("<script>x<b>/'\"&", "words"), origin=origin, parameters={evil: evil}
    )
    assert "<script" not in page.file.read_text()
    assert "\u202e" not in page.file.read_text()
    assert Head(page.file).text.count("<script>alert(1)</script>\\u202e\\u001b") == 7


def test_a_document_of_an_author_has_no_head(tmp_path: Path) -> None:
    page = PagePublisher(tmp_path).publish(
        ElogSummaryPlots("a", b"<!doctype html><p>mine"), origin=ORIGIN, parameters={"a": "1"}
    )
    assert page.file.read_bytes() == b"<!doctype html><p>mine"


# -- files --------------------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "final map.ccp4").write_bytes(b"density" * 200)
    (folder / "table.csv").write_text("a,b\n1,2\n")
    return folder


def test_files_among_figures_are_published_beside_the_page(tmp_path: Path, work: Path) -> None:
    figures = {
        "fit": drawings.matplotlib_figure(),
        "the map": Path("final map.ccp4"),
        "more": [work / "table.csv", work / "table.csv"],
    }
    page = PagePublisher(tmp_path / "pages").publish(ElogSummaryPlots("a/b", figures), folder=work)
    assert [(file.name, file.label, file.size_bytes) for file in page.files] == [
        ("final map.ccp4", "the map", 1400), ("table.csv", "more", 8),
    ]  # fmt: skip
    for file in page.files:
        assert page.place_of(file).read_bytes() == (work / file.name).read_bytes()
    assert page.reference()["files"] == [str(page.place_of(file)) for file in page.files]
    head = Head(page.file)
    assert "final map.ccp4 (the map) · 1 kB" in head.text
    assert "table.csv (more) · 8 B" in head.text
    index = (tmp_path / "pages" / "index.html").read_text()
    assert "2 files" in index
    for file in page.files:
        assert f"./a/b/_taskgrove/{file.key}/" in index
    content = page.file.read_text()
    assert content.count('type="radio"') == 1  # the only tab is that of the figure


def test_a_document_of_an_author_reads_the_files_beside_it(tmp_path: Path, work: Path) -> None:
    (work / "final map.ccp4.gz").write_bytes(b"packed")
    html = (
        b"<!doctype html><a href='taskgrove-file:final map.ccp4.gz'>x</a>"
        b"<script>fetch('taskgrove-file:final map.ccp4')</script>taskgrove-file:other"
    )
    figures = [html, work / "final map.ccp4", work / "final map.ccp4.gz"]
    page = PagePublisher(tmp_path / "pages").publish(ElogSummaryPlots("a", figures))
    plain, packed = page.files
    assert page.file.read_text() == (
        f"<!doctype html><a href='_taskgrove/{packed.key}/final%20map.ccp4.gz'>x</a>"
        f"<script>fetch('_taskgrove/{plain.key}/final%20map.ccp4')</script>taskgrove-file:other"
    )


def test_a_page_may_hold_files_only(tmp_path: Path, work: Path) -> None:
    page = PagePublisher(tmp_path / "pages").publish(ElogSummaryPlots("a", work / "table.csv"))
    assert [file.name for file in page.files] == ["table.csv"]


def test_files_go_with_the_last_version_that_names_them(tmp_path: Path, work: Path) -> None:
    publisher = PagePublisher(tmp_path / "pages", keep_versions=1)
    place = tmp_path / "pages" / "a" / "_taskgrove"

    def publish(content: str) -> None:
        (work / "table.csv").write_text(content)
        publisher.publish(
            ElogSummaryPlots("a", [drawings.matplotlib_figure(content), work / "table.csv"])
        )

    def kept() -> set[str]:
        return {file.read_text() for file in place.rglob("table.csv")}

    publish("one")
    publish("two")
    assert kept() == {"one", "two"}
    publish("three")
    assert kept() == {"two", "three"}
    assert len(list(place.glob("*.svg"))) == 2
    publisher.publish(ElogSummaryPlots("a", "no file"))
    publisher.publish(ElogSummaryPlots("a", "no file"))
    assert list(place.iterdir()) == []


def test_plots_with_files_cross_to_another_process(work: Path, monkeypatch: Any) -> None:
    from taskgrove.analysis.plain.form import from_plain, to_plain

    monkeypatch.chdir(work)
    plots = ElogSummaryPlots("a", ["words", Path("table.csv")])
    (summary, _) = convert_payload(([{"n": 3}, plots], None))
    sent = from_plain(json.loads(json.dumps(to_plain(summary))))
    drawn = sent[1].figures
    assert isinstance(drawn, DrawnPage)
    assert drawn.files[0].file == str(work / "table.csv")
    assert draw_page(sent[1]) is drawn


@pytest.mark.parametrize("name", ["gone.csv", ".", "odd\nname", "a_link"])
def test_a_file_that_cannot_be_published_is_named(work: Path, name: str) -> None:
    (work / "odd\nname").write_text("x")
    (work / "a_link").symlink_to("/nowhere")
    with pytest.raises(AnalysisError, match="cannot be published"):
        draw_page(ElogSummaryPlots("a", [Path(name)]), work)


def test_a_pipe_does_not_stop_the_publication(work: Path) -> None:
    os.mkfifo(work / "pipe")
    with pytest.raises(AnalysisError, match="no regular file"):
        draw_page(ElogSummaryPlots("a", work / "pipe"))


def test_a_file_that_is_too_large_leaves_the_former_page(tmp_path: Path, work: Path) -> None:
    publisher = PagePublisher(tmp_path / "pages", file_limit_bytes=100)
    publisher.publish(ElogSummaryPlots("a", "good"))
    with pytest.raises(AnalysisError, match="more than 100 bytes"):
        publisher.publish(ElogSummaryPlots("a", [work / "table.csv", work / "final map.ccp4"]))
    assert "good" in (tmp_path / "pages" / "a" / "report.html").read_text()
    assert list((tmp_path / "pages" / "a" / "_taskgrove").iterdir()) == []


def test_records_of_files_that_lie_are_not_believed(tmp_path: Path, work: Path) -> None:
    root = tmp_path / "pages"
    publisher = PagePublisher(root)
    publisher.publish(ElogSummaryPlots("a", work / "table.csv"))
    index = json.loads((root / "index.json").read_text())
    index["pages"][0]["picture"] = "../../x.png"
    index["pages"][0]["files"] = [
        {"name": name, "key": key, "size_bytes": 1, "sha256": "0"}
        for name, key in (("..", "0" * 16), ("x", "../.."), ("a/../../b", "0" * 16))
    ]
    (root / "index.json").write_text(json.dumps(index))
    publisher.publish(ElogSummaryPlots("b", "words"))
    assert ".." not in (root / "index.html").read_text()


# -- small pictures -----------------------------------------------------------------------------

ICON = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x10\x00\x00\x00\x10" + b"\x00" * 200


@pytest.mark.parametrize(
    ("figures", "suffix", "kind"),
    [
        (drawings.matplotlib_figure, "svg", "image"),
        (lambda: drawings.matplotlib_figure(points=30_000), "png", "image"),
        (drawings.pil_image, "png", "image"),
        (lambda: ["words", drawings.matplotlib_figure()], "svg", "image"),
        (lambda: ICON, "", "image"),
        (drawings.bokeh_plot, "", "Bokeh"),
        (drawings.panel_tabs, "png", "Panel"),
        (drawings.plotly_figure, "", "plotly"),
        (drawings.pandas_table, "", "table"),
        (lambda: "words", "", "text"),
        (lambda: b"<!doctype html><p>mine", "", "HTML"),
    ],
)
def test_the_index_shows_a_picture_or_the_kind_of_a_page(
    tmp_path: Path, figures: Any, suffix: str, kind: str
) -> None:
    PagePublisher(tmp_path).publish(ElogSummaryPlots("a", figures()))
    (page,) = json.loads((tmp_path / "index.json").read_text())["pages"]
    assert page["kind"] == kind
    shown = (tmp_path / "index.html").read_text()
    if suffix:
        assert page["picture"].endswith(f".{suffix}")
        assert (tmp_path / "a" / "_taskgrove" / page["picture"]).stat().st_size <= 300_000
        assert f'<img src="./a/_taskgrove/{page["picture"]}" alt=""' in shown
    else:
        assert f'<span class="tile" aria-hidden="true"><bdi>{kind}</bdi></span>' in shown


def test_a_large_picture_is_made_smaller(tmp_path: Path) -> None:
    from io import BytesIO

    from PIL import Image

    noise = Image.effect_noise((1000, 1000), 80)
    data = BytesIO()
    noise.save(data, format="PNG")
    assert len(data.getvalue()) > 300_000
    PagePublisher(tmp_path).publish(ElogSummaryPlots("a", data.getvalue()))
    (picture,) = (tmp_path / "a" / "_taskgrove").iterdir()
    with Image.open(picture) as small:
        assert small.size == (360, 360)


def test_tables_of_pandas_are_drawn(tmp_path: Path) -> None:
    page = PagePublisher(tmp_path).publish(ElogSummaryPlots("a", drawings.pandas_table()))
    content = page.file.read_text()
    assert "<td>20.50</td>" in content
    assert "&lt;script&gt;" in content
    assert "figure table{border-collapse" in content
