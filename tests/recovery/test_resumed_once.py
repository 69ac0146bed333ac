"""A run is resumed once: who claims it, who is refused, and how both runs tell of each other."""

from __future__ import annotations

import dataclasses
import json
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from taskgrove.commands.execution.refused_run import record_refusal
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import StoreError, UsageError
from taskgrove.events import ComposedDetail
from taskgrove.recovery.resuming import Resumption, plan_resume, resume
from taskgrove.report import render_report
from taskgrove.store import Recorder, Store, find_lost, give_verdict, recover
from taskgrove.store.history import History
from taskgrove.store.queries.export_jsonl import header_of
from taskgrove.store.recording.inbox import WITHDRAW, Begin
from taskgrove.store.recording.record_link import Link
from taskgrove.store.recording.recorded_run import Ending, RecordedRun
from taskgrove.store.tables import resumes, runs
from taskgrove.story.run_node import RunNode
from taskgrove.testing import FakeDeviceRunner, Script
from taskgrove.view.record_view import story_of_record
from taskgrove.view.why import Why, why
from tests.cli.command_line import environment, start, taskgrove
from tests.recovery.cut_runs import DEVICE, record
from tests.store.by_sqlalchemy import tables_of
from tests.store.recording import eventually

HANG_GUARD_S = 200.0


@pytest.fixture
def store(record_url: str) -> Iterator[Store]:
    with Store.open(record_url) as opened:
        yield opened


def tree() -> Task:
    names = ("configure", "scan", "end")
    return Task("root", subtasks=[LeafTask(name, f"x/y/{name}", "Do") for name in names])


def failed_run(store: Store, run_id: str = "first") -> None:
    record(store, run_id, tree(), {"scan": Script.fails("no beam")})


def resumed(store: Store, run: str, *, fails: bool = False, **more: Any) -> FakeDeviceRunner:
    fake = FakeDeviceRunner({"scan": Script.fails("no beam")} if fails else None)
    resume(run, tree(), store=store, runners={DEVICE: fake}, **more)
    return fake


def claims(store: Store) -> list[tuple[str, int]]:
    with tables_of(store) as connection:
        rows = connection.execute(
            select(resumes.c.run_id, resumes.c.number).order_by(resumes.c.claimed_ns)
        )
        return [(run_id, number) for run_id, number in rows]


def why_of(store: Store, run: str) -> Why:
    row, nodes, verdicts, _ = History(store).whole(run)
    return why(story_of_record(row, nodes, now_ns=row.last_ns, verdicts=verdicts))


def test_a_second_resume_is_refused_with_the_first(store: Store) -> None:
    failed_run(store)
    resumed(store, "first").assert_calls(["scan", "end"])
    newer = History(store).find("last").run_id
    with pytest.raises(UsageError, match=f"resumed already, by run {newer} .ok.") as caught:
        resumed(store, "first")
    assert caught.value.hint is not None
    assert "nothing is left to do; taskgrove resume first --again" in caught.value.hint
    with pytest.raises(UsageError, match="resumed already"):
        plan_resume(store, "first", tree())
    resumed(store, "first", again=True).assert_calls(["scan", "end"])
    newest = History(store).find("last").run_id
    assert claims(store) == [(newer, 1), (newest, 2)]
    assert History(store).find("first").resumed_by_run_id == newest


def test_a_refusal_names_the_newest_run_of_the_chain(store: Store) -> None:
    failed_run(store)
    resumed(store, "first", fails=True)
    second = History(store).find("last").run_id
    with pytest.raises(UsageError, match=f"by run {second} .failed.") as caught:
        resumed(store, "first")
    assert f"taskgrove resume {second}" in str(caught.value.hint)
    resumed(store, second, fails=True)
    third = History(store).find("last").run_id
    with pytest.raises(UsageError, match=f"newest run of this chain is {third}") as caught:
        resumed(store, "first")
    assert f"taskgrove resume {third}" in str(caught.value.hint)
    # What is printed can be done.
    resumed(store, third).assert_calls(["scan", "end"])


