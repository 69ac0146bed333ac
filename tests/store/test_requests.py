"""Requests of operators to a live run through the record, and the answers of the run."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from taskgrove import LeafTask, MainTaskExecutor, Task, steering
from taskgrove.commands.run_recorder import RequestSource, RunAbout
from taskgrove.errors import NoAnswerError, StoreError, UnknownRunError, UsageError
from taskgrove.events import SteeringAnswer, SteeringRequest
from taskgrove.events.new_request import new_request
from taskgrove.recovery.finding_lost import find_lost
from taskgrove.recovery.lost_run_recovery import recover
from taskgrove.redaction import Redaction
from taskgrove.store import History, RecordDesk, Recorder, Store
from taskgrove.store import record_desk as desk_module
from taskgrove.store.queries.export_parquet import _node_row
from taskgrove.store.queries.usual_durations import good_duration_s, past_durations_s
from taskgrove.store.recording import inbox as inbox_module
from taskgrove.store.recording.kept_aside import AsideRun, KeptAside
from taskgrove.store.recording.request_rows import request_of
from taskgrove.store.retention import prune
from taskgrove.story.run_node import RunNodes
from taskgrove.testing import EventLog
from tests.cli.command_line import Forked, environment
from tests.store.postgres_server import PostgresServer
from tests.store.recording import (
    PATIENCE_S,
    Troubles,
    busy_writer,
    end_and_wait,
    eventually,
    kept,
    new_recorder,
)
from tests.store.scripted_run import ScriptedRun

ROOT = Path(__file__).parents[2]


class Runner:
    """A process that records a run and takes requests; see ``scripted_run``."""

    def __init__(self, record: str, folder: Path, run_id: str = "run-1", host: str = "") -> None:
        self.process = Forked(
            [sys.executable, "-m", "tests.store.scripted_run",
             record, str(folder / "spill"), run_id, host],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )  # fmt: skip
        assert self.hears() == "ready"

    def hears(self) -> str:
        """Return its next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def answer(self) -> None:
        """Have it answer the oldest retry."""
        assert self.process.stdin is not None
        print(file=self.process.stdin, flush=True)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        with self.process:
            pass


@pytest.fixture
def store(record_url: str) -> Iterator[Store]:
    with Store.open(record_url) as opened:
        yield opened


@pytest.fixture
def runner(store: Store, record_url: str, tmp_path: Path) -> Iterator[Runner]:
    with Runner(record_url, tmp_path) as started:
        yield started


def reasons(answer: SteeringAnswer | None) -> list[str]:
    assert answer is not None
    return [objection.reason for objection in answer.objections]


def answers(store: Store, run: str = "run-1") -> dict[str, SteeringAnswer | None]:
    """Return the answers on record, by what was asked for."""
    return {row.request.verb: row.answer for row in History(store).requests(run)}


# -- two processes ------------------------------------------------------------------------------


def test_a_request_is_answered_by_the_process_of_the_run(store: Store, runner: Runner) -> None:
    desk = RecordDesk(store)
    answer = steering.accept(desk, "last", "root", why="it is tuned", who="ann", wait_s=PATIENCE_S)
    assert (answer.fate, answer.paths, answer.acted_count) == ("done", ("root",), 1)
    assert runner.hears() == f"asked accept {answer.request_id}"
    # The event is on record when the answer is.
    (event,) = [e for e in History(store).events("run-1") if request_of(e) is not None]
    (row,) = History(store).requests("run-1")
    assert row.answer == answer
    assert (row.run_id, row.request.id) == ("run-1", answer.request_id)
    assert (row.request.who, row.request.why) == ("ann", "it is tuned")
    assert event.detail is not None
    assert getattr(event.detail, "request", None) == row.request


