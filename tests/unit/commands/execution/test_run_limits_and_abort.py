"""Deadlines, retries and the abort ladder."""

from __future__ import annotations

import threading

import pytest

from taskgrove.commands.leaf_runner import LeafLimits
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.testing import EventLog, FakeDeviceRunner, Script

PARALLEL = TaskExecutionType.PARALLEL
DEVICE = TaskExecutionType.DEVICE
HANG_GUARD_S = 200.0
#: Long enough that what it is set for has begun before it expires, on a busy machine, too.
LIMIT_S = 0.4


class Gate:
    """Something to hang in, that the test releases at its end."""

    def __init__(self):
        self.event = threading.Event()
        self.entered = threading.Event()

    def hang(self):
        self.entered.set()
        self.event.wait(HANG_GUARD_S)


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.event.set()


def leaf(name, fn=lambda: None, **options):
    return LeafTask.from_callable(fn, name=name, **options)


def root(*children, task_type=TaskExecutionType.SEQUENTIAL, **options):
    return Task("root", task_type, is_root=True, subtasks=children, **options)


def ended(handle):
    assert handle.wait(HANG_GUARD_S), "the run did not end"
    return handle.outcome


def topics(log, path=None):
    return [event.detail.topic for event in log.select(kind="note", path=path)]


# -- limits ------------------------------------------------------------------------------------


def test_a_limit_fails_the_leaf_and_says_who_set_it(gate):
    log = EventLog()
    with MainTaskExecutor(grace_s=0.05) as executor:
        tree = root(leaf("slow", gate.hang, timeout=LIMIT_S))
        outcome = ended(executor.submit_main_task(tree, observers=[log]))
        assert outcome.status is TaskStatus.FAILED
        assert outcome.message == (
            "Task root failed\nCauses:\n- slow - timed out after 0.4 s (limit set by root/slow)"
        )
        log.wait_for(kind="note", path="root/slow", topic="abandoned", timeout_s=HANG_GUARD_S)
        gate.event.set()
    assert "timeout" in topics(log, "root/slow")


def test_a_limit_that_cannot_be_enforced_is_said_before_it_starts(gate):
    log = EventLog()
    with MainTaskExecutor() as executor:
        ended(executor.submit_main_task(root(leaf("deaf", timeout=5)), observers=[log]))
    (note,) = log.select(kind="note", path="root/deaf")
    assert note.detail.topic == "limit"
    assert "5 s is reported, not enforced" in note.message
    assert "takes no task_abort_event" in note.message
    assert log.select(kind="composed", path="root/deaf")[0].detail.notes == (note.message,)


def test_a_composite_limit_is_a_deadline_for_all_below_never_added_up(gate):
    def patient(task_abort_event):
        task_abort_event.wait(HANG_GUARD_S)

    ran = []
    inner = Task(
        "inner", subtasks=[leaf("a", patient, timeout=60), leaf("b", lambda: ran.append(1))]
    )
    with MainTaskExecutor() as executor:
        outcome = ended(executor.submit_main_task(root(inner, timeout=LIMIT_S)))
    assert outcome.status is TaskStatus.FAILED
    assert "a - timed out after 0.4 s (limit set by root)" in outcome.message
    assert "b - not started: the limit of 0.4 s set by root expired" in outcome.message
    assert ran == []


def test_the_nearest_limit_counts(gate):
    def patient(task_abort_event):
        task_abort_event.wait(HANG_GUARD_S)

    with MainTaskExecutor() as executor:
        tree = root(
            Task("t", subtasks=[leaf("a", patient, timeout=LIMIT_S)], timeout=30), timeout=60
        )
        outcome = ended(executor.submit_main_task(tree))
    assert "limit set by root/t/a" in outcome.message


def test_a_longer_limit_below_lifts_none_from_above():
    """Neither that of a composite nor that of a leaf: both would go on after the whole ended."""
    deadlines = {}

    class Notes:
        def limits(self, leaf):
            return LeafLimits("ask", "reported")

        def start(self, context):
            deadlines[context.leaf.name] = context.deadline
            context.finish(TaskStatus.COMPLETED)

        def abort(self, context, reason):
            pass

        def attach(self, context, outside_id):
            pass

    def step(name, **options):
        return LeafTask(name, "x/y/z", "Scan", **options)

    inner = Task("inner", subtasks=[step("below"), step("own", timeout=3000)], timeout=2000)
    with MainTaskExecutor(runners={DEVICE: Notes()}) as executor:
        ended(executor.submit_main_task(root(step("beside"), inner, timeout=1000)))
    assert deadlines["below"] == deadlines["own"] == deadlines["beside"]
    assert deadlines["beside"] is not None


