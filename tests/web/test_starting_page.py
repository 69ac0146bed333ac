"""A run that is started on the page in a real browser, and that its server does not outlive."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from taskgrove.store import Store
from taskgrove.store.history import History
from tests.analysis.chromium import Chromium, Page
from tests.cli.command_line import environment
from tests.free_port import free_port
from tests.store.recording import eventually
from tests.web.browsing import keep_picture, open_page, state_of
from tests.web.page_process import PageProcess
from tests.web.test_starting import MANAGER, MAP

pytestmark = [
    pytest.mark.browser,
    pytest.mark.leaks("the browser of all these tests starts and ends its helpers as it likes"),
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "map.yaml").write_text(MAP)
    (tmp_path / "site_manager.py").write_text(MANAGER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def serve(place: Path) -> PageProcess:
    return PageProcess(
        place / "runs.db", free_port(), environment(XDG_STATE_HOME=str(place)),
        "--map", "map.yaml", "--manager", "site_manager:Manager",
    )  # fmt: skip


def choose(page: Page, command: str) -> None:
    page.wait_for("document.querySelector('#command')")
    page.evaluate(f"""(() => {{
        const select = document.querySelector('#command');
        select.value = [...select.options].find(
          (option) => JSON.parse(option.value)[1] === {json.dumps(command)}).value;
        select.dispatchEvent(new Event('change'));
    }})()""")


def type_in(page: Page, selector: str, text: str) -> None:
    page.evaluate(f"""(() => {{
        const field = document.querySelector({json.dumps(selector)});
        field.value = {json.dumps(text)};
        field.dispatchEvent(new Event('input'));
    }})()""")


def press(page: Page, selector: str) -> None:
    page.wait_for(f"document.querySelector({json.dumps(selector)})")
    page.evaluate(f"document.querySelector({json.dumps(selector)}).click()")


def test_a_run_that_is_started_on_the_page_outlives_the_server_and_its_resume_too(
    chromium: Chromium, opened: list[Page], place: Path
) -> None:
    server = serve(place)
    try:
        page = open_page(chromium, opened, server.link, server.port)
        press(page, "#start-link")
        choose(page, "waits")
        type_in(page, "#argin", '{"a": ')
        press(page, "#dry")
        page.wait_for("document.querySelector('[role=alert]')")
        assert "line 1" in page.evaluate("document.querySelector('[role=alert]').innerText")
        keep_picture(page, "start-refused")
        page.evaluate("""(() => {
            const chosen = new DataTransfer(), field = document.querySelector('[type=file]');
            chosen.items.add(new File(['{"internal": {"depth": 3}}'], 'argument.json'));
            field.files = chosen.files;
            field.dispatchEvent(new Event('change'));
        })()""")
        page.wait_for("document.querySelector('#argin').value.includes('depth')")
        press(page, "#dry")
        page.wait_for("document.querySelector('#start')")
        assert "until_told on Manager" in page.evaluate("document.querySelector('.tree').innerText")
        keep_picture(page, "start-checked")
        (place / "map.yaml").write_text(f"# another text\n{MAP}")
        press(page, "#start")
        page.wait_for("document.querySelector('[role=alert]')")
        said = page.evaluate("document.querySelector('[role=alert]').innerText")
        assert "has changed since the dry run" in said
        assert "new dry run" in said
        assert page.evaluate("document.querySelector('#start')") is None
        press(page, "#dry")
        page.wait_for("document.querySelector('#start')")
        type_in(page, "[name=why]", "after <b>lunch</b>")
        type_in(page, "[name=who]", "Ann")
        press(page, "#start")
        page.wait_for(f"{state_of(page, 'waits/first')} === 'running'")
        page.wait_for("document.querySelector('.facts').innerText.includes('after <b>lunch</b>')")
        keep_picture(page, "started")
        runner = psutil.Process(int((place / "begun").read_text()))
    finally:
        server.kill()
    assert runner.is_running()
    (place / "go").touch()
    with Store.open(place / "runs.db") as store:
        history = History(store)
        eventually(lambda: history.find("last").ended_ns is not None)
        run = history.find("last")
        assert run.outcome == "ok"
        assert run.source["argin"] == {"internal": {"depth": 3}}
        assert run.labels == {"by": "Ann", "why": "after <b>lunch</b>"}


def test_a_failed_run_is_resumed_on_the_page_after_its_plan(
    chromium: Chromium, opened: list[Page], place: Path
) -> None:
    (place / "broken").touch()
    server = serve(place)
    try:
        page = open_page(chromium, opened, server.link, server.port)
        press(page, "#start-link")
        choose(page, "good")
        press(page, "#dry")
        press(page, "#start")
        press(page, "#resume")
        page.wait_for("document.querySelector('li[data-action=redo]')")
        redone = "document.querySelector('li[data-action=redo]').dataset.path"
        assert page.evaluate(redone) == "good/second"
        keep_picture(page, "resume-plan")
        (place / "broken").unlink()
        first = page.evaluate("location.pathname")
        page.evaluate("document.querySelector('#dialog button.main').click()")
        page.wait_for(f"location.pathname !== {json.dumps(first)}")
        page.wait_for("document.querySelector('h1')?.innerText.includes('ok')")
        assert "resumes" in page.evaluate("document.querySelector('.facts').innerText")
    finally:
        server.stop()


@pytest.mark.thorough
def test_a_lost_run_is_recovered_and_resumed_on_the_page(
    chromium: Chromium, opened: list[Page], place: Path
) -> None:
    server = serve(place)
    try:
        page = open_page(chromium, opened, server.link, server.port)
        press(page, "#start-link")
        choose(page, "waits")
        press(page, "#dry")
        press(page, "#start")
        page.wait_for(f"{state_of(page, 'waits/first')} === 'running'")
        psutil.Process(int((place / "begun").read_text())).kill()
        page.wait_for("document.querySelector('h1')?.innerText.includes('lost')")
        press(page, "#resume")
        page.wait_for("document.querySelector('#dialog').innerText.includes('Its runner is gone')")
        keep_picture(page, "recover")
        press(page, "#dialog button.main")
        page.wait_for("document.querySelector('li[data-action=redo]')")
        assert "May run twice" in page.evaluate("document.querySelector('#dialog').innerText")
        keep_picture(page, "resume-doubt")
        (place / "go").touch()
        first = page.evaluate("location.pathname")
        press(page, "#dialog button.main")
        page.wait_for(f"location.pathname !== {json.dumps(first)}")
        page.wait_for("document.querySelector('h1')?.innerText.includes('ok')")
        assert page.errors == []
    finally:
        server.stop()


def test_a_large_and_hostile_map_is_text_and_few_elements(
    chromium: Chromium, opened: list[Page], place: Path
) -> None:
    hostile = "<img src=//evil.example/x onerror=alert(1)> \u202egnp.exe"
    tasks = {
        f"step <b>{number}": {"handler": "internal", "command_name": "well"}
        for number in range(2_000)
    }
    command = {"type": "parallel", "description": hostile, "tasks": tasks}
    (place / "map.yaml").write_text(json.dumps({"<script>alert(1)": command}))
    server = serve(place)
    try:
        page = open_page(chromium, opened, server.link, server.port)
        press(page, "#start-link")
        page.wait_for("document.querySelector('#command option')")
        assert "<img" in page.evaluate("document.querySelector('form').innerText")
        press(page, "#dry")
        page.wait_for("document.querySelector('#plan')")
        page.evaluate("document.querySelector('.tree').scrollTop = 1e6")
        page.wait_for("document.querySelector('.tree').innerText.includes('step <b>1999')")
        assert page.evaluate("document.querySelectorAll('.line').length") <= 300
        for width, name in ((420, "start-narrow"), (1400, "start-wide")):
            page.size(width, 900)
            wide = "document.documentElement.scrollWidth <= innerWidth"
            page.wait_for(wide)
            keep_picture(page, name)
        page.dark()
        keep_picture(page, "start-dark")
        assert page.errors == []
        assert [url for url in page.foreign() if f"127.0.0.1:{server.port}/" not in url] == []
    finally:
        server.stop()
