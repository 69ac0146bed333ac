"""Requests that come at the worst moment: each moment is held open, none is waited for."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from taskgrove.commands import task_tracker
from taskgrove.commands.execution import aborts
from taskgrove.commands.execution.internal_runner import InternalRunner
from taskgrove.commands.execution.leaf_run import LeafRun
from taskgrove.commands.execution.live_run import Run
from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.leaf_runner import LeafLimits
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.prior import PriorWork
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import TaskStatus
from taskgrove.errors import UsageError
from taskgrove.events import EventBus
from taskgrove.facade import run
from taskgrove.loops.pool import Pool
from taskgrove.testing import EventLog

SEQUENTIAL = TaskExecutionType.SEQUENTIAL
PARALLEL = TaskExecutionType.PARALLEL
GUARD_S = 200.0
#: How long a moment is held open for somebody whom a lock now keeps out of it.
HELD_S = 0.2


def leaf(name: str, fn: Any = lambda: None, **options: Any) -> LeafTask:
    return LeafTask.from_callable(fn, name=name, **options)


def root(*children: Any, task_type: Any = SEQUENTIAL, **options: Any) -> Task:
    return Task("root", task_type, is_root=True, subtasks=children, **options)


def in_thread(function: Any, *args: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


# -- trackers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [lambda h: h.status, lambda h: h.progress, lambda h: h.abort()])
def test_a_run_that_is_asked_while_its_trackers_are_made_still_ends(
    ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, begun, over = threading.Event(), threading.Event(), threading.Event()
    make, begin = Task._make_tracker, Run._tell_what_is_known

    def held(task: Task) -> TaskTracker:
        made = make(task)
        if threading.current_thread() is threading.main_thread():
            asked.set()
            begun.wait(HELD_S)
        return made

    def late(a_run: Run) -> None:
        assert asked.wait(GUARD_S)
        begin(a_run)

    def step() -> None:
        begun.set()
        assert over.wait(GUARD_S)

    monkeypatch.setattr(Task, "_make_tracker", held)
    monkeypatch.setattr(Run, "_tell_what_is_known", late)
    executor = MainTaskExecutor()
    handle = executor.submit_main_task(root(leaf("a", step)))
    ask(handle)
    over.set()
    assert handle.wait(GUARD_S / 6)
    executor.shutdown()


def test_a_leaf_has_one_tracker_whoever_asks_for_it_first(monkeypatch: pytest.MonkeyPatch) -> None:
    task = root(leaf("a"))
    entered, second = threading.Event(), threading.Event()
    make = LeafTask._make_tracker
    found: list[TaskTracker] = []

    def held(node: LeafTask) -> TaskTracker:
        made = make(node)
        if not entered.is_set():
            entered.set()
            second.wait(HELD_S)
        return made

    def ask() -> None:
        found.append(task.subtasks[0].tracker)

    monkeypatch.setattr(LeafTask, "_make_tracker", held)
    first = in_thread(ask)
    assert entered.wait(GUARD_S)
    other = in_thread(lambda: (ask(), second.set()))
    for thread in (first, other):
        thread.join(GUARD_S)
    assert found[0] is found[1] is task.subtasks[0].tracker


def test_an_observer_that_comes_as_the_run_begins_takes_nothing_from_its_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tracker = TaskTracker("configure", 1)
    of_run, early, late = EventBus("run"), [], []
    of_run.subscribe(late.append)
    threads: list[threading.Thread] = []

    def begin_meanwhile(run_id: str) -> EventBus:
        threads.append(in_thread(tracker.bind, of_run))
        threads[0].join(HELD_S)
        return EventBus(run_id)

    monkeypatch.setattr(task_tracker, "EventBus", begin_meanwhile)
    tracker.subscribe(early.append)
    threads[0].join(GUARD_S)
    tracker.update_task(task_name="a", status=TaskStatus.COMPLETED)
    assert late
    assert {event.run_id for event in late} == {"run"}
    assert len(early) == len(late)


# -- callbacks that raise what ends programs -----------------------------------------------------


def quits(**payload: Any) -> None:
    if payload["status"].is_final:
        raise SystemExit(3)


def test_a_callback_that_exits_does_not_keep_a_sequence_from_its_next_step() -> None:
    ran: list[str] = []
    executor = MainTaskExecutor()
    tree = root(leaf("a", completed_callback=quits), leaf("b", lambda: ran.append("b")))
    handle = executor.submit_main_task(tree)
    assert handle.wait(GUARD_S / 6)
    executor.shutdown()
    assert ran == ["b"]
    assert handle.outcome is not None
    assert handle.outcome.status is TaskStatus.COMPLETED


@pytest.mark.parametrize("nested", [False, True])
def test_a_callback_that_exits_does_not_keep_an_abort_from_its_end(nested: bool) -> None:
    def patient(task_abort_event: threading.Event) -> None:
        running.set()
        assert task_abort_event.wait(GUARD_S)

    running = threading.Event()
    middle: Any = leaf("b", completed_callback=quits)
    if nested:
        middle = Task("b", PARALLEL, subtasks=[middle, leaf("d")], completed_callback=quits)
    executor = MainTaskExecutor()
    handle = executor.submit_main_task(root(leaf("a", patient), middle, leaf("c")))
    assert running.wait(GUARD_S)
    handle.abort()
    assert handle.wait(GUARD_S / 6)
    executor.shutdown()
    assert handle.outcome is not None
    assert handle.outcome.status is TaskStatus.ABORTED


@pytest.mark.parametrize("nested", [False, True])
def test_a_callback_that_exits_does_not_keep_what_is_skipped_from_its_end(nested: bool) -> None:
    def boom() -> None:
        raise ValueError("no")

    skipped: Any = leaf("b", completed_callback=quits)
    if nested:
        skipped = Task("b", subtasks=[skipped, leaf("d")], completed_callback=quits)
    part = Task(
        "part", subtasks=[leaf("a", boom), skipped, leaf("c")], skip_subtasks=True,
        completed_callback=quits,
    )  # fmt: skip
    ran: list[str] = []
    executor = MainTaskExecutor()
    handle = executor.submit_main_task(root(part, leaf("e", lambda: ran.append("e"))))
    assert handle.wait(GUARD_S / 6)
    executor.shutdown()
    assert ran == ["e"]


def test_a_job_that_exits_leaves_its_thread_to_the_next() -> None:
    pool = Pool(1, "test-pool")
    entered, go, done = threading.Event(), threading.Event(), threading.Event()

    def quit_later() -> None:
        entered.set()
        assert go.wait(GUARD_S)
        raise SystemExit(3)

    pool.submit(quit_later)
    assert entered.wait(GUARD_S)
    pool.submit(done.set)  # the pool is full: it waits for the thread
    go.set()
    assert done.wait(GUARD_S / 6)
    pool.close()
    assert pool.join(GUARD_S)


# -- abort and end ------------------------------------------------------------------------------


def test_a_leaf_that_two_threads_abort_ends_once_and_one_that_runs_is_asked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log, asked = EventLog(), []
    release, held = threading.Event(), threading.Event()

    def abort_twice(leaf_run: LeafRun) -> None:
        aborts.abort_leaf(leaf_run)
        aborts.abort_leaf(leaf_run)

    def hog() -> None:
        held.set()
        assert release.wait(GUARD_S)

    monkeypatch.setattr("taskgrove.commands.execution.live_run.abort_leaf", abort_twice)
    monkeypatch.setattr(InternalRunner, "abort", lambda _, context, why: asked.append(context.path))
    with MainTaskExecutor(1) as executor:
        handle = executor.submit_main_task(
            root(leaf("hog", hog), leaf("waits"), task_type=PARALLEL), observers=[log]
        )
        assert held.wait(GUARD_S)
        handle.abort()
        log.wait_for(kind="finished", path="root/waits", timeout_s=GUARD_S)
        log.wait_for(kind="note", path="root/hog", topic="abort-asked", timeout_s=GUARD_S)
        release.set()
        assert handle.wait(GUARD_S)
    assert asked == ["root/hog"]
    assert not log.select(kind="note", path="root/waits")


class Attaches:
    """A runner that can stop only what it follows already."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def limits(self, _leaf: LeafTask) -> LeafLimits:
        return LeafLimits("kill", "enforced")

    def start(self, _context: Any) -> None: ...

    def attach(self, _context: Any, _outside_id: str) -> None:
        self.calls.append("attach")

    def abort(self, context: Any, _reason: str) -> None:
        self.calls.append("abort")
        if "attach" in self.calls:
            context.finish(TaskStatus.ABORTED)