def test_a_leaf_that_waits_for_a_slot_is_held_to_the_composite_limit(gate):
    with MainTaskExecutor(max_workers=1, grace_s=0.05) as executor:
        tree = root(leaf("a", gate.hang), leaf("b"), task_type=PARALLEL, timeout=0.1)
        outcome = ended(executor.submit_main_task(tree))
        assert "b - not started: the limit of 0.1 s set by root expired" in outcome.message
        gate.event.set()


def test_a_method_that_heeds_its_abort_event_is_ended_by_its_limit():
    seen = threading.Event()

    def heeds(task_abort_event):
        if task_abort_event.wait(HANG_GUARD_S):
            seen.set()

    with MainTaskExecutor() as executor:
        outcome = ended(executor.submit_main_task(root(leaf("a", heeds, timeout=LIMIT_S))))
        assert seen.wait(HANG_GUARD_S)
    assert "timed out after 0.4 s" in outcome.message


def test_a_coroutine_is_cancelled_by_its_limit():
    import asyncio

    cancelled = threading.Event()

    async def sleeper():
        try:
            await asyncio.sleep(HANG_GUARD_S)
        finally:
            cancelled.set()

    with MainTaskExecutor() as executor:
        outcome = ended(executor.submit_main_task(root(leaf("a", sleeper, timeout=LIMIT_S))))
        assert cancelled.wait(HANG_GUARD_S)
    assert outcome.status is TaskStatus.FAILED


def test_a_device_is_not_aborted_by_a_limit_unless_the_leaf_says_so():
    runner = FakeDeviceRunner({"quiet": Script(hangs=True), "loud": Script(hangs=True)})
    with MainTaskExecutor(runners={DEVICE: runner}) as executor:
        tree = root(
            LeafTask("quiet", "x/pst/1", "Configure", timeout=LIMIT_S),
            LeafTask("loud", "x/pst/2", "Configure", timeout=LIMIT_S, abort_on_timeout=True),
            task_type=PARALLEL,
        )
        ended(executor.submit_main_task(tree))
        runner.wait_for_call("loud", action="abort", timeout_s=HANG_GUARD_S)
    runner.assert_calls(["loud"], action="abort")
    runner.release_all()


def test_what_comes_after_the_limit_becomes_a_note():
    runner = FakeDeviceRunner({"slow": Script(hangs=True)})
    log = EventLog()
    with MainTaskExecutor(runners={DEVICE: runner}) as executor:
        tree = root(LeafTask("slow", "x/pst/1", "Configure", timeout=LIMIT_S))
        outcome = ended(executor.submit_main_task(tree, observers=[log]))
        runner.release("slow")
        late = log.wait_for(kind="note", path="root/slow", topic="late", timeout_s=HANG_GUARD_S)
    assert outcome.status is TaskStatus.FAILED
    assert "COMPLETED after its end was decided" in late.message


# -- retries -------------------------------------------------------------------------------------


def test_retries_are_used_and_each_attempt_is_told():
    attempts = []

    def flaky():
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError("busy")

    log = EventLog()
    with MainTaskExecutor() as executor:
        tree = root(leaf("a", flaky, retries=2))
        outcome = ended(executor.submit_main_task(tree, observers=[log]))
    assert outcome.result is ResultCode.OK
    assert len(attempts) == 3
    notes = [event.message for event in log.select(kind="note", path="root/a")]
    assert notes == [
        "attempt 1 of 3 failed: OSError: busy",
        "attempt 2 of 3 failed: OSError: busy",
    ]
    assert log.assert_one_end("root/a").attempt == 3


def test_when_retries_are_used_up_the_first_failure_is_told_and_the_last():
    attempts = []

    def fails():
        attempts.append(1)
        return ResultCode.FAILED, f"attempt {len(attempts)}"

    with MainTaskExecutor() as executor:
        outcome = ended(executor.submit_main_task(root(leaf("a", fails, retries=2))))
    assert len(attempts) == 3
    assert "a - attempt 1 (attempt 1 of 3); attempt 3: attempt 3" in outcome.message


