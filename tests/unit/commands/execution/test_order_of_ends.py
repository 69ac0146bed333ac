"""Which end comes before which: of steps, of the whole, of the record and of the handle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.commands.execution.leaf_machine import LeafRequest
from taskgrove.commands.execution.leaf_run import LeafRun
from taskgrove.commands.execution.schedule import Schedule
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import TaskStatus
from taskgrove.events import TaskEvent
from taskgrove.testing import EventLog

PARALLEL = TaskExecutionType.PARALLEL
GUARD_S = 200.0


def leaf(name: str, fn: Any = lambda: None, **options: Any) -> LeafTask:
    return LeafTask.from_callable(fn, name=name, **options)


def root(*children: Any, **options: Any) -> Task:
    return Task("root", is_root=True, subtasks=children, **options)


def fails() -> None:
    raise ValueError("no lock")


@pytest.mark.parametrize("whole", ["root", "root/part"])
def test_what_is_skipped_ends_before_the_whole(whole: str) -> None:
    skipped = Task("c", subtasks=[leaf("x"), Task("y", PARALLEL, subtasks=[leaf("z")])])
    steps = [leaf("a", fails), leaf("b"), Task("hollow"), skipped]
    if whole == "root":
        tree = root(*steps, skip_subtasks=True)
    else:
        tree = root(Task("part", subtasks=steps, skip_subtasks=True))
    log = EventLog()
    with MainTaskExecutor() as executor:
        assert executor.submit_main_task(tree, observers=[log]).wait(GUARD_S)
    ended = [event.path for event in log.select(kind="finished")]
    below_it = {path for path, _ in tree.walk() if path.startswith(f"{whole}/")}
    assert below_it <= set(ended[: ended.index(whole)])
    assert ended[-1] == "root"


class Keeps:
    """A recorder that keeps an end only when it is told to."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.kept: Callable[[], object] = lambda: None

    def begin_run(self, _run_id: str, _about: Any, *, resumed: bool) -> Any:
        assert not resumed
        return lambda _event: None

    def end_run(
        self, _run_id: str, _outcome: AggregationOutcome, kept: Callable[[], object]
    ) -> None:
        self.kept = kept
        self.asked.set()


def test_a_handle_tells_no_end_before_the_recorder_has_kept_it() -> None:
    recorder = Keeps()
    with MainTaskExecutor() as executor:
        handle = executor.submit_main_task(root(leaf("a")), recorder=recorder)
        assert recorder.asked.wait(GUARD_S)
        before = handle.task.tracker.overall_status, handle.status, handle.outcome, handle.wait(0)
        recorder.kept()
        assert before == (TaskStatus.COMPLETED, TaskStatus.IN_PROGRESS, None, False)
        assert handle.status is TaskStatus.COMPLETED
        assert handle.outcome is not None
        assert handle.wait(0)


def test_a_step_waits_for_the_end_of_the_composite_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The end of the inner task is still being handed up, by a thread that tells its progress."""
    gone_on, telling, go_on = threading.Event(), threading.Event(), threading.Event()
    ended = Schedule.ended
    ran: list[str] = []

    def and_tells(schedule: Schedule, leaf_run: LeafRun) -> None:
        ended(schedule, leaf_run)
        gone_on.set()

    def hears(**payload: Any) -> None:
        if payload["progress"] == 50:
            telling.set()
            assert go_on.wait(GUARD_S)

    def step(task_callback: Any) -> None:
        threading.Thread(target=task_callback, kwargs={"progress": 50}, daemon=True).start()
        assert telling.wait(GUARD_S)

    monkeypatch.setattr(Schedule, "ended", and_tells)
    inner = Task("inner", subtasks=[leaf("a", step)], completed_callback=hears)
    tree = root(
        Task("outer", subtasks=[inner]), leaf("next", lambda: ran.append("n")), skip_subtasks=True
    )
    log = EventLog()
    with MainTaskExecutor() as executor:
        handle = executor.submit_main_task(tree, observers=[log])
        went_on = gone_on.wait(GUARD_S / 6)  # nobody waits for a child: its thread is free
        told = log.statuses("root/next")
        go_on.set()
        assert handle.wait(GUARD_S)
    assert went_on
    assert told == ()
    assert ran == ["n"]
    [outer] = log.select(kind="finished", path="root/outer")
    begun = log.select(path="root/next", status=TaskStatus.IN_PROGRESS)[0]
    assert outer.sequence < begun.sequence


def test_a_leaf_that_starts_as_the_run_is_aborted_is_asked_and_not_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else its end would be told while it still runs."""
    submitted, go_on, entered, over = (threading.Event() for _ in range(4))
    move = LeafRun.move
    ends: list[bool] = []

    def starts_meanwhile(leaf_run: LeafRun, request: LeafRequest) -> Any:
        if request is LeafRequest.CALL:
            submitted.set()
            assert go_on.wait(GUARD_S)
        elif request is LeafRequest.ABORT:
            go_on.set()
            assert entered.wait(GUARD_S)
        return move(leaf_run, request)

    def patient(task_abort_event: threading.Event) -> None:
        entered.set()
        assert task_abort_event.wait(GUARD_S / 6)
        over.set()

    def note_end(event: TaskEvent) -> None:
        if event.kind == "finished" and event.path == "root/a":
            ends.append(over.is_set())

    monkeypatch.setattr(LeafRun, "move", starts_meanwhile)
    with MainTaskExecutor(grace_s=GUARD_S / 6) as executor:
        handle = executor.submit_main_task(root(leaf("a", patient)), observers=[note_end])
        assert submitted.wait(GUARD_S)
        handle.abort()
        assert handle.wait(GUARD_S)
    assert ends == [True]
    assert handle.outcome is not None
    assert "not started" not in handle.outcome.message


@pytest.mark.parametrize("whole", ["root", "root/part"])
def test_who_releases_the_waiters_of_a_task_ends_nothing(whole: str) -> None:
    order: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        assert go_on.wait(GUARD_S)
        order.append("first")

    part = Task("part", subtasks=[leaf("a", first)])
    tree = root(part, leaf("b", lambda: order.append("second")))
    tree.find(whole).tracker.signal_task_completion()
    with MainTaskExecutor() as executor:
        handle = executor.submit_main_task(tree)
        assert begun.wait(GUARD_S)
        assert handle.outcome is None
        go_on.set()
        assert handle.wait(GUARD_S)
    assert order == ["first", "second"]
    assert handle.outcome is not None
    assert handle.outcome.ok
