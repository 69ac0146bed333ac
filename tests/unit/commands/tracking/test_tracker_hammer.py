"""Eight threads hammer trackers with duplicated, late and shuffled updates (SPEC S4.1 to S4.4)."""

from __future__ import annotations

import functools
import random
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.testing import EventLog

THREADS = 8
HANG_GUARD_S = 200.0
FINAL = (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.ABORTED, TaskStatus.REJECTED)


@pytest.fixture(autouse=True)
def switch_often() -> Iterator[None]:
    """Let the interpreter change threads a thousand times as often as it does."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(interval)


def together(*work: Callable[[], None]) -> None:
    """Run everything at once, one thread each; raise what any of them raised."""
    barrier = threading.Barrier(len(work))
    raised: list[BaseException] = []

    def body(one: Callable[[], None]) -> None:
        try:
            barrier.wait(HANG_GUARD_S)
            one()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=body, args=(one,), daemon=True) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_GUARD_S)
        assert not thread.is_alive(), "a thread hangs"
    if raised:
        raise raised[0]


def story(name: str, device: str, status: TaskStatus, code: ResultCode) -> list[dict]:
    mine = {"task_name": name, "device_name": device}
    return [
        {**mine, "status": TaskStatus.QUEUED},
        {**mine, "status": TaskStatus.IN_PROGRESS},
        *({**mine, "progress": value} for value in range(0, 101, 5)),
        *(
            {**mine, "status": TaskStatus.IN_PROGRESS, "progress": value}
            for value in range(0, 101, 7)
        ),
        {**mine, "status": status, "result": (code, "told")},
    ]


def stories(count: int, dice: random.Random) -> list[dict]:
    updates = []
    for number in range(count):
        failed = dice.random() < 0.2
        updates += story(
            f"beam-{number}",
            f"mid-pst/beam/{number:02}",
            TaskStatus.FAILED if failed else TaskStatus.COMPLETED,
            ResultCode.FAILED if failed else ResultCode.OK,
        )
    return updates


class Listener:
    """A callback that calls back into its tracker, and checks what it hears."""

    def __init__(self) -> None:
        self.tracker: TaskTracker | None = None
        self.payloads: list[dict] = []
        self.faults: list[str] = []
        self._inside = threading.Lock()

    def __call__(self, **payload) -> None:
        if not self._inside.acquire(blocking=False):
            self.faults.append("two callbacks at once")
            return
        try:
            self.payloads.append(payload)
            tracker = self.tracker
            if tracker is None:
                return
            if tracker.is_released:
                self.faults.append(f"the event is set before {payload}")
            tracker.get_status()
            tracker.set_context(operation=f"operation-{payload['progress']}")
            tracker.update_task(task_name="beam-0", progress=payload["progress"])
            tracker.update_task(task_name="beam-1", status=TaskStatus.QUEUED)
        finally:
            self._inside.release()

    def check(self) -> None:
        assert not self.faults
        progress = [payload["progress"] for payload in self.payloads]
        assert progress == sorted(set(progress)), "in order, and none twice"
        assert [payload["status"].is_final for payload in self.payloads] == (
            [False] * (len(progress) - 1) + [True]
        )
        assert progress[-1] == 100


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("observed", [False, True])
def test_one_tracker(seed, observed):
    dice = random.Random(seed)
    updates = stories(24, dice)
    expected = TaskTracker("configure_pst", 24, is_root=True)
    expected.expect(f"beam-{number}" for number in range(24))
    for update in updates:
        expected.update_task(**update)

    listener, log = Listener(), EventLog()
    tracker = listener.tracker = TaskTracker("configure_pst", 24, listener, is_root=True)
    tracker.expect(f"beam-{number}" for number in range(24))
    if observed:
        tracker.subscribe(log)
    observations: list[int] = []

    def hammer(order: list[dict]) -> Callable[[], None]:
        def work() -> None:
            last = 0
            for update in order:
                tracker.update_task(**update)
                progress = tracker.progress
                assert last <= progress <= 100, "progress never goes back"
                last = progress
            observations.append(last)

        return work

    orders = []
    for _ in range(THREADS):
        order = updates + dice.choices(updates, k=len(updates) // 4)
        dice.shuffle(order)
        orders.append(order)
    waited: list[bool] = []
    together(*map(hammer, orders), lambda: waited.append(tracker.wait_for_task_completion()))

    assert waited == [True]
    assert observations == [100] * THREADS
    listener.check()
    assert tracker.outcome() == expected.outcome()
    assert tracker.completed_subtasks == 24
    before = (tracker.completed_subtasks, tracker._course.progress_sum)
    tracker._recompute_completion()
    tracker._recompute_progress()
    assert (tracker.completed_subtasks, tracker._course.progress_sum) == before
    if observed:
        log.assert_gapless()
        log.assert_one_end("configure_pst", tracker.overall_status)
        for number in range(24):
            log.assert_one_end(f"configure_pst/beam-{number}")


def chain(depth: int, listener: Listener) -> tuple[list[Task], LeafTask]:
    """A tree of one branch: a leaf below ``depth`` tasks, each with a second leaf beside."""
    last = LeafTask("leaf", "mid-pst/beam/01", "Configure")
    tasks: list[Task] = []
    child: Task | LeafTask = last
    for level in reversed(range(depth)):
        beside = LeafTask("beside", "mid-pss/beam/01", "Configure")
        child = Task(
            f"level-{level}",
            TaskExecutionType.PARALLEL,
            subtasks=[child, beside],
            completed_callback=listener if level == 0 else None,
            is_root=level == 0,
        )
        tasks.insert(0, child)
    return tasks, last


@pytest.mark.parametrize("depth", [5, 300])
@pytest.mark.parametrize("fails", [False, True])
def test_a_nested_tree(depth, fails):
    listener = Listener()
    tasks, leaf = chain(depth, listener)
    log = EventLog()
    tasks[0].tracker.subscribe(log)
    end = TaskStatus.FAILED if fails else TaskStatus.COMPLETED
    code = ResultCode.FAILED if fails else ResultCode.OK
    updates = []
    for task in tasks:
        callback = task.parent_callback()
        beside = story("beside", "mid-pss/beam/01", TaskStatus.COMPLETED, ResultCode.OK)[-6:]
        updates += [(callback, update) for update in beside]
    leaf_story = story(leaf.name, "mid-pst/beam/01", end, code)
    updates += [(tasks[-1].parent_callback(), update) for update in leaf_story]

    def hammer(seed: int) -> Callable[[], None]:
        order = updates * 2
        random.Random(seed).shuffle(order)

        def work() -> None:
            for callback, update in order:
                callback(**update)

        return work

    together(*map(hammer, range(THREADS)), tasks[0].tracker.wait_for_task_completion)
    listener.check()
    for task in tasks:
        assert task.tracker.is_complete
        assert task.tracker.wait_for_task_completion() is True
        assert task.tracker.progress == 100
        assert task.tracker.completed_subtasks == 2
    outcome = tasks[0].tracker.outcome()
    if fails:
        assert outcome.status is TaskStatus.COMPLETED
        assert outcome.health_state == "DEGRADED"
        assert outcome.message.splitlines() == [
            "Task level-0 completed in DEGRADED state",
            "Causes:",
            "- mid-pst/beam/01: told",
        ]
    else:
        assert outcome.status is TaskStatus.COMPLETED
        assert outcome.result is ResultCode.OK
    log.assert_gapless()
    log.assert_one_end("level-0")


@pytest.mark.parametrize("ending", FINAL)
def test_the_last_of_many_ends_comes_from_any_thread(ending):
    for _ in range(40):
        listener = Listener()
        tracker = TaskTracker("configure", THREADS, listener)
        ends = [
            functools.partial(
                tracker.update_task,
                task_name=f"task-{number}",
                status=ending,
                result=(ResultCode.OK, "x"),
            )
            for number in range(THREADS)
        ]
        together(*ends)
        assert tracker.wait_for_task_completion() is True
        listener.check()
        assert tracker.completed_subtasks == THREADS


def test_verdicts_from_outside_race_with_ends():
    for round_ in range(60):
        listener = Listener()
        tracker = TaskTracker("configure", 2, listener)

        def ends(tracker=tracker):
            for name in "ab":
                tracker.update_task(task_name=name, status=TaskStatus.COMPLETED)

        def verdict(tracker=tracker):
            tracker.conclude(TaskStatus.ABORTED, ResultCode.ABORTED, "stop")

        def failure(tracker=tracker):
            tracker.fail(RuntimeError("broken"))

        together(ends, ends, verdict, failure)
        assert tracker.wait_for_task_completion() is True
        listener.check()
        [end] = [payload for payload in listener.payloads if payload["status"].is_final]
        assert end["status"] is tracker.overall_status, round_
