"""The strict task callback of component managers, fed by payloads (SPEC S4.2)."""

from __future__ import annotations

import enum
import sys
import types

import pytest

from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.commands.task_tracker import as_task_callback as exported
from taskgrove.commands.tracking.task_callback import as_task_callback
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.testing import CallbackRecorder


class Strict:
    """A task callback as the field has it: four keywords, and no other."""

    def __init__(self):
        self.calls = []

    def __call__(self, status=None, progress=None, result=None, exception=None):
        given = {"status": status, "progress": progress, "result": result, "exception": exception}
        self.calls.append({name: value for name, value in given.items() if value is not None})


def test_it_is_found_where_the_tracker_is():
    assert exported is as_task_callback


def test_a_whole_story_passes_through_the_strict_signature(caplog):
    strict = Strict()
    tracker = TaskTracker("configure", 1, as_task_callback(strict))
    tracker.update_task(task_name="a", status=TaskStatus.IN_PROGRESS, progress=45)
    tracker.update_task(
        task_name="a",
        status=TaskStatus.FAILED,
        result=(3, "boom"),
        device_name="low-cbf/subarray/01",
        devices=["x"],
        failed_devices=["x"],
        health_state="FAILED",
    )
    assert strict.calls == [
        {"status": TaskStatus.IN_PROGRESS, "progress": 0},
        {"status": TaskStatus.IN_PROGRESS, "progress": 40},
        {
            "status": TaskStatus.FAILED,
            "progress": 100,
            "result": (ResultCode.FAILED, "Causes:\n- low-cbf/subarray/01: boom"),
        },
    ]
    assert not caplog.records


@pytest.mark.parametrize("status", list(TaskStatus))
def test_a_result_is_passed_with_a_final_status_only(status):
    done = CallbackRecorder()
    as_task_callback(done)(task_name="x", status=status, progress=50, result=(ResultCode.OK, "x"))
    assert ("result" in done.payloads[0]) is status.is_final


class DevError:
    """What PyTango gives as an error."""

    desc = "device is not there"


@pytest.mark.parametrize(
    ("errors", "kind", "text"),
    [
        ((ValueError("first"), ValueError("second")), ValueError, "first"),
        ([OSError("x")], OSError, "x"),
        ((DevError(),), Exception, "device is not there"),
        (("a text",), Exception, "a text"),
        (ValueError("alone"), ValueError, "alone"),
    ],
)
def test_the_first_error_becomes_the_exception(errors, kind, text):
    done = CallbackRecorder()
    as_task_callback(done)(status=TaskStatus.FAILED, error=errors)
    exception = done.payloads[0]["exception"]
    assert isinstance(exception, kind)
    assert str(exception) == text


@pytest.mark.parametrize("errors", [None, (), []])
def test_without_errors_there_is_no_exception(errors):
    done = CallbackRecorder()
    as_task_callback(done)(status=TaskStatus.FAILED, error=errors)
    assert done.payloads == ({"status": TaskStatus.FAILED},)


@pytest.mark.parametrize("status", [5, "COMPLETED", None, 99])
def test_a_status_in_another_form_does_not_raise(status):
    done = CallbackRecorder()
    as_task_callback(done)(status=status, progress=3, result=(ResultCode.OK, ""))
    assert len(done) == 1


def test_what_the_callback_raises_comes_out():
    with pytest.raises(ValueError, match="bad"):
        as_task_callback(CallbackRecorder(raises=ValueError("bad")))(status=TaskStatus.QUEUED)


# -- base classes that accept their own enums only ---------------------------------------------

STATUSES = "STAGING QUEUED IN_PROGRESS ABORTED NOT_FOUND COMPLETED REJECTED FAILED"
CODES = "OK STARTED QUEUED FAILED UNKNOWN REJECTED NOT_ALLOWED ABORTED"


def stand_in(monkeypatch, **more):
    model = types.ModuleType("ska_control_model")
    model.TaskStatus = enum.IntEnum("TaskStatus", STATUSES, start=0, module=model.__name__)
    model.ResultCode = enum.IntEnum("ResultCode", CODES, start=0, module=model.__name__)
    vars(model).update(more)
    monkeypatch.setitem(sys.modules, "ska_control_model", model)
    return model


def play(callback):
    tracker = TaskTracker("configure", 1, callback)
    tracker.update_task(task_name="a", status=TaskStatus.IN_PROGRESS)
    tracker.update_task(task_name="a", status=TaskStatus.COMPLETED, result=(ResultCode.FAILED, "x"))


def test_a_base_class_is_handed_its_own_enums(monkeypatch):
    model = stand_in(monkeypatch)
    strict = CallbackRecorder(status_type=model.TaskStatus)
    play(as_task_callback(strict))
    first, *_, last = strict.payloads
    assert first["status"] is model.TaskStatus.IN_PROGRESS
    assert last["status"] is model.TaskStatus.FAILED
    assert type(last["result"][0]) is model.ResultCode
    assert last["result"][0] == ResultCode.FAILED


def test_an_enum_that_is_named_goes_before_the_package(monkeypatch):
    stand_in(monkeypatch)
    named = enum.Enum("TaskStatus", STATUSES, start=10)  # equal to ours by name only
    strict = CallbackRecorder(status_type=named)
    play(as_task_callback(strict, status_type=named))
    assert strict.payloads[-1]["status"] is named.FAILED


def test_codes_come_from_where_the_named_enum_does(monkeypatch):
    model = stand_in(monkeypatch)
    strict = CallbackRecorder(status_type=model.TaskStatus)
    monkeypatch.setitem(sys.modules, "elsewhere", model)
    model.TaskStatus.__module__ = "elsewhere"
    monkeypatch.delitem(sys.modules, "ska_control_model")
    play(as_task_callback(strict, status_type=model.TaskStatus))
    assert type(strict.payloads[-1]["result"][0]) is model.ResultCode


def test_without_the_package_ours_are_handed_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "ska_control_model", None)  # importing it fails
    told = CallbackRecorder(status_type=TaskStatus)
    play(as_task_callback(told))
    assert type(told.payloads[-1]["result"][0]) is ResultCode


def test_what_another_version_of_the_package_lacks_is_ours(monkeypatch):
    stand_in(monkeypatch, TaskStatus=enum.IntEnum("TaskStatus", {"QUEUED": 1}), ResultCode=None)
    told = CallbackRecorder()
    play(as_task_callback(told))
    assert told.payloads[-1]["status"] is TaskStatus.FAILED
    assert type(told.payloads[-1]["result"][0]) is ResultCode


def test_the_double_is_as_strict_as_the_base_class(monkeypatch):
    model = stand_in(monkeypatch)
    strict = CallbackRecorder(status_type=model.TaskStatus)
    with pytest.raises(TypeError, match="status is of"):
        strict(status=TaskStatus.QUEUED)  # equal, and of another class
    assert strict.payloads == ()
    strict(progress=10)
    assert len(strict) == 1