def test_each_end_of_a_request_is_told_and_kept(store: Store, runner: Runner) -> None:
    desk = RecordDesk(store)
    refused = steering.fail(desk, "run-1", "root", wait_s=PATIENCE_S)
    assert (refused.fate, reasons(refused)) == ("refused", ["not_held"])
    broken = steering.pause(desk, "run-1", wait_s=PATIENCE_S)
    assert (broken.fate, reasons(broken)) == ("refused", ["fault"])
    assert broken.objections[0].said == "no brake"
    with pytest.raises(NoAnswerError, match="has not answered within 0 s: skip root") as told:
        steering.skip(desk, "run-1", "root", wait_s=0)
    assert told.value.run_id == "run-1"
    assert steering.abort(desk, "run-1", wait_s=PATIENCE_S).fate == "done"
    while runner.hears() != "ended":
        pass
    ended = steering.abort(desk, "run-1")
    assert (ended.fate, reasons(ended)) == ("too_late", ["run_ended"])
    assert ended.objections[0].since_ns == History(store).find("run-1").ended_ns
    found = answers(store)
    assert {verb: it and it.fate for verb, it in found.items()} == {
        "fail": "refused",
        "pause": "refused",
        "skip": "done",  # its event was on record when the run ended
        "abort": "done",
    }


def test_the_names_of_the_machines_do_not_matter(
    store: Store, record_url: str, tmp_path: Path
) -> None:
    with Runner(record_url, tmp_path, host="far-away") as runner:
        row = History(store).find("run-1")
        assert row.host == "far-away"
        answer = steering.accept(RecordDesk(store), "run-1", "root", wait_s=PATIENCE_S)
        assert runner.hears() == f"asked accept {answer.request_id}"
        (asked,) = History(store).requests(row)
        assert asked.request.host != row.host


def test_a_request_is_carried_out_once_by_its_id(store: Store, runner: Runner) -> None:
    desk = RecordDesk(store)
    request = new_request("retry", "root")
    with pytest.raises(NoAnswerError):
        desk.ask("run-1", request, wait_s=0)
    assert runner.hears() == f"asked retry {request.id}"
    told: list[SteeringAnswer] = []
    asks = [
        threading.Thread(target=lambda: told.append(desk.ask("run-1", request, wait_s=None)))
        for _ in range(3)
    ]
    for thread in asks:
        thread.start()
    runner.answer()
    for thread in asks:
        thread.join(PATIENCE_S)
    assert [it.fate for it in told] == ["done"] * 3
    assert len(set(told)) == 1
    assert desk.ask("run-1", request, wait_s=0) == told[0]
    answer = steering.fail(desk, "run-1", "root", wait_s=PATIENCE_S)
    assert runner.hears() == f"asked fail {answer.request_id}"  # nothing was asked in between
    with pytest.raises(UsageError, match="is that of another request"):
        desk.ask("run-1", SteeringRequest(id=request.id, verb="abort"))


def test_two_requests_at_once_are_both_answered(
    record_url: str, store: Store, runner: Runner
) -> None:
    code = (
        "import sys\nfrom taskgrove import steering\n"
        "from taskgrove.store import RecordDesk, Store\n"
        "with Store.open(sys.argv[1], create=False) as store:\n"
        "    print(steering.accept(RecordDesk(store), 'last', 'root', wait_s=200).fate)\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, record_url],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        for _ in range(2)
    ]
    assert [process.communicate(timeout=PATIENCE_S)[0] for process in started] == ["done\n"] * 2
    heard = {runner.hears(), runner.hears()}
    assert heard == {f"asked accept {row.request.id}" for row in History(store).requests("run-1")}
    assert len(heard) == 2


# -- runs that are over, and others -------------------------------------------------------------


def test_a_run_that_is_not_there_is_told(store: Store, runner: Runner) -> None:
    with pytest.raises(UnknownRunError, match="the record holds no run 'run-7'") as told:
        steering.abort(RecordDesk(store), "run-7")
    assert "did you mean 'run-1'" in str(told.value)
    assert answers(store) == {}


