"""FakeDeviceRunner plays its script, against a context that records what it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from taskgrove.commands.leaf_runner import LeafContext, LeafLimits, LeafRunner
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.testing import EventLog, FakeDeviceRunner, Script


class RecordedContext:
    """A LeafContext that only remembers."""

    def __init__(self, leaf: LeafTask, attempt: int = 1) -> None:
        self.leaf = leaf
        self.path = leaf.path
        self.run_id = "run"
        self.attempt = attempt
        self.deadline: float | None = None
        self.abort_event = threading.Event()
        self.is_over = False
        self.told: list[tuple[Any, ...]] = []

    def update(
        self,
        *,
        status: TaskStatus | int | None = None,
        progress: int | None = None,
        result: Any = None,
        **fields: Any,
    ) -> None:
        self.told.append(("update", status, progress))

    def finish(
        self,
        status: TaskStatus | int,
        result: Any = None,
        *,
        may_retry: bool = False,
        **fields: Any,
    ) -> bool:
        first = not self.is_over
        self.is_over = True
        self.told.append(("finish", status, result, may_retry, fields))
        return first

    def started(self, outside_kind: str, outside_id: str) -> None:
        self.told.append(("started", outside_kind))

    def note(self, topic: str, text: str, **data: str) -> None:
        self.told.append(("note", topic))

    def submit(self, function: Callable[[], object]) -> None:
        function()

    @property
    def end(self) -> tuple[Any, ...]:
        return self.told[-1]


def context_of(name: str = "beam", attempt: int = 1) -> RecordedContext:
    leaf = LeafTask(name, f"mid-pst/{name}/01", "Configure", argin="{}")
    Task("configure", subtasks=[leaf], is_root=True)
    return RecordedContext(leaf, attempt)


def test_it_is_a_leaf_runner_and_says_its_limits() -> None:
    runner: LeafRunner = FakeDeviceRunner()
    context = context_of()
    as_protocol: LeafContext = context
    assert runner.limits(as_protocol.leaf) == LeafLimits(abort="ask", timeout="reported")
    own = LeafLimits(abort="none", timeout="enforced", note="why")
    assert FakeDeviceRunner(limits=own).limits(context.leaf) == own


def test_an_unscripted_leaf_succeeds() -> None:
    runner, context = FakeDeviceRunner(), context_of()
    runner.start(context)
    assert context.told == [
        ("started", "command"),
        ("update", TaskStatus.IN_PROGRESS, None),
        ("finish", TaskStatus.COMPLETED, (ResultCode.OK, "done"), False, {}),
    ]
    [call] = runner.calls
    assert (call.action, call.path, call.device_name) == (
        "start",
        "configure/beam",
        "mid-pst/beam/01",
    )
    assert (call.command_name, call.argin, call.attempt) == ("Configure", "{}", 1)


def test_a_script_is_found_by_path_before_name() -> None:
    by_path = Script(result="path", progress=[10, 60], fields={"failed_devices": ["x"]})
    runner = FakeDeviceRunner({"beam": Script(result="name"), "configure/beam": by_path})
    context = context_of()
    runner.start(context)
    assert context.told[2:4] == [("update", None, 10), ("update", None, 60)]
    assert context.end == (
        "finish",
        TaskStatus.COMPLETED,
        "path",
        False,
        {"failed_devices": ["x"]},
    )


def test_each_attempt_has_its_script_and_the_last_one_stays() -> None:
    scripts = [Script.fails("busy", abnormal=True, may_retry=True), Script()]
    runner = FakeDeviceRunner({"beam": scripts})
    ends = []
    for attempt in (1, 2, 3):
        context = context_of(attempt=attempt)
        runner.start(context)
        ends.append(context.end[1:4])
    ok = (TaskStatus.COMPLETED, (ResultCode.OK, "done"), False)
    assert ends == [(TaskStatus.FAILED, (ResultCode.FAILED, "busy"), True), ok, ok]


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        (Script.fails("why"), TaskStatus.COMPLETED, ResultCode.FAILED),
        (Script.fails("why", abnormal=True), TaskStatus.FAILED, ResultCode.FAILED),
        (Script.rejects("why"), TaskStatus.REJECTED, ResultCode.REJECTED),
    ],
)
def test_the_ways_to_end_badly(script: Script, status: TaskStatus, code: ResultCode) -> None:
    context = context_of()
    FakeDeviceRunner(default=script).start(context)
    assert context.end[1:3] == (status, (code, "why"))


def test_a_script_may_raise_before_anything_starts() -> None:
    context = context_of()
    with pytest.raises(OSError, match="no route"):
        FakeDeviceRunner(default=Script(raises=OSError("no route"))).start(context)
    assert context.told == []


def test_a_command_hangs_until_it_is_released() -> None:
    runner = FakeDeviceRunner({"beam": Script(hangs=True)})
    context = context_of()
    runner.start(context)
    assert not context.is_over
    assert runner.hanging == ("configure/beam",)
    assert runner.wait_for_call("beam").path == "configure/beam"
    runner.release("beam", Script.fails("released"))
    assert context.end[2] == (ResultCode.FAILED, "released")
    assert runner.hanging == ()


def test_release_waits_for_the_command_to_hang() -> None:
    runner = FakeDeviceRunner(default=Script(hangs=True))
    context = context_of()
    thread = threading.Timer(0.05, runner.start, args=(context,))
    thread.start()
    runner.release("configure/beam")
    thread.join()
    assert context.end[1] is TaskStatus.COMPLETED


def test_release_of_what_does_not_hang_says_what_does() -> None:
    runner = FakeDeviceRunner(default=Script(hangs=True))
    runner.start(context_of("a"))
    with pytest.raises(AssertionError, match="'b' hangs after 0 s; hanging: configure/a"):
        runner.release("b", timeout_s=0)
    runner.release_all()
    assert runner.hanging == ()


def test_abort_is_acknowledged_and_ends_the_command() -> None:
    runner = FakeDeviceRunner(default=Script(hangs=True))
    context = context_of()
    runner.start(context)
    runner.abort(context, "operator asked")
    assert context.told[-2] == ("note", "abort-acknowledged")
    assert context.end[1:3] == (TaskStatus.ABORTED, (ResultCode.ABORTED, "operator asked"))
    assert runner.hanging == ()
    assert runner.wait_for_call("beam", "abort").reason == "operator asked"


def test_a_command_may_ignore_an_abort() -> None:
    runner = FakeDeviceRunner(default=Script(hangs=True, heeds_abort=False))
    context = context_of()
    runner.start(context)
    runner.abort(context, "operator asked")
    assert runner.hanging == ("configure/beam",)
    assert not context.is_over
    runner.release("beam")


def test_an_abort_that_came_first_leaves_nothing_hanging() -> None:
    runner = FakeDeviceRunner(default=Script(hangs=True))
    context = context_of()
    context.is_over = True
    runner.start(context)
    assert runner.hanging == ()


def test_it_attaches_to_what_already_runs() -> None:
    runner, context = FakeDeviceRunner(), context_of()
    runner.attach(context, "command-7")
    assert runner.wait_for_call("beam", "attach").reason == "command-7"
    assert ("started", "command") not in context.told
    assert context.is_over


def test_calls_are_judged_in_order() -> None:
    runner = FakeDeviceRunner()
    for name in ("a", "b"):
        runner.start(context_of(name))
    runner.assert_calls(["a", "b"])
    runner.assert_calls([], action="abort")
    with pytest.raises(AssertionError, match="expected a start of"):
        runner.assert_calls(["b", "a"])


def test_a_call_that_never_comes_is_told_with_those_that_did() -> None:
    runner = FakeDeviceRunner()
    runner.start(context_of("a"))
    with pytest.raises(AssertionError, match=r"(?s)no start of 'b'.*configure/a"):
        runner.wait_for_call("b", timeout_s=0)
    with pytest.raises(AssertionError, match="no start of 'a'"):
        runner.wait_for_call("a", attempt=2, timeout_s=0)


def test_an_empty_script_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one attempt"):
        FakeDeviceRunner({"a": []})


def test_the_executor_runs_on_it_and_the_log_sees_everything() -> None:
    beams = [LeafTask(f"beam-{n}", f"mid-pst/beam/{n:02}", "Configure") for n in (1, 2, 3)]
    root = Task("configure", TaskExecutionType.PARALLEL, subtasks=beams, rule="any", is_root=True)
    fake = FakeDeviceRunner(
        {"beam-2": Script.fails("no lock"), "beam-3": Script(hangs=True, progress=[50])}
    )
    log = EventLog()
    with MainTaskExecutor(2, {TaskExecutionType.DEVICE: fake}) as executor:
        handle = executor.submit_main_task(root, observers=[log])
        fake.wait_for_call("configure/beam-3")
        assert not handle.wait(0)
        fake.release("beam-3")
        outcome = handle.result(timeout_s=10)
    assert (outcome.status, outcome.health_state) == (TaskStatus.COMPLETED, "DEGRADED")
    log.assert_gapless()
    for node in ("configure", "configure/beam-1", "configure/beam-2", "configure/beam-3"):
        log.assert_one_end(node, TaskStatus.COMPLETED)


def test_the_executor_aborts_what_hangs_on_it() -> None:
    leaf = LeafTask("beam", "mid-pst/beam/01", "Configure")
    root = Task("configure", subtasks=[leaf], is_root=True)
    fake = FakeDeviceRunner(default=Script(hangs=True))
    log = EventLog()
    with MainTaskExecutor(1, {TaskExecutionType.DEVICE: fake}) as executor:
        handle = executor.submit_main_task(root, observers=[log])
        fake.wait_for_call("beam")
        handle.abort("operator asked")
        assert handle.wait(10)
    assert fake.wait_for_call("beam", "abort").path == "configure/beam"
    log.wait_for(topic="abort-acknowledged", path="configure/beam")
    log.assert_one_end("configure", TaskStatus.ABORTED)
