"""The page in a real browser: live, true after every break, harmless, and as good as a terminal.

Pictures of the page are kept in the folder that ``PAGE_PICTURES`` names, to be looked at.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskgrove import LeafTask, MainTaskExecutor, Task, TaskExecutionType
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import ComposedDetail, NoteDetail
from taskgrove.store import Recorder, Store
from tests.analysis.chromium import Chromium, Page, why_no_chromium
from tests.cli.command_line import environment, start, taskgrove
from tests.free_port import free_port
from tests.store.recording import PATIENCE_S, end_and_wait, event, new_recorder, run_recorded
from tests.web.conftest import Site
from tests.web.live_run import LiveRun, kept_up_to
from tests.web.page_process import PageProcess, ask
from tests.web.proxies import Proxy

pytestmark = [
    pytest.mark.browser,
    pytest.mark.leaks("the browser of all these tests starts and ends its helpers as it likes"),
]
_PICTURES = os.environ.get("PAGE_PICTURES", "")

MAP = """
steered:
  type: sequential
  skip_subtasks: true
  tasks:
    first: {handler: internal, command_name: well}
    middle: {handler: internal, command_name: badly_once, hold: on_failure}
    last: {handler: internal, command_name: well}
"""
MANAGER = """
class Manager:
    calls = 0

    def well(self):
        return 0, "fine"

    def badly_once(self):
        Manager.calls += 1
        return (0, "it went well now") if Manager.calls > 1 else (3, "no lock")
