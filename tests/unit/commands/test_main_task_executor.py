"""The executor: order, outcomes, handles, shutdown."""

from __future__ import annotations

import asyncio
import threading

import pytest

from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import (
    ExecutorClosedError,
    MissingRunnerError,
    TaskAbortedError,
    TaskFailedError,
    TaskRejectedError,
    UsageError,
    WaitTimeoutError,
)
from taskgrove.facade import run
from taskgrove.testing import EventLog, FakeDeviceRunner, Script

PARALLEL = TaskExecutionType.PARALLEL
DEVICE = TaskExecutionType.DEVICE
HANG_GUARD_S = 200.0


def leaf(name, fn=lambda: None, **options):
    return LeafTask.from_callable(fn, name=name, **options)


def root(*children, name="root", task_type=TaskExecutionType.SEQUENTIAL, **options):
    return Task(name, task_type, is_root=True, subtasks=children, **options)


def device_leaf(name, device, **options):
    return LeafTask(name, device, "Configure", **options)


def finished(executor, task, **options) -> RunHandle:
    handle = executor.submit_main_task(task, **options)
    assert handle.wait(HANG_GUARD_S), "the run did not end"
    return handle


def test_a_tree_of_functions_runs_and_completes():
    ran = []
    tree = root(leaf("a", lambda: ran.append("a")), leaf("b", lambda: ran.append("b")))
    with MainTaskExecutor() as executor:
        handle = finished(executor, tree)
    assert ran == ["a", "b"]
    assert handle.outcome.status is TaskStatus.COMPLETED
    assert handle.outcome.result is ResultCode.OK
    assert (handle.status, handle.progress) == (TaskStatus.COMPLETED, 100)
    assert handle.result() is handle.outcome


def test_submit_returns_before_the_work_is_done_and_outcome_is_none_until_then():
    gate = threading.Event()
    with MainTaskExecutor() as executor:
        handle = executor.submit_main_task(root(leaf("a", gate.wait)))
        assert handle.outcome is None
        assert not handle.wait(0.01)
        with pytest.raises(WaitTimeoutError):
            handle.result(0.01)
        gate.set()
        assert handle.wait(HANG_GUARD_S)


def test_a_sequence_runs_in_order_one_at_a_time():
    running = []
    order = []

    def step(name):
        def body():
            running.append(name)
            assert len(running) == 1
            order.append(name)
            running.remove(name)

        return body

    names = [f"s{index}" for index in range(50)]
    with MainTaskExecutor() as executor:
        handle = finished(executor, root(*(leaf(name, step(name)) for name in names)))
    assert handle.outcome.result is ResultCode.OK
    assert order == names


def test_parallel_leaves_run_at_the_same_time_up_to_the_bound():
    barrier = threading.Barrier(4, timeout=HANG_GUARD_S)
    leaves = [leaf(f"p{index}", barrier.wait) for index in range(4)]
    for item in leaves:
        item.function = lambda: barrier.wait() and None
    with MainTaskExecutor(max_workers=4) as executor:
        handle = finished(executor, root(*leaves, task_type=PARALLEL))
    assert handle.outcome.status is TaskStatus.COMPLETED


@pytest.mark.parametrize("workers", [1, 2, 16])
def test_nesting_runs_on_any_pool_without_deadlock(workers):
    def nested(depth):
        if depth == 0:
            return [leaf("x"), leaf("y")]
        return [
            Task("left", PARALLEL, subtasks=nested(depth - 1)),
            Task("right", subtasks=nested(depth - 1)),
        ]

    with MainTaskExecutor(max_workers=workers) as executor:
        handle = finished(executor, root(*nested(5), task_type=PARALLEL))
    assert handle.outcome.result is ResultCode.OK


def test_a_sequence_of_ten_thousand_and_nesting_three_hundred_deep():
    node = leaf("leaf")
    for index in range(300):
        node = Task(f"t{index}", subtasks=[node], is_root=index == 299)
    with MainTaskExecutor(max_workers=2) as executor:
        deep = finished(executor, node)
        long = finished(executor, root(*(leaf(f"s{index}") for index in range(10_000))))
    assert deep.outcome.result is long.outcome.result is ResultCode.OK
    assert long.task.tracker.completed_subtasks == 10_000