def test_both_runs_link_to_each_other(store: Store) -> None:
    failed_run(store)
    assert "taskgrove resume first" in why_of(store, "first").next_step or (
        "run root again" in why_of(store, "first").next_step
    )
    resumed(store, "first", fails=True)
    history = History(store)
    newer = history.find("last")
    assert newer.parent_run_id == "first"
    earlier = history.find("first")
    [link] = earlier.resumed_by
    assert (link.run_id, link.of_run_id, link.number) == (newer.run_id, "first", 1)
    assert (link.outcome, earlier.resumed_by_run_id) == ("failed", newer.run_id)
    assert [row.resumed_by_run_id for row in history.runs()] == [None, newer.run_id]
    told = why_of(store, "first")
    assert f"it was resumed by {newer.run_id}, which failed" in told.sentence
    assert told.next_step == f"taskgrove why {newer.run_id}"
    assert told.resumed_by[0].run_id == newer.run_id
    assert "taskgrove resume" not in str(told)
    assert newer.run_id in render_report(history, ["first"])
    header = json.loads(json.dumps(header_of(earlier), default=dataclasses.asdict))
    assert header["resumed_by_run_id"] == newer.run_id
    assert header["resumed_by"][0]["outcome"] == "failed"
    resumed(store, newer.run_id)
    newest = history.find("last").run_id
    told = why_of(store, "first")
    assert f"{newest} (of {newer.run_id}), which completed" in told.sentence
    assert told.next_step == ""


def test_only_a_run_that_began_something_holds_a_claim(store: Store) -> None:
    failed_run(store)
    ready = plan_resume(store, "first", tree())  # only a look
    assert claims(store) == []
    with Recorder(store) as recorder:
        record_refusal(recorder, "refused", ready.about, "no", task=tree())
    assert claims(store) == []
    aborted_at_once(store, plan_resume(store, "first", tree()))
    assert claims(store) == []
    assert why_of(store, "first").resumed_by == ()
    # What these would have gone on with is still to be done, and claimed once.
    for named in ("refused", "aborted"):
        assert plan_resume(store, named, tree()).run.run_id == "first"
    resumed(store, "aborted").assert_calls(["scan", "end"])
    assert History(store).find("last").parent_run_id == "first"
    with pytest.raises(UsageError, match="run first has been resumed already"):
        resumed(store, "refused")


def aborted_at_once(store: Store, ready: Resumption) -> None:
    """Have a resume end before it begins a leaf."""
    with Recorder(store) as recorder, MainTaskExecutor(1, {DEVICE: FakeDeviceRunner()}) as pool:
        handle = pool.submit_main_task(
            ready.task,
            run_id="aborted",
            recorder=recorder,
            about=ready.about,
            prior=ready.plan.prior,
            start_nothing="nobody wants it",
        )
        assert handle.wait(HANG_GUARD_S)
        assert handle.outcome is not None
        assert handle.outcome.status is TaskStatus.ABORTED


def test_a_run_that_takes_over_everything_keeps_its_claim(store: Store) -> None:
    failed_run(store)
    give_verdict(store, "first", "root/scan", "ok", why="seen it", who="ann")
    resumed(store, "first").assert_calls([])
    newer = History(store).find("last").run_id
    assert claims(store) == [(newer, 1)]


def test_who_may_have_begun_something_keeps_the_claim() -> None:
    def ended(*nodes: RunNode, last_sequence: int = 0) -> bool:
        aborted = Ending(int(TaskStatus.ABORTED), int(ResultCode.ABORTED), None, "", 1)
        state = RecordedRun("r", {}, {}, last_sequence=last_sequence)
        state.end(aborted)
        state.facts.nodes.update({node.path: node for node in nodes})
        return state.began_nothing

    composite = RunNode("a", ComposedDetail("SEQUENTIAL"), started_ns=1)
    assert ended(composite, RunNode("a/b", status=TaskStatus.ABORTED))
    assert not ended(composite, RunNode("a/b", status=TaskStatus.ABORTED, started_ns=1))
    assert not ended(composite, RunNode("a/b", status=TaskStatus.ABORTED, outside_id="7"))
    assert not ended(composite, RunNode("a/b", status=TaskStatus.FAILED))
    assert not ended(composite, last_sequence=1)  # an event is missing: it may tell of a start
    assert not RecordedRun("r", {}, {}).began_nothing


