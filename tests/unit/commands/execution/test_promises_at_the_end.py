"""What is promised at a leaf's end is done before the end is told: afterwards nobody is left."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from taskgrove.commands.leaf_runner import LeafContext, LeafLimits
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, FinishedDetail, NoteDetail
from taskgrove.testing import EventLog, FakeDeviceRunner, Script

DEVICE = TaskExecutionType.DEVICE
GUARD_S = 200.0
LIMIT_S = 0.05
CAUSE = "x/pst/1: timed out after 0.05 s (limit set by root/beam)"


class Runner(FakeDeviceRunner):
    """Devices that are asked to abort, and answer when the test says so."""

    def __init__(self) -> None:
        super().__init__(default=Script(hangs=True, heeds_abort=False))
        self.asked = threading.Event()
        self.context: LeafContext
        self.was_over: list[bool] = []
        self.raises: Exception | None = None

    def abort(self, context: LeafContext, reason: str) -> None:
        super().abort(context, reason)
        self.context = context
        self.was_over.append(context.leaf.parent.tracker.is_complete)
        self.asked.set()
        if self.raises is not None:
            raise self.raises


def root(*children: Any, **options: Any) -> Task:
    return Task("root", is_root=True, subtasks=children, **options)


def beam(**options: Any) -> LeafTask:
    fields = {"timeout": LIMIT_S, "abort_on_timeout": True, **options}
    return LeafTask("beam", "x/pst/1", "Configure", **fields)


def ended(handle: Any) -> Any:
    assert handle.wait(GUARD_S), "the run did not end"
    return handle.outcome


def told_before_the_end(log: EventLog, path: str) -> list[str]:
    """Return the topics of a leaf's notes, having checked that all came before both ends."""
    notes = log.select(kind="note", path=path)
    end = log.assert_one_end(path)
    whole = log.assert_one_end(path.partition("/")[0])
    assert all(note.sequence < end.sequence < whole.sequence for note in notes)
    topics = [note.detail.topic for note in notes if isinstance(note.detail, NoteDetail)]
    return [topic for topic in topics if topic != "limit"]


def test_an_abort_that_a_limit_asks_for_is_sent_and_heard_before_the_end_is_told() -> None:
    runner, log, after = Runner(), EventLog(), threading.Event()
    with MainTaskExecutor(runners={DEVICE: runner}, grace_s=GUARD_S) as executor:
        following = LeafTask.from_callable(after.set, name="after")
        handle = executor.submit_main_task(root(beam(), following), observers=[log])
        assert runner.asked.wait(GUARD_S)
        assert not log.select(kind="finished", path="root/beam")
        assert not after.is_set()
        runner.context.note("abort-acknowledged", "the device accepted Abort")
        outcome = ended(handle)
    assert after.is_set()
    assert f"- {CAUSE}" in outcome.message.splitlines()
    assert told_before_the_end(log, "root/beam") == ["timeout", "abort-acknowledged"]
    assert runner.was_over == [False]
    assert handle.abandoned == ()


def test_who_tells_that_an_abort_is_heard_is_not_held_up_by_what_follows_the_end() -> None:
    runner, threads = Runner(), []

    def callback(**payload: Any) -> None:
        if payload["status"].is_final:
            threads.append(threading.current_thread())

    with MainTaskExecutor(runners={DEVICE: runner}, grace_s=GUARD_S) as executor:
        handle = executor.submit_main_task(root(beam(completed_callback=callback)))
        assert runner.asked.wait(GUARD_S)
        runner.context.note("abort-acknowledged", "the device accepted Abort")
        ended(handle)
    assert threads
    assert threading.current_thread() not in threads


def test_a_limit_from_above_waits_for_the_abort_as_well() -> None:
    runner, log = Runner(), EventLog()
    with MainTaskExecutor(runners={DEVICE: runner}, grace_s=GUARD_S) as executor:
        # Long enough for the leaf to begin before it, on a slow machine, too.
        tree = root(beam(timeout=None), timeout=1.0)
        handle = executor.submit_main_task(tree, observers=[log])
        assert runner.asked.wait(GUARD_S)
        assert not tree.tracker.is_complete
        runner.context.note("abort-acknowledged", "the device accepted Abort")
        ended(handle)
    assert told_before_the_end(log, "root/beam") == ["timeout", "abort-acknowledged"]


def test_an_abort_that_nobody_acknowledges_is_told_so() -> None:
    runner, log = Runner(), EventLog()
    with MainTaskExecutor(runners={DEVICE: runner}, grace_s=0.05) as executor:
        outcome = ended(executor.submit_main_task(root(beam()), observers=[log]))
    assert f"- {CAUSE}; Abort was sent, not acknowledged" in outcome.message.splitlines()
    assert runner.was_over == [False]
    assert told_before_the_end(log, "root/beam") == ["timeout"]
    detail = log.assert_one_end("root/beam").detail
    assert isinstance(detail, FinishedDetail)
    assert detail.cause == Cause(
        kind="timed_out",
        limit_s=LIMIT_S,
        limit_owner="root/beam",
        outside_id=f"fake-{log.events[0].run_id}-root/beam-1",
        device="x/pst/1",
        abort="not acknowledged",
    )


@pytest.mark.parametrize(
    ("fate", "words"),
    [
        ("not sent", "; Abort could not be sent"),
        ("not acknowledged", "; Abort was sent, not acknowledged"),
        ("not needed", ""),
    ],
)
def test_an_abort_that_is_known_to_be_unheard_is_not_waited_for(fate: str, words: str) -> None:
    runner, log = Runner(), EventLog()
    with MainTaskExecutor(runners={DEVICE: runner}, grace_s=GUARD_S) as executor:
        handle = executor.submit_main_task(root(beam()), observers=[log])
        assert runner.asked.wait(GUARD_S)
        runner.context.note("abort-unheard", "why", fate=fate)
        outcome = ended(handle)
    assert f"- {CAUSE}{words}" in outcome.message.splitlines()
    assert told_before_the_end(log, "root/beam") == ["timeout", "abort-unheard"]