@pytest.mark.parametrize("verb", ["skip", "retry"])
def test_kill_9_between_a_request_and_its_answer(
    store: Store, runner: Runner, tmp_path: Path, verb: str
) -> None:
    desk = RecordDesk(store)
    ask = {"skip": steering.skip, "retry": steering.retry}[verb]
    with pytest.raises(NoAnswerError):
        ask(desk, "run-1", "root", wait_s=0)
    assert runner.hears().startswith(f"asked {verb}")
    if verb == "skip":  # its event is on record
        eventually(lambda: any(map(request_of, History(store).events("run-1"))))
    request = History(store).requests("run-1")[0].request
    waiting: list[SteeringAnswer] = []
    thread = threading.Thread(
        target=lambda: waiting.append(desk.ask("run-1", request, wait_s=None))
    )
    thread.start()
    runner.kill()
    thread.join(PATIENCE_S)  # nobody needs to recover the run for that
    expected = {"skip": ("done", []), "retry": ("too_late", ["runner_lost"])}[verb]
    assert (waiting[0].fate, reasons(waiting[0])) == expected
    assert answers(store) == {verb: None}
    late = steering.abort(desk, "run-1")
    assert (late.fate, reasons(late)) == ("too_late", ["runner_lost"])
    assert [run.run_id for run in find_lost(store)] == ["run-1"]
    assert steering.abort(desk, "run-1").fate == "too_late"
    assert answers(store) == {verb: None}  # it may be the machine that is slow
    with new_recorder(store, tmp_path) as recorder:
        recover(store, "run-1", recorder=recorder)
    found = answers(store)[verb]
    assert found is not None
    assert (found.fate, reasons(found)) == expected
    assert set(answers(store)) == {verb}


def test_the_end_that_a_killed_process_has_kept_aside_answers_its_requests(
    tmp_path: Path,
) -> None:
    file = tmp_path / "runs.db"
    with Store.open(file) as store, Runner(str(file), tmp_path) as runner:
        with pytest.raises(NoAnswerError):
            steering.retry(RecordDesk(store), "run-1", "root", wait_s=0)
        assert runner.hears().startswith("asked retry")
        with closing(sqlite3.connect(file, isolation_level=None)) as locking:
            with pytest.raises(NoAnswerError):
                steering.abort(RecordDesk(store), "run-1", wait_s=0)
            assert runner.hears().startswith("asked abort")
            locking.execute("BEGIN IMMEDIATE")
            assert runner.hears() in ("ended", "")
            runner.kill()
            locking.execute("ROLLBACK")
        with new_recorder(file, tmp_path) as recorder:  # it takes in what was kept aside
            recorder.begin_run("run-2", RunAbout())
            eventually(lambda: History(store).find("run-1").state == "final")
        found = answers(store)
        assert found["retry"] is not None
        assert (found["retry"].fate, reasons(found["retry"])) == ("too_late", ["run_ended"])
        assert found["abort"] is not None
        assert found["abort"].fate == "done"


def test_an_answer_that_a_killed_process_has_kept_aside_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    with Store.open(file) as store, Runner(str(file), tmp_path) as runner:
        with pytest.raises(NoAnswerError):
            steering.retry(RecordDesk(store), "run-1", "root", wait_s=0)
        assert runner.hears().startswith("asked retry")
        (request,) = [row.request for row in History(store).requests("run-1")]

        def is_aside() -> bool:
            files = [path for path in (tmp_path / "spill").glob("**/*") if path.is_file()]
            return any(request.id.encode() in path.read_bytes() for path in files)

        with closing(sqlite3.connect(file, isolation_level=None)) as locking:
            locking.execute("BEGIN IMMEDIATE")
            runner.answer()
            eventually(is_aside)
            runner.kill()
            locking.execute("ROLLBACK")
        assert answers(store) == {"retry": None}
        with new_recorder(file, tmp_path) as recorder:
            recorder.begin_run("run-2", RunAbout())
            eventually(lambda: answers(store)["retry"] is not None)
        answer = answers(store)["retry"]
        assert answer is not None
        assert answer.fate == "done"


# -- in one process -----------------------------------------------------------------------------


