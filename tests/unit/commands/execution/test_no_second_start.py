"""What must not be started, or called, a second time: retries that are not taken."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from taskgrove.commands.execution.live_run import Run
from taskgrove.commands.execution.schedule import Schedule
from taskgrove.commands.leaf_runner import LeafLimits
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.prior import PriorWork
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.testing import EventLog, FakeDeviceRunner, Script

DEVICE = TaskExecutionType.DEVICE
GUARD_S = 200.0

#: It has ended for certain, so that the leaf's retries may be used.
FAILS = Script.fails("no lock", abnormal=True, may_retry=True)


def tree(*, timeout: float | None = None) -> Task:
    scan = LeafTask("scan", "low-cbf/subarray/01", "Scan", retries=3)
    return Task("root", is_root=True, subtasks=[scan], timeout=timeout)


def assert_one_attempt(runner: FakeDeviceRunner, log: EventLog) -> None:
    runner.assert_calls(["scan"])
    assert not log.select(topic="retry")
    assert log.assert_one_end("root/scan").attempt == 1


def test_what_may_be_tried_again_is() -> None:
    """The other tests of this module show nothing without this one."""
    runner, log = FakeDeviceRunner({"scan": [FAILS, Script()]}), EventLog()
    with MainTaskExecutor(runners={DEVICE: runner}) as executor:
        handle = executor.submit_main_task(tree(timeout=3600), observers=[log])
        assert handle.wait(GUARD_S)
    runner.assert_calls(["scan", "scan"])


def test_nothing_is_tried_again_while_the_run_is_being_aborted() -> None:
    hangs = Script(hangs=True, heeds_abort=False)
    runner, log = FakeDeviceRunner({"scan": hangs}), EventLog()
    with MainTaskExecutor(runners={DEVICE: runner}, grace_s=GUARD_S / 6) as executor:
        handle = executor.submit_main_task(tree(), observers=[log])
        runner.wait_for_call("scan", timeout_s=GUARD_S)
        handle.abort("operator asked")
        runner.wait_for_call("scan", action="abort", timeout_s=GUARD_S)
        runner.release("scan", FAILS)
        assert handle.wait(GUARD_S)
    assert_one_attempt(runner, log)
    assert handle.outcome is not None
    assert handle.outcome.status is TaskStatus.FAILED


def test_a_command_that_somebody_aborted_on_its_device_is_not_started_again() -> None:
    aborted = Script(
        status=TaskStatus.ABORTED, result=(ResultCode.ABORTED, "by its panel"), may_retry=True
    )
    runner, log = FakeDeviceRunner({"scan": aborted}), EventLog()
    with MainTaskExecutor(runners={DEVICE: runner}) as executor:
        handle = executor.submit_main_task(tree(), observers=[log])
        assert handle.wait(GUARD_S)
    assert_one_attempt(runner, log)
    assert handle.outcome is not None
    assert handle.outcome.status is TaskStatus.ABORTED


def test_nothing_is_tried_again_after_the_limit_from_above(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt ends between the instant of the limit and the timer that tells of it."""
    runner, log = FakeDeviceRunner({"scan": [Script(hangs=True), Script()]}), EventLog()
    with MainTaskExecutor(runners={DEVICE: runner}) as executor:
        handle = executor.submit_main_task(tree(timeout=3600), observers=[log])
        runner.wait_for_call("scan", timeout_s=GUARD_S)
        with monkeypatch.context() as later:
            monotonic = time.monotonic
            later.setattr(time, "monotonic", lambda: monotonic() + 7200)
            runner.release("scan", FAILS)
        assert handle.wait(GUARD_S)
    assert_one_attempt(runner, log)


