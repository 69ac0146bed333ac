"""What is told of one end agrees, wherever it is read: own tracker, parent, callback, event."""

from __future__ import annotations

import inspect
import logging
import typing
from collections.abc import Iterator
from typing import Any

import pytest

import taskgrove
import taskgrove.analysis
import taskgrove.errors
import taskgrove.events
import taskgrove.report
import taskgrove.store
from taskgrove import testing
from taskgrove.commands import aggregation, command_map
from taskgrove.commands.aggregation.base import AggregationOutcome, SubtaskResult
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.testing import CallbackRecorder, EventLog, FakeDeviceRunner, Script

HANG_GUARD_S = 60.0
CBF = "low-cbf/subarray/01"


def leaf(name, fn=lambda: None, **options):
    return LeafTask.from_callable(fn, name=name, **options)


ENDS = {
    "ok": lambda: None,
    "failed": lambda: False,
    "rejected": lambda: (ResultCode.REJECTED, "busy"),
    "not allowed": lambda: (ResultCode.NOT_ALLOWED, "in maintenance"),
    "aborted code": lambda: (ResultCode.ABORTED, "by hand"),
    "raised": lambda: 1 / 0,
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("early", [False, True])
def test_a_leaf_tells_one_status_everywhere(end, early):
    told, log = CallbackRecorder(), EventLog()
    step = leaf("a", ENDS[end], completed_callback=told if early else None)
    tree = Task("root", is_root=True, subtasks=[step])
    taskgrove.run(tree, observers=[log])
    record = tree.tracker.subtasks["a"]
    (event,) = log.select(kind="finished", path="root/a")
    own = step.tracker
    assert own.overall_status is record.status is event.status
    assert own.overall_result is record.result_code is event.result_code
    if early:
        payload = told.payloads[-1]
        assert (payload["status"], payload["result"][0]) == (record.status, record.result_code)


def test_a_method_that_returned_a_failure_ran_to_its_end():
    step = leaf("a", lambda: (ResultCode.FAILED, "no lock"))
    tree = Task("root", is_root=True, subtasks=[step])
    taskgrove.run(tree)
    assert step.tracker.overall_status is TaskStatus.COMPLETED
    assert step.tracker.overall_resultcode == (ResultCode.FAILED, "Causes:\n- a - no lock")


# -- names that are not known -------------------------------------------------------


def test_an_update_of_an_unknown_name_ends_nothing_and_is_told(caplog):
    log = EventLog()
    tree = Task("root", is_root=True, subtasks=[leaf("a"), leaf("b")])
    tree.tracker.subscribe(log)
    update = tree.parent_callback()
    for name in ("x", "y"):
        update(task_name=name, status=TaskStatus.COMPLETED, progress=100, result=(0, ""))
    assert tree.tracker.overall_status is TaskStatus.QUEUED
    assert (tree.tracker.progress, set(tree.tracker.subtasks)) == (0, {"a", "b"})
    assert [event.detail.data for event in log.select(kind="note", path="root")] == [
        {"name": "x"}, {"name": "y"},
    ]  # fmt: skip
    assert "an update of 'x', which is no subtask of root, is ignored" in caplog.text


def test_a_leaf_knows_its_own_name_only():
    own = leaf("a")
    own.parent_callback()(task_name="b", status=TaskStatus.COMPLETED)
    assert own.tracker.overall_status is TaskStatus.QUEUED
    own.parent_callback()(task_name="a", status=TaskStatus.COMPLETED)
    assert own.tracker.overall_status is TaskStatus.COMPLETED


def test_a_tracker_that_was_told_no_names_takes_them_as_they_come():
    tracker = TaskTracker("configure", 1)
    tracker.expect([])
    tracker.update_task(task_name="x", status=TaskStatus.COMPLETED)
    assert tracker.overall_status is TaskStatus.COMPLETED


# -- failures before an abort -------------------------------------------------------


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_failure_before_an_abort_stays_a_cause_and_a_failed_device(depth):
    told = CallbackRecorder()
    leaves = [
        LeafTask("cbf", CBF, "Configure"),
        LeafTask("pst", "low-pst/beam/01", "Configure"),
    ]
    inner = Task("inner", subtasks=leaves)
    tree = inner
    for level in range(depth):
        tree = Task(f"level{level}", subtasks=[tree])
    tree = Task("root", is_root=True, completed_callback=told, subtasks=[tree])
    update = inner.parent_callback()
    update(task_name="cbf", status=TaskStatus.FAILED, result=(3, "no clock"), device_name=CBF)
    update(task_name="pst", status=TaskStatus.ABORTED, result=(7, "by hand"),
           device_name="low-pst/beam/01")  # fmt: skip
    payload = told.payloads[-1]
    assert payload["status"] is TaskStatus.ABORTED
    assert payload["failed_devices"] == [CBF]
    assert payload["result"][1] == (
        f"Task root aborted\nCauses:\n- low-pst/beam/01: by hand\n- {CBF}: no clock"
    )


# -- errors of TANGO ----------------------------------------------------------------


class DevError(typing.NamedTuple):
    reason: str
    desc: str
    origin: str = ""


class DevFailed(Exception):  # noqa: N818 - named as PyTango's
    pass


def raise_failed(error):
    raise DevFailed(error)


def raise_from_failed(error):
    try:
        raise_failed(error)
    except DevFailed as failed:
        raise ValueError("no beam") from failed


def raise_while_handling(error):
    try:
        raise_failed(error)
    except DevFailed:
        raise ValueError("no beam")  # noqa: B904 - people write it so


def raise_group(error):
    raise ExceptionGroup("two beams", [ValueError("no beam"), DevFailed(error)])


async def raise_later(error):
    raise DevFailed(error)


@pytest.mark.parametrize(
    "raises",
    [raise_failed, raise_from_failed, raise_while_handling, raise_group, raise_later],
)
def test_the_errors_of_a_failed_device_reach_the_payload(raises):
    error = DevError("API_DeviceNotExported", "device is off")
    told = CallbackRecorder()
    step = LeafTask.from_callable(raises, error, "a")
    part = Task("part", subtasks=[step])
    taskgrove.run(Task("root", is_root=True, completed_callback=told, subtasks=[part]))
    assert told.payloads[-1]["error"] == (error,)


@pytest.mark.parametrize("status", [None, TaskStatus.IN_PROGRESS])
def test_the_errors_that_a_method_tells_reach_the_payload(status):
    error = DevError("API_DeviceNotExported", "device is off")

    def tells(task_callback):
        task_callback(status=status, exception=DevFailed(error))
        task_callback(status=TaskStatus.FAILED)

    told = CallbackRecorder()
    taskgrove.run(Task("root", is_root=True, completed_callback=told, subtasks=[leaf("a", tells)]))
    assert told.payloads[-1]["error"] == (error,)


def test_errors_that_are_hidden_on_purpose_are_not_told():
    def raises():
        try:
            raise DevFailed(DevError("API_DeviceNotExported", "device is off"))
        except DevFailed:
            raise ValueError("no beam") from None

    told = CallbackRecorder()
    taskgrove.run(Task("root", is_root=True, completed_callback=told, subtasks=[leaf("a", raises)]))
    assert "error" not in told.payloads[-1]


def test_a_runner_that_raises_what_a_device_did_hands_its_errors_up():
    error = DevError("API_DeviceNotExported", "device is off")
    told = CallbackRecorder()
    runner = FakeDeviceRunner(default=Script(raises=DevFailed(error)))
    tree = Task(
        "root", is_root=True, completed_callback=told,
        subtasks=[LeafTask("a", "low-pst/beam/01", "Configure")],
    )  # fmt: skip
    with MainTaskExecutor(runners={TaskExecutionType.DEVICE: runner}) as executor:
        assert executor.submit_main_task(tree).wait(HANG_GUARD_S)
    assert told.payloads[-1]["error"] == (error,)


def test_other_exceptions_are_no_errors_of_a_device():
    told = CallbackRecorder()
    taskgrove.run(
        Task("root", is_root=True, completed_callback=told, subtasks=[leaf("a", lambda: 1 / 0)])
    )
    assert "error" not in told.payloads[-1]


@pytest.mark.parametrize(
    ("status", "code", "health", "ok"),
    [
        (TaskStatus.COMPLETED, ResultCode.OK, None, True),
        (TaskStatus.COMPLETED, ResultCode.OK, "DEGRADED", False),
        (TaskStatus.COMPLETED, ResultCode.FAILED, None, False),
        (TaskStatus.FAILED, ResultCode.OK, None, False),
    ],
)
def test_only_what_ended_well_in_every_way_is_ok(status, code, health, ok):
    assert AggregationOutcome(status, code, "", health).ok is ok


def test_a_handle_is_ok_once_its_run_ended_well():
    with MainTaskExecutor() as executor:
        for end, ok in ((lambda: None, True), (lambda: False, False)):
            handle = executor.submit_main_task(Task("root", subtasks=[leaf("a", end)]))
            assert handle.wait(HANG_GUARD_S)
            assert handle.ok is ok


# -- what can be read ---------------------------------------------------------------


def test_the_result_of_a_subtask_can_be_read():
    assert SubtaskResult("a").result is None
    result = SubtaskResult("a", TaskStatus.COMPLETED, '[3, "no lock"]', "mid-pst/beam/01").result
    assert result == (ResultCode.FAILED, "mid-pst/beam/01: no lock")
    assert SubtaskResult("b", TaskStatus.COMPLETED, result).result == result


def test_the_result_of_a_subtask_can_be_set():
    subtask = SubtaskResult("a", device_name="mid-pst/beam/01")
    subtask.result = '[3, "no lock"]'
    subtask.result = None
    assert subtask.result == (ResultCode.FAILED, "mid-pst/beam/01: no lock")


def test_the_source_of_an_update_stands_in_the_log(caplog):
    caplog.set_level(logging.DEBUG)
    tracker = TaskTracker("configure", 2)
    tracker.update_task(task_name="a", status=TaskStatus.COMPLETED, source="an event of the CBF")
    tracker.update_task(task_name="a", status=TaskStatus.FAILED, source="a late poll")
    first, second = (record.getMessage() for record in caplog.records)
    assert "an event of the CBF" in first
    assert "a late poll" in second


def test_the_source_of_a_progress_report_and_of_an_unknown_name_stands_in_the_log(caplog):
    caplog.set_level(logging.DEBUG)
    tracker = TaskTracker("configure", 1)
    tracker.expect(["a"])
    tracker.update_task(task_name="a", status=TaskStatus.IN_PROGRESS)
    tracker.update_task(task_name="a", progress=5, source="a poll")
    tracker.update_task(task_name="b", progress=5, source="a stranger")
    first, second = (record.getMessage() for record in caplog.records)
    assert "a poll" in first
    assert "a stranger" in second


# -- types that are read when the program runs --------------------------------------

ROOMS = [taskgrove, taskgrove.analysis, taskgrove.store, taskgrove.events]
MODULES = [taskgrove.errors, taskgrove.report, aggregation, command_map, testing]
PUBLIC = {
    found
    for room in [*ROOMS, *MODULES]
    for name in dir(room)
    if (isinstance(found := getattr(room, name), type) or inspect.isfunction(found))
    and found.__module__.startswith("taskgrove")
    and not name.startswith("_")
}


def methods_of(kind: type) -> Iterator[Any]:
    for owner in kind.__mro__:
        for found in vars(owner).values() if owner.__module__.startswith("taskgrove") else ():
            method = getattr(found, "fget", None) or getattr(found, "__func__", found)
            if inspect.isfunction(method):
                yield method


@pytest.mark.parametrize("public", sorted(PUBLIC, key=repr), ids=lambda public: public.__name__)
def test_the_types_of_all_that_is_public_can_be_read(public):
    typing.get_type_hints(public)
    for method in methods_of(public) if isinstance(public, type) else ():
        typing.get_type_hints(method)


@pytest.mark.parametrize("room", ROOMS[:3], ids=lambda room: room.__name__)
def test_a_star_brings_the_public_names(room):
    names: dict[str, object] = {}
    exec(f"from {room.__name__} import *", names)
    assert names.keys() >= room._LATER.keys()