@pytest.mark.parametrize("moment", ["before the run began", "before it was attached to"])
def test_an_abort_reaches_work_outside_that_is_not_followed_yet(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs outside was started, and nobody else would stop it."""
    aborted, asked = threading.Event(), threading.Event()
    begin, call_abort = Run._tell_what_is_known, aborts.call_abort
    fake = Attaches()

    def late(a_run: Run) -> None:
        assert aborted.wait(GUARD_S)
        begin(a_run)

    def asks(leaf_run: LeafRun) -> None:
        call_abort(leaf_run)
        asked.set()

    def observe(event: Any) -> None:
        if moment != "before the run began" and "picked up again" in event.message:
            handle.abort()
            assert asked.wait(GUARD_S)

    monkeypatch.setattr(Run, "_tell_what_is_known", late)
    monkeypatch.setattr(aborts, "call_abort", asks)
    device = TaskExecutionType.DEVICE
    with MainTaskExecutor(runners={device: fake}, grace_s=GUARD_S) as executor:
        handle = executor.submit_main_task(
            root(LeafTask("beam", "low-pst/beam/01", "Configure")),
            prior={"root/beam": PriorWork("1_2_Configure")},
            observers=[observe],
        )
        if moment == "before the run began":
            handle.abort()
        aborted.set()
        assert handle.wait(GUARD_S / 3)
    assert handle.outcome is not None
    assert handle.outcome.status is TaskStatus.ABORTED
    assert "not started" not in handle.outcome.message
    assert "abort" in fake.calls[fake.calls.index("attach") :]


def test_a_slot_that_was_replaced_as_its_method_returned_ends_with_the_pool() -> None:
    pool = Pool(1, "test-pool")
    workers: list[Any] = []
    done = threading.Event()
    pool.submit(lambda: (workers.append(pool.current_worker), done.set()))
    assert done.wait(GUARD_S)
    while not pool._idle:  # its thread waits for its next job
        threading.Event().wait(0.001)
    pool.replace(workers[0])
    again = threading.Event()
    for _ in range(2):  # whoever takes them
        pool.submit(again.set)
    assert again.wait(GUARD_S)
    pool.close()
    assert pool.join(GUARD_S / 6)
    workers[0].thread.join(GUARD_S / 6)
    assert not workers[0].thread.is_alive()


def test_a_callback_on_a_control_thread_cannot_wait_for_its_own_executor() -> None:
    caught: list[BaseException] = []

    async def step() -> None:
        """End on a control thread: a coroutine's outcome is told there."""

    def callback(**payload: Any) -> None:
        if payload["status"].is_final:
            try:
                executor.shutdown(wait=True)
            except UsageError as exc:
                caught.append(exc)

    executor = MainTaskExecutor()
    handle = executor.submit_main_task(root(leaf("a", step), completed_callback=callback))
    assert handle.wait(GUARD_S / 6)
    executor.shutdown()
    assert len(caught) == 1


def test_a_coroutine_that_comes_after_the_end_starts_no_thread() -> None:
    runner = InternalRunner()
    told: list[Any] = []

    class Context:
        abort_event = threading.Event()
        is_over = False
        leaf = leaf("late", lambda: runner.close() or work())

        def update(self, **_: Any) -> None: ...

        def finish(self, status: Any, result: Any = None, **_: Any) -> bool:
            told.append(status)
            return True

        def submit(self, function: Any) -> None:
            function()

    async def work() -> None:
        """Never begun."""

    before = threading.active_count()
    runner.start(Context())  # type: ignore[arg-type]
    assert threading.active_count() == before
    assert told == [TaskStatus.ABORTED]


def test_a_run_that_ends_as_its_limit_expires_has_its_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wait = RunHandle.wait

    def just_missed(handle: RunHandle, timeout_s: float | None = None) -> bool:
        return wait(handle) and timeout_s is None

    monkeypatch.setattr(RunHandle, "wait", just_missed)
    assert run(root(leaf("a")), timeout_s=5.0).status is TaskStatus.COMPLETED


def test_observers_that_cannot_be_had_leave_no_run_on_record() -> None:
    begun: list[str] = []

    class Recorder:
        def begin_run(self, run_id: str, *_: Any, **__: Any) -> Any:
            begun.append(run_id)
            return print

    with MainTaskExecutor() as executor, pytest.raises(TypeError):
        executor.submit_main_task(root(leaf("a")), observers=7, recorder=Recorder())  # type: ignore[arg-type]
    assert not begun
