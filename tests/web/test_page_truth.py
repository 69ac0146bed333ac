"""The page says what is true now, or that it does not know: after breaks, sleep, and faults."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgrove.store import Store
from tests.analysis.chromium import Chromium, Page
from tests.cli.command_line import environment, start, taskgrove
from tests.free_port import free_port
from tests.store.recording import PATIENCE_S, end_and_wait, new_recorder, run_recorded
from tests.web.browsing import go, keep_picture, open_page, state_of
from tests.web.conftest import Site
from tests.web.live_run import LiveRun, kept_up_to
from tests.web.page_process import PageProcess
from tests.web.proxies import Proxy

pytestmark = [
    pytest.mark.browser,
    pytest.mark.leaks("the browser of all these tests starts and ends its helpers as it likes"),
]
ELAPSED = "document.querySelector('.elapsed').textContent"
#: Have the page keep when something came true in it first, by the clock of the machine.
KEEP_WHEN = """
window.metAt = null;
const look = () => { if (metAt === null && (%s)) window.metAt = Date.now(); };
new MutationObserver(look).observe(document.body, {childList: true, subtree: true,
  characterData: true, attributes: true});
look();
"""


class BehindProxy:
    """A server of the page as a process, and a proxy before it that outlives the server."""

    def __init__(self, record: Path, state: Path) -> None:
        self._record, self._port = record, free_port()
        self._place = environment(XDG_STATE_HOME=str(state))
        self.server = PageProcess(record, self._port, self._place)
        self.proxy = Proxy(self._port)

    @property
    def link(self) -> str:
        return self.server.link.replace(f":{self._port}/", f":{self.proxy.port}/")

    def kill(self) -> None:
        self.proxy.is_gone = True
        self.server.kill()

    def start_again(self) -> None:
        self.server = PageProcess(self._record, self._port, self._place)
        self.proxy.is_gone = False

    def close(self) -> None:
        self.proxy.close()
        if self.server.is_alive:
            self.server.stop()


@pytest.fixture
def behind(record: Path, tmp_path: Path) -> Iterator[BehindProxy]:
    made = BehindProxy(record, tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_a_page_lives_on_after_its_server_was_killed_behind_a_proxy(
    chromium: Chromium, opened: list[Page], behind: BehindProxy, record: Path, tmp_path: Path
) -> None:
    with new_recorder(record, tmp_path / "more") as recorder:
        run = LiveRun(recorder, now_ns=time.time_ns())
        page = open_page(chromium, opened, behind.link, behind.proxy.port)
        go(page, "live")
        page.wait_for("document.querySelector('.badge.live')")
        before = page.evaluate(ELAPSED)
        page.wait_for(f"{ELAPSED} !== {json.dumps(before)}")  # the time goes on
        page.evaluate("window.neverReloaded = true")
        behind.kill()
        broken = "document.querySelector('.badge.broken')"
        page.wait_for(f"{broken}.textContent.includes('not connected')")
        keep_picture(page, "not-connected")
        stands, count = page.evaluate(ELAPSED), behind.proxy.refused_count
        while behind.proxy.refused_count < count + 3:  # the page tries again after each 502
            page.wait_for(broken)
        assert page.evaluate(ELAPSED) == stands
        run.end_leaf("leaf-0")
        with Store.open(record) as store:
            kept_up_to(store, run)
        behind.start_again()
        page.wait_for("document.querySelector('.badge.live')")
        page.wait_for(f"{state_of(page, 'root/leaf-0')} === 'completed'")
        page.wait_for(f"{ELAPSED} !== {json.dumps(stands)}")
        end_and_wait(recorder, "live")
    assert page.evaluate("window.neverReloaded") is True


@pytest.mark.thorough
@pytest.mark.parametrize("asleep", [False, True])
def test_a_page_is_true_again_after_a_long_break(
    chromium: Chromium,
    opened: list[Page],
    behind: BehindProxy,
    record: Path,
    tmp_path: Path,
    asleep: bool,
) -> None:
    # Here the times are the matter: 502 for 20 s, and a tab that sleeps for 60 s.
    with new_recorder(record, tmp_path / "more") as recorder:
        run = LiveRun(recorder, leaves=2_000, now_ns=time.time_ns())
        page = open_page(chromium, opened, behind.link, behind.proxy.port)
        go(page, "live")
        page.wait_for("document.querySelector('.badge.live')")
        page.evaluate("window.neverReloaded = true")
        page.evaluate(KEEP_WHEN % "document.querySelector('.badge.broken')")
        killed_s = time.time()
        behind.kill()
        if asleep:
            chromium.call("Page.setWebLifecycleState", {"state": "frozen"}, page.session)
        else:
            page.wait_for("window.metAt")
            assert page.evaluate("window.metAt") / 1e3 - killed_s < 5
        for number in range(0, 2_000, 2):
            run.end_leaf(f"leaf-{number}")
        time.sleep(max(0.0, killed_s + 20 - time.time()))
        behind.start_again()
        if asleep:
            time.sleep(max(0.0, killed_s + 60 - time.time()))
            chromium.call("Page.setWebLifecycleState", {"state": "active"}, page.session)
        page.wait_for("document.querySelector('.badge.live')")
        page.wait_for("document.querySelector('.facts').textContent.includes('1,000 completed')")
        assert page.evaluate("window.neverReloaded") is True
        end_and_wait(recorder, "live")


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


def test_a_tab_that_gets_no_frames_is_kept_true(
    chromium: Chromium, opened: list[Page], site: Site, tmp_path: Path
) -> None:
    with new_recorder(site.record, tmp_path / "more") as recorder:
        run = LiveRun(recorder)
        page = open_page(chromium, opened, site.server.new_link(), site.server.port)
        go(page, "live")
        page.evaluate("window.requestAnimationFrame = () => 0")
        run.end_leaf("leaf-0")
        page.wait_for(f"{state_of(page, 'root/leaf-0')} === 'completed'")
        end_and_wait(recorder, "live")
        page.wait_for("!document.title.startsWith('running')")


def test_the_list_is_asked_for_again_after_a_question_that_was_lost(
    chromium: Chromium, opened: list[Page], site: Site, tmp_path: Path
) -> None:
    page = open_page(chromium, opened, site.server.new_link(), site.server.port)
    page.wait_for("document.querySelector('.badge.live') && document.querySelector('table')")
    page.evaluate("window.real = fetch; window.fetch = () => Promise.reject(new TypeError('lost'))")
    with new_recorder(site.record, tmp_path / "more") as recorder:
        run_recorded(recorder, "meanwhile")
    page.wait_for("document.querySelector('[role=alert]')?.textContent.includes('not answer')")
    assert page.evaluate("document.querySelector('table').textContent.includes('good')")
    page.evaluate("window.fetch = window.real")
    page.wait_for("document.querySelector('[data-run=meanwhile]')")
    assert page.evaluate("document.querySelector('[role=alert]')") is None


def test_no_answer_is_waited_for_without_end(
    chromium: Chromium, opened: list[Page], site: Site
) -> None:
    page = open_page(chromium, opened, site.server.new_link(), site.server.port)
    never = (
        "(async () => { window.fetch = (path, how) => new Promise((_, fail) =>"
        " how.signal.addEventListener('abort', () => fail(how.signal.reason)));"
        " const words = await import('/static/words.js');"
        " return words.read('/api/about', 20).catch((error) => error.message); })()"
    )
    assert page.evaluate(never) == "the server does not answer"


@pytest.mark.thorough
def test_a_run_in_another_terminal_is_shown_within_two_seconds(
    chromium: Chromium, opened: list[Page], site: Site, tmp_path: Path
) -> None:
    page = open_page(chromium, opened, site.server.new_link(), site.server.port)
    page.wait_for("document.querySelector('.badge.live')")
    page.evaluate(KEEP_WHEN % "document.querySelectorAll('[data-run]').length === 3")
    (tmp_path / "map.yaml").write_text(
        "short:\n  type: sequential\n  tasks:\n    only: {handler: internal, command_name: well}\n"
    )
    (tmp_path / "mine.py").write_text("class Manager:\n    def well(self):\n        return 0, ''\n")
    words = ("run", "map.yaml", "short", "--manager", "mine:Manager", "--db", str(site.record))
    with start(*words, "--no-live", cwd=tmp_path) as run:
        assert run.wait(PATIENCE_S) == 0
    page.wait_for("window.metAt")
    done = taskgrove("runs", "list", "--db", str(site.record), "--json", cwd=tmp_path)
    newest = json.loads(done.stdout)[0]
    assert newest["command"] == "short"
    assert page.evaluate("window.metAt") - newest["created_ns"] / 1e6 < 2_000