def test_success_and_timeouts_are_not_retried(gate):
    calls = []

    def hang():
        calls.append(1)
        gate.hang()

    with MainTaskExecutor(grace_s=0.05) as executor:
        ended(executor.submit_main_task(root(leaf("ok", lambda: None, retries=5))))
        outcome = ended(
            executor.submit_main_task(root(leaf("a", hang, retries=5, timeout=LIMIT_S)))
        )
        gate.event.set()
    assert outcome.status is TaskStatus.FAILED
    assert calls == [1]


def test_what_became_of_an_unknown_command_is_never_resent():
    runner = FakeDeviceRunner({"d": Script.fails("its end is not known", abnormal=True)})
    with MainTaskExecutor(runners={DEVICE: runner}) as executor:
        ended(executor.submit_main_task(root(LeafTask("d", "x/cbf/1", "Scan", retries=3))))
    runner.assert_calls(["d"])


# -- abort ---------------------------------------------------------------------------------------


def test_abort_reaches_what_runs_and_what_has_not_begun(gate):
    heard = threading.Event()
    began = threading.Event()

    def heeds(task_abort_event):
        began.set()
        if task_abort_event.wait(HANG_GUARD_S):
            heard.set()

    ran = []
    log = EventLog()
    with MainTaskExecutor() as executor:
        handle = executor.submit_main_task(
            root(leaf("a", heeds), leaf("b", lambda: ran.append(1))), observers=[log]
        )
        assert began.wait(HANG_GUARD_S)
        assert handle.abort("operator asked")
        assert not handle.abort("again")
        outcome = ended(handle)
        assert heard.is_set()
    assert outcome.status is TaskStatus.ABORTED
    assert outcome.result is ResultCode.ABORTED
    assert outcome.health_state is None
    assert ran == []
    assert "b - not started: operator asked" in outcome.message
    assert topics(log, "root/a") == ["abort-asked", "abort-ended"]
    [asked] = log.select(kind="note", path="root")
    assert (asked.detail.topic, asked.message) == (
        "abort-asked", "asked to stop: operator asked",
    )  # fmt: skip
    assert asked.sequence < log.select(path="root/a", topic="abort-asked")[0].sequence
    assert handle.abandoned == ()
    assert not handle.abort("too late")


def test_a_leaf_that_ignores_its_abort_is_abandoned_and_stays_visible(gate):
    log = EventLog()
    executor = MainTaskExecutor(max_workers=1, grace_s=0.1)
    handle = executor.submit_main_task(root(leaf("deaf", gate.hang)), observers=[log])
    assert gate.entered.wait(HANG_GUARD_S)
    handle.abort("operator asked")
    outcome = ended(handle)
    assert outcome.status is TaskStatus.ABORTED
    assert "abandoned: it did not end within 0.1 s of being asked to stop" in outcome.message
    assert handle.abandoned == ("root/deaf",)
    assert topics(log, "root/deaf") == ["abort-asked", "abandoned"]
    # Its slot was replaced: a pool of one still works.
    assert ended(executor.submit_main_task(root(leaf("next")))).result is ResultCode.OK
    executor.shutdown()  # does not wait for what was abandoned
    assert topics(log, "root/deaf") == ["abort-asked", "abandoned"]
    gate.event.set()
    log.wait_for(kind="note", path="root/deaf", topic="late", timeout_s=HANG_GUARD_S)


def test_abort_of_ten_thousand_steps_that_have_not_begun(gate):
    def heeds(task_abort_event):
        gate.entered.set()
        task_abort_event.wait(HANG_GUARD_S)

    steps = [leaf(f"s{index}") for index in range(10_000)]
    with MainTaskExecutor() as executor:
        handle = executor.submit_main_task(root(leaf("first", heeds), *steps))
        assert gate.entered.wait(HANG_GUARD_S)
        handle.abort()
        outcome = ended(handle)
    assert outcome.status is TaskStatus.ABORTED
    assert handle.task.tracker.completed_subtasks == 10_001


def test_abort_ends_queued_parallel_leaves_before_they_start(gate):
    ran = []

    def heeds(task_abort_event):
        gate.entered.set()
        task_abort_event.wait(HANG_GUARD_S)

    children = [leaf("first", heeds)] + [
        leaf(f"p{index}", lambda: ran.append(1)) for index in range(100)
    ]
    with MainTaskExecutor(max_workers=1) as executor:
        handle = executor.submit_main_task(root(*children, task_type=PARALLEL))
        assert gate.entered.wait(HANG_GUARD_S)
        handle.abort()
        outcome = ended(handle)
    assert outcome.status is TaskStatus.ABORTED
    assert ran == []


