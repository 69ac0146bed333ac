"""What a runner, a recorder or a method may tell, and what the executor makes of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.execution.schedule import Schedule
from taskgrove.commands.leaf_runner import LeafLimits
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.prior import PriorStart, PriorWork
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import TaskFailedError
from taskgrove.testing import EventLog, FakeDeviceRunner, Script

DEVICE = TaskExecutionType.DEVICE
GUARD_S = 200.0


class Says:
    """A runner that does with each leaf what a test says."""

    def __init__(self, does: Callable[[Any], object], *, queues: bool = False) -> None:
        self._does = does
        self._limits = LeafLimits("ask", "reported", queues=queues)

    def limits(self, _leaf: LeafTask) -> LeafLimits:
        return self._limits

    def start(self, context: Any) -> None:
        self._does(context)

    def attach(self, context: Any, _outside_id: str) -> None:
        self._does(context)

    def abort(self, context: Any, _reason: str) -> None: ...


def scan(name: str = "scan", **options: Any) -> LeafTask:
    return LeafTask(name, "low-cbf/subarray/01", "Scan", **options)


def root(*children: Any, **options: Any) -> Task:
    return Task("root", is_root=True, subtasks=children, **options)


def ran(tree: Task, runner: Any = None, **options: Any) -> tuple[RunHandle, EventLog]:
    log = EventLog()
    runners = {} if runner is None else {DEVICE: runner}
    with MainTaskExecutor(runners=runners) as executor:
        handle = executor.submit_main_task(tree, observers=[log], **options)
        assert handle.wait(GUARD_S)
    return handle, log


# -- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [TaskStatus.IN_PROGRESS, TaskStatus.NOT_FOUND, 99, None])
def test_an_end_that_is_none_is_a_failure_that_says_so(status: Any) -> None:
    _, log = ran(root(scan()), Says(lambda context: context.finish(status)))
    end = log.assert_one_end("root/scan", TaskStatus.FAILED)
    assert "which is no end" in end.message


def test_a_final_status_in_an_update_is_the_end() -> None:
    def tells(context: Any) -> None:
        context.update(status=TaskStatus.COMPLETED, progress=30, result=(ResultCode.OK, "done"))
        context.update(progress=50)

    _, log = ran(root(scan()), Says(tells))
    assert log.assert_one_end("root/scan", TaskStatus.COMPLETED).result_code is ResultCode.OK


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (None, "ended FAILED after its end was decided"),
        ((ResultCode.FAILED, ""), "ended FAILED after its end was decided"),
        ((ResultCode.FAILED, "no lock"), "ended FAILED after its end was decided: no lock"),
    ],
)
def test_a_second_end_is_a_note_and_no_end(result: Any, told: str) -> None:
    ends: dict[str, list[bool]] = {}

    def tells(context: Any) -> None:
        first = context.finish(TaskStatus.COMPLETED)
        ends[context.leaf.name] = [first, context.finish(TaskStatus.FAILED, result)]

    _, log = ran(root(scan(), scan("next")), Says(tells))
    log.assert_one_end("root/scan", TaskStatus.COMPLETED)
    assert [event.message for event in log.select(path="root/scan", topic="late")] == [told]
    assert ends == {"scan": [True, False], "next": [True, False]}


def test_success_is_not_tried_again_whatever_the_runner_allows() -> None:
    fake = FakeDeviceRunner({"scan": Script(may_retry=True)})
    ran(root(scan(retries=3)), fake)
    fake.assert_calls(["scan"])


def test_a_leaf_waits_in_a_queue_once_and_each_attempt_is_told() -> None:
    def tells(context: Any) -> None:
        context.update(status=TaskStatus.QUEUED)
        context.update(status=TaskStatus.IN_PROGRESS)
        failed = (ResultCode.FAILED, f"attempt {context.attempt}")
        context.finish(TaskStatus.FAILED, failed, may_retry=True)

    _, log = ran(root(scan(retries=1)), Says(tells))
    assert log.statuses("root/scan") == (
        TaskStatus.QUEUED, TaskStatus.IN_PROGRESS, TaskStatus.FAILED,
    )  # fmt: skip
    assert log.assert_one_end("root/scan").attempt == 2
    assert not log.select(topic="refused")


def test_the_first_exception_is_the_one_that_is_raised() -> None:
    def fails(exc: Exception) -> None:
        raise exc

    steps = [
        LeafTask.from_callable(fails, exc, f"step-{number}")
        for number, exc in enumerate((ValueError("first"), KeyError("second")))
    ]
    handle, _ = ran(root(*steps))
    with pytest.raises(TaskFailedError) as caught:
        handle.result()
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_exception_through_the_callback_keeps_the_status_that_comes_with_it() -> None:
    def refuses(task_callback: Any) -> None:
        task_callback(status=TaskStatus.REJECTED, exception=PermissionError("not while scanning"))

    _, log = ran(root(LeafTask.from_callable(refuses, name="a")))
    end = log.assert_one_end("root/a", TaskStatus.REJECTED)
    assert "not while scanning" in end.message


def test_a_tree_without_leaves_has_its_end_too() -> None:
    for hollow in (root(), root(Task("part"))):
        _, log = ran(hollow)
        for path, _ in hollow.walk():
            log.assert_one_end(path, TaskStatus.COMPLETED)


def test_a_failure_without_a_result_is_tried_again_too() -> None:
    fails = Script(status=TaskStatus.FAILED, result=None, may_retry=True)
    fake = FakeDeviceRunner({"scan": [fails, Script()]})
    ran(root(scan(retries=1)), fake)
    fake.assert_calls(["scan", "scan"])


def test_an_attempt_that_has_ended_tells_nothing_of_the_next_one() -> None:
    earlier: list[Any] = []

    def tells(context: Any) -> None:
        context.update(status=TaskStatus.IN_PROGRESS, progress=10)
        if not earlier:
            earlier.append(context)
            context.finish(TaskStatus.FAILED, (ResultCode.FAILED, "no lock"), may_retry=True)
            return
        earlier[0].update(progress=80, result=(ResultCode.OK, "of the first"))
        context.update(progress=20)
        context.finish(TaskStatus.COMPLETED)

    _, log = ran(root(scan(retries=1)), Says(tells))
    assert 80 not in {event.progress for event in log.of("root/scan")}
    assert log.assert_one_end("root/scan", TaskStatus.COMPLETED).message != "of the first"


def test_an_observer_of_a_part_hears_of_that_part_only() -> None:
    part = Task("part", subtasks=[scan("a"), Task("deep", subtasks=[scan("b")])])
    tree = root(part, Task("part-2", subtasks=[scan("c")]), scan("d"))
    of_part = EventLog()
    part.tracker.subscribe(of_part)
    ran(tree, FakeDeviceRunner())
    of_part.assert_one_end("root/part/deep/b")
    of_part.assert_one_end("root/part")
    assert {event.path.split("/")[1] for event in of_part.events if "/" in event.path} == {"part"}


@pytest.mark.parametrize(
    ("script", "word"), [(Script.rejects("busy"), "rejected"), (Script.fails("no lock"), "failed")]
)
def test_a_skipped_step_says_what_became_of_the_one_before_it(script: Script, word: str) -> None:
    fake = FakeDeviceRunner({"a": script})
    _, log = ran(root(scan("a"), scan("b"), skip_subtasks=True), fake)
    assert log.assert_one_end("root/b", TaskStatus.REJECTED).message.endswith(f"skipped: a {word}")


@pytest.mark.parametrize("answer", [(ResultCode.FAILED, "no lock"), (ResultCode.OK, "locked")])
def test_the_callback_of_a_leaf_is_told_what_its_method_returned(answer: Any) -> None:
    told: list[Any] = []
    leaf = LeafTask.from_callable(
        lambda: answer, name="a", completed_callback=lambda **payload: told.append(payload)
    )
    ran(root(leaf))
    code, message = told[-1]["result"]
    assert code is answer[0]
    assert "internal error" not in message


# -- steps after one that was cut off -------------------------------------------------------------


def test_every_step_after_an_expired_limit_ends_and_is_not_started() -> None:
    fake = FakeDeviceRunner({"a": Script(hangs=True)})
    steps = [scan(name) for name in ("a", "b", "c")]
    _, log = ran(root(Task("part", subtasks=steps, timeout=0.2), scan("after")), fake)
    for name in ("b", "c"):
        end = log.assert_one_end(f"root/part/{name}", TaskStatus.FAILED)
        assert "not started: the limit of 0.2 s set by root/part expired" in end.message
    assert not {call.name for call in fake.calls} & {"b", "c"}
    log.assert_one_end("root/after", TaskStatus.COMPLETED)
    fake.release_all()


def test_every_step_after_one_that_was_abandoned_ends() -> None:
    fake = FakeDeviceRunner({"a": Script(hangs=True, heeds_abort=False)})
    log = EventLog()
    tree = root(Task("part", subtasks=[scan("a"), scan("b")]), scan("c"))
    with MainTaskExecutor(runners={DEVICE: fake}, grace_s=0.05) as executor:
        handle = executor.submit_main_task(tree, observers=[log])
        fake.wait_for_call("a", timeout_s=GUARD_S)
        handle.abort("operator asked")
        assert handle.wait(GUARD_S)
    for path in ("root/part/b", "root/c"):
        assert "not started" in log.assert_one_end(path, TaskStatus.ABORTED).message
    fake.assert_calls(["a"], action="start")


def test_what_has_not_started_is_not_asked_to_abort_by_its_limit() -> None:
    aborted: list[str] = []
    go_on = threading.Event()

    class Notes(Says):
        def abort(self, context: Any, _reason: str) -> None:
            aborted.append(context.leaf.name)

    steps = [scan(name, abort_on_timeout=True) for name in ("a", "b")]
    tree = root(Task("part", TaskExecutionType.PARALLEL, subtasks=steps, timeout=0.2))
    runner, log = Notes(lambda _context: go_on.wait(GUARD_S)), EventLog()
    with MainTaskExecutor(1, runners={DEVICE: runner}, grace_s=0.05) as executor:
        handle = executor.submit_main_task(tree, observers=[log])
        assert handle.wait(GUARD_S)
        go_on.set()
    assert "not started" in log.assert_one_end("root/part/b", TaskStatus.FAILED).message
    assert "b" not in aborted


@pytest.mark.parametrize("asks", [False, True])
def test_a_call_that_goes_on_after_its_limit_is_abandoned_and_leaves_its_slot(asks: bool) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def deaf(context: Any) -> None:
        if context.leaf.name == "deaf":
            entered.set()
            assert go_on.wait(GUARD_S)
        context.finish(TaskStatus.COMPLETED)

    log = EventLog()
    with MainTaskExecutor(1, runners={DEVICE: Says(deaf)}, grace_s=0.05) as executor:
        tree = root(scan("deaf", timeout=0.2, abort_on_timeout=asks))
        handle = executor.submit_main_task(tree, observers=[log])
        assert entered.wait(GUARD_S)
        assert handle.wait(GUARD_S)
        following = executor.submit_main_task(root(scan("next")))
        runs_on = following.wait(GUARD_S / 6)
        go_on.set()
        assert following.wait(GUARD_S)
    assert handle.abandoned == ("root/deaf",)
    assert log.select(path="root/deaf", topic="abandoned")
    assert runs_on


def test_a_device_that_does_not_acknowledge_the_abort_of_a_limit_is_not_abandoned() -> None:
    """Its command runs on or not; nothing here waits for it."""
    log = EventLog()
    with MainTaskExecutor(runners={DEVICE: Says(lambda _context: None)}, grace_s=0.05) as executor:
        tree = root(scan(timeout=0.2, abort_on_timeout=True))
        handle = executor.submit_main_task(tree, observers=[log])
        assert handle.wait(GUARD_S)
    assert "Abort was sent, not acknowledged" in log.assert_one_end("root/scan").message
    assert handle.abandoned == ()
    assert not log.select(topic="abandoned")


def test_work_that_its_runner_cannot_end_after_its_limit_is_abandoned() -> None:
    class Kills(Says):
        def limits(self, _leaf: LeafTask) -> LeafLimits:
            return LeafLimits("kill", "enforced")

    with MainTaskExecutor(runners={DEVICE: Kills(lambda _context: None)}, grace_s=0.05) as executor:
        handle = executor.submit_main_task(root(scan(timeout=0.2)))
        assert handle.wait(GUARD_S)
    assert handle.abandoned == ("root/scan",)


def test_what_ended_when_it_was_asked_to_is_not_abandoned_later() -> None:
    fake = FakeDeviceRunner({
        "a": Script(hangs=True), "b": Script(hangs=True, heeds_abort=False),
    })  # fmt: skip
    tree = root(Task("part", TaskExecutionType.PARALLEL, subtasks=[scan("a"), scan("b")]))
    log = EventLog()
    with MainTaskExecutor(runners={DEVICE: fake}, grace_s=1.0) as executor:
        handle = executor.submit_main_task(tree, observers=[log])
        for name in "ab":
            fake.wait_for_call(name, timeout_s=GUARD_S)
        handle.abort("operator asked")
        log.wait_for(path="root/part/b", topic="abandoned", timeout_s=GUARD_S)
        assert handle.wait(GUARD_S)
    assert handle.abandoned == ("root/part/b",)
    log.assert_one_end("root/part/a", TaskStatus.ABORTED)


# -- limits --------------------------------------------------------------------------------------


def test_the_limit_of_a_composite_goes_on_where_it_was() -> None:
    deadlines: list[float] = []
    runner = Says(lambda c: (deadlines.append(c.deadline), c.finish(TaskStatus.COMPLETED)))
    before = time.monotonic()
    began_ns = SYSTEM_CLOCK.wall_ns() - 4000 * 1_000_000_000
    ran(root(scan(), timeout=9000), runner, prior={"root": PriorStart(began_ns)})
    ran(root(scan(), timeout=9000), runner)
    assert before + 4000 < deadlines[0] < before + 9000 <= deadlines[1]


def test_a_limit_that_expired_meanwhile_leaves_the_time_to_read_an_end() -> None:
    deadlines: list[float] = []
    runner = Says(lambda c: (deadlines.append(c.deadline), c.finish(TaskStatus.COMPLETED)))
    before = time.monotonic()
    began_ns = SYSTEM_CLOCK.wall_ns() - 20_000 * 1_000_000_000
    prior = {"root/scan": PriorWork("1_2_Scan", began_ns=began_ns)}
    ran(root(scan(timeout=9000)), runner, prior=prior)
    assert before < deadlines[0] < before + 9000


@pytest.mark.parametrize("attached", [False, True])
def test_a_leaf_that_queues_has_no_limit_before_it_begins_unless_it_has_begun(
    attached: bool,
) -> None:
    deadlines: list[float | None] = []

    def does(context: Any) -> None:
        deadlines.append(context.deadline)
        context.begin_limit()
        deadlines.append(context.deadline)
        context.finish(TaskStatus.COMPLETED)

    prior = {"root/scan": PriorWork("1_2_Scan")} if attached else None
    ran(root(scan(timeout=3000)), Says(does, queues=True), prior=prior)
    assert (deadlines[0] is not None) is attached
    assert deadlines[1] is not None


def test_a_leaf_that_queues_need_not_have_a_limit() -> None:
    def does(context: Any) -> None:
        context.begin_limit()
        context.finish(TaskStatus.COMPLETED)

    _, log = ran(root(scan()), Says(does, queues=True))
    log.assert_one_end("root/scan", TaskStatus.COMPLETED)


# -- what fails around a run ---------------------------------------------------------------------


def test_a_run_that_cannot_begin_has_one_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_schedule: Schedule, _task: Task) -> None:
        raise RuntimeError("no threads left")

    monkeypatch.setattr(Schedule, "begin", broken)
    handle, log = ran(root(scan()), FakeDeviceRunner())
    assert handle.outcome is not None
    assert handle.outcome.status is TaskStatus.FAILED
    assert "no threads left" in handle.outcome.message
    log.assert_one_end("root", TaskStatus.FAILED)


def test_a_recorder_that_fails_at_the_end_keeps_nobody_waiting() -> None:
    class Broken:
        def begin_run(self, _run_id: str, _about: Any, *, resumed: bool) -> Any:
            assert not resumed
            return lambda _event: None

        def end_run(self, *_: Any) -> None:
            raise OSError("disk full")

    handle, _ = ran(root(scan()), FakeDeviceRunner(), recorder=Broken())
    assert handle.outcome is not None
    assert handle.outcome.status is TaskStatus.COMPLETED


def test_a_shutdown_that_does_not_wait_leaves_no_thread_behind() -> None:
    fake, threads = FakeDeviceRunner({"a": Script(hangs=True)}), list[threading.Thread]()
    before = set(threading.enumerate())
    executor = MainTaskExecutor(runners={DEVICE: fake})
    handle = executor.submit_main_task(root(scan("a")))
    fake.wait_for_call("a", timeout_s=GUARD_S)
    executor.shutdown(wait=False)
    threads += set(threading.enumerate()) - before
    fake.release("a")
    assert handle.wait(GUARD_S)
    for thread in threads:
        thread.join(GUARD_S / 6)
    assert threads
    assert not [thread.name for thread in threads if thread.is_alive()]


# -- methods -------------------------------------------------------------------------------------


def test_a_coroutine_that_takes_an_abort_event_is_told_and_not_cancelled() -> None:
    began = threading.Event()

    async def heeds(task_abort_event: threading.Event) -> tuple[ResultCode, str]:
        began.set()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, task_abort_event.wait, GUARD_S)
        await asyncio.sleep(0)
        return ResultCode.OK, "came to its end"

    with MainTaskExecutor() as executor:
        handle = executor.submit_main_task(root(LeafTask.from_callable(heeds, name="a")))
        assert began.wait(GUARD_S)
        handle.abort()
        assert handle.wait(GUARD_S)
    record = handle.task.tracker.subtasks["a"]
    assert (record.status, record.message) == (TaskStatus.COMPLETED, "came to its end")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((ResultCode.OK, "done"), ResultCode.OK),
        ((ResultCode.FAILED, "no lock"), ResultCode.FAILED),
        (None, ResultCode.OK),
    ],
)
def test_a_method_that_takes_a_callback_may_end_without_it(answer: Any, code: ResultCode) -> None:
    def returns(task_callback: Any) -> Any:
        return answer

    _, log = ran(root(LeafTask.from_callable(returns, name="a")))
    assert log.assert_one_end("root/a", TaskStatus.COMPLETED).result_code is code


def test_a_final_status_that_a_method_returns_may_be_tried_again() -> None:
    answers = iter([(TaskStatus.FAILED, "not yet"), (TaskStatus.COMPLETED, "locked")])
    leaf = LeafTask.from_callable(lambda: next(answers), name="a", retries=1)
    _, log = ran(root(leaf))
    end = log.assert_one_end("root/a", TaskStatus.COMPLETED)
    assert (end.attempt, end.message) == (2, "locked")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ((ResultCode.UNKNOWN, "lost contact"), ResultCode.UNKNOWN),
        ((4, "lost contact"), ResultCode.UNKNOWN),
        (("UNKNOWN", "lost contact"), ResultCode.UNKNOWN),
        ((ResultCode.FAILED, None), ResultCode.FAILED),
        (("FAILED", None), ResultCode.FAILED),
        ([[3], ["no lock"]], ResultCode.FAILED),
        ([[3, 3], ["no", "lock"]], ResultCode.OK),
        ((99, "lost contact"), ResultCode.OK),
        (("ann", "bob"), ResultCode.OK),
        ((3, None), ResultCode.OK),
        ((3, 7), ResultCode.OK),
    ],
)
def test_a_pair_that_a_function_returns_is_a_result_only_where_it_has_a_code(
    value: Any, code: ResultCode
) -> None:
    tree = root(LeafTask.from_callable(lambda: value, name="a"))
    handle, _ = ran(tree)
    assert handle.task.tracker.subtasks["a"].result_code is code
    assert handle.outcome is not None
    assert (handle.outcome.result is ResultCode.OK) is (code is ResultCode.OK)