def test_no_step_starts_after_the_limit_from_above(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step before it ends between the instant of the limit and the timer that tells of it."""
    steps = [LeafTask(name, "low-cbf/subarray/01", "Scan") for name in ("a", "b", "c")]
    runner, log = FakeDeviceRunner({"a": Script(hangs=True)}), EventLog()
    with MainTaskExecutor(runners={DEVICE: runner}) as executor:
        handle = executor.submit_main_task(
            Task("root", is_root=True, subtasks=steps, timeout=3600), observers=[log]
        )
        runner.wait_for_call("a", timeout_s=GUARD_S)
        with monkeypatch.context() as later:
            monotonic = time.monotonic
            later.setattr(time, "monotonic", lambda: monotonic() + 7200)
            runner.release("a", Script())
        assert handle.wait(GUARD_S)
    runner.assert_calls(["a"])
    for name in ("b", "c"):
        assert "not started" in log.assert_one_end(f"root/{name}", TaskStatus.FAILED).message


def test_what_a_record_knows_as_lost_is_followed_and_never_started() -> None:
    """A recovery attaches to what ran; that it fails there starts nothing."""
    runner, log = FakeDeviceRunner({"scan": FAILS}), EventLog()
    with MainTaskExecutor(runners={DEVICE: runner}) as executor:
        handle = executor.submit_main_task(
            tree(),
            observers=[log],
            prior={"root/scan": PriorWork("1_2_Scan")},
            start_nothing="the runner of this run was lost",
        )
        assert handle.wait(GUARD_S)
    runner.assert_calls(["scan"], action="attach")
    runner.assert_calls([], action="start")
    assert not log.select(topic="retry")


# -- the abort event ---------------------------------------------------------------------------


class LooksLate:
    """A runner that looks at the abort event only once it has been asked to stop."""

    def __init__(self) -> None:
        self.entered, self.asked = threading.Event(), threading.Event()
        self.sent: list[str] = []

    def limits(self, _leaf: LeafTask) -> LeafLimits:
        return LeafLimits("ask", "reported")

    def start(self, context: Any) -> None:
        self.entered.set()
        assert self.asked.wait(GUARD_S)
        if not context.abort_event.is_set():
            self.sent.append(context.path)
        context.finish(TaskStatus.ABORTED)

    def attach(self, _context: Any, _outside_id: str) -> None: ...

    def abort(self, _context: Any, _reason: str) -> None:
        self.asked.set()


def test_an_abort_event_that_is_first_read_after_the_abort_is_set() -> None:
    runner = LooksLate()
    with MainTaskExecutor(runners={DEVICE: runner}, grace_s=GUARD_S / 6) as executor:
        handle = executor.submit_main_task(tree())
        assert runner.entered.wait(GUARD_S)
        handle.abort()
        assert handle.wait(GUARD_S)
    assert runner.sent == []


class Never:
    """Something to await that does not come."""

    def __await__(self) -> Any:
        return asyncio.Event().wait().__await__()


async def never() -> None:
    await Never()


@pytest.mark.parametrize("made", [Never, never])
def test_what_is_to_be_awaited_is_cancelled_when_it_comes_after_the_abort(made: Any) -> None:
    """Its method was called before; the abort comes while there is nothing to cancel yet."""
    entered, go_on = threading.Event(), threading.Event()

    def step() -> Any:
        entered.set()
        assert go_on.wait(GUARD_S)
        return made()

    log = EventLog()
    leaf = LeafTask.from_callable(step, name="step")
    with MainTaskExecutor(grace_s=GUARD_S / 6) as executor:
        handle = executor.submit_main_task(
            Task("root", is_root=True, subtasks=[leaf]), observers=[log]
        )
        assert entered.wait(GUARD_S)
        handle.abort()
        log.wait_for(topic="abort-asked", path="root/step", timeout_s=GUARD_S)
        go_on.set()
        assert handle.wait(GUARD_S / 3)
    assert handle.outcome is not None
    assert "cancelled before it came to its end" in handle.outcome.message


def test_an_abort_that_comes_as_a_leaf_is_about_to_be_launched_reaches_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was not among those to be asked yet, and not refused any more."""
    submitted, asked = threading.Event(), threading.Event()
    refuse, abort_active = Schedule._refuse, Run._abort_active

    def too_late(schedule: Schedule, leaf_run: Any) -> bool:
        refused = refuse(schedule, leaf_run)
        assert submitted.wait(GUARD_S)
        handle.abort("operator asked")
        assert asked.wait(GUARD_S)
        return refused

    def looks(a_run: Run) -> None:
        abort_active(a_run)
        asked.set()

    monkeypatch.setattr(Schedule, "_refuse", too_late)
    monkeypatch.setattr(Run, "_abort_active", looks)
    hangs = FakeDeviceRunner({"scan": Script(hangs=True)})
    with MainTaskExecutor(runners={DEVICE: hangs}, grace_s=GUARD_S / 6) as executor:
        handle = executor.submit_main_task(tree())
        submitted.set()
        ended = handle.wait(GUARD_S / 6)
        hangs.release_all()
    assert ended
    assert handle.outcome is not None
    assert handle.outcome.status is TaskStatus.ABORTED
