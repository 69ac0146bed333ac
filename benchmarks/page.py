"""The page: from an event to the screen, to many browsers at once, and what lookers-on cost a run.

The server is a process of its own, as ``taskgrove serve`` is; so are the run and the clients, and
the browser is a real Chromium. ``python -m benchmarks.page RECORD FOLDER SECONDS`` is the run
that is looked at: it makes 2,000 updates a second.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measure import Row, paired
from benchmarks.page_clients import process, reading, seconds_of, seconds_to_marker
from benchmarks.steering import percentile
from taskgrove import LeafTask, MainTaskExecutor, Task, TaskExecutionType
from taskgrove.store import Recorder
from taskgrove.web.static_files import FILES
from tests.analysis.chromium import Chromium, Page, why_no_chromium
from tests.cli.command_line import environment
from tests.store.recording import end_and_wait, new_recorder
from tests.web.browsing import go, open_page
from tests.web.live_run import LiveRun
from tests.web.page_process import PageProcess, cookie_of

#: The events whose way to the screen is timed, and the longest pause between two, in seconds.
SHOWN, PAUSE_S = 100, 0.5
#: The clients of the broadcast, and the nodes of the run that they are sent.
CLIENTS, NODES = 100, 10_000
#: The updates of a run whose readers get them together.
UPDATES = 20_000
#: The updates that a client sleeps through.
SLEPT = 200_000
#: The run that is looked at: its leaves, updates a second of each, its length in seconds, rounds.
LEAVES, RATE, RUN_S, ROUNDS = 20, 100, 6.0, 5
LOOKERS = 10
MB = 1e6
#: The text of the last update of a run.
LAST = "the very last one"

#: Have the page keep when a line told of each event first, by the clock of the machine.
KEEP_TEXTS = """
window.texts = {};
const look = () => { for (const it of document.querySelectorAll('.line .said')) {
  const found = /event [0-9]+/.exec(it.textContent);
  if (found) texts[found[0]] ??= Date.now(); } };
const all = {childList: true, subtree: true, characterData: true};
new MutationObserver(look).observe(document.body, all);
"""
#: Have a new document keep when it showed the first line of a tree, since it was asked for.
KEEP_PAINT = """
new MutationObserver(() => {
  if (window.paintedAt === undefined && document.querySelectorAll('.line').length > 5) {
    window.paintedAt = 0;
    requestAnimationFrame(() => setTimeout(() => { window.paintedAt = performance.now(); }));
  }
}).observe(document, {childList: true, subtree: true});
"""


def page_weight() -> float:
    """Return the bytes of all files of the page, compressed."""
    folder = resources.files("taskgrove.web").joinpath("static")
    return sum(len(gzip.compress(folder.joinpath(*it.split("/")).read_bytes())) for it in FILES)


class Served:
    """A record, and the process that serves its page.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "runs.db"
        with new_recorder(self.record, folder / "spill-0"):
            pass  # makes the record
        place = environment(XDG_STATE_HOME=str(folder))
        self.server = PageProcess(self.record, 0, place)
        self.port = int(self.server.link.split(":")[2].split("/")[0])
        self.cookie = cookie_of(self.port, self.server.link)
        self._recorders = 0

    def recorder(self) -> Recorder:
        self._recorders += 1
        return new_recorder(self.record, self.folder / f"spill-{self._recorders}")

    def new_link(self) -> str:
        """Return a page for a browser that has the cookie already."""
        return f"http://127.0.0.1:{self.port}/"

    def let_in(self, browser: Chromium) -> None:
        """Give a browser the cookie."""
        name, _, value = self.cookie.partition("=")
        page = browser.open("about:blank")
        cookie = {"name": name, "value": value, "url": self.new_link()}
        browser.call("Network.setCookie", cookie, page.session)
        page.close()

    def rss(self) -> int:
        return int(psutil.Process(self.server.pid).memory_info().rss)


@contextlib.contextmanager
def served() -> Iterator[Served]:
    with tempfile.TemporaryDirectory() as name:
        made = Served(Path(name))
        try:
            yield made
        finally:
            made.server.stop()


def stream_of(run_id: str) -> str:
    return f"/api/runs/{run_id}/stream"


def to_screen(site: Served, page: Page, events: int) -> list[float]:
    """Return the seconds that each event took to be a text on the screen."""
    chance, told = random.Random(1), {}
    with site.recorder() as recorder:
        run = LiveRun(recorder, "shown", leaves=1, now_ns=time.time_ns())
        go(page, "shown")
        page.evaluate(KEEP_TEXTS)
        for number in range(events):
            told[f"event {number}"] = time.time()
            run.tell(path="root/leaf-0", progress=number % 100, message=f"event {number}")
            time.sleep(chance.uniform(0.3, PAUSE_S))
        page.wait_for(f"window.texts['event {events - 1}']")
        seen = page.evaluate("window.texts")
        end_and_wait(recorder, "shown")
    return [max(0.0, seen[text] / 1e3 - at_s) for text, at_s in told.items() if text in seen]


