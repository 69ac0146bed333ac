"""Waits that could never end are refused; all others are let be."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

import taskgrove
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import SelfWaitError, UsageError

HANG_GUARD_S = 60.0


def leaf(name, fn=lambda: None, **options):
    return LeafTask.from_callable(fn, name=name, **options)


def root(*children, name="root", **options):
    return Task(name, is_root=True, subtasks=children, **options)


def attempts(wait):
    """Return a step that waits, and a list of what that raised."""
    box, refused = {}, []

    def step(**_):
        assert box["known"].wait(HANG_GUARD_S)
        try:
            wait(box["handle"])
        except BaseException as exc:
            refused.append(exc)

    box["known"] = threading.Event()
    return box, refused, step


def submit(executor, box, tree, **options):
    box["handle"] = executor.submit_main_task(tree, **options)
    box["known"].set()
    assert box["handle"].wait(HANG_GUARD_S), "the run did not end"
    return box["handle"].outcome


WAITS = {
    "wait": lambda handle: handle.wait(),
    "result": lambda handle: handle.result(),
    "tracker": lambda handle: handle.task.tracker.wait_for_task_completion(),
}


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize(
    "place",
    ["step", "own thread", "callback of the leaf", "of the root", "of a branch", "observer"],
)
def test_a_run_waits_for_itself_nowhere(place, wait):
    box, refused, step = attempts(WAITS[wait])
    executor, options, observers = MainTaskExecutor(grace_s=0.1), {}, []
    last = leaf("z")
    if place == "step":
        first = leaf("a", step)
    elif place == "own thread":  # its context goes along
        first = leaf("a", lambda: asyncio.run(asyncio.to_thread(step)))
    elif place == "callback of the leaf":
        first = leaf("a", completed_callback=step)
    elif place == "of a branch":
        first = Task("a", subtasks=[leaf("b")], completed_callback=step)
    else:
        first = leaf("a")
        if place == "of the root":
            options["completed_callback"] = step
        else:
            observers.append(lambda event: step())
    outcome = submit(executor, box, root(first, last, **options), observers=observers)
    executor.shutdown()
    assert outcome.status is TaskStatus.COMPLETED
    assert refused
    assert all(isinstance(exc, SelfWaitError) for exc in refused)


def test_a_coroutine_awaits_its_own_run_in_vain():
    box, refused = {"known": threading.Event()}, []

    async def step():
        await asyncio.to_thread(box["known"].wait, HANG_GUARD_S)
        try:
            await box["handle"]
        except SelfWaitError as exc:
            refused.append(exc)

    with MainTaskExecutor() as executor:
        assert submit(executor, box, root(leaf("a", step))).result is ResultCode.OK
    assert len(refused) == 1


def test_a_coroutine_that_blocks_for_another_run_would_hold_up_all_others():
    gate = threading.Event()

    async def step():
        hangs = leaf("b", lambda: gate.wait(HANG_GUARD_S))
        executor.submit_main_task(root(hangs, name="other")).wait()

    with MainTaskExecutor() as executor:
        handle = executor.submit_main_task(root(leaf("a", step)))
        assert handle.wait(HANG_GUARD_S)
        gate.set()
        assert "await the handle" in handle.outcome.message
        assert handle.outcome.status is TaskStatus.FAILED


def test_a_coroutine_awaits_another_run():
    async def step():
        async def inner():
            await asyncio.sleep(0)

        outcome = await executor.submit_main_task(root(leaf("b", inner), name="other"))
        return outcome.result, "of the other"

    with MainTaskExecutor(1) as executor:
        handle = executor.submit_main_task(root(leaf("a", step)))
        assert handle.wait(HANG_GUARD_S)
        assert handle.outcome.result is ResultCode.OK


@pytest.mark.parametrize("workers", [1, 2])
def test_a_nested_wait_that_takes_the_last_thread_is_refused(workers):
    """Each run waits for one more, until there is no thread left for the next."""

    def nested(depth):
        inner = leaf("a", (lambda: nested(depth - 1)) if depth else lambda: None)
        outcome = executor.submit_main_task(root(inner, name=f"run{depth}")).result()
        return outcome.result, outcome.message

    with MainTaskExecutor(workers, grace_s=0.1) as executor:
        handle = executor.submit_main_task(root(leaf("a", lambda: nested(workers - 1))))
        assert handle.wait(HANG_GUARD_S)
        assert "would never end" in handle.outcome.message
        assert handle.outcome.status is TaskStatus.FAILED


def test_a_nested_wait_with_a_thread_to_spare_is_let_be():
    def nested():
        return executor.submit_main_task(root(leaf("b"), name="other")).result()

    with MainTaskExecutor(2) as executor:
        handle = executor.submit_main_task(root(leaf("a", nested)))
        assert handle.wait(HANG_GUARD_S)
        assert handle.outcome.result is ResultCode.OK


def test_a_wait_with_a_limit_is_let_be_in_a_step():
    box, refused, step = attempts(lambda handle: handle.wait(0.01))
    with MainTaskExecutor(1) as executor:
        assert submit(executor, box, root(leaf("a", step))).result is ResultCode.OK
    assert not refused


def test_two_runs_that_wait_for_each_other_do_not_both_wait():
    handles, both = {}, threading.Barrier(3)

    def waits_for(other):
        def step():
            both.wait(HANG_GUARD_S)
            handles[other].wait()

        return step

    with MainTaskExecutor(4) as executor:
        for name, other in (("one", "two"), ("two", "one")):
            handles[name] = executor.submit_main_task(root(leaf("a", waits_for(other)), name=name))
        both.wait(HANG_GUARD_S)
        assert all(handle.wait(HANG_GUARD_S) for handle in handles.values())
    states = sorted(handle.outcome.status.name for handle in handles.values())
    assert states == ["COMPLETED", "FAILED"]


def test_a_run_in_one_call_is_let_be_in_a_step_of_a_pool_of_one():
    def nested():
        return taskgrove.run(root(leaf("b"), name="other"), max_workers=1)

    outcome = taskgrove.run(root(leaf("a", nested)), max_workers=1)
    assert outcome.result is ResultCode.OK


def test_the_outcome_of_a_tree_that_a_step_ran_is_that_of_the_step():
    def nested():
        return taskgrove.run(root(leaf("b", lambda: False), name="other"))

    outcome = taskgrove.run(root(leaf("a", nested)))
    assert outcome.status is TaskStatus.FAILED
    assert "b" in outcome.message


@pytest.mark.parametrize("place", ["step", "callback", "coroutine"])
def test_nobody_shuts_down_and_waits_in_a_step_or_callback(place):
    refused = []

    def closes(**_):
        try:
            executor.shutdown()
        except UsageError as exc:
            refused.append(exc)

    async def closes_in_a_coroutine():
        closes()

    executor = MainTaskExecutor()
    first = {
        "step": leaf("a", closes),
        "callback": leaf("a", completed_callback=closes),
        "coroutine": leaf("a", closes_in_a_coroutine),
    }[place]
    handle = executor.submit_main_task(root(first))
    assert handle.wait(HANG_GUARD_S)
    executor.shutdown()
    assert refused


def test_a_callback_may_have_somebody_else_await_the_run():
    """A callback schedules work on the loop of the user, which awaits the run it came from."""
    outcomes = []

    async def main():
        loop, done, box = asyncio.get_running_loop(), asyncio.Event(), {}

        async def watch():
            outcomes.append(await box["handle"])
            done.set()

        def told():
            asyncio.run_coroutine_threadsafe(watch(), loop)
            assert box["known"].wait(HANG_GUARD_S)

        box["known"] = threading.Event()
        with MainTaskExecutor() as executor:
            box["handle"] = executor.submit_main_task(root(leaf("a", told)))
            await asyncio.sleep(0)
            box["known"].set()
            await asyncio.wait_for(done.wait(), HANG_GUARD_S)

    asyncio.run(main())
    assert [outcome.result for outcome in outcomes] == [ResultCode.OK]


# -- forked processes ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize(
    "use",
    [
        lambda executor, handle: executor.submit_main_task(root(leaf("b"))),
        lambda executor, handle: executor.shutdown(),
        lambda executor, handle: executor.abort_all(),
        lambda executor, handle: handle.wait(),
        lambda executor, handle: handle.wait(0.01),
        lambda executor, handle: handle.result(),
        lambda executor, handle: handle.abort(),
        lambda executor, handle: handle.status,
        lambda executor, handle: handle.outcome,
        lambda executor, handle: asyncio.run(asyncio.wait_for(handle, 0.01)),
    ],
)
def test_what_was_begun_before_a_fork_is_refused_in_the_child(use):
    go = threading.Event()
    with MainTaskExecutor() as executor:
        handle = executor.submit_main_task(root(leaf("a", lambda: go.wait(HANG_GUARD_S) and None)))
        child = os.fork()
        if child == 0:
            try:
                use(executor, handle)
            except UsageError:
                os._exit(0)
            except BaseException:
                os._exit(4)
            os._exit(3)
        _, status = os.waitpid(child, 0)
        go.set()
        assert handle.wait(HANG_GUARD_S)
    assert os.waitstatus_to_exitcode(status) == 0