def test_an_answer_that_another_request_follows_is_not_the_last_word() -> None:
    runner = Runner()
    with MainTaskExecutor(runners={DEVICE: runner}, grace_s=GUARD_S) as executor:
        handle = executor.submit_main_task(root(beam()))
        assert runner.asked.wait(GUARD_S)
        runner.context.note("abort-acknowledged", "accepted", fate="asked again")
        assert not handle.task.tracker.is_complete
        runner.context.note("abort-acknowledged", "accepted again")
        ended(handle)


def test_an_abort_that_raises_ends_the_leaf_all_the_same() -> None:
    runner, log = Runner(), EventLog()
    runner.raises = OSError("no route")
    with MainTaskExecutor(runners={DEVICE: runner}, grace_s=GUARD_S) as executor:
        outcome = ended(executor.submit_main_task(root(beam()), observers=[log]))
    assert f"- {CAUSE}; Abort could not be sent" in outcome.message.splitlines()
    assert told_before_the_end(log, "root/beam") == ["timeout", "abort-unheard"]


def test_an_end_of_the_work_ends_the_wait_for_the_answer() -> None:
    runner, log = Runner(), EventLog()
    with MainTaskExecutor(runners={DEVICE: runner}, grace_s=GUARD_S) as executor:
        handle = executor.submit_main_task(root(beam()), observers=[log])
        assert runner.asked.wait(GUARD_S)
        runner.context.finish(TaskStatus.ABORTED, (ResultCode.ABORTED, "stopped"))
        outcome = ended(handle)
    assert f"- {CAUSE}" in outcome.message.splitlines()
    assert told_before_the_end(log, "root/beam") == ["timeout", "late"]


def test_an_end_that_comes_before_the_work_is_asked_to_stop_ends_the_wait() -> None:
    class Ends(Runner):
        def start(self, context: LeafContext) -> None:
            self.context = context
            super().start(context)

        def limits(self, leaf: LeafTask) -> LeafLimits:
            if hasattr(self, "context") and self.context.is_over:  # read as the limit expires
                self.context.finish(TaskStatus.COMPLETED)
            return super().limits(leaf)

    runner, log = Ends(), EventLog()
    with MainTaskExecutor(runners={DEVICE: runner}, grace_s=GUARD_S) as executor:
        ended(executor.submit_main_task(root(beam()), observers=[log]))
    assert told_before_the_end(log, "root/beam") == ["timeout", "late"]


def test_a_device_that_is_to_go_on_ends_its_leaf_at_the_limit() -> None:
    runner = Runner()
    with MainTaskExecutor(runners={DEVICE: runner}, grace_s=GUARD_S) as executor:
        ended(executor.submit_main_task(root(beam(abort_on_timeout=False))))
    runner.assert_calls([], action="abort")
    runner.release_all()


@pytest.mark.parametrize("takes_event", [True, False])
def test_the_next_step_starts_when_the_method_has_stopped(takes_event: bool) -> None:
    log, order, go_on = EventLog(), [], threading.Event()

    def heeds(task_abort_event: threading.Event) -> None:
        assert task_abort_event.wait(GUARD_S)
        plain()

    def plain() -> None:
        assert go_on.wait(GUARD_S)
        order.append("stopped")

    slow = LeafTask.from_callable(heeds if takes_event else plain, name="slow", timeout=LIMIT_S)
    after = LeafTask.from_callable(lambda: order.append("after"), name="after")
    with MainTaskExecutor(grace_s=GUARD_S) as executor:
        handle = executor.submit_main_task(root(slow, after), observers=[log])
        log.wait_for(kind="note", path="root/slow", topic="timeout", timeout_s=GUARD_S)
        assert not log.select(kind="finished", path="root/slow")
        go_on.set()
        ended(handle)
    assert order == ["stopped", "after"]
    assert told_before_the_end(log, "root/slow")[-2:] == ["timeout", "late"]


@pytest.mark.parametrize("by_limit", [True, False])
def test_an_abandonment_is_told_before_the_end(by_limit: bool) -> None:
    log, entered, go_on = EventLog(), threading.Event(), threading.Event()

    def deaf() -> None:
        entered.set()
        go_on.wait(GUARD_S)

    slow = LeafTask.from_callable(deaf, name="slow", timeout=LIMIT_S if by_limit else None)
    with MainTaskExecutor(grace_s=0.05) as executor:
        handle = executor.submit_main_task(root(slow), observers=[log])
        assert entered.wait(GUARD_S)
        if not by_limit:
            handle.abort("asked")
        ended(handle)
        assert handle.abandoned == ("root/slow",)
        first = "timeout" if by_limit else "abort-asked"
        told = told_before_the_end(log, "root/slow")
        go_on.set()
    assert told[-2:] == [first, "abandoned"]


def test_limits_of_a_runner_decide_who_is_waited_for() -> None:
    """Work whose runner holds it to its limit is over when its end is told."""
    runner = Runner()
    runner._limits = LeafLimits(abort="kill", timeout="enforced")
    with MainTaskExecutor(runners={DEVICE: runner}, grace_s=GUARD_S) as executor:
        handle = executor.submit_main_task(root(beam(abort_on_timeout=False)))
        assert runner.asked.wait(GUARD_S)
        runner.context.note("abort-acknowledged", "SIGTERM is sent")
        assert not handle.task.tracker.is_complete
        runner.context.finish(TaskStatus.ABORTED)
        ended(handle)