@pytest.fixture
def recorder(record_url: str, tmp_path: Path) -> Iterator[Recorder]:
    with new_recorder(record_url, tmp_path) as made:
        yield made


def in_thread(function: Callable[[], SteeringAnswer]) -> Callable[[], SteeringAnswer]:
    """Begin to ask, and return how the answer is waited for."""
    told: list[SteeringAnswer] = []
    thread = threading.Thread(target=lambda: told.append(function()))
    thread.start()

    def wait() -> SteeringAnswer:
        thread.join(PATIENCE_S)
        return told[0]

    return wait


def test_a_recorder_is_a_source_of_requests(recorder: Recorder) -> None:
    assert isinstance(recorder, RequestSource)


def test_a_request_that_nobody_has_answered_is_answered_with_the_end(
    recorder: Recorder, store: Store
) -> None:
    run = ScriptedRun(recorder, "run-1")
    desk = RecordDesk(store)
    waits = in_thread(lambda: steering.retry(desk, "run-1", "root", wait_s=None))
    request, take = run.waiting.get(timeout=PATIENCE_S)
    end_and_wait(recorder, "run-1")
    answer = waits()
    assert (answer.fate, reasons(answer)) == ("too_late", ["run_ended"])
    run.answer(request, take)  # too late: what was told stands
    ScriptedRun(recorder, "run-2")
    steering.accept(desk, "run-2", "root", wait_s=PATIENCE_S)
    assert answers(store)["retry"] == answer


def test_runs_of_one_recorder_get_their_own_requests(recorder: Recorder, store: Store) -> None:
    first, second = ScriptedRun(recorder, "run-1"), ScriptedRun(recorder, "run-2")
    desk = RecordDesk(store)
    for run in (second, first, second):
        steering.accept(desk, run.run_id, "root", why=run.run_id, wait_s=PATIENCE_S)
    assert [request.why for request in first.asked] == ["run-1"]
    assert [request.why for request in second.asked] == ["run-2", "run-2"]


def test_the_first_answer_stands(recorder: Recorder, store: Store) -> None:
    def twice(request: SteeringRequest, take: Callable[[SteeringAnswer], object]) -> None:
        take(SteeringAnswer(request_id="another", fate="refused"))
        take(SteeringAnswer(request_id=request.id, fate="done"))

    recorder.begin_run("run-1", RunAbout())
    recorder.take_requests("run-1", twice)
    answer = steering.abort(RecordDesk(store), "run-1", wait_s=PATIENCE_S)
    assert answer.fate == "refused"
    assert answer.answered_ns > 0
    assert answers(store) == {"abort": answer}


def test_a_request_that_cannot_be_read_is_refused_and_listed(
    recorder: Recorder, store: Store
) -> None:
    run = ScriptedRun(recorder, "run-1")
    key = History(store).find("run-1").run_key
    bodies = (b'{"id":"q-1","verb":"dance","who":"ann"}', b"\xff no JSON")
    with store.writing() as cursor:
        for number, body in enumerate(bodies, 1):
            cursor.execute(
                "INSERT INTO requests (run_key, request_id, body, asked_ns) VALUES (?, ?, ?, ?)",
                (key, f"q-{number}", body, 7),
            )
    eventually(lambda: all(row.answer for row in History(store).requests("run-1")))
    rows = History(store).requests("run-1")
    assert [(row.request.verb, row.request.who) for row in rows] == [("dance", "ann"), ("?", "")]
    assert [reasons(row.answer) for row in rows] == [["fault"], ["fault"]]
    assert run.asked == []


def test_secrets_of_a_reason_are_not_kept(recorder: Recorder, store: Store) -> None:
    redaction = Redaction.from_environment()
    redaction.remember({"PASSWORD": "hunter 2 hunter"})
    ScriptedRun(recorder, "run-1")
    desk = RecordDesk(store, redaction=redaction)
    steering.accept(desk, "run-1", "root", why="with hunter 2 hunter", wait_s=PATIENCE_S)
    (row,) = History(store).requests("run-1")
    assert "hunter" not in row.request.why
    assert row.request.why.startswith("with ")