def test_nesting_deep_fails_with_one_flat_cause():
    def boom():
        raise ValueError("no lock")

    node = leaf("leaf", boom)
    for index in range(250):
        node = Task(f"t{index}", subtasks=[node], is_root=index == 249)
    with MainTaskExecutor() as executor:
        handle = finished(executor, node)
    assert handle.outcome.status is TaskStatus.FAILED
    assert handle.outcome.message == ("Task t249 failed\nCauses:\n- leaf - ValueError: no lock")


def test_a_leaf_that_raises_is_failed_with_its_type_and_text():
    def boom():
        raise KeyError("beam 3")

    with MainTaskExecutor() as executor:
        handle = finished(executor, root(leaf("a", boom)))
        assert handle.outcome.status is TaskStatus.FAILED
        assert "- a - KeyError: 'beam 3'" in handle.outcome.message
        with pytest.raises(TaskFailedError) as caught:
            handle.result()
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.outcome is handle.outcome


@pytest.mark.parametrize("exc", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_even_what_ends_programs_is_an_outcome(exc):
    def boom():
        raise exc

    with MainTaskExecutor() as executor:
        handle = finished(executor, root(leaf("a", boom)))
        assert handle.outcome.status is TaskStatus.FAILED
        assert finished(executor, root(leaf("b"))).outcome.result is ResultCode.OK


def test_skip_subtasks_makes_the_rest_casualties():
    ran = []

    def fail():
        return ResultCode.FAILED, "not locked"

    nested = Task("nested", PARALLEL, subtasks=[leaf("x", lambda: ran.append("x"))])
    tree = root(
        leaf("check_lock", fail),
        leaf("b", lambda: ran.append("b")),
        nested,
        Task("hollow"),
        skip_subtasks=True,
    )
    log = EventLog()
    with MainTaskExecutor() as executor:
        handle = finished(executor, tree, observers=[log])
    assert ran == []
    assert handle.outcome.status is TaskStatus.FAILED
    assert handle.outcome.health_state == "FAILED"
    assert handle.outcome.message == (
        "Task root failed\nCauses:\n- check_lock - not locked\n"
        "- b - skipped: check_lock failed\n"
        "- nested - skipped: check_lock failed\n"
        "- hollow - skipped: check_lock failed"
    )
    record = handle.task.tracker.subtasks["nested"]
    assert (record.status, record.skipped) == (TaskStatus.REJECTED, True)
    assert nested.tracker.overall_status is TaskStatus.REJECTED
    for path in ("root/b", "root/nested", "root/nested/x"):
        assert log.assert_one_end(path, TaskStatus.REJECTED).detail.skipped


def test_without_skip_subtasks_the_rest_runs_on():
    ran = []
    tree = root(leaf("a", lambda: False), leaf("b", lambda: ran.append("b")))
    with MainTaskExecutor() as executor:
        handle = finished(executor, tree)
    assert ran == ["b"]
    assert handle.outcome.status is TaskStatus.FAILED  # an internal step failed: severe


def test_a_degraded_step_does_not_break_the_sequence():
    ran = []
    runner = FakeDeviceRunner({"b2": Script.fails("no pulsar")})
    beams = Task(
        "configure_pst",
        PARALLEL,
        subtasks=[device_leaf(f"b{index}", f"mid-pst/beam/{index:02}") for index in range(1, 5)],
    )
    tree = root(beams, leaf("after", lambda: ran.append("after")), skip_subtasks=True)
    with MainTaskExecutor(runners={DEVICE: runner}) as executor:
        handle = finished(executor, tree)
    assert ran == ["after"]
    assert handle.outcome.status is TaskStatus.COMPLETED
    assert handle.outcome.health_state == "DEGRADED"
    assert handle.result() is handle.outcome  # degraded is an outcome, not an error
    assert "configure_pst - PST success 3/4" in handle.outcome.message
    assert "mid-pst/beam/02: no pulsar" in handle.outcome.message


def test_a_rejected_run_raises_where_it_is_asked_for():
    runner = FakeDeviceRunner({"cbf": Script.rejects("queue is full")})
    with MainTaskExecutor(runners={DEVICE: runner}) as executor:
        handle = finished(executor, root(device_leaf("cbf", "mid-cbf/subarray/01")))
        assert handle.outcome.status is TaskStatus.REJECTED
        with pytest.raises(TaskRejectedError, match="queue is full"):
            handle.result()


def test_await_gives_the_outcome_and_survives_a_cancelled_waiter():
    gate = threading.Event()

    async def main(executor):
        handle = executor.submit_main_task(root(leaf("a", lambda: gate.wait() and None)))
        waiter = asyncio.ensure_future(_wait_for(handle))
        await asyncio.sleep(0)
        waiter.cancel()
        gate.set()
        return await handle

    async def _wait_for(handle):
        return await handle

    with MainTaskExecutor() as executor:
        assert asyncio.run(main(executor)).result is ResultCode.OK


def test_the_root_callback_has_returned_when_wait_returns():
    told = []
    tree = root(leaf("a"), leaf("b"), completed_callback=lambda **payload: told.append(payload))
    with MainTaskExecutor() as executor:
        finished(executor, tree)
        assert told[-1]["status"] is TaskStatus.COMPLETED
    assert [payload["progress"] for payload in told] == [0, 50, 100]


def test_every_node_tells_its_story_once_and_without_gaps():
    log = EventLog()
    tree = root(Task("nested", PARALLEL, subtasks=[leaf("x"), leaf("y")]), leaf("z"))
    with MainTaskExecutor() as executor:
        finished(executor, tree, observers=[log])
    log.assert_gapless()
    paths = ["root", "root/nested", "root/nested/x", "root/nested/y", "root/z"]
    assert [event.path for event in log.select(kind="composed")] == paths
    for path in paths:
        log.assert_one_end(path, TaskStatus.COMPLETED)
    assert log.statuses("root/z") == (TaskStatus.IN_PROGRESS, TaskStatus.COMPLETED)


def test_observers_of_a_tracker_from_before_the_run_still_hear_of_it():
    log = EventLog()
    tree = root(leaf("a"))
    tree.tracker.subscribe(log)
    with MainTaskExecutor() as executor:
        finished(executor, tree)
    log.assert_one_end("root/a", TaskStatus.COMPLETED)


def test_a_tree_runs_once():
    tree = root(leaf("a"))
    with MainTaskExecutor() as executor:
        finished(executor, tree)
        with pytest.raises(UsageError, match="has run before"):
            executor.submit_main_task(tree)


def test_a_part_of_a_tree_is_refused():
    part = Task("part", subtasks=[leaf("a")])
    root(part)
    with MainTaskExecutor() as executor, pytest.raises(UsageError, match="part of a tree"):
        executor.submit_main_task(part)


def test_a_single_leaf_and_an_empty_tree_run():
    with MainTaskExecutor() as executor:
        assert finished(executor, leaf("alone")).outcome.result is ResultCode.OK
        assert finished(executor, root()).outcome.result is ResultCode.OK
        nested = root(Task("hollow"), Task("hollow2", PARALLEL), leaf("a"))
        assert finished(executor, nested).outcome.result is ResultCode.OK


def test_a_leaf_that_nobody_executes_is_refused_before_anything_runs():
    ran = []
    tree = root(leaf("a", lambda: ran.append(1)), device_leaf("d", "x/y/z"))
    match = r"DEVICE leaves such as root/d"
    with MainTaskExecutor() as executor, pytest.raises(MissingRunnerError, match=match):
        executor.submit_main_task(tree)
    assert ran == []


def test_shutdown_waits_for_running_trees_and_takes_no_more():
    gate = threading.Event()
    executor = MainTaskExecutor()
    handle = executor.submit_main_task(root(leaf("a", lambda: gate.wait() and None)))
    executor.shutdown(wait=False)
    with pytest.raises(ExecutorClosedError):
        executor.submit_main_task(root(leaf("b")))
    gate.set()
    executor.shutdown(wait=True)
    assert handle.outcome.result is ResultCode.OK


@pytest.mark.parametrize("with_recorder", [True, False])
def test_a_run_that_cannot_begin_is_not_waited_for(with_recorder):
    class Broken:
        def begin_run(self, run_id, about, *, resumed):
            raise RuntimeError("no place left")

    options = {"recorder": Broken()} if with_recorder else {"observers": 7}
    with MainTaskExecutor() as executor:
        with pytest.raises((RuntimeError, TypeError)):
            executor.submit_main_task(root(leaf("a")), **options)
        done = threading.Event()
        waiter = threading.Thread(target=lambda: (executor.shutdown(), done.set()), daemon=True)
        waiter.start()
        assert done.wait(HANG_GUARD_S), "the executor waits for a run that never began"
        waiter.join()


def test_what_is_no_place_of_a_record_is_refused():
    with pytest.raises(UsageError, match="no place of a record: 5"):
        run(root(leaf("a")), record=5)


def test_an_exception_in_the_block_aborts_what_runs():
    def wait_for_abort(task_abort_event):
        task_abort_event.wait()

    with pytest.raises(ZeroDivisionError), MainTaskExecutor() as executor:  # noqa: PT012
        handle = executor.submit_main_task(root(leaf("a", wait_for_abort)))
        raise ZeroDivisionError
    assert handle.outcome.status is TaskStatus.ABORTED
    with pytest.raises(TaskAbortedError):
        handle.result()


def test_a_step_cannot_wait_for_its_own_executor():
    caught = []

    def step():
        try:
            executor.shutdown(wait=True)
        except UsageError as exc:
            caught.append(exc)

    executor = MainTaskExecutor()
    handle = executor.submit_main_task(root(leaf("a", step)))
    assert handle.wait(HANG_GUARD_S)
    executor.shutdown()
    assert len(caught) == 1


@pytest.mark.parametrize("options", [{"max_workers": 0}, {"max_workers": True}, {"grace_s": -1}])
def test_bad_settings_are_refused(options):
    with pytest.raises(UsageError):
        MainTaskExecutor(**options)


def test_run_runs_a_tree_in_one_call():
    log = EventLog()
    outcome = run(root(leaf("a"), leaf("b")), observers=[log])
    assert outcome.result is ResultCode.OK
    log.assert_one_end("root")


def test_run_aborts_at_its_limit():
    def wait_for_abort(task_abort_event):
        task_abort_event.wait()

    with pytest.raises(WaitTimeoutError, match="did not end within"):
        run(root(leaf("a", wait_for_abort)), timeout_s=0.05)


def test_many_runs_from_many_threads():
    def submit():
        for _ in range(20):
            handles.append(executor.submit_main_task(root(leaf("a"), leaf("b"))))

    handles = []
    with MainTaskExecutor(max_workers=3) as executor:
        threads = [threading.Thread(target=submit) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(handles) == 100
    assert {handle.outcome.result for handle in handles} == {ResultCode.OK}
    assert len({handle.id for handle in handles}) == 100


def test_what_is_submitted_is_the_root():
    tree = Task("configure", subtasks=[leaf("a", lambda: False)])
    tree.tracker  # noqa: B018 - its tracker exists before it is known to be the root
    with MainTaskExecutor() as executor:
        handle = finished(executor, tree)
    assert handle.outcome.message.startswith("Task configure failed\nCauses:\n- a - ")


def test_a_leaf_that_was_refused_or_skipped_says_so_itself():
    told = []
    tree = root(
        leaf("refused", lambda: (TaskStatus.REJECTED, "busy")),
        leaf("skipped", completed_callback=lambda **payload: told.append(payload["status"])),
        Task("part", subtasks=[leaf("x", completed_callback=lambda **p: told.append(p["status"]))]),
        skip_subtasks=True,
    )
    with MainTaskExecutor() as executor:
        finished(executor, tree)
    assert told == [TaskStatus.REJECTED, TaskStatus.REJECTED]
    for path in ("root/refused", "root/skipped", "root/part/x"):
        assert tree.find(path).tracker.overall_status is TaskStatus.REJECTED, path


def test_a_missed_rule_is_not_softened_above():
    runner = FakeDeviceRunner({f"b{n}": Script.fails("no pulsar") for n in (1, 2, 3)})
    beams = [device_leaf(f"b{n}", f"mid-pst/beam/{n:02}") for n in range(1, 5)]
    tree = root(Task("beams", PARALLEL, subtasks=beams, rule="quorum 2"), leaf("other"))
    with MainTaskExecutor(runners={DEVICE: runner}) as executor:
        handle = finished(executor, tree)
    assert handle.outcome.status is TaskStatus.FAILED
