"""What promises work in place of its end is never taken for its end."""

from __future__ import annotations

import asyncio
import functools
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.pool import ThreadPool

import pytest

import taskgrove
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause
from taskgrove.testing import EventLog

HANG_GUARD_S = 60.0


class Status:
    """As of ophyd: ``done`` is a property."""

    def __init__(self, done=False, success=True):
        self._done, self.success = done, success

    @property
    def done(self):
        return self._done

    def wait(self, timeout=None):
        raise AssertionError("nobody waits here")


class Movement:
    """Another library's: ``done`` is a method."""

    def __init__(self, done=False):
        self._done = done

    def done(self):
        return self._done

    def wait(self):
        raise AssertionError("nobody waits here")


class Promise:
    """As of dask: a Future that is none of Python's."""

    def done(self):
        return False

    def add_done_callback(self, function):
        raise AssertionError("nobody waits here")


def plan(argin=None):
    yield "open_run"
    raise ValueError("detector is not armed")


async def async_plan():
    yield "open_run"


class Program:
    """As of subprocess and asyncio: only a program that has ended has a status."""

    def __init__(self, returncode):
        self._returncode = returncode

    @property
    def returncode(self):
        return self._returncode

    def communicate(self):
        raise AssertionError("nobody waits here")

    wait = communicate


class PolledProgram(Program):
    returncode = 0

    def poll(self):
        return self._returncode


class Worker:
    """As of threading and multiprocessing."""

    def __init__(self, alive=False, ident=1, exitcode=None):
        self.is_alive, self.ident, self.exitcode = (lambda: alive), ident, exitcode

    def is_alive(self):
        raise AssertionError("each has its own")

    def join(self):
        raise AssertionError("nobody waits here")


async def measures():
    raise AssertionError("nobody awaits it")


async def gives_a_coroutine():
    return measures()


def ended_thread():
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    return thread


def done_future():
    future = Future()
    future.set_result(True)
    return future


async def coroutine_of_a_plan():
    return plan()


PROMISES = {
    "generator": plan,
    "partial": functools.partial(plan, 1),
    "async generator": async_plan,
    "coroutine": coroutine_of_a_plan,
    "future": Future,
    "done future": done_future,
    "futures": lambda: [Future(), Future()],
    "code and future": lambda: (ResultCode.OK, Future()),
    "named futures": lambda: {"a": Future()},
    "futures in lists": lambda: [[1, (Future(),)], 2],
    "set of futures": lambda: {Future()},
    "coroutine of a coroutine": gives_a_coroutine,
    "coroutines": lambda: [measures()],
    "map": lambda: map(int, ["x"]),
    "filter": lambda: filter(int, ["x"]),
    "thread": lambda: Worker(alive=True),
    "thread that was not started": threading.Thread,
    "process that failed": lambda: Worker(exitcode=3),
    "program": lambda: Program(None),
    "polled program": lambda: PolledProgram(None),
    "program that failed": lambda: Program(3),
    "polled program that failed": lambda: PolledProgram(3),
    "status": Status,
    "failed status": lambda: Status(True, False),
    "movement": Movement,
    "promise": Promise,
}


@pytest.mark.filterwarnings("ignore:coroutine 'measures' was never awaited")
@pytest.mark.parametrize("kind", PROMISES)
@pytest.mark.parametrize("as_method", [False, True])
def test_a_promise_fails_its_step(kind, as_method):
    method = PROMISES[kind]
    log = EventLog()
    if as_method:
        target = type("Target", (), {"go": staticmethod(method)})()
        step = LeafTask("a", target, "go", None, TaskExecutionType.INTERNAL)
    else:
        step = LeafTask.from_callable(method, name="a")
    tree = Task("root", is_root=True, subtasks=[step])
    outcome = taskgrove.run(tree, observers=[log])
    assert outcome.status is TaskStatus.FAILED
    assert "returned" in outcome.message
    (end,) = log.select(kind="finished", path="root/a")
    assert (end.status, end.detail.cause) == (TaskStatus.FAILED, Cause(kind="promised"))


def test_a_result_that_is_not_there_yet_fails_its_step():
    gate = threading.Event()
    with ThreadPool(1) as pool:
        outcome = taskgrove.run(
            LeafTask.from_callable(lambda: pool.apply_async(gate.wait, (HANG_GUARD_S,)), name="a")
        )
        gate.set()
    assert "ApplyResult that is not done" in outcome.message