def test_an_answer_comes_through_a_full_inbox(
    recorder: Recorder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "CROWD", 50)
    run = ScriptedRun(recorder, "run-1")
    desk = RecordDesk(store)
    waits = in_thread(lambda: steering.retry(desk, "run-1", "root", wait_s=None))
    request, take = run.waiting.get(timeout=PATIENCE_S)
    with busy_writer(monkeypatch) as is_busy:
        run._tell(kind="note")
        assert is_busy.wait(PATIENCE_S)
        for _ in range(200):
            run._tell(kind="progress", progress=1)
        run.answer(request, take)
        for _ in range(200):
            run._tell(kind="progress", progress=2)
        assert len(recorder._inbox) < 100
        assert answers(store) == {"retry": None}
    assert waits().fate == "done"
    assert answers(store) == {"retry": waits()}


def test_requests_are_exported_and_go_with_their_run(
    recorder: Recorder, store: Store, tmp_path: Path
) -> None:
    from taskgrove.store import read_jsonl

    ScriptedRun(recorder, "run-1")
    answer = steering.accept(RecordDesk(store), "run-1", "root", who="ann", wait_s=PATIENCE_S)
    end_and_wait(recorder, "run-1")
    history = History(store)
    history.export_jsonl(tmp_path / "all.jsonl")
    (run,) = read_jsonl((tmp_path / "all.jsonl").read_bytes().splitlines())
    (asked,) = run.header["requests"]
    assert asked["request"]["who"] == "ann"
    assert asked["answer"]["request_id"] == answer.request_id
    if importlib.util.find_spec("pyarrow") is not None:
        from pyarrow import parquet

        history.export_parquet(tmp_path / "all")
        (line,) = parquet.read_table(tmp_path / "all" / "requests.parquet").to_pylist()
        assert (line["run_id"], line["verb"], line["who"]) == ("run-1", "accept", "ann")
        assert (line["fate"], line["acted_count"], line["reasons"]) == ("done", 1, [])
    assert prune(store, keep_last=0).runs
    assert history.reader.rows("SELECT count(*) FROM requests") == [(0,)]


def test_requests_are_a_difference_of_two_runs(recorder: Recorder, store: Store) -> None:
    desk = RecordDesk(store)
    for run_id in ("run-1", "run-2"):
        ScriptedRun(recorder, run_id)
        steering.accept(desk, run_id, "root", who="ann", wait_s=PATIENCE_S)
    steering.fail(desk, "run-2", "root", who="bob", wait_s=PATIENCE_S)
    steering.accept(desk, "run-2", "root", who="bob", wait_s=PATIENCE_S)
    with pytest.raises(NoAnswerError):
        steering.skip(desk, "run-1", "root", who="bob", wait_s=0)
    found = History(store).diff("run-1", "run-2").of("requests")
    assert [(item.where, item.first, item.second) for item in found] == [
        ("accept root", "done (ann)", "done (ann), done (bob)"),
        ("skip root", "not answered (bob)", None),
        ("fail root", None, "refused (bob)"),
    ]


def test_a_record_that_is_read_only_takes_no_request(recorder: Recorder, record_url: str) -> None:
    ScriptedRun(recorder, "run-1")
    with (
        Store.open(record_url, read_only=True) as opened,
        pytest.raises(StoreError, match="takes no request"),
    ):
        RecordDesk(opened)


# -- runs of an executor ------------------------------------------------------------------------


def held_leaf(works: threading.Event) -> Task:
    """Return a tree with a leaf that fails until it may work, and one behind it."""

    def scan() -> None:
        if not works.is_set():
            raise RuntimeError("no lock")

    leaves = [LeafTask.from_callable(scan, name="scan"), LeafTask.from_callable(int, name="end")]
    return Task("observe", subtasks=leaves)


