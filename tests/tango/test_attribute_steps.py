"""Steps on attributes of plain devices: written, awaited and expected, on a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tango

from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.events import FinishedDetail, NoteDetail
from taskgrove.tango import DeviceRunner
from taskgrove.tango.client.attribute_wait import WaitState
from taskgrove.tango.client.dispatcher import FAST_THREADS, SLOW_THREADS
from taskgrove.testing import EventLog
from tests.tango.lrc_process import GUARD_S, LrcServer, eventually

pytestmark = pytest.mark.tango

SCRIPT = Path(__file__).parent / "servers" / "attribute_devices.py"
OK = (TaskStatus.COMPLETED, ResultCode.OK)


@pytest.fixture(scope="module")
def server() -> Iterator[LrcServer]:
    with LrcServer(2, script=SCRIPT, class_name="AttributeDevice") as process:
        yield process


@pytest.fixture
def runner() -> Iterator[DeviceRunner]:
    with DeviceRunner(poll_interval_s=0.2, rpc_timeout_s=GUARD_S) as made:
        yield made


@pytest.fixture
def executor(runner: DeviceRunner) -> Iterator[MainTaskExecutor]:
    runners = {TaskExecutionType.DEVICE: runner}
    with MainTaskExecutor(runners=runners, grace_s=GUARD_S) as made:
        yield made


@pytest.fixture
def device(server: LrcServer) -> Any:
    proxy = tango.DeviceProxy(server.trl())
    proxy.set_timeout_millis(int(GUARD_S * 1000))
    return proxy


def leaf(server: LrcServer, step: Any, operand: str, argin: Any = None, **fields: Any) -> LeafTask:
    name = fields.pop("name", "step")
    return LeafTask(name, server.trl(fields.pop("member", 1)), operand, argin, step=step, **fields)


class Ran:
    """What became of a tree of one step."""

    def __init__(self, executor: MainTaskExecutor, step: LeafTask) -> None:
        self.log = EventLog()
        self.step = step
        tree = Task("go", is_root=True, subtasks=[step])
        self.handle = executor.submit_main_task(tree, observers=[self.log])

    def end(self) -> Any:
        assert self.handle.wait(GUARD_S)
        return self.log.select(kind="finished", path="go/step")[-1]

    @property
    def outcome(self) -> tuple[Any, Any]:
        end = self.end()
        return end.status, end.result_code

    @property
    def detail(self) -> FinishedDetail:
        detail = self.end().detail
        assert isinstance(detail, FinishedDetail)
        return detail

    @property
    def cause(self) -> Any:
        return self.detail.cause

    def begun(self) -> Ran:
        """Return once the step is at work."""
        eventually(lambda: self.log.select(kind="started", path="go/step"), "the step begins")
        return self


def run(executor: MainTaskExecutor, *args: Any, **fields: Any) -> Ran:
    return Ran(executor, leaf(*args, **fields))


WRITTEN: list[tuple[str, Any]] = [
    ("scalar_DevBoolean", True),
    ("scalar_DevUChar", 255),
    ("scalar_DevShort", -32768),
    ("scalar_DevUShort", 65535),
    ("scalar_DevLong", -(2**31)),
    ("scalar_DevULong", 2**32 - 1),
    ("scalar_DevLong64", -(2**63)),
    ("scalar_DevULong64", 2**64 - 1),
    ("scalar_DevFloat", 3.2),
    ("scalar_DevDouble", 3.2),
    ("scalar_DevDouble", 3),
    ("scalar_DevString", "ä\n\\"),
    ("spectrum_DevBoolean", [True, False]),
    ("spectrum_DevUChar", [1, 255]),
    ("spectrum_DevShort", [-1, 2, 3, 4]),
    ("spectrum_DevLong64", [2**63 - 1]),
    ("spectrum_DevULong64", [2**64 - 1, 0]),
    ("spectrum_DevFloat", [0.1, 2]),
    ("spectrum_DevDouble", [0.1, 2]),
    ("spectrum_DevString", ["a", ""]),
    ("image_DevBoolean", [[True], [False]]),
    ("image_DevUChar", [[1, 2, 3], [4, 5, 6]]),
    ("image_DevLong", [[1, 2]]),
    ("image_DevULong64", [[2**64 - 1]]),
    ("image_DevFloat", [[0.1, 2], [3, 4]]),
    ("image_DevDouble", [[0.1, 2], [3, 4]]),
    ("image_DevString", [["a", "b"], ["c", "d"]]),
    ("gate", "half-open"),
    ("gate", 2),
    ("gates", ["OPEN", "HALF_OPEN"]),
]


def test_what_is_written_is_read_as_the_same_in_every_type(
    server: LrcServer, executor: MainTaskExecutor
) -> None:
    steps = [
        leaf(server, step, attribute, argin, name=f"{step}-{number}-{attribute}")
        for number, (attribute, value) in enumerate(WRITTEN)
        for step, argin in (("write", value), ("expect", {"value": value}))
    ]
    log = EventLog()
    handle = executor.submit_main_task(Task("go", is_root=True, subtasks=steps), observers=[log])
    assert handle.wait(GUARD_S)
    ends = [event for event in log.select(kind="finished") if event.path != "go"]
    assert len(ends) == 2 * len(WRITTEN)
    assert [(end.path, end.message) for end in ends if end.result_code != ResultCode.OK] == []
    read = [end.detail.result_value for end in ends if "/expect-" in end.path]  # type: ignore[union-attr]
    assert None not in read
    assert read[-2:] == ["OPEN", ["OPEN", "HALF_OPEN"]]


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("scalar_DevUChar", 256, "is DevUChar (0 to 255), and int 256 is out of range"),
        ("gate", "OPNE", "is none of CLOSED, HALF_OPEN, OPEN; did you mean 'OPEN'?"),
        ("image_DevLong", [[1, 2, 3, 4]], "at most 2 lists of at most 3, and was given 4"),
        ("pushed", 1.0, "pushed cannot be written"),
    ],
)
def test_a_value_that_does_not_fit_is_not_written(
    server: LrcServer,
    executor: MainTaskExecutor,
    runner: DeviceRunner,
    device: Any,
    attribute: str,
    value: Any,
    said: str,
) -> None:
    before = device.written
    step = leaf(server, "write", attribute, value)
    (refusal,) = runner.preflight(step)
    assert said in refusal
    ran = Ran(executor, step)
    assert ran.outcome == (TaskStatus.REJECTED, ResultCode.REJECTED)
    assert said in ran.end().message
    assert ran.cause.kind == "wrong_argument"
    assert ran.cause.device == "lrc/test/1"
    assert device.written == before


@pytest.mark.parametrize(
    ("step", "attribute", "condition", "said"),
    [
        ("wait", "State", {"value": "ONN"}, "'ONN' is none of ON, OFF"),
        ("expect", "only_written", {"value": 3}, "cannot be read"),
    ],
)
def test_a_condition_that_can_never_hold_is_refused(
    server: LrcServer,
    executor: MainTaskExecutor,
    runner: DeviceRunner,
    step: str,
    attribute: str,
    condition: Any,
    said: str,
) -> None:
    made = leaf(server, step, attribute, condition)
    (refusal,) = runner.preflight(made)
    assert said in refusal
    ran = Ran(executor, made)
    assert ran.outcome == (TaskStatus.REJECTED, ResultCode.REJECTED)
    assert (ran.cause.kind, said in ran.end().message) == ("wrong_argument", True)


@pytest.mark.parametrize("step", ["write", "wait", "expect"])
def test_an_attribute_that_is_not_there_is_told_with_the_nearest(
    server: LrcServer, executor: MainTaskExecutor, runner: DeviceRunner, step: str
) -> None:
    made = leaf(server, step, "limitted", 1.0 if step == "write" else {"value": 1.0})
    assert "did you mean limited?" in runner.preflight(made)[0]
    ran = Ran(executor, made)
    assert ran.outcome == (TaskStatus.REJECTED, ResultCode.REJECTED)
    assert (ran.cause.kind, ran.cause.nearest) == ("no_attribute", "limited")


def test_an_expectation_that_is_not_met_tells_the_value(
    server: LrcServer, executor: MainTaskExecutor
) -> None:
    ran = run(executor, server, "expect", "limited", {"min": 0.6})
    assert ran.outcome == (TaskStatus.FAILED, ResultCode.FAILED)
    assert "limited is 0.5; expected: limited is at least 0.6" in ran.end().message
    cause = ran.cause
    assert (cause.kind, cause.expected) == ("unmet", "limited is at least 0.6")
    assert (cause.reading.attribute, cause.reading.value) == ("limited", "0.5")
    assert ran.detail.result_value == 0.5


def test_a_value_without_quality_is_no_value(server: LrcServer, executor: MainTaskExecutor) -> None:
    ran = run(executor, server, "expect", "invalid", {"none_of": [3]})
    assert "invalid is no value" in ran.end().message


def test_a_device_that_refuses_a_value_is_quoted(
    server: LrcServer, executor: MainTaskExecutor
) -> None:
    ran = run(executor, server, "write", "refusing", 3.0)
    assert ran.outcome == (TaskStatus.REJECTED, ResultCode.REJECTED)
    assert (ran.cause.kind, "3.0 is not safe now" in ran.cause.said) == ("refused", True)
    ran = run(executor, server, "write", "limited", 3.0)
    assert (ran.outcome[0], ran.cause.kind) == (TaskStatus.REJECTED, "wrong_argument")


def test_an_attribute_that_cannot_be_read_is_told(
    server: LrcServer, executor: MainTaskExecutor
) -> None:
    ran = run(executor, server, "expect", "broken", {"value": 1.0}, retries=2)
    assert ran.outcome == (TaskStatus.FAILED, ResultCode.FAILED)
    assert "the sensor is not connected" in ran.end().message
    assert len(ran.log.select(topic="retry")) == 2  # reading changes nothing


def test_a_write_whose_answer_is_lost_is_not_repeated(server: LrcServer, device: Any) -> None:
    before = server.read("written")
    with (
        DeviceRunner(rpc_timeout_s=0.3) as impatient,
        MainTaskExecutor(runners={TaskExecutionType.DEVICE: impatient}) as executor,
    ):
        ran = run(executor, server, "write", "slow", 1.0, retries=3)
        assert ran.outcome == (TaskStatus.FAILED, ResultCode.FAILED)
        assert ran.cause.kind == "fate_unknown"
        assert "it is not known whether slow was written" in ran.end().message
        assert not ran.log.select(topic="retry")
    assert device.written == before


def test_a_wait_ends_by_an_event(server: LrcServer, device: Any) -> None:
    device.Push(0.0)
    with (
        DeviceRunner(poll_interval_s=GUARD_S) as patient,  # it reads once, and never again
        MainTaskExecutor(runners={TaskExecutionType.DEVICE: patient}) as executor,
    ):
        ran = run(executor, server, "wait", "pushed", {"min": 5}).begun()
        waits = patient.client.attribute_steps(server.trl()).session.waits
        (wait,) = eventually(lambda: tuple(waits), "it waits")
        eventually(lambda: wait.state is WaitState.RESTING, "the wait has looked")
        device.Push(3.0)
        device.Push(7.0)
        assert ran.outcome == OK
        assert ran.end().message == "lrc/test/1: pushed is 7"
        assert ran.detail.result_value == 7.0
        assert wait.looks == 1


def test_a_wait_finds_a_change_that_no_event_tells(
    server: LrcServer, executor: MainTaskExecutor, device: Any
) -> None:
    device.Push(0.0)
    ran = run(executor, server, "wait", "pushed", {"value": 9}).begun()
    device.Put(9.0)
    assert ran.outcome == OK
    device.Go("ON")
    ran = run(executor, server, "wait", "State", {"any_of": ["MOVING", "FAULT"]}).begun()
    device.Go("MOVING")
    assert ran.outcome == OK


def test_a_value_at_which_waiting_is_of_no_use_ends_it(
    server: LrcServer, executor: MainTaskExecutor, device: Any
) -> None:
    device.Go("MOVING")
    condition = {"value": "ON", "fail_on": ["FAULT"]}
    ran = run(executor, server, "wait", "State", condition).begun()
    device.Go("FAULT")
    assert ran.outcome == (TaskStatus.FAILED, ResultCode.FAILED)
    assert "State is FAULT; expected: State is ON; waiting is of no use" in ran.end().message
    assert ran.cause.kind == "unmet"
    device.Go("ON")


def test_a_limit_tells_the_last_value_and_its_age(
    server: LrcServer, executor: MainTaskExecutor, device: Any
) -> None:
    device.Push(1.5)
    ran = run(executor, server, "wait", "pushed", {"min": 5}, timeout=0.5)
    assert ran.outcome == (TaskStatus.FAILED, ResultCode.FAILED)
    cause, message = ran.cause, ran.end().message
    assert message.startswith(
        "lrc/test/1: timed out after 0.5 s (limit set by go/step): pushed was 1.5 "
    )
    assert message.endswith(" s ago; expected: pushed is at least 5")
    assert (cause.kind, cause.limit_s, cause.expected) == ("timed_out", 0.5, "pushed is at least 5")
    assert cause.reading.value == "1.5"
    assert cause.reading.read_ns <= ran.end().wall_ns


def test_a_limit_of_a_wait_that_never_read_says_why(
    server: LrcServer, executor: MainTaskExecutor
) -> None:
    ran = run(executor, server, "wait", "broken", {"min": 5}, timeout=1)
    assert "the attribute was never read (" in ran.end().message
    assert "the sensor is not connected" in ran.end().message


def test_an_abort_ends_a_wait(server: LrcServer, executor: MainTaskExecutor, device: Any) -> None:
    device.Push(1.5)
    ran = run(executor, server, "wait", "pushed", {"min": 5}).begun()
    ran.handle.abort("enough")
    assert ran.outcome == (TaskStatus.ABORTED, ResultCode.ABORTED)
    assert ran.log.select(topic="abort-acknowledged")


def test_no_thread_waits_for_an_attribute(
    server: LrcServer, runner: DeviceRunner, device: Any
) -> None:
    device.Push(0.0)
    steps = [
        leaf(server, "wait", "pushed", {"min": 5}, name=f"step-{n}", member=1 + n % 2)
        for n in range(40)
    ]
    other = tango.DeviceProxy(server.trl(2))
    with MainTaskExecutor(2, {TaskExecutionType.DEVICE: runner}) as executor:
        before = threading.active_count()
        tree = Task("go", TaskExecutionType.PARALLEL, is_root=True, subtasks=steps)
        handle = executor.submit_main_task(tree)
        waits = [runner.client.attribute_steps(server.trl(n)).session.waits for n in (1, 2)]
        eventually(lambda: sum(map(len, waits)) == 40, "all of them wait")
        # The executor's two, the dispatcher and its lanes: however many wait.
        assert threading.active_count() <= before + 2 + 1 + FAST_THREADS + SLOW_THREADS
        device.Push(6.0)
        other.Push(6.0)
        assert handle.wait(GUARD_S)
    assert handle.outcome is not None
    assert handle.outcome.ok
    assert waits == [set(), set()]


def test_nothing_is_done_where_the_condition_holds_already(
    server: LrcServer, executor: MainTaskExecutor, device: Any
) -> None:
    device.Go("ON")
    there = {"skip_if": {"attribute": "State", "value": "ON"}}
    before = device.written
    for args in (
        ("command", "Sleep", 1000.0),
        ("write", "scalar_DevLong", 1),
        ("wait", "pushed", {"min": 1e9}),
    ):
        ran = run(executor, server, *args, settings=there)
        assert ran.outcome == OK
        assert ran.end().message == "lrc/test/1: nothing to do: State is ON"
        (note,) = ran.log.select(topic="nothing-to-do")
        assert isinstance(note.detail, NoteDetail)
        assert note.detail.data == {"found": "State is ON"}
    assert device.written == before
    device.Go("OFF")
    assert run(executor, server, "command", "Double", 2.5, settings=there).outcome == OK
    device.Go("ON")
    wrong = {"skip_if": {"attribute": "Stat", "value": "ON"}}
    ran = run(executor, server, "command", "Double", 2.5, settings=wrong)
    assert (ran.outcome[0], ran.cause.kind) == (TaskStatus.REJECTED, "no_attribute")
    assert ran.cause.attribute == "Stat"  # the entry names the command


def test_the_limit_of_a_call_is_its_own(server: LrcServer, executor: MainTaskExecutor) -> None:
    settings = {"call_timeout_s": 0.3}
    ran = run(executor, server, "command", "Sleep", 1.0, settings=settings, timeout=GUARD_S)
    assert (ran.outcome[0], ran.cause.kind) == (TaskStatus.FAILED, "fate_unknown")


def test_the_value_of_a_plain_command_is_kept(
    server: LrcServer, executor: MainTaskExecutor
) -> None:
    ran = run(executor, server, "command", "Double", 1.25)
    assert ran.outcome == OK
    assert ran.detail.result_value == 2.5
    assert run(executor, server, "command", "Put", 1.25).detail.result_value is None
    assert run(executor, server, "command", "Status").detail.result_value is not None


def test_what_is_no_condition_is_a_mistake_of_the_caller(
    server: LrcServer, executor: MainTaskExecutor, runner: DeviceRunner
) -> None:
    step = leaf(server, "wait", "pushed", 3)
    with pytest.raises(UsageError, match="3 is no condition"):
        runner.preflight(step)
    ran = Ran(executor, step)
    assert (ran.outcome[0], ran.cause.kind) == (TaskStatus.FAILED, "misconfigured")
    with pytest.raises(UsageError, match="no 'wait' of a device"):
        LeafTask("x", object(), "y", task_type=TaskExecutionType.INTERNAL, step="wait")


def test_a_device_that_comes_back_is_waited_for() -> None:
    with (
        LrcServer(1, script=SCRIPT, class_name="AttributeDevice") as server,
        DeviceRunner(poll_interval_s=0.2) as runner,
        MainTaskExecutor(runners={TaskExecutionType.DEVICE: runner}) as executor,
    ):
        device = tango.DeviceProxy(server.trl())
        device.Push(1.0)
        ran = run(executor, server, "wait", "pushed", {"min": 5}, timeout=GUARD_S).begun()
        (wait,) = eventually(
            lambda: tuple(runner.client.attribute_steps(server.trl()).session.waits), "it waits"
        )
        server.kill()
        looks = wait.looks
        eventually(lambda: wait.looks > looks + 2, "it looks for the dead device")
        assert server.start()
        eventually(lambda: _pushes(server), "the new server takes a value")
        assert ran.outcome == OK
        server.kill()
        gone = run(executor, server, "expect", "pushed", {"min": 5})
        assert (gone.outcome[0], gone.cause.kind) == (TaskStatus.FAILED, "unreachable")


def _pushes(server: LrcServer) -> bool:
    try:
        tango.DeviceProxy(server.trl()).Put(6.0)
    except (tango.DevFailed, AttributeError):
        return False
    return True


def test_a_device_that_stays_away_is_given_up_where_no_limit_ends_the_wait() -> None:
    with (
        LrcServer(1, script=SCRIPT, class_name="AttributeDevice") as server,
        DeviceRunner(poll_interval_s=0.2, lost_after_s=0.5) as runner,
        MainTaskExecutor(runners={TaskExecutionType.DEVICE: runner}) as executor,
    ):
        ran = run(executor, server, "wait", "pushed", {"min": 5}).begun()
        eventually(
            lambda: tuple(runner.client.attribute_steps(server.trl()).session.waits), "it waits"
        )
        server.kill()
        assert ran.outcome == (TaskStatus.FAILED, ResultCode.FAILED)
        assert ran.cause.kind == "unreachable"
        assert "it was waited for" in ran.end().message


def test_the_end_of_the_client_ends_its_waits(server: LrcServer, device: Any) -> None:
    device.Push(0.0)
    runner = DeviceRunner()
    with MainTaskExecutor(runners={TaskExecutionType.DEVICE: runner}) as executor:
        ran = run(executor, server, "wait", "pushed", {"min": 5}).begun()
        waits = runner.client.attribute_steps(server.trl()).session.waits
        eventually(lambda: waits, "it waits")
        runner.close()
        assert ran.outcome == (TaskStatus.FAILED, ResultCode.FAILED)
        assert ran.cause.kind == "abandoned"


def test_a_step_that_is_held_is_tried_again(server: LrcServer, runner: DeviceRunner) -> None:
    device = tango.DeviceProxy(server.trl())
    device.Push(0.0)
    steps = [
        leaf(server, "expect", "pushed", {"min": 5}, name="expected"),
        leaf(server, "wait", "pushed", {"min": 7}, name="awaited", timeout=0.5),
    ]
    runners = {TaskExecutionType.DEVICE: runner}
    log = EventLog()
    with MainTaskExecutor(runners=runners) as executor:
        tree = Task("go", is_root=True, subtasks=steps)
        handle = executor.submit_main_task(tree, observers=[log], hold=True)
        for path, value in (("go/expected", 5.0), ("go/awaited", 7.0)):
            eventually(lambda path=path: path in handle.held, "it is held")
            device.Push(value)
            assert handle.retry(path, "it is there now").fate == "done"
        assert handle.wait(GUARD_S)
    assert handle.outcome is not None
    assert handle.outcome.ok
    (held, _) = log.select(topic="held")
    assert held.detail.cause.reading.value == "0"