def test_a_run_that_was_aborted_at_work_keeps_its_claim(store: Store) -> None:
    failed_run(store)
    fake = FakeDeviceRunner({"scan": Script(hangs=True)})
    ready = plan_resume(store, "first", tree())
    with Recorder(store) as recorder, MainTaskExecutor(1, {DEVICE: fake}) as pool:
        handle = pool.submit_main_task(
            ready.task, run_id="second", recorder=recorder, about=ready.about,
            prior=ready.plan.prior,
        )  # fmt: skip
        fake.wait_for_call("scan")
        assert claims(store) == [("second", 1)]  # with the row, before any leaf
        handle.abort("enough")
        assert handle.wait(HANG_GUARD_S)
    assert claims(store) == [("second", 1)]
    with pytest.raises(UsageError, match=r"by run second \(aborted\)"):
        plan_resume(store, "first", tree())


def test_the_claim_is_taken_between_the_plan_and_the_begin(store: Store) -> None:
    failed_run(store)
    late = plan_resume(store, "first", tree())
    fake = FakeDeviceRunner()
    resumed(store, "first")
    newer = History(store).find("last").run_id
    with (
        Recorder(store) as recorder,
        MainTaskExecutor(1, {DEVICE: fake}) as pool,
        pytest.raises(UsageError, match=f"resumed meanwhile, by run {newer}; nothing was started"),
    ):
        pool.submit_main_task(
            late.task, run_id="late", recorder=recorder, about=late.about, prior=late.plan.prior
        )
    fake.assert_calls([])
    assert {row.run_id for row in History(store).runs()} == {"first", newer}


def test_a_refusal_is_recorded_whoever_holds_the_claim(store: Store) -> None:
    failed_run(store)
    late = plan_resume(store, "first", tree())
    resumed(store, "first")
    with Recorder(store) as recorder:
        record_refusal(recorder, "refused", late.about, "no", task=tree())
    assert History(store).find("refused").status is TaskStatus.REJECTED


def test_what_ran_in_the_resumes_before_counts_for_the_order(store: Store) -> None:
    def on_one_device() -> Task:
        steps = {"configure": "x/y/z", "scan": "x/y/s", "end": "X/Y/Z"}
        leaves = [LeafTask(name, device, "Do") for name, device in steps.items()]
        return Task("root", skip_subtasks=True, subtasks=leaves)

    record(store, "first", on_one_device(), {"scan": Script.fails("no beam")})
    fake = FakeDeviceRunner()
    resume("first", on_one_device(), store=store, runners={DEVICE: fake})
    fake.assert_calls(["scan", "end"])
    fake = FakeDeviceRunner()
    resume("first", on_one_device(), store=store, runners={DEVICE: fake}, again=True)
    fake.assert_calls(["configure", "scan", "end"])


def test_of_many_at_once_one_begins(record_url: str) -> None:
    with Store.open(record_url) as store:
        failed_run(store)
    ready, fakes, refused = threading.Barrier(4), [], []

    def attempt(fake: FakeDeviceRunner) -> None:
        with Store.open(record_url) as own, Recorder(own) as recorder:
            planned = plan_resume(own, "first", tree())
            ready.wait()
            with MainTaskExecutor(1, {DEVICE: fake}) as pool:
                try:
                    pool.submit_main_task(
                        planned.task, recorder=recorder, about=planned.about,
                        prior=planned.plan.prior,
                    ).wait(HANG_GUARD_S)  # fmt: skip
                except UsageError as exc:
                    refused.append(exc.message)

    fakes = [FakeDeviceRunner() for _ in range(4)]
    threads = [threading.Thread(target=attempt, args=(fake,)) for fake in fakes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_GUARD_S)
    assert sorted(len(fake.calls) for fake in fakes) == [0, 0, 0, 2]
    with Store.open(record_url) as store:
        [(winner, _)] = claims(store)
        assert len(History(store).runs()) == 2
    assert len(refused) == 3
    assert all(winner in text for text in refused)