def test_a_held_step_is_tried_again_on_request(recorder: Recorder, store: Store) -> None:
    works, log = threading.Event(), EventLog()
    with MainTaskExecutor(max_workers=2) as executor:
        handle = executor.submit_main_task(
            held_leaf(works), run_id="run-1", recorder=recorder, observers=[log], hold=True
        )
        log.wait_for(where=lambda e: getattr(e.detail, "topic", "") == "held")
        desk = RecordDesk(store)
        again = steering.retry(desk, "run-1", "observe/scan", wait_s=PATIENCE_S)
        assert (again.fate, again.paths) == ("done", ("observe/scan",))
        log.wait_for(where=lambda e: getattr(e.detail, "topic", "") == "held" and e.attempt == 2)
        refused = steering.skip(desk, "run-1", "observe/nowhere", wait_s=PATIENCE_S)
        assert reasons(refused) == ["no_such_node"]
        works.set()
        waits = [
            in_thread(lambda: steering.retry(desk, "run-1", "observe/scan", wait_s=None))
            for _ in range(2)
        ]
        assert [wait().fate == "done" for wait in waits].count(True) == 1
        assert handle.wait(PATIENCE_S)
        assert handle.outcome is not None
        assert handle.outcome.ok
    node = {node.path: node for node in History(store).nodes("run-1")}["observe/scan"]
    assert good_duration_s(node) is None  # it waited for a person
    with History(store).reader.cursor() as cursor:
        assert past_durations_s(cursor, "observe/scan", (0, 0)) == []
        assert past_durations_s(cursor, "observe", (0, 0)) == []  # so did all above it
        assert len(past_durations_s(cursor, "observe/end", (0, 0))) == 1
    counted = {found.path: found for found in History(store).stats().nodes}
    assert (counted["observe/scan"].ok_count, counted["observe/scan"].p50_s) == (1, None)
    assert counted["observe"].p50_s is None
    asked = [row for row in History(store).requests("run-1") if row.request.verb == "retry"]
    done = {row.request.id for row in asked if row.answer is not None and row.answer.fate == "done"}
    assert len(done) == 2
    assert done <= {request_of(event) for event in History(store).events("run-1")}


def test_the_time_of_a_pause_is_no_usual_duration(recorder: Recorder, store: Store) -> None:
    history, run_ids = History(store), [f"run-{number}" for number in range(6)]
    for run_id in run_ids:
        go_on = threading.Event()
        steps = [
            LeafTask.from_callable(functools.partial(go_on.wait, PATIENCE_S), name="scan"),
            LeafTask.from_callable(list, name="end"),
        ]
        log = EventLog()
        with MainTaskExecutor(max_workers=2) as executor:
            handle = executor.submit_main_task(
                Task("observe", subtasks=steps), run_id=run_id, recorder=recorder, observers=[log]
            )
            if run_id == "run-0":
                log.wait_for(kind="started", path="observe/scan")
                handle.pause("wind")
                go_on.set()
                log.wait_for(topic="parked", path="observe/end")
                handle.continue_run()
            go_on.set()
            assert handle.wait(PATIENCE_S)
    with history.reader.cursor() as cursor:
        assert len(past_durations_s(cursor, "observe", (0, 0))) == 5
    estimate = history.estimate("observe")
    assert estimate is not None
    assert estimate.run_count == 5
    assert history.estimate("observe", but="run-1") is None
    kept = {node.path: node.has_waited for node in history.nodes("run-0")}
    assert kept == {"observe": True, "observe/scan": False, "observe/end": True}
    told = RunNodes(history.events("run-0")).nodes
    assert {path: node.has_waited for path, node in told.items()} == kept
    assert good_duration_s(told["observe"]) is None


