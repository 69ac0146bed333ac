"""Requests that come at the worst moment, and what stays when something raises half-way.

Each test holds the moment open; without that these moments are too short to be met by chance.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from taskgrove import LeafTask, Task, TaskExecutionType
from taskgrove.analysis import executor as executor_module
from taskgrove.analysis.analysis_runner import AnalysisRunner
from taskgrove.analysis.child import _Child
from taskgrove.analysis.executor import AnalysisExecutor
from taskgrove.analysis.leaves import attaching
from taskgrove.analysis.leaves.following import LeafFollower
from taskgrove.analysis.logbook import HttpLogbook
from taskgrove.analysis.publishing.logbook_http import HttpPoster, PostAnswer
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.results import TaskStatus
from taskgrove.analysis.running import supervision
from taskgrove.analysis.running.analysis_events import AnalysisEvent
from taskgrove.analysis.running.handle import AnalysisHandle
from taskgrove.analysis.running.process import identity_of
from taskgrove.analysis.running.supervisor import AnalysisSupervisor, SupervisorLoop
from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.prior import PriorWork
from taskgrove.control_model import TaskStatus as LeafStatus
from taskgrove.events import StartedDetail, TaskEvent
from tests.analysis import sample_tasks as tasks
from tests.analysis.analysis_runs import GUARD_S, Heard, Runs, runs, until
from tests.analysis.leaf_samples import registry

ANALYSIS = TaskExecutionType.ANALYSIS
LONG = "exec sleep 300"
DEAF = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


class Bench:
    """A tree of shell scripts as analyses."""

    def __init__(self, *, tree_grace_s: float = GUARD_S, **settings: Any) -> None:
        self.runner = AnalysisRunner(registry(), grace_s=0.3, **settings)
        self.executor = MainTaskExecutor(4, {ANALYSIS: self.runner}, grace_s=tree_grace_s)
        self.events: list[TaskEvent] = []

    def submit(self, *scripts: str, **options: Any) -> RunHandle:
        leaves = [
            LeafTask(f"leaf-{number}", None, "Shell", {"c": script}, ANALYSIS)
            for number, script in enumerate(scripts)
        ]
        tree = Task("root", TaskExecutionType.PARALLEL, subtasks=leaves)
        return self.executor.submit_main_task(tree, observers=[self.events.append], **options)

    def started(self) -> list[int]:
        details = [event.detail for event in self.events]
        found = [item.outside_id for item in details if isinstance(item, StartedDetail)]
        return [int(identity.partition(":")[0]) for identity in found]

    def notes(self) -> str:
        return "\n".join(event.message for event in self.events if event.kind == "note")


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(slots=1)
    yield made
    made.executor.abort_all()
    made.runner.close()
    made.executor.shutdown()


def status_of(handle: RunHandle) -> LeafStatus:
    assert handle.wait(GUARD_S)
    assert handle.outcome is not None
    return handle.outcome.status


# -- leaves -----------------------------------------------------------------------------------


def test_an_abort_while_the_parameters_of_a_leaf_are_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds nothing in the queue yet; the leaf must not be started afterwards all the same."""
    read, submitted = bench.runner._executor_for, threading.Event()

    def slowly(context: Any) -> AnalysisExecutor:
        made = read(context)
        assert submitted.wait(GUARD_S)
        handle.abort("the shutter is closed")
        until(lambda: "was never started" in bench.notes())
        return made

    monkeypatch.setattr(bench.runner, "_executor_for", slowly)
    handle = bench.submit(LONG)
    submitted.set()
    assert status_of(handle) is LeafStatus.ABORTED
    assert handle.outcome is not None
    assert "leaf-0 - not started: it was asked to stop" in handle.outcome.message
    assert bench.started() == []