def test_a_run_behind_hanging_methods_can_be_aborted(gate):
    with MainTaskExecutor(max_workers=1, grace_s=0.1) as executor:
        blocking = executor.submit_main_task(root(leaf("deaf", gate.hang)))
        assert gate.entered.wait(HANG_GUARD_S)
        waiting = executor.submit_main_task(root(leaf("a")))
        waiting.abort("not needed any more")
        assert ended(waiting).status is TaskStatus.ABORTED
        gate.event.set()
        assert ended(blocking).result is ResultCode.OK


def test_the_truth_of_a_leaf_that_ends_well_in_spite_of_the_abort(gate):
    def finishes(task_abort_event):
        gate.entered.set()
        task_abort_event.wait(HANG_GUARD_S)
        return ResultCode.OK, "was done already"

    with MainTaskExecutor() as executor:
        handle = executor.submit_main_task(root(leaf("a", finishes)))
        assert gate.entered.wait(HANG_GUARD_S)
        handle.abort()
        assert ended(handle).status is TaskStatus.COMPLETED


def test_abort_reaches_devices_and_tells_when_it_was_heard():
    runner = FakeDeviceRunner({"d": Script(hangs=True)})
    log = EventLog()
    with MainTaskExecutor(runners={DEVICE: runner}) as executor:
        handle = executor.submit_main_task(root(LeafTask("d", "x/pst/1", "Scan")), observers=[log])
        runner.wait_for_call("d", timeout_s=HANG_GUARD_S)
        handle.abort("stop")
        outcome = ended(handle)
    runner.assert_calls(["d"], action="abort")
    assert outcome.status is TaskStatus.ABORTED
    assert "x/pst/1" in outcome.message


def test_a_runner_whose_abort_raises_does_not_keep_the_run_from_ending(gate):
    class Broken:
        def limits(self, leaf):
            return LeafLimits("ask", "reported")

        def start(self, context):
            gate.entered.set()

        def abort(self, context, reason):
            raise RuntimeError("no route")

        def attach(self, context, outside_id):
            raise NotImplementedError

    with MainTaskExecutor(runners={DEVICE: Broken()}, grace_s=0.05) as executor:
        handle = executor.submit_main_task(root(LeafTask("d", "x/y/z", "Scan")))
        assert gate.entered.wait(HANG_GUARD_S)
        handle.abort()
        assert ended(handle).status is TaskStatus.ABORTED
    assert handle.abandoned == ("root/d",)


@pytest.mark.parametrize("ends", [[], ["COMPLETED"], ["COMPLETED", "FAILED", "ABORTED"]])
def test_a_runner_that_raises_or_ends_a_leaf_often_gives_one_final_state(ends):
    class Odd:
        def limits(self, leaf):
            return LeafLimits("ask", "reported")

        def start(self, context):
            for word in ends:
                context.finish(TaskStatus[word])
            raise RuntimeError("and then it broke")

        def abort(self, context, reason):
            pass

        def attach(self, context, outside_id):
            pass

    log = EventLog()
    with MainTaskExecutor(runners={DEVICE: Odd()}) as executor:
        tree = root(LeafTask("d", "x/y/z", "Scan"))
        outcome = ended(executor.submit_main_task(tree, observers=[log]))
    expected = TaskStatus[ends[0]] if ends else TaskStatus.FAILED
    assert outcome.status is expected
    log.assert_one_end("root/d", expected)


def test_waiting_for_devices_holds_no_thread():
    names = [f"d{index}" for index in range(300)]
    runner = FakeDeviceRunner({name: Script(hangs=True) for name in names})
    with MainTaskExecutor(max_workers=2, runners={DEVICE: runner}) as executor:
        before = threading.active_count()
        handle = executor.submit_main_task(
            root(*(LeafTask(name, f"x/pst/{name}", "Scan") for name in names), task_type=PARALLEL)
        )
        for name in names:
            runner.wait_for_call(name, timeout_s=HANG_GUARD_S)
        # Two pool threads, and the one control thread that began the run.
        assert threading.active_count() <= before + 3
        for name in names:
            runner.release(name)
        assert ended(handle).result is ResultCode.OK