def test_the_last_step_of_a_run_is_accepted_on_request(recorder: Recorder, store: Store) -> None:
    log = EventLog()
    with MainTaskExecutor(max_workers=2) as executor:
        handle = executor.submit_main_task(
            held_leaf(threading.Event()), run_id="run-1", recorder=recorder, observers=[log],
            hold=True,
        )  # fmt: skip
        log.wait_for(where=lambda e: getattr(e.detail, "topic", "") == "held")
        desk = RecordDesk(store)
        answer = steering.accept(
            desk, "run-1", "observe/**", who="ann", why="seen", wait_s=PATIENCE_S
        )
        assert (answer.fate, answer.acted_count) == ("done", 1)
        assert handle.wait(PATIENCE_S)
    assert answers(store) == {"accept": answer}
    node = {node.path: node for node in History(store).nodes("run-1")}["observe/scan"]
    assert node.finished is not None
    assert node.finished.accepted_by == ("ann",)
    assert good_duration_s(node) is None
    with History(store).reader.cursor() as cursor:
        assert past_durations_s(cursor, "observe/scan", (0, 0)) == []
        assert past_durations_s(cursor, "observe", (0, 0)) == []
        assert len(past_durations_s(cursor, "observe/end", (0, 0))) == 1
    counted = {found.path: found for found in History(store).stats().nodes}
    assert (counted["observe/scan"].failed_count, counted["observe/scan"].ok_count) == (1, 0)
    assert (counted["observe"].degraded_count, counted["observe"].p50_s) == (1, None)
    assert counted["observe/end"].ok_count == 1
    row = _node_row("run-1", node)
    assert (row["outcome"], row["accepted_by"], row["accepted_why"]) == ("accepted", "ann", "seen")


# -- trouble ------------------------------------------------------------------------------------


def test_a_file_that_another_process_locks_delays_the_answer(tmp_path: Path) -> None:
    file, troubles = tmp_path / "runs.db", Troubles()
    with new_recorder(file, tmp_path, on_trouble=troubles) as recorder, Store.open(file) as store:
        run = ScriptedRun(recorder, "run-1")
        desk = RecordDesk(store)
        waits = in_thread(lambda: steering.retry(desk, "run-1", "root", wait_s=None))
        request, take = run.waiting.get(timeout=PATIENCE_S)
        with closing(sqlite3.connect(file, isolation_level=None)) as locking:
            locking.execute("BEGIN IMMEDIATE")
            run._tell(kind="note", message="in the outage")
            run.answer(request, take)
            troubles.wait_for("is locked")
            assert answers(store) == {"retry": None}
            with pytest.raises(StoreError, match="is locked"):
                steering.fail(desk, "run-1", "root")
            locking.execute("ROLLBACK")
        assert waits().fate == "done"
        assert "in the outage" in {event.message for event in kept(file, "run-1").events}
        assert set(answers(store)) == {"retry"}