def test_a_leaf_that_is_asked_to_end_before_it_begins_is_not_started(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = LeafFollower.begin

    def after_the_end(self: LeafFollower) -> None:
        bench.runner.end_all("the job is over")
        begin(self)

    monkeypatch.setattr(LeafFollower, "begin", after_the_end)
    handle = bench.submit(LONG)
    assert status_of(handle) is LeafStatus.ABORTED
    assert handle.outcome is not None
    assert "leaf-0 - not started: the job is over" in handle.outcome.message
    assert bench.started() == []


def test_a_runner_that_is_closed_while_a_leaf_begins_ends_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No supervisor knows of it when the runner has them end everything."""
    start = AnalysisExecutor.start

    def after_the_end(self: AnalysisExecutor) -> AnalysisHandle:
        bench.runner.close()
        return start(self)

    monkeypatch.setattr(AnalysisExecutor, "start", after_the_end)
    handle = bench.submit(LONG)
    assert status_of(handle) is LeafStatus.ABORTED
    until(lambda: not any(map(runs, bench.started())))


def test_a_listener_that_raises_at_the_end_does_not_keep_the_place() -> None:
    def listener(context: Any, event: AnalysisEvent) -> None:
        raise ValueError(event.kind)

    bench = Bench(slots=1, listener=listener)
    assert status_of(bench.submit("true", "true")) is LeafStatus.COMPLETED
    bench.executor.shutdown()
    bench.runner.close()


def test_a_listener_hears_the_end_before_the_leaf_has_ended() -> None:
    """Who waits for the leaf reads the outcome that the listener has kept."""
    had_ended: list[bool] = []

    def listener(context: Any, event: AnalysisEvent) -> None:
        if event.kind == "done":
            had_ended.append(context.is_over)

    bench = Bench(slots=1, listener=listener)
    assert status_of(bench.submit("true")) is LeafStatus.COMPLETED
    assert had_ended == [False]
    bench.executor.shutdown()
    bench.runner.close()


def test_an_end_that_comes_before_anybody_listens_is_heard(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor, too, has ended by the time at which the leaf listens to its analysis."""
    on_event = AnalysisHandle.on_event
    bench.runner.slots = 2

    def late(self: AnalysisHandle, callback: Callable[[AnalysisEvent], object]) -> None:
        loop = bench.runner._supervisor._loop
        if loop is not None and len(bench.started()) == 2:
            loop.join(GUARD_S)
        on_event(self, callback)

    monkeypatch.setattr(AnalysisHandle, "on_event", late)
    assert status_of(bench.submit("true", "true")) is LeafStatus.COMPLETED


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that another executor has started."""
    with subprocess.Popen(["/bin/sh", "-c", LONG], start_new_session=True) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def follow(bench: Bench, process: subprocess.Popen[bytes]) -> RunHandle:
    identity = identity_of(process.pid)
    assert identity is not None
    return bench.submit("true", prior={"root/leaf-0": PriorWork(identity, "process")})


def test_a_process_that_cannot_be_followed_keeps_no_place(
    bench: Bench, stranger: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(attaching, "end_all_leftovers", fails)
    assert status_of(follow(bench, stranger)) is LeafStatus.FAILED
    assert status_of(bench.submit("true")) is LeafStatus.COMPLETED


def test_a_process_that_cannot_be_watched_for_want_of_descriptors_has_not_ended(
    bench: Bench, stranger: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, tried = os.pidfd_open, threading.Event()

    def scarce(pid: int, flags: int = 0) -> int:
        if pid == stranger.pid and not tried.is_set():
            tried.set()
            raise OSError(errno.EMFILE, "Too many open files")
        return watch(pid, flags)

    monkeypatch.setattr(os, "pidfd_open", scarce)
    handle = follow(bench, stranger)
    assert tried.wait(GUARD_S)
    handle.abort()
    assert stranger.wait(GUARD_S) == -signal.SIGTERM
    assert status_of(handle) is LeafStatus.ABORTED


# -- the supervisor ---------------------------------------------------------------------------


@pytest.fixture
def all_asked(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once everything that a supervisor knew of was asked to end."""
    asked, end_all = threading.Event(), SupervisorLoop.end_all

    def tell(self: SupervisorLoop, reason: str, within_s: float) -> None:
        end_all(self, reason, within_s)
        asked.set()

    monkeypatch.setattr(SupervisorLoop, "end_all", tell)
    return asked


@pytest.mark.parametrize("moment", ["before", "at the launch"])
def test_closing_ends_what_is_only_being_started(
    analyses: Runs,
    all_asked: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    held, launch = threading.Event(), executor_module.launch

    def hold(_: object) -> None:
        held.set()
        assert all_asked.wait(GUARD_S)

    def late_launch(plan: Any) -> Any:
        hold(plan)
        return launch(plan)

    before: list[Any] = [hold] if moment == "before" else []
    if not before:
        monkeypatch.setattr(executor_module, "launch", late_launch)
    handles: list[AnalysisHandle] = []
    starting = threading.Thread(
        target=lambda: handles.append(analyses.start_script(LONG, before=before, grace_s=0.5))
    )
    starting.start()
    assert held.wait(GUARD_S)
    assert analyses.supervisor.close(10.0, reason="enough")
    starting.join(GUARD_S)
    assert handles[0].status is TaskStatus.CANCELLED
    assert handles[0].outcome is not None
    assert handles[0].outcome.cause == "enough"
    assert (handles[0].pid is None) == (moment == "before")


def test_an_analysis_that_is_started_while_another_is_ended_begins_anew(
    analyses: Runs, all_asked: threading.Event
) -> None:
    deaf = analyses.start_script(DEAF, grace_s=GUARD_S)
    heard = Heard()
    deaf.on_event(heard)
    heard.wait_for("log", "ready")
    closing = threading.Thread(target=analyses.supervisor.close, args=(6.0,))
    closing.start()
    assert all_asked.wait(GUARD_S)
    assert analyses.script("true").status is TaskStatus.COMPLETED
    closing.join(GUARD_S)
    assert deaf.status is TaskStatus.CANCELLED


def test_a_supervisor_whose_thread_cannot_be_started_tries_anew(
    analyses: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name == "taskgrove-analyses":
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="new thread"):
        analyses.start_script("true")
    monkeypatch.undo()
    assert analyses.script("true").status is TaskStatus.COMPLETED


def test_closing_waits_for_a_thread_that_is_just_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = AnalysisSupervisor(linger_s=0.0, ledger_folder=tmp_path)
    left, go_on, close = threading.Event(), threading.Event(), SupervisorLoop._close

    def slowly(self: SupervisorLoop) -> None:
        left.set()
        assert go_on.wait(GUARD_S)
        close(self)

    monkeypatch.setattr(SupervisorLoop, "_close", slowly)
    loop = supervisor.lease()
    loop.release()
    assert left.wait(GUARD_S)
    assert not supervisor.close(0.0)
    go_on.set()
    assert supervisor.close(GUARD_S)
    assert not loop.is_alive


# -- one process ------------------------------------------------------------------------------


def test_a_signal_while_a_failure_is_told_does_not_break_what_is_sent() -> None:
    """It comes in the midst of a frame, whose lock the same thread holds."""
    sent: list[str] = []

    class Channel:
        rank = 0

        def send(self, message: Any, buffers: Any = ()) -> None:
            sent.append(type(message).__name__)
            child.on_signal(signal.SIGTERM, None)
            sent.append("sent")

    class Reports:
        def on_cancel(self) -> None:
            child.progress(50, "cleaning up")

    child = _Child(Channel())  # type: ignore[arg-type]
    child._task = Reports()  # type: ignore[assignment]
    child._tell_failure(ValueError("no peaks"))
    assert sent == ["Log", "sent", "Failed", "sent"]


def test_an_entry_that_cannot_be_posted_at_all_does_not_end_the_posting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    posted, told = threading.Event(), list[str]()

    def post(self: HttpPoster, body: bytes, key: str, limit_s: float | None = None) -> PostAnswer:
        if b"first" in body:
            raise ValueError("a bug")
        posted.set()
        return PostAnswer(True, False, "answered 200")

    monkeypatch.setattr(HttpPoster, "post", post)
    with HttpLogbook("http://127.0.0.1:9/", on_trouble=told.append) as logbook:
        logbook.post_status(PageOrigin(analysis="first"), TaskStatus.COMPLETED)
        logbook.post_status(PageOrigin(analysis="second"), TaskStatus.COMPLETED)
        assert posted.wait(GUARD_S)
    assert "ValueError: a bug (1 try)" in told[0]


def test_ending_a_post_reaches_a_handshake() -> None:
    """The logbook takes the connection, and then says nothing."""
    answers: list[PostAnswer] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://127.0.0.1:{server.getsockname()[1]}/"
        poster = HttpPoster(
            url, token=None, timeout_s=GUARD_S, ssl_context=None, allow_plain_token=False
        )
        posting = threading.Thread(target=lambda: answers.append(poster.post(b"{}", "key")))
        posting.start()
        end, _ = server.accept()
        with end:
            end.settimeout(GUARD_S / 2)
            assert end.recv(1)  # the handshake has begun
            poster.abort()
            while end.recv(1 << 16):
                pass  # until the other side lets go, and not because its time is over
        posting.join(GUARD_S)
    assert not answers[0].sent


@pytest.mark.parametrize("ends", ["cancelled", "by itself"])
def test_its_end_is_found_although_no_descriptor_was_left_to_look_with(
    analyses: Runs, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    find, failures = supervision.find_members, []

    def scarce(*given: Any, **named: Any) -> list[int]:
        if len(failures) < 3:
            failures.append(given)
            raise OSError(errno.EMFILE, "Too many open files")
        return find(*given, **named)

    monkeypatch.setattr(supervision, "find_members", scarce)
    handle = analyses.start_script("exit 0" if ends == "by itself" else DEAF, grace_s=0.3)
    if ends == "cancelled":
        heard = Heard()
        handle.on_event(heard)
        heard.wait_for("log", "ready")
        handle.cancel("enough")
    assert handle.wait(GUARD_S)
    assert len(failures) == 3
    wanted = TaskStatus.COMPLETED if ends == "by itself" else TaskStatus.CANCELLED
    assert handle.status is wanted


def test_a_process_that_was_just_started_is_ended_when_something_raises(
    analyses: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = AnalysisHandle.tell

    def refuse(self: AnalysisHandle, kind: Any, *given: Any, **named: Any) -> None:
        if kind == "started":
            raise RuntimeError("can't start new thread")
        tell(self, kind, *given, **named)

    monkeypatch.setattr(AnalysisHandle, "tell", refuse)
    handle = analyses.script(LONG)
    assert handle.status is TaskStatus.FAILED
    assert handle.pid is not None
    assert not runs(handle.pid)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_tasklet_that_exits_fails_the_analysis(analyses: Runs, when: str) -> None:
    def leaves(_: object) -> None:
        sys.exit("no beam")

    handle = analyses.script("true", **{when: [leaves]})
    assert handle.status is TaskStatus.FAILED
    assert handle.outcome is not None
    assert "SystemExit: no beam" in handle.outcome.cause


def test_a_callback_that_exits_does_not_keep_others_from_hearing_the_end(analyses: Runs) -> None:
    heard = Heard()
    handle = analyses.start_script("echo one; echo two")
    handle.on_event(lambda event: sys.exit(3))
    handle.on_event(heard)
    assert handle.wait(GUARD_S)
    heard.wait_for("done")


def test_what_is_stopped_before_it_starts_does_not_run_on(analyses: Runs) -> None:
    given: list[AnalysisHandle] = []

    def stop(_: object) -> None:
        until(lambda: bool(given))
        given[0].stop()

    heard = Heard()
    given.append(analyses.start(tasks.Trivial, before=[stop]))
    given[0].on_event(heard)
    heard.wait_for("stopped")
    given[0].resume()
    assert given[0].wait(GUARD_S)
    assert given[0].status is TaskStatus.COMPLETED