def first_bytes(site: Served, run_id: str) -> bytes:
    """Return what a new client of a run is sent, up to the words above the tree."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=100)
    connection.request("GET", stream_of(run_id), headers={"Cookie": site.cookie})
    answer, got, is_head = connection.getresponse(), [], False
    while True:
        line = answer.readline()
        got.append(line)
        is_head = is_head or line == b"event: head\n"
        if is_head and line == b"\n":
            answer.close()
            connection.close()
            return b"".join(got)


def large_run(site: Served, run_id: str, leaves: int) -> LiveRun:
    with site.recorder() as recorder:
        run = LiveRun(recorder, run_id, leaves=leaves, now_ns=time.time_ns())
        for number in range(leaves):
            run.tell(path=f"root/leaf-{number}", progress=50, message="on the way to the target")
        end_and_wait(recorder, run_id)
    return run


def broadcast_rows(site: Served, clients: int, nodes: int, rounds: int) -> Iterator[Row]:
    """Yield how fast a whole tree comes to many clients, against the same bytes from memory."""
    file = site.folder / "bytes"
    size = file.write_bytes(first_bytes(site, "large"))
    with process("send", file) as bare:
        assert bare.stdout is not None
        port = int(bare.stdout.readline())

        def seconds(at: int) -> float:
            return seconds_to_marker(at, clients, stream_of("large"), site.cookie, size)

        with reading(site.port, 1, stream_of("large"), site.cookie):  # the run is at hand
            raw_s, own_s, _ = paired(lambda: seconds(port), lambda: seconds(site.port), rounds)
    rows = clients * (nodes + 1)
    yield Row(f"a tree of {nodes:,} to {clients} clients, bare", rows / raw_s / 1e3, "k rows/s")
    yield Row(
        f"a tree of {nodes:,} to {clients} clients", rows / own_s / 1e3, "k rows/s",
        raw_s / own_s, "a bare broadcast", least=0.7,
    )  # fmt: skip


def updates_rows(site: Served, clients: int, updates: int) -> Iterator[Row]:
    """Yield how many updates come to many clients in a second, each node in its newest state.

    The bare broadcast sends each update as a message of its own, as one that does not put updates
    together must.
    """
    file, texts = site.folder / "updates", (f"update {number}" for number in range(2_000))
    file.write_bytes(b"".join(b'event: node\ndata: "%s"\n\n' % it.encode() for it in texts))
    with process("send", file) as bare:
        assert bare.stdout is not None
        port, size = int(bare.stdout.readline()), file.stat().st_size
        raw_s = seconds_to_marker(port, clients, "/", site.cookie, size) / 2_000
    with site.recorder() as recorder:
        run = LiveRun(recorder, "busy", leaves=1_000, now_ns=time.time_ns())
        path = stream_of("busy")
        with reading(site.port, clients, path, site.cookie, LAST) as readers:
            began_s = time.monotonic()
            tell_updates(run, updates)
            own_s = (seconds_of(readers)[1] - began_s) / updates
        end_and_wait(recorder, "busy")
    yield Row(f"updates to {clients} clients, bare", clients / raw_s / 1e3, "k/s")
    yield Row(
        f"updates to {clients} clients, put together", clients / own_s / 1e3, "k/s",
        raw_s / own_s, "a bare broadcast", least=2,
    )  # fmt: skip


def tell_updates(run: LiveRun, count: int, last: str = LAST) -> None:
    """Have a run of 1,000 leaves tell of so many updates."""
    for number in range(count):
        words = last if number == count - 1 else f"update {number}"
        run.tell(path=f"root/leaf-{number % 1_000}", progress=50, message=words)


def first_paint(site: Served, browser: Chromium, rounds: int) -> float:
    """Return the milliseconds from asking for a run to its first lines on the screen."""
    took = []
    for _ in range(rounds):
        page = browser.open("about:blank")
        browser.call("Page.addScriptToEvaluateOnNewDocument", {"source": KEEP_PAINT}, page.session)
        address = {"url": f"{site.new_link()}runs/large"}
        browser.call("Page.navigate", address, page.session)
        page.wait_for("window.paintedAt")
        took.append(page.evaluate("window.paintedAt"))
        page.close()
    return statistics.median(took)


def slept_through(site: Served, updates: int) -> float:
    """Return by how many bytes the server grows while a client sleeps through many updates.

    As many updates come before, so that what a busy run costs by itself is not counted.
    """
    with site.recorder() as recorder:
        run = LiveRun(recorder, "slept", leaves=1_000, now_ns=time.time_ns())
        path = stream_of("slept")
        with reading(site.port, 1, path, site.cookie, "all were awake") as awake:
            tell_updates(run, updates, "all were awake")
            seconds_of(awake)
        with (
            reading(site.port, 1, path, site.cookie, LAST) as awake,
            reading(site.port, 1, path, site.cookie) as asleep,
        ):
            psutil.Process(asleep.pid).suspend()
            before = site.rss()
            tell_updates(run, updates)
            seconds_of(awake)
            grown = site.rss() - before
        end_and_wait(recorder, "slept")
    return grown


def run_updates(record: str, folder: str, seconds: float) -> None:
    """Run steps that tell of their progress 2,000 times a second together; say how long it took."""

    def step(task_callback: Callable[..., Any]) -> None:
        for number in range(int(seconds * RATE)):
            time.sleep(1 / RATE)
            task_callback(progress=number % 100, message=f"step {number}")

    leaves = [LeafTask.from_callable(step, name=f"leaf-{number}") for number in range(LEAVES)]
    task = Task("root", TaskExecutionType.PARALLEL, subtasks=leaves)
    with (
        Recorder(record, spill_folder=Path(folder)) as recorder,
        MainTaskExecutor(max_workers=LEAVES) as executor,
    ):
        began_s = time.monotonic()
        handle = executor.submit_main_task(task, run_id=Path(folder).name, recorder=recorder)
        print(Path(folder).name, flush=True)
        handle.wait()
        took_s = time.monotonic() - began_s
        assert handle.outcome.status.name == "COMPLETED", handle.outcome
    print(took_s, flush=True)


class Looked:
    """Times a run with lookers-on and without.

    Args:
        site: The record and its server.
        browser: A browser that runs at the lowest priority; None: clients alone look.
        seconds: How long the run is.
    """

    def __init__(self, site: Served, browser: Chromium | None, seconds: float) -> None:
        self._site, self._browser, self._seconds = site, browser, seconds
        self._runs = 0

    @contextlib.contextmanager
    def _run(self) -> Iterator[tuple[str, subprocess.Popen[str]]]:
        self._runs += 1
        folder = self._site.folder / f"run-{self._runs}"
        words = [str(self._site.record), str(folder), str(self._seconds)]
        command = [sys.executable, "-m", "benchmarks.page", *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
            assert started.stdout is not None
            yield started.stdout.readline().strip(), started

    def alone(self) -> float:
        with self._run() as (_, run):
            assert run.stdout is not None
            return float(run.stdout.readline())

    def watched(self) -> float:
        with self._run() as (run_id, run), contextlib.ExitStack() as kept:
            path, assert_out = stream_of(run_id), run.stdout
            kept.enter_context(reading(self._site.port, LOOKERS, path, self._site.cookie))
            if self._browser is not None:
                page = self._browser.open(f"{self._site.new_link()}runs/{run_id}")
                kept.callback(page.close)
            assert assert_out is not None
            return float(assert_out.readline())


def at_lowest_priority() -> Chromium:
    """Return a browser whose processes all give way to everybody."""
    browser = Chromium()
    group = os.getpgid(browser.pid)
    os.setpriority(os.PRIO_PGRP, group, 19)
    return browser


def rows() -> Iterator[Row]:
    """Measure and yield the report's rows."""
    yield Row("page weight, compressed", page_weight() / 1e3, "kB", aim=60)
    with served() as site, contextlib.ExitStack() as kept:
        large_run(site, "large", NODES)
        yield from broadcast_rows(site, CLIENTS, NODES, ROUNDS)
        yield from updates_rows(site, CLIENTS, UPDATES)
        yield Row(
            f"memory for a client that sleeps through {SLEPT:,} updates",
            slept_through(site, SLEPT) / MB, "MB", aim=20,
        )  # fmt: skip
        why = why_no_chromium()
        if why is not None:
            print(f"  (Chromium: {why})")
        with contextlib.ExitStack() as beside:
            polite = None
            if why is None:
                polite = at_lowest_priority()
                beside.callback(polite.close)
                site.let_in(polite)
            looked = Looked(site, polite, RUN_S)
            _, own, ratio = paired(looked.alone, looked.watched, ROUNDS)
        what = "the run alone"
        yield Row(
            f"2,000 updates/s, {LOOKERS} clients and a browser look", own, "s", ratio, what, 1.1
        )
        if why is None:
            browser = Chromium()
            kept.callback(browser.close)
            site.let_in(browser)
            took_ms = first_paint(site, browser, ROUNDS)
            yield Row(f"first paint of a run of {NODES:,} leaves", took_ms, "ms", aim=1_000)
            page = open_page(browser, [], site.new_link(), site.port)
            took = to_screen(site, page, SHOWN)
            yield Row("event to screen, p50", percentile(took, 50) * 1e3, "ms")
            yield Row("event to screen, p99", percentile(took, 99) * 1e3, "ms", aim=1_000)


if __name__ == "__main__":
    run_updates(sys.argv[1], sys.argv[2], float(sys.argv[3]))
