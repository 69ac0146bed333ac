"""Many held steps cost about what many queued ones do."""

from __future__ import annotations

import gc
import itertools
import threading
import tracemalloc
from collections.abc import Callable

import pytest

from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.execution.waiting_steps import HELD
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task
from taskgrove.control_model import TaskStatus
from tests.unit.commands.execution.live_steering import GUARD_S, PARALLEL


def grown(
    make: Callable[[], Task], is_ready: Callable[[RunHandle], bool], go_on: threading.Event
) -> int:
    """Return how much memory a tree and its run take at the moment when it waits, in bytes."""
    gc.collect()
    tracemalloc.start()
    try:
        tree = make()
        with MainTaskExecutor(1) as executor:
            handle = executor.submit_main_task(tree, hold=True)
            while not is_ready(handle):
                assert not handle.wait(0.02)
            gc.collect()
            size = tracemalloc.get_traced_memory()[0]
            handle.abort("measured")
            go_on.set()
            assert handle.wait(GUARD_S)
            assert handle.status is TaskStatus.ABORTED
    finally:
        tracemalloc.stop()
    return size


def wide(count: int, step: Callable[[], object], first: Callable[[], object]) -> Task:
    leaves = [LeafTask.from_callable(step, name=f"b{number}") for number in range(count)]
    ends = LeafTask.from_callable(first, name="first")
    return Task("root", PARALLEL, is_root=True, subtasks=[ends, *leaves])


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.thorough)])
def test_many_held_steps_take_about_the_memory_of_queued_ones(count: int) -> None:
    free = threading.Event()

    def keeps_the_thread() -> None:
        assert free.wait(GUARD_S)

    numbers = itertools.count()

    def fails() -> None:
        raise ValueError("no lock")

    def fails_in_its_own_way() -> None:
        raise ValueError(f"no lock, {next(numbers)} dB")

    def all_queued(handle: RunHandle) -> bool:
        return len(handle._run.schedule.active) > count

    def all_held(handle: RunHandle) -> bool:
        return len(handle.held) == count

    queued = grown(lambda: wide(count, lambda: None, keeps_the_thread), all_queued, free)
    held = grown(lambda: wide(count, fails, lambda: None), all_held, threading.Event())
    assert held < 1.2 * queued  # failures that are alike are kept once
    held = grown(lambda: wide(count, fails_in_its_own_way, lambda: None), all_held, free)
    assert held < 1.4 * queued


def test_a_held_step_has_no_thread_and_one_entry() -> None:
    def fails() -> None:
        raise ValueError("no lock")

    tree = Task(
        "root",
        PARALLEL,
        is_root=True,
        subtasks=[LeafTask.from_callable(fails, name=f"b{number}") for number in range(50)],
    )
    with MainTaskExecutor(1) as executor:
        handle = executor.submit_main_task(tree, hold=True)
        while len(handle.held) < 50:
            assert not handle.wait(0.001)
        schedule = handle._run.schedule
        steps = schedule.waiting.all()
        assert {step.stage for step in steps} == {HELD}
        assert not schedule.active
        handle.abort()
        assert handle.wait(GUARD_S)