@pytest.mark.postgres
def test_a_server_that_is_stopped_and_started_loses_no_request_and_no_answer(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url, troubles = postgres_server.new_database(), Troubles()
    with new_recorder(url, tmp_path, on_trouble=troubles) as recorder, Store.open(url) as store:
        run = ScriptedRun(recorder, "run-1")
        desk = RecordDesk(store)
        waits = in_thread(lambda: steering.retry(desk, "run-1", "root", wait_s=None))
        request, take = run.waiting.get(timeout=PATIENCE_S)
        postgres_server.stop()
        try:
            run._tell(kind="note", message="in the outage")
            run.answer(request, take)
            troubles.wait_for("goes on")
        finally:
            postgres_server.start()
        assert waits().fate == "done"
        assert steering.fail(desk, "run-1", "root", wait_s=PATIENCE_S).fate == "refused"


@pytest.mark.postgres
@pytest.mark.parametrize("committed", [True, False])
def test_the_end_of_a_run_waits_for_a_request_that_is_half_made(
    postgres_server: PostgresServer, tmp_path: Path, committed: bool
) -> None:
    import psycopg

    url = postgres_server.new_database()
    with new_recorder(url, tmp_path) as recorder, Store.open(url) as store:
        ScriptedRun(recorder, "run-1")
        key = History(store).find("run-1").run_key
        with psycopg.connect(url) as asking:
            asking.execute(
                "INSERT INTO requests (run_key, request_id, body, asked_ns) VALUES (%s, %s, %s, 7)",
                (key, "q-1", b'{"id":"q-1","verb":"retry","path":"root"}'),
            )
            ended = threading.Event()
            from tests.store.recording import OK

            recorder.end_run("run-1", OK, ended.set)

            def is_waited_for() -> bool:
                rows = History(store).reader.rows(
                    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
                    " AND wait_event_type = 'Lock'"
                )
                return bool(rows)

            eventually(is_waited_for)
            assert not ended.is_set()
            asking.commit() if committed else asking.rollback()
        assert ended.wait(PATIENCE_S)
        found = answers(store)
        assert set(found) == ({"retry"} if committed else set())
        assert all(reasons(answer) == ["run_ended"] for answer in found.values())


def test_a_run_whose_process_keeps_its_events_aside_is_asked_by_its_id(
    recorder: Recorder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ScriptedRun(recorder, "run-1")
    desk = RecordDesk(store)
    runs = (AsideRun("run-1", "root", None), AsideRun("run-2", "root", None))
    held = KeptAside(Path("spill"), runs, "the record is locked", "wait", is_held=True)
    monkeypatch.setattr(desk._history, "_look_aside", lambda: None)
    desk._history.kept_aside = (held,)
    assert desk.find("run-1").run_id == "run-1"
    with pytest.raises(UsageError):
        desk.find("last")
    desk._history.kept_aside = (dataclasses.replace(held, is_held=False),)
    with pytest.raises(UsageError, match="is not whole"):
        desk.find("run-1")


def test_a_run_that_ends_while_it_is_asked_takes_no_request(
    recorder: Recorder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ScriptedRun(recorder, "run-1")
    desk = RecordDesk(store)
    real = desk._make

    def later(*arguments: Any) -> Any:
        end_and_wait(recorder, "run-1")
        return real(*arguments)

    monkeypatch.setattr(desk, "_make", later)
    answer = steering.abort(desk, "run-1")
    assert (answer.fate, reasons(answer)) == ("too_late", ["run_ended"])
    assert answers(store) == {}


def test_a_record_that_stays_away_is_told_to_who_waits(
    recorder: Recorder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ScriptedRun(recorder, "run-1")
    desk = RecordDesk(store)
    monkeypatch.setattr(desk_module, "_OUTAGE_S", 0.0)

    def away(*_: object) -> None:
        raise StoreError("the record is away")

    monkeypatch.setattr(desk, "_answer_now", away)
    with pytest.raises(StoreError, match="is away"):
        steering.retry(desk, "run-1", "root", wait_s=None)


@pytest.mark.postgres
def test_who_asks_needs_to_read_and_to_add_requests_only(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    from tests.store.test_rights import READ, do, other_user

    url = postgres_server.new_database()
    with new_recorder(url, tmp_path) as recorder:
        ScriptedRun(recorder, "run-1")
        as_reader = other_user(url, READ)
        user = as_reader.partition("//")[2].partition("@")[0]
        with Store.open(as_reader) as store:
            with pytest.raises(StoreError, match=f"user {user} may make no requests") as told:
                RecordDesk(store)
            assert f'GRANT INSERT ON requests TO "{user}"' in str(told.value)
            assert "\n" not in str(told.value)
            do(url, str(told.value.hint).partition(": ")[2])
            assert (
                steering.accept(RecordDesk(store), "run-1", "root", wait_s=PATIENCE_S).fate
                == "done"
            )


def test_a_runner_that_is_stopped_is_waited_for(store: Store, runner: Runner) -> None:
    desk = RecordDesk(store)
    steering.accept(desk, "run-1", "root", wait_s=PATIENCE_S)
    os.kill(runner.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(NoAnswerError):
            steering.fail(desk, "run-1", "root", wait_s=0.1)
    finally:
        os.kill(runner.process.pid, signal.SIGCONT)
    eventually(lambda: answers(store)["fail"] is not None)