"""
#: Every line of the tree, read by scrolling through it; and the most that were there at once.
READ_ALL = """
(async () => {
  const box = document.querySelector('.tree');
  const states = {};
  let most = 0;
  const frame = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  box.scrollTop = 0;
  for (let before = -1; box.scrollTop !== before;) {
    await frame();
    const lines = [...document.querySelectorAll('.line')];
    most = Math.max(most, lines.length);
    for (const line of lines) states[line.dataset.path] = line.dataset.state;
    before = box.scrollTop;
    box.scrollTop = before + box.clientHeight;
    if (box.scrollTop === before) break;
    before = -1;
  }
  return {states, most};
})()
"""


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
def opened(chromium: Chromium) -> Iterator[list[Page]]:
    """The pages that a test opens; each is closed."""
    pages: list[Page] = []
    yield pages
    for page in pages:
        page.close()


def open_page(chromium: Chromium, opened: list[Page], link: str, port: int) -> Page:
    """Open the page by its link, and wait until it shows the runs."""
    page = chromium.open(link)
    opened.append(page)
    shown = "location.pathname === '/' && document.querySelector('main table, main .filter + p')"
    while True:
        try:
            page.wait_for(shown)
            break
        except AssertionError as exc:  # the link's page goes on to the page itself
            if "navigated" not in str(exc):
                raise
    page.requests[:] = [url for url in page.requests if f"//127.0.0.1:{port}/" not in url]
    return page


def keep_picture(page: Page, name: str) -> None:
    if _PICTURES:
        (Path(_PICTURES) / f"{name}.png").write_bytes(page.picture())


def go(page: Page, run_id: str) -> None:
    page.wait_for(f"document.querySelector('[data-run={json.dumps(run_id)}] a')")
    page.evaluate(f"document.querySelector('[data-run={json.dumps(run_id)}] a').click()")
    page.wait_for("document.querySelector('.line') && document.querySelector('#why')")


def state_of(page: Page, path: str) -> str:
    return f"document.querySelector('[data-path={json.dumps(path)}]')?.dataset.state"


def test_a_held_step_is_tried_again_on_the_page(
    chromium: Chromium, opened: list[Page], tmp_path: Path
) -> None:
    (tmp_path / "map.yaml").write_text(MAP)
    (tmp_path / "site_manager.py").write_text(MANAGER)
    record = tmp_path / "runs.db"
    server = PageProcess(record, free_port(), environment(XDG_STATE_HOME=str(tmp_path)))
    try:
        page = open_page(chromium, opened, server.link, server.port)
        page.wait_for("document.body.textContent.includes('No run has been recorded yet')")
        keep_picture(page, "empty")
        words = ("run", "map.yaml", "steered", "--manager", "site_manager:Manager")
        with start(*words, "--db", str(record), "--no-live", cwd=tmp_path) as run:
            page.wait_for("document.querySelector('td.outcome')?.textContent.includes('running')")
            run_id = page.evaluate("document.querySelector('[data-run]').dataset.run")
            go(page, run_id)
            page.wait_for("document.querySelector('.badge.live')")
            page.wait_for("document.querySelector('[data-state=held]')")
            page.evaluate("document.querySelector('[data-state=held]').click()")
            page.wait_for("document.querySelector('[data-act=retry]')")
            keep_picture(page, "held")
            page.evaluate("document.querySelector('[data-act=retry]').click()")
            page.wait_for("document.querySelector('dialog[open] textarea')")
            page.evaluate(
                "document.querySelector('dialog textarea').value = 'the lock is free';"
                "document.querySelector('dialog [name=who]').value = 'ann'"
            )
            keep_picture(page, "retry")
            page.evaluate("document.querySelector('dialog button.main').click()")
            page.wait_for("document.querySelector('dialog .told.done')")
            page.evaluate("document.querySelector('#dialog-close').click()")
            page.wait_for("document.querySelector('h1').textContent.includes('ok')")
            assert run.wait(PATIENCE_S) == 0
        read = page.evaluate(READ_ALL)
        shown = shown_of(record, run_id)
        assert read["states"] == dict.fromkeys(shown, "completed")
        told = ask_requests(server, record, run_id)
        assert [(it["verb"], it["who"], it["why"]) for it in told] == [
            ("retry", "ann", "the lock is free")
        ]
        page.size(420, 800)
        page.dark()
        keep_picture(page, "narrow-dark")
        page.wait_for("document.documentElement.scrollWidth <= innerWidth")
        assert page.errors == []
        assert [url for url in page.foreign() if f"127.0.0.1:{server.port}/" not in url] == []
    finally:
        assert server.stop() == 0


def shown_of(record: Path, run_id: str) -> dict[str, Any]:
    done = taskgrove("runs", "show", run_id, "--db", str(record), "--json", cwd=record.parent)
    return {node["path"]: node for node in json.loads(done.stdout)["nodes"]}


def ask_requests(server: PageProcess, record: Path, run_id: str) -> list[dict[str, Any]]:
    from taskgrove.store.history import History
    from taskgrove.store.queries.listing import plain_of

    assert ask(server.port, f"/api/runs/{run_id}").status == 403
    with History.open(record) as history:
        return [plain_of(row.request) for row in history.requests(run_id)]


@pytest.mark.parametrize("count", [2_000, pytest.param(10_000, marks=pytest.mark.thorough)])
def test_every_leaf_of_a_large_run_is_shown_as_the_record_has_it(
    chromium: Chromium, opened: list[Page], site: Site, tmp_path: Path, count: int
) -> None:
    def badly() -> None:
        raise ValueError("no lock")

    leaves = [
        LeafTask.from_callable(
            badly if number % (count // 10) == 7 else (lambda: None), name=f"l{number}"
        )
        for number in range(count)
    ]
    task = Task("large", TaskExecutionType.PARALLEL, subtasks=leaves)
    page = open_page(chromium, opened, site.server.new_link(), site.server.port)
    with (
        new_recorder(site.record, tmp_path / "more") as recorder,
        MainTaskExecutor(max_workers=4) as executor,
    ):
        handle = executor.submit_main_task(task, run_id="large", recorder=recorder)
        page.wait_for("document.querySelector('[data-run=large]')")
        go(page, "large")
        assert handle.wait(PATIENCE_S)
    page.wait_for("document.querySelector('h1').textContent.includes('failed')")
    page.wait_for(f"{state_of(page, 'large')} === 'failed'")
    keep_picture(page, "large")
    read = page.evaluate(READ_ALL)
    nodes = site.get("/api/runs/large/rows").data["nodes"]
    shown = shown_of(site.record, "large")
    assert read["states"] == {node["path"]: node["state"] for node in nodes}
    assert len(read["states"]) == len(shown) == count + 1
    for path, node in shown.items():
        assert (node["status"] == "FAILED") == (read["states"][path] == "failed"), path
    assert read["most"] <= 300
    keys = "document.querySelector('.tree').dispatchEvent(new KeyboardEvent('keydown', {key: %r}))"
    page.evaluate(keys % "End")
    last = f"large/l{count - 1}"
    page.wait_for(f"document.querySelector('[aria-selected=true]')?.dataset.path === '{last}'")
    page.evaluate(keys % "ArrowLeft")
    page.wait_for("document.querySelector('[aria-selected=true]')?.dataset.path === 'large'")
    page.evaluate("document.querySelector('.tools input').click()")
    page.wait_for("document.querySelectorAll('.line').length === 11")
    assert page.errors == []


HOSTILE = {
    "<script>alert(1)": "<img src=x onerror=alert(1)>",
    "<b onclick=alert(1)>bold": "javascript:alert(1)",
    "turned": "\u202egnp.exe \u2066isolated\u202d \x1b[31mred\x07",
    "${alert(1)}{{7*7}}": "x" * 1_000_000,
    "'\"><svg onload=alert(1)>": "</bdi></main><script src=//evil.example/x.js></script>",
}


def test_what_others_say_is_text(
    chromium: Chromium, opened: list[Page], site: Site, tmp_path: Path
) -> None:
    def saying(words: str) -> Any:
        def fail() -> None:
            raise ValueError(words)

        return fail

    leaves = [LeafTask.from_callable(saying(text), name=name) for name, text in HOSTILE.items()]
    task = Task("<h1>hostile", TaskExecutionType.PARALLEL, subtasks=leaves)
    with new_recorder(site.record, tmp_path / "more") as recorder:
        run_recorded(recorder, "hostile", task)
    page = open_page(chromium, opened, site.server.new_link(), site.server.port)
    go(page, "hostile")
    page.wait_for("document.querySelectorAll('.line').length === 6")
    assert (
        page.evaluate(
            "document.querySelectorAll('main script, main img, main svg, main b b').length"
        )
        == 0
    )
    text = page.evaluate("document.querySelector('.tree').textContent")
    for shown in (
        "<script>alert(1)",
        "<img src=x onerror=alert(1)>",
        "${alert(1)}{{7*7}}",
    ):
        assert shown in text
    assert "\u202e" not in text
    assert "gnp.exe" in text
    words = "import('/static/words.js').then(it => it.shown('a\\u202eb\\u0000c\\ud800d'))"
    assert page.evaluate(words) == "a\\u202eb\\u0000c\\ud800d"
    for number in range(1, 6):  # the root is no leaf, and has no cause
        page.evaluate(f"document.querySelectorAll('.line')[{number}].click()")
        page.wait_for("document.querySelector('.node dl')?.textContent.includes('status')")
        page.wait_for("document.querySelector('.node')?.textContent.includes('cause')")
    keep_picture(page, "hostile")
    page.evaluate("document.querySelector('nav a').click()")
    page.wait_for("document.querySelector('[data-run=hostile]')")
    page.wait_for("document.querySelector('table').textContent.includes('<h1>hostile')")
    assert page.errors == []
    assert [url for url in page.foreign() if f"127.0.0.1:{site.server.port}/" not in url] == []


def test_a_page_lives_on_after_its_server_was_killed_behind_a_proxy(
    chromium: Chromium, opened: list[Page], record: Path, tmp_path: Path
) -> None:
    port, place = free_port(), environment(XDG_STATE_HOME=str(tmp_path))
    server = PageProcess(record, port, place)
    proxy = Proxy(port)
    elapsed = "document.querySelector('.elapsed').textContent"
    try:
        with new_recorder(record, tmp_path / "more") as recorder:
            run = LiveRun(recorder, now_ns=time.time_ns())
            link = server.link.replace(f":{port}/", f":{proxy.port}/")
            page = open_page(chromium, opened, link, proxy.port)
            go(page, "live")
            page.wait_for("document.querySelector('.badge.live')")
            before = page.evaluate(elapsed)
            page.wait_for(f"{elapsed} !== {json.dumps(before)}")  # the time goes on
            page.evaluate("window.neverReloaded = true")
            proxy.is_gone = True
            server.kill()
            page.wait_for(
                "document.querySelector('.badge.broken').textContent.includes('not connected')"
            )
            keep_picture(page, "not-connected")
            stands, count = page.evaluate(elapsed), proxy.refused_count
            while proxy.refused_count < count + 3:  # the page tries again after each 502
                page.wait_for("document.querySelector('.badge.broken')")
            assert page.evaluate(elapsed) == stands
            run.end_leaf("leaf-0")
            with Store.open(record) as store:
                kept_up_to(store, run)
            server = PageProcess(record, port, place)
            proxy.is_gone = False
            page.wait_for("document.querySelector('.badge.live')")
            page.wait_for(f"{state_of(page, 'root/leaf-0')} === 'completed'")
            page.wait_for(f"{elapsed} !== {json.dumps(stands)}")
            end_and_wait(recorder, "live")
        assert page.evaluate("window.neverReloaded") is True
    finally:
        proxy.close()
        if server.is_alive:
            server.stop()


def test_a_tab_that_slept_catches_up(
    chromium: Chromium, opened: list[Page], site: Site, tmp_path: Path
) -> None:
    page = open_page(chromium, opened, site.server.new_link(), site.server.port)
    page.wait_for("document.querySelector('.badge.live')")
    chromium.call("Page.setWebLifecycleState", {"state": "frozen"}, page.session)
    with new_recorder(site.record, tmp_path / "more") as recorder:
        run_recorded(recorder, "asleep")
    chromium.call("Page.setWebLifecycleState", {"state": "active"}, page.session)
    page.wait_for("document.querySelector('[data-run=asleep]')")
    page.wait_for("document.querySelector('.badge.live')")


def timed_run(recorder: Recorder) -> None:
    """Record a sequence: a (1 s), two side by side (1 s and 5 s, tried twice), b (2 s)."""
    numbers = itertools.count(1)
    observe = recorder.begin_run("timed", RunAbout(command="timed"))
    kinds: dict[str, tuple[Any, tuple[str, ...]]] = {
        "timed": ("SEQUENTIAL", ("a", "both", "b")), "timed/a": ("INTERNAL", ()),
        "timed/both": ("PARALLEL", ("short", "long")), "timed/both/short": ("INTERNAL", ()),
        "timed/both/long": ("INTERNAL", ()), "timed/b": ("INTERNAL", ()),
    }  # fmt: skip
    base_ns = 1_700_000_000_000_000_000

    def tell(path: str, at_s: float, **fields: Any) -> None:
        made = {"path": path, "wall_ns": base_ns + int(at_s * 1e9), "progress": None, **fields}
        observe(event("timed", next(numbers), **made))

    for path, (kind, children) in kinds.items():
        detail = ComposedDetail(kind, root="/" not in path, children=children)
        tell(path, 0, kind="composed", status=None, detail=detail)
    times = {
        "timed": (0, 8), "timed/a": (0, 1), "timed/both": (1, 6), "timed/both/short": (1, 2),
        "timed/both/long": (1, 6), "timed/b": (6, 8),
    }  # fmt: skip
    ends = {"status": TaskStatus.COMPLETED, "result_code": ResultCode.OK}
    told = [(at[0], 0, path) for path, at in times.items()]
    told += [(at[1], 1, path) for path, at in times.items()]
    tell("timed/both/long", 3, kind="note", status=None, detail=NoteDetail("retry"))
    for at_s, is_end, path in sorted(told):
        kind = "finished" if is_end else "started"
        tell(path, at_s, kind=kind, **(ends if is_end else {}))
    end_and_wait(recorder, "timed")


def test_the_timeline_shows_when_each_step_ran_and_which_ones_decided(
    chromium: Chromium, opened: list[Page], site: Site, tmp_path: Path
) -> None:
    with new_recorder(site.record, tmp_path / "more") as recorder:
        timed_run(recorder)
    page = open_page(chromium, opened, site.server.new_link(), site.server.port)
    go(page, "timed")
    page.evaluate("document.querySelector('#timeline').click()")
    page.evaluate("document.querySelector('[data-path=\"timed/both\"] .twist').click()")
    page.wait_for("document.querySelectorAll('.tree .bar > .work').length === 6")
    bars = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.tree .line')].map(line => {"
        " const bar = line.querySelector('.work');"
        " return [line.dataset.path, [parseFloat(bar.style.left), parseFloat(bar.style.width),"
        " bar.classList.contains('critical')]]; }))"
    )
    assert bars == {
        "timed": [0, 100, True],
        "timed/a": [0, 12.5, True],
        "timed/both": [12.5, 62.5, True],
        "timed/both/short": [12.5, 12.5, False],
        "timed/both/long": [12.5, 62.5, True],
        "timed/b": [75, 25, True],
    }
    again = page.evaluate("document.querySelector('.again').style.left")
    assert again == "37.5%"
    keep_picture(page, "timeline")
    assert page.errors == []


def test_a_page_without_a_cookie_says_how_to_get_in(
    chromium: Chromium, opened: list[Page], site: Site
) -> None:
    page = open_page(chromium, opened, site.server.new_link(), site.server.port)
    chromium.call("Network.clearBrowserCookies", {}, page.session)
    page = chromium.open(site.server.address + "/runs/good")
    opened.append(page)
    page.wait_for("document.body.textContent.includes('open the link')")
    assert "good" not in page.evaluate("document.body.textContent")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_server_ends_cleanly(record: Path, tmp_path: Path, number: signal.Signals) -> None:
    server = PageProcess(record, free_port(), environment(XDG_STATE_HOME=str(tmp_path)))
    server.interrupt(number)
    assert server.wait() == 0
    told = "".join(server.told)
    assert "Traceback" not in told
    assert "runs go on" in told
