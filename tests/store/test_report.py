"""The report stands alone: no network, no script, nothing in it that a device could make act."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from taskgrove import LeafTask, MainTaskExecutor, Task
from taskgrove.events import AnalysisDetail
from taskgrove.events.code_revision import CodeRevision
from taskgrove.report import render_report, write_report
from taskgrove.store import Recorder
from taskgrove.store.history import History
from taskgrove.store.store import Store
from taskgrove.testing import Script
from taskgrove.view.record_view import told_of_run
from tests.store.kept_runs import beams, every_minute, keep, keep_beams, ran, retimed

EVIL = '<script>alert(1)</script><img src="http://x/y"> & \x1b[31m'


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as opened:
        yield opened


class Page(HTMLParser):
    """Gathers what a page would fetch or run, and the text that it shows."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"<{tag} {name}> runs something"
            assert name not in ("src", "srcset", "background", "poster", "action"), name
            if name == "href":
                self.links.append(str(value))
            if name == "id":
                self.ids.add(str(value))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def test_a_report_fetches_and_runs_nothing(store: Store) -> None:
    keep_beams(store, "a", failing=["pst-beam-02"])
    text = render_report(History(store), ["a"])
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(page.tags)
    assert page.open == []
    assert "@import" not in text
    assert "url(" not in text
    assert "default-src 'none'" in text
    assert "http" not in page.text


def test_it_says_what_matters(store: Store) -> None:
    source = {"kind": "map", "file": "/m.yaml", "text": "configure:\n  type: parallel\n"}
    keep_beams(
        store,
        "20260101T000000Z-aaaa0001",
        failing=["pst-beam-02"],
        source=source,
        versions={"python": "3.11.2"},
        labels={"shift": "night"},
    )
    page = Page(render_report(History(store), ["last"]))
    for words in (
        "20260101T000000Z-aaaa0001",
        "degraded",
        "PST success 2/3",
        "no lock",
        "mid-pst/beam/02",
        "pst-beam-03",
        "✓ completed",
        "2026-11-21 07:00:00",
        "3.11.2",
        "shift=night",
        "/m.yaml",
        "type: parallel",
        "operator",
    ):
        assert words in page.text, words


def test_a_step_that_an_operator_left_out_is_told_once(store: Store, tmp_path: Path) -> None:
    go_on = threading.Event()
    steps = [LeafTask.from_callable(lambda: None, name=name) for name in ("first", "second")]
    waits = LeafTask.from_callable(lambda: None if go_on.wait(200.0) else 1, name="waits")
    with (
        Recorder(store, spill_folder=tmp_path) as recorder,
        MainTaskExecutor() as executor,
    ):
        handle = executor.submit_main_task(
            Task("go", subtasks=[waits, *steps]), recorder=recorder, run_id="one"
        )
        assert handle.skip("go/first", "not needed", who="ann").fate == "done"
        go_on.set()
        assert handle.wait(200.0)
    (run,) = History(store).runs()
    assert told_of_run(run) == "first - left out by ann: not needed"


def test_several_runs_have_contents_that_lead_to_them(store: Store) -> None:
    for number in range(3):
        keep_beams(store, f"run-{number}", start=every_minute(number))
    history = History(store)
    page = Page(render_report(history, history.runs()))
    assert page.tags.count("article") == 3
    assert {link.removeprefix("#") for link in page.links} == page.ids
    assert len(page.links) == 3


def test_everything_is_escaped(store: Store) -> None:
    scripts = {"pst-beam-02": Script.fails(EVIL)}
    events = retimed(ran(beams(), scripts, run_id=EVIL))
    leaf = next(event for event in events if event.path.endswith("pst-beam-01"))
    number = events[-1].sequence + 1
    detail = AnalysisDetail(
        analysis=EVIL,
        parameters=msgspec.json.encode(
            {EVIL: EVIL, "list": [EVIL], "object": {"$": "object", "c": "m.C", "v": {"n": 5}}}
        ).decode(),
        environment={EVIL: EVIL},
        versions={EVIL: EVIL},
        argv=(EVIL,),
        summary=EVIL,
        summary_values=msgspec.json.encode({EVIL: EVIL}).decode(),
        payload=msgspec.json.encode({EVIL: [EVIL]}).decode(),
        code=CodeRevision(EVIL, EVIL, EVIL, True),
    )
    events.append(msgspec.structs.replace(leaf, sequence=number, kind="note", detail=detail))
    keep(
        store,
        events,
        command=EVIL,
        host=EVIL,
        user=EVIL,
        labels={EVIL: EVIL},
        source={"kind": "map", "file": EVIL, "text": EVIL, EVIL: [EVIL]},
        argv=[EVIL],
        versions={EVIL: EVIL},
        state="lost",
        state_note=EVIL,
    )
    text = render_report(History(store), ["last"])
    page = Page(text)
    assert not {"script", "img"} & set(page.tags)
    assert "\x1b" not in text
    assert "<script" not in text
    assert "m.C" not in text  # of an object its fields are told
    assert page.text.count("<script>alert(1)</script>") > 10


def test_a_lost_run_is_told_as_lost(store: Store) -> None:
    events = retimed(ran(beams(), run_id="r"))[:12]
    keep(store, events, state="lost", state_note="its process is gone")
    page = Page(render_report(History(store), ["r"]))
    assert "lost" in page.text
    assert "its process is gone" in page.text
    assert "lost; last event" in page.text


def test_a_long_text_is_cut(store: Store) -> None:
    keep_beams(store, "r", source={"kind": "map", "text": "x" * 100_000})
    assert len(render_report(History(store), ["r"])) < 60_000


def test_it_is_written_as_a_file(store: Store, tmp_path: Path) -> None:
    keep_beams(store, "r")
    file = write_report(History(store), ["r"], tmp_path / "run.html")
    assert file.read_text("utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.browser
def test_a_browser_asks_for_nothing_else_and_finds_no_error(store: Store, tmp_path: Path) -> None:
    from tests.analysis.chromium import Chromium, why_no_chromium

    if (reason := why_no_chromium()) is not None:
        pytest.skip(reason)
    scripts = {"pst-beam-02": Script.fails(EVIL)}
    source = {"kind": "map", "file": "/m.yaml", "text": EVIL}
    keep_beams(store, "r", scripts=scripts, source=source)
    file = write_report(History(store), ["r"], tmp_path / "run.html")
    browser = Chromium()
    try:
        page = browser.open(file.as_uri())
        assert page.foreign() == []
        assert page.errors == []
        assert EVIL[:8] in str(page.evaluate("document.body.innerText"))
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.dark()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != paper
        page.close()
    finally:
        browser.close()
