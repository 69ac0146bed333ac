"""The page in a real browser: live, true after every break, harmless, and as good as a terminal."""

from __future__ import annotations

import itertools
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from taskgrove import LeafTask, MainTaskExecutor, Task, TaskExecutionType
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import AnalysisDetail, Cause, ComposedDetail, NoteDetail
from taskgrove.store import Recorder
from taskgrove.tango.simulator import SimulatedFleet, invocations_of
from tests.analysis.chromium import Chromium, Page
from tests.cli.command_line import environment, start, taskgrove
from tests.free_port import free_port
from tests.store.recording import PATIENCE_S, end_and_wait, event, new_recorder, run_recorded, tree
from tests.web.browsing import READ_ALL, go, keep_picture, open_page, state_of
from tests.web.conftest import Site
from tests.web.live_run import LiveRun, kept_up_to
from tests.web.page_process import PageProcess, ask

pytestmark = [
    pytest.mark.browser,
    pytest.mark.leaks("the browser of all these tests starts and ends its helpers as it likes"),
]

#: The device of a map, and how its scan goes: it fails once.
DEVICE = "low-cbf/subarray/01"
FAULTS = {DEVICE: {"Scan": 'fail("no lock"),times=1'}}
MAP = """
components: {cbf: %s}
observe:
  type: sequential
  tasks:
    configure: {handler: cbf, command_name: Configure, argin: {band: low}}
    scan: {handler: cbf, command_name: Scan, argin: {id: 1}, hold: on_failure}
    end: {handler: cbf, command_name: End}
"""


@pytest.mark.tango
def test_a_held_step_is_tried_again_on_the_page(
    chromium: Chromium, opened: list[Page], tmp_path: Path
) -> None:
    record, log = tmp_path / "runs.db", tmp_path / "log.jsonl"
    server = PageProcess(record, free_port(), environment(XDG_STATE_HOME=str(tmp_path)))
    fleet = SimulatedFleet([DEVICE], settings={"duration_s": 0.05}, faults=FAULTS, log=log)
    try:
        page = open_page(chromium, opened, server.link, server.port)
        page.wait_for("document.body.textContent.includes('No run has been recorded yet')")
        keep_picture(page, "empty")
        with fleet:
            (tmp_path / "map.yaml").write_text(MAP % fleet.trls[DEVICE])
            words = ("run", "map.yaml", "observe", "--db", str(record), "--no-live")
            with start(*words, cwd=tmp_path) as run:
                page.wait_for(
                    "document.querySelector('td.outcome')?.textContent.includes('running')"
                )
                run_id = page.evaluate("document.querySelector('[data-run]').dataset.run")
                go(page, run_id)
                page.wait_for("document.querySelector('.badge.live')")
                page.wait_for("document.querySelector('[data-state=held]')")
                assert [item.command for item in invocations_of(log)] == ["Configure", "Scan"]
                ask_on_page(page, "retry", why="the lock is free", who="ann")
                page.wait_for("document.querySelector('h1').textContent.includes('ok')")
                assert run.wait(PATIENCE_S) == 0
        commands = [item.command for item in invocations_of(log)]
        assert commands == ["Configure", "Scan", "Scan", "End"]
        read = page.evaluate(READ_ALL)
        shown = shown_of(record, run_id)
        assert read["states"] == dict.fromkeys(
            (node["path"] for node in shown["nodes"]), "completed"
        )
        (asked,) = (it["request"] for it in shown["requests"])
        assert (asked["verb"], asked["who"], asked["why"]) == ("retry", "ann", "the lock is free")
        told = taskgrove("runs", "show", run_id, "--db", str(record), cwd=tmp_path).stdout
        assert "ann" in told
        assert "the lock is free" in told
        assert ask(server.port, f"/api/runs/{run_id}").status == 403
        page.size(420, 800)
        page.dark()
        keep_picture(page, "narrow-dark")
        page.wait_for("document.documentElement.scrollWidth <= innerWidth")
        assert page.errors == []
        assert [url for url in page.foreign() if f"127.0.0.1:{server.port}/" not in url] == []
    finally:
        assert server.stop() == 0