@pytest.mark.parametrize(
    "value",
    [
        Status(True), Movement(True), Status, Future, object(), 3, "text", [1, 2], {"a": plan},
        Program(0), PolledProgram(0), Worker(), Worker(exitcode=0), ended_thread(),
        zip([1], [2], strict=True),
    ],
)  # fmt: skip
def test_what_has_ended_or_is_a_plain_value_is_none(value):
    assert taskgrove.run(LeafTask.from_callable(lambda: value, name="a")).result is ResultCode.OK


def test_a_future_of_asyncio_is_awaited():
    async def later():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(future.set_exception, ValueError("motor stalled"))
        return await future

    outcome = taskgrove.run(LeafTask.from_callable(later, name="a"))
    assert "ValueError: motor stalled" in outcome.message


def test_a_step_that_hands_on_its_work_is_told_so():
    with ThreadPoolExecutor(1) as pool:
        gate = threading.Event()
        step = LeafTask.from_callable(lambda: pool.submit(gate.wait, HANG_GUARD_S), name="move")
        outcome = taskgrove.run(step)
        gate.set()
    assert outcome.message.endswith(
        "move - returned a Future that is not done; its work may still be running"
    )


# -- coroutines --------------------------------------------------------------------------------


def submitted(executor, step, log):
    tree = Task("root", is_root=True, subtasks=[step])
    return executor.submit_main_task(tree, observers=[log])


@pytest.mark.parametrize("by", ["abort", "limit"])
def test_a_coroutine_ends_when_its_clean_up_has(by):
    began, cleaned, log = threading.Event(), [], EventLog()

    async def measure():
        try:
            began.set()
            await asyncio.sleep(HANG_GUARD_S)
        finally:
            for number in range(5):
                await asyncio.sleep(0.01)
                cleaned.append(number)

    with MainTaskExecutor(grace_s=HANG_GUARD_S) as executor:
        step = LeafTask.from_callable(measure, timeout=0.2 if by == "limit" else None)
        handle = submitted(executor, step, log)
        assert began.wait(HANG_GUARD_S)
        if by == "abort":
            handle.abort()
        log.wait_for(kind="finished", path="root/measure", timeout_s=HANG_GUARD_S)
        assert len(cleaned) == 5
        assert handle.wait(HANG_GUARD_S)
    wanted = TaskStatus.ABORTED if by == "abort" else TaskStatus.FAILED
    assert handle.outcome.status is wanted


def test_a_coroutine_that_goes_on_after_its_abort_is_abandoned():
    began, log = threading.Event(), EventLog()

    async def ignores():
        began.set()
        while True:
            try:
                await asyncio.sleep(HANG_GUARD_S)
            except asyncio.CancelledError:
                continue

    with MainTaskExecutor(grace_s=0.1) as executor:
        handle = submitted(executor, LeafTask.from_callable(ignores), log)
        assert began.wait(HANG_GUARD_S)
        handle.abort()
        assert handle.wait(HANG_GUARD_S)
        assert handle.abandoned == ("root/ignores",)
    assert handle.outcome.status is TaskStatus.ABORTED


def test_a_coroutine_that_ends_well_in_spite_of_its_abort_keeps_that_end():
    began, log = threading.Event(), EventLog()

    async def stows():
        try:
            began.set()
            await asyncio.sleep(HANG_GUARD_S)
        except asyncio.CancelledError:
            return ResultCode.OK, "stowed"

    with MainTaskExecutor() as executor:
        handle = submitted(executor, LeafTask.from_callable(stows), log)
        assert began.wait(HANG_GUARD_S)
        handle.abort()
        assert handle.wait(HANG_GUARD_S)
    assert handle.outcome.status is TaskStatus.COMPLETED


def test_an_exit_in_a_task_that_a_coroutine_made_does_not_end_the_loop_of_the_others():
    began, go, log = threading.Event(), threading.Event(), EventLog()

    async def patient():
        began.set()
        await asyncio.to_thread(go.wait, HANG_GUARD_S)

    async def exits():
        async def quits():
            raise SystemExit(3)

        await asyncio.to_thread(began.wait, HANG_GUARD_S)
        asyncio.get_running_loop().create_task(quits())
        await asyncio.sleep(0)
        go.set()

    steps = [LeafTask.from_callable(patient), LeafTask.from_callable(exits)]
    with MainTaskExecutor() as executor:
        tree = Task("root", TaskExecutionType.PARALLEL, is_root=True, subtasks=steps)
        handle = executor.submit_main_task(tree, observers=[log])
        assert handle.wait(HANG_GUARD_S)
    assert handle.outcome.result is ResultCode.OK