def test_where_the_claim_cannot_be_written_nothing_begins(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed_run(store)
    ready = plan_resume(store, "first", tree())
    told: list[str] = []
    fake = FakeDeviceRunner()
    with Recorder(store, on_trouble=told.append) as recorder:

        def gone(_link: Link) -> Any:
            raise OSError("the disk is gone")

        with monkeypatch.context() as patched:
            patched.setattr(Link, "_connect", gone)
            recorder._saver.beat_at = 0.0  # it is about to look after what it records
            with (
                MainTaskExecutor(1, {DEVICE: fake}) as pool,
                pytest.raises(StoreError, match="nothing was started"),
            ):
                pool.submit_main_task(
                    ready.task, recorder=recorder, about=ready.about, prior=ready.plan.prior
                )
    fake.assert_calls([])
    assert told == []  # no command goes on
    assert claims(store) == []
    assert [row.run_id for row in History(store).runs()] == ["first"]
    resumed(store, "first").assert_calls(["scan", "end"])


def test_a_claim_whose_commit_was_not_answered_is_found(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed_run(store)
    transaction, lost = Link.transaction, [True]

    @contextmanager
    def unanswered(link: Link) -> Iterator[Any]:
        with transaction(link) as connection:
            yield connection
        if lost and claims(store):
            lost.clear()
            raise OSError("the connection was lost")

    monkeypatch.setattr(Link, "transaction", unanswered)
    resumed(store, "first").assert_calls(["scan", "end"])
    assert not lost
    assert len(claims(store)) == 1


def test_a_claim_that_nobody_waits_for_is_not_written(store: Store) -> None:
    failed_run(store)
    ready = plan_resume(store, "first", tree())
    with Recorder(store) as recorder:
        state = RecordedRun("late", recorder._row("late", ready.about), recorder._lease())
        state.claim = ready.about.claim
        begin = Begin(state)
        assert begin.ask(WITHDRAW)
        recorder._writer._claim(begin)
    assert [row.run_id for row in History(store).runs()] == ["first"]


def test_a_claim_does_not_keep_a_run_from_a_record_that_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    fake = FakeDeviceRunner({"scan": Script(hangs=True)})
    with Store.open(file) as store:
        failed_run(store)
        ready = plan_resume(store, "first", tree())
        with Recorder(store) as recorder, MainTaskExecutor(1, {DEVICE: fake}) as pool:
            handle = pool.submit_main_task(
                ready.task, run_id="second", recorder=recorder, about=ready.about,
                prior=ready.plan.prior,
            )  # fmt: skip
            fake.wait_for_call("scan")
            for part in tmp_path.glob("runs.db*"):
                part.unlink()
            fake.release("scan")
            assert handle.wait(HANG_GUARD_S)
    with Store.open(file) as store:
        assert History(store).find("second").state == "final"


def test_a_claim_that_came_too_late_is_let_go_of(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed_run(store)
    ready = plan_resume(store, "first", tree())
    go_on = threading.Event()
    connect = Link._connect

    def slow(link: Link) -> Any:
        assert go_on.wait(HANG_GUARD_S)
        return connect(link)

    monkeypatch.setattr(Link, "_connect", slow)
    with Recorder(store, patience_s=0.01) as recorder:
        with pytest.raises(StoreError, match="does not answer; nothing was started"):
            recorder.begin_run("late", ready.about)
        go_on.set()
    assert claims(store) == []
    found = {row.run_id: row for row in History(store).runs()}
    if "late" in found:  # its row was on the way
        assert found["late"].status is TaskStatus.ABORTED
    resumed(store, "first").assert_calls(["scan", "end"])


def test_a_run_of_another_record_is_not_resumed_into_this_one(store: Store, tmp_path: Path) -> None:
    failed_run(store)
    with Store.open(tmp_path / "other.db") as other, Recorder(other) as recorder:
        fake = FakeDeviceRunner()
        with pytest.raises(UsageError, match="run first, which would be resumed, is not in this"):
            resume("first", tree(), store=store, runners={DEVICE: fake}, recorder=recorder)
        fake.assert_calls([])


def test_a_run_that_was_removed_is_still_named(store: Store) -> None:
    failed_run(store)
    resumed(store, "first", fails=True)
    newer = History(store).find("last").run_id
    with tables_of(store) as connection:
        connection.execute(delete(runs).where(runs.c.run_id == newer))
    with pytest.raises(UsageError, match=f"by run {newer} .removed since."):
        plan_resume(store, "first", tree())
    assert f"{newer}, which is no longer in the record" in why_of(store, "first").sentence
    failed_run(store, "first-of-all")  # its id begins alike
    resumed(store, "first", again=True, fails=True)
    newest = History(store).find("last").run_id
    with tables_of(store) as connection:
        connection.execute(delete(runs).where(runs.c.run_id == "first"))
    assert claims(store) == []  # it goes with the run that it is of
    assert plan_resume(store, newest, tree()).run.run_id == newest


# -- processes ----------------------------------------------------------------------------------

_PUMP = """
import time
from pathlib import Path


class Pump:
    def start(self):
        with Path("calls").open("a") as calls:
            calls.write("x")
        if not Path("mended").exists():
            return 3, "valve is closed"
        while not Path("go").exists():
            time.sleep(0.01)
        return 0, "started"
"""
_MAP = "go: {type: sequential, tasks: {a: {handler: internal, command_name: start}}}"
_MANAGER = ("--manager", "pump:Pump", "--no-live")


@pytest.fixture
def failed_pump(record_url: str, tmp_path: Path) -> str:
    """Give the id of a run whose only step failed."""
    (tmp_path / "pump.py").write_text(_PUMP)
    (tmp_path / "map.yaml").write_text(_MAP)
    done = taskgrove("run", "map.yaml", "go", "--db", record_url, *_MANAGER, cwd=tmp_path)
    assert done.returncode == 1, done
    (tmp_path / "mended").touch()
    with History.open(record_url) as history:
        return history.find("last").run_id


def test_of_two_processes_at_once_one_resumes(
    record_url: str, tmp_path: Path, failed_pump: str
) -> None:
    words = ("resume", failed_pump, "--yes", "--db", record_url, *_MANAGER)
    with start(*words, cwd=tmp_path) as one, start(*words, cwd=tmp_path) as other:
        eventually(lambda: None not in (one.poll(), other.poll()) or (
            (one.poll() is not None or other.poll() is not None)
            and (tmp_path / "calls").read_text() == "xx"
        ))  # fmt: skip
        (tmp_path / "go").touch()
        told = {process.communicate(timeout=HANG_GUARD_S): process for process in (one, other)}
    assert sorted(process.returncode for process in told.values()) == [0, 2]
    assert (tmp_path / "calls").read_text() == "xx"
    with History.open(record_url) as history:
        newer = history.find("last").run_id
    [refusal] = [words[1] for words, process in told.items() if process.returncode == 2]
    assert newer in refusal


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_resume_is_refused_in_one_line_where_the_record_is_locked(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    (tmp_path / "pump.py").write_text(_PUMP)
    (tmp_path / "map.yaml").write_text(_MAP)
    taskgrove("run", "map.yaml", "go", "--db", str(file), *_MANAGER, cwd=tmp_path)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        words = ("resume", "last", "--yes", "--db", str(file), *_MANAGER)
        done = taskgrove(*words, cwd=tmp_path)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.endswith("; nothing was started")
    assert "the command goes on" not in done.stdout
    assert (tmp_path / "calls").read_text() == "x"


# -- killed -------------------------------------------------------------------------------------

_KILLED = """
import os, signal, sys
from taskgrove.commands.execution.live_run import Run
from taskgrove.commands.execution.schedule import Schedule
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.store import Recorder, Store
from taskgrove.recovery.resuming import plan_resume
from taskgrove.testing import FakeDeviceRunner
from tests.recovery.cut_runs import DEVICE
from tests.store.recording import eventually
from tests.recovery.test_resumed_once import tree

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def die_when_composed(*_):
    eventually(lambda: History(store).find("second").last_sequence >= 4)
    die()

from taskgrove.store.history import History
store = Store.open(sys.argv[1])
recorder = Recorder(store)
ready = plan_resume(store, "first", tree())
if sys.argv[2] == "claimed":
    Run.begin = die
else:
    Schedule.begin = die_when_composed
pool = MainTaskExecutor(1, {DEVICE: FakeDeviceRunner()})
pool.submit_main_task(
    ready.task, run_id="second", recorder=recorder, about=ready.about, prior=ready.plan.prior
).wait()
"""


def killed(url: str, when: str) -> None:
    words = [sys.executable, "-c", _KILLED, url, when]
    done = subprocess.run(
        words, env=environment(), cwd=Path(__file__).parents[2], timeout=HANG_GUARD_S,
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_who_is_killed_with_a_claim_and_nothing_else_on_record_keeps_it(record_url: str) -> None:
    with Store.open(record_url) as store:
        failed_run(store)
    killed(record_url, "claimed")
    with Store.open(record_url) as store:
        assert [lost.run_id for lost in find_lost(store)] == ["second"]
        assert claims(store) == [("second", 1)]
        with pytest.raises(UsageError, match=r"by run second \(lost\)") as caught:
            plan_resume(store, "first", tree())
        assert "taskgrove resume first --again" in str(caught.value.hint)
        with pytest.raises(UsageError, match="nothing but its beginning is on record"):
            recover(store, "second", give_up=True)
        # Nobody knows whether it began; who has looked goes on.
        resumed(store, "first", again=True).assert_calls(["scan", "end"])


def test_who_is_killed_before_the_first_leaf_is_recovered_and_resumed(record_url: str) -> None:
    with Store.open(record_url) as store:
        failed_run(store)
    killed(record_url, "composed")
    with Store.open(record_url) as store:
        assert recover(store, "second", give_up=True).status is TaskStatus.ABORTED
        assert claims(store) == [("second", 1)]  # a start in its last moments is not on record
        with pytest.raises(UsageError, match=r"by run second \(aborted\)"):
            plan_resume(store, "first", tree())
        # What it would have taken over still stands; what it set out to run, runs.
        resumed(store, "second").assert_calls(["scan", "end"])
        with pytest.raises(UsageError, match=r"by run second \(aborted\)"):
            plan_resume(store, "first", tree())


# -- records of before --------------------------------------------------------------------------


def test_runs_that_an_older_version_resumed_are_linked(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    with Store.open(file) as store:
        failed_run(store)
        record(store, "other", tree())
        resumed(store, "first", fails=True)
        newer = History(store).find("last").run_id
        with Recorder(store) as recorder:
            about = plan_resume(store, newer, tree()).about
            record_refusal(recorder, "refused", about, "no", task=tree())
    with closing(sqlite3.connect(file)) as old:  # as the version before had it
        old.execute("DROP TABLE device_holds")
        old.execute("DROP TABLE requests")
        old.execute("DROP TABLE resumes")
        old.execute("ALTER TABLE runs DROP COLUMN recovered_ns")
        old.execute("UPDATE taskgrove_version SET version_num = '1'")
        old.commit()
    with Store.open(file) as store:
        assert store.backup is not None
        assert claims(store) == [(newer, 1)]
        assert History(store).find("first").resumed_by_run_id == newer
        assert why_of(store, "other").resumed_by == ()
        # Which leaves it set out to run is not on record: its own word counts.
        resumed(store, newer).assert_calls(["scan", "end"])