def ask_on_page(page: Page, act: str, *, why: str, who: str) -> None:
    """Ask something of the step that is held, as a person does, and wait for the answer."""
    page.evaluate("document.querySelector('[data-state=held]').click()")
    page.wait_for(f"document.querySelector('[data-act={act}]')")
    keep_picture(page, "held")
    page.evaluate(f"document.querySelector('[data-act={act}]').click()")
    page.wait_for("document.querySelector('dialog[open] textarea')")
    page.evaluate(
        f"document.querySelector('dialog textarea').value = {json.dumps(why)};"
        f"document.querySelector('dialog [name=who]').value = {json.dumps(who)}"
    )
    keep_picture(page, act)
    page.evaluate("document.querySelector('dialog button.main').click()")
    page.wait_for("document.querySelector('dialog .told.done')")
    page.evaluate("document.querySelector('#dialog-close').click()")


def shown_of(record: Path, run_id: str) -> dict[str, Any]:
    """Return a run as ``runs show --json`` prints it."""
    done = taskgrove("runs", "show", run_id, "--db", str(record), "--json", cwd=record.parent)
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


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
    shown = {node["path"]: node for node in shown_of(site.record, "large")["nodes"]}
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


def test_a_narrow_window_hides_nothing_beside_it(
    chromium: Chromium, opened: list[Page], site: Site
) -> None:
    page = open_page(chromium, opened, site.server.new_link(), site.server.port)
    page.size(420, 700)
    page.wait_for("document.querySelector('.wide')?.textContent.includes('no lock')")
    for box in ("document.documentElement", "document.querySelector('.wide')"):
        page.wait_for(f"{box}.scrollWidth <= {box}.clientWidth")
    go(page, "bad")
    page.wait_for("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate("document.querySelector('.line[data-state=failed]').click()")
    # The step is shown below the tree, and comes into sight.
    page.wait_for("document.querySelector('.node h2').getBoundingClientRect().top < innerHeight")


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


def test_lines_tell_waits_silences_and_usual_durations(
    chromium: Chromium, opened: list[Page], site: Site, tmp_path: Path
) -> None:
    log = tmp_path / "fit.log"
    log.write_text("<b>41 %</b>\n")
    with new_recorder(site.record, tmp_path / "more") as recorder:
        for number in range(5):
            run_recorded(recorder, f"other-{number}", tree(3))
        now_ns = time.time_ns()
        run = LiveRun(recorder, "waiting", 3, now_ns, "ANALYSIS")
        for number in range(3):
            run.tell(path=f"root/leaf-{number}", kind="started", progress=0)
        note: dict[str, Any] = {"kind": "note", "status": None, "progress": None}
        silent = NoteDetail("silent", {"since_ns": str(now_ns - 61_000_000_000)})
        run.tell(path="root/leaf-0", detail=silent, **note)
        held = NoteDetail("held", cause=Cause(kind="reported", said="no lock"))
        run.tell(path="root/leaf-1", message="no lock", detail=held, **note)
        detail = AnalysisDetail("FitRings", '{"gain": 2}', output_files=(str(log),))
        run.tell(path="root/leaf-2", detail=detail, **note)
        argument = NoteDetail("argument", {"argin": '{"beam": [0, 7]}'})
        run.tell(path="root/leaf-2", detail=argument, **note)
        kept_up_to(site.store, run)
        page = open_page(chromium, opened, site.server.new_link(), site.server.port)
        go(page, "waiting")
        said = "document.querySelector('[data-path=\"%s\"]').innerText"
        page.wait_for(f"/no answer for 1:0\\d min, since/.test({said % 'root/leaf-0'})")
        assert "held since" in page.evaluate(said % "root/leaf-1")
        assert "waits for leaf-0, leaf-1 and 1 more since" in page.evaluate(said % "root")
        page.wait_for(f"{said % 'root'}.includes('usual 0.')")
        page.evaluate("document.querySelector('[data-path=\"root/leaf-2\"]').click()")
        page.wait_for("document.querySelector('.output summary')")
        told = page.evaluate("document.querySelector('.node').innerText")
        assert '"gain": 2' in told
        assert '"beam"' in told
        page.evaluate("document.querySelector('.output summary').click()")
        page.wait_for("document.querySelector('.output pre').textContent === '<b>41 %</b>'")
        keep_picture(page, "waits")
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
