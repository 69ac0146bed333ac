"""The documented underscore helpers of seed 000: they exist, and do what it says."""

from __future__ import annotations

import inspect
import logging

import pytest

from taskgrove.commands.aggregation.base import AggregationOutcome, SubtaskResult
from taskgrove.commands.aggregation.policy import TaskAggregationPolicy
from taskgrove.commands.task_tracker import TaskTracker, _UpdateContext
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.testing import CallbackRecorder

FINAL = [TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.ABORTED, TaskStatus.REJECTED]

DOCUMENTED = {
    "set_context": ["operation", "obs_mode"],
    "wait_for_task_completion": ["timeout_event"],
    "signal_task_completion": [],
    "get_status": [],
    "get_result": [],
    "_extract_context": ["kwargs"],
    "_upsert_subtask": ["task_name", "status", "result", "ctx"],
    "_aggregate": [],
    "_recompute_completion": [],
    "_record_subtask_progress": ["task_name", "progress"],
    "_recompute_progress": [],
    "_is_done_locked": [],
    "_build_progress_payload": [],
    "_build_completion_payload": ["ctx"],
    "_chain_message": [],
    "_is_task_already_completed": ["task_name", "device_name"],
    "_collect_devices_for_completion": [],
}


@pytest.fixture
def tracker() -> TaskTracker:
    return TaskTracker("configure", 2)


def context(tracker: TaskTracker, **kwargs) -> _UpdateContext:
    return tracker._extract_context(kwargs)


def put(tracker: TaskTracker, name: str, status=None, result=None, **kwargs) -> SubtaskResult:
    tracker._upsert_subtask(name, status, result, context(tracker, **kwargs))
    return tracker.subtasks[name]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_documented_method_has_the_documented_parameters(tracker, name):
    assert list(inspect.signature(getattr(tracker, name)).parameters) == DOCUMENTED[name]


def test_optional_parameters_have_the_documented_defaults():
    for name, parameter in (
        ("set_context", "operation"),
        ("set_context", "obs_mode"),
        ("wait_for_task_completion", "timeout_event"),
        ("_is_task_already_completed", "device_name"),
    ):
        signature = inspect.signature(getattr(TaskTracker, name))
        assert signature.parameters[parameter].default is None


# -- _extract_context --------------------------------------------------------------------------


def test_a_context_groups_what_comes_with_an_update(tracker):
    ctx = tracker._extract_context(
        {
            "device_name": "a/b/1",
            "devices": ("a/b/1", "a/b/2", "a/b/1"),
            "failed_devices": ["a/b/2"],
            "operation": "scan",
            "obs_mode": "IMAGING",
            "source": "event",
            "other": object(),
        }
    )
    assert isinstance(ctx, _UpdateContext)
    assert ctx.device_name == "a/b/1"
    assert ctx.devices == ["a/b/1", "a/b/2"]
    assert ctx.failed_devices == ["a/b/2"]
    assert (ctx.operation, ctx.obs_mode, ctx.source) == ("scan", "IMAGING", "event")


def test_an_empty_context_holds_nothing(tracker):
    assert tracker._extract_context({}) == _UpdateContext()
    assert not any(
        value for field, value in _UpdateContext()._asdict().items() if field != "attempt"
    )


def test_extracting_a_context_changes_nothing(tracker):
    kwargs = {"device_name": "a/b/1", "operation": "scan"}
    tracker._extract_context(kwargs)
    assert kwargs == {"device_name": "a/b/1", "operation": "scan"}
    assert tracker.operation is None
    assert tracker.subtasks == {}


@pytest.mark.parametrize("garbage", [object(), 5, 1j, [object()], {"x": 1}, b"x", [None, ""]])
def test_garbage_in_a_context_is_dropped(tracker, garbage):
    ctx = tracker._extract_context(dict.fromkeys(_UpdateContext._fields, garbage))
    assert ctx.device_name is None
    assert ctx.operation is None
    assert ctx.obs_mode is None
    assert not [name for name in ctx.devices or () if not isinstance(name, str)]
    assert ctx.health_state is None
    assert (ctx.severe, ctx.skipped) == (False, False)


# -- _upsert_subtask ---------------------------------------------------------------------------


def test_upsert_inserts_then_updates(tracker):
    record = put(tracker, "a", TaskStatus.IN_PROGRESS, None, device_name="a/b/1")
    assert isinstance(record, SubtaskResult)
    assert (record.name, record.status, record.device_name) == (
        "a",
        TaskStatus.IN_PROGRESS,
        "a/b/1",
    )
    again = put(tracker, "a", TaskStatus.FAILED, (ResultCode.FAILED, "boom"), devices=["a/b/2"])
    assert again is record
    assert record.status is TaskStatus.FAILED
    assert record.result_code is ResultCode.FAILED
    assert record.message == "a/b/1: boom"
    assert (record.device_name, record.devices) == ("a/b/1", ["a/b/2"])


def test_upsert_with_nothing_new_keeps_what_is_known(tracker):
    record = put(tracker, "a", TaskStatus.COMPLETED, (ResultCode.OK, "x"), failed_devices=["d"])
    before = repr(record)
    put(tracker, "a")
    assert repr(record) == before
    assert record.failed_devices == ["d"]


def test_upsert_keeps_the_counters_true(tracker):
    put(tracker, "a", TaskStatus.COMPLETED)
    assert (tracker.completed_subtasks, tracker.progress) == (1, 50)


# -- _recompute_completion, _is_done_locked ------------------------------------------------------


@pytest.mark.parametrize("status", [*TaskStatus, None])
def test_completion_counts_final_states(tracker, status):
    tracker.subtasks["a"] = SubtaskResult("a", status)
    tracker.subtasks["b"] = SubtaskResult("b", TaskStatus.IN_PROGRESS)
    tracker._recompute_completion()
    assert tracker.completed_subtasks == (1 if status in FINAL else 0)


@pytest.mark.parametrize(
    ("total", "completed", "done"),
    [(2, 0, False), (2, 1, False), (2, 2, True), (2, 3, True), (0, 0, True), (-5, 0, True)],
)
def test_done_is_when_enough_are_complete(total, completed, done):
    tracker = TaskTracker("configure", total)
    tracker._course.completed = completed
    assert tracker._is_done_locked() is done


# -- progress ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reported", "kept"), [(0, 0), (55, 55), (100, 100), (101, 100), (-3, 0), (None, 20)]
)
def test_reported_progress_is_kept_within_bounds(tracker, reported, kept):
    if reported is None:
        tracker._record_subtask_progress("a", 20)
    tracker._record_subtask_progress("a", reported)
    assert tracker._subtask_progress["a"] == kept


def test_no_progress_is_no_record(tracker):
    tracker._record_subtask_progress("a", None)
    assert not tracker._subtask_progress.get("a")


@pytest.mark.parametrize("garbage", ["x", object(), float("nan"), [], 1j])
def test_garbage_for_progress_is_not_recorded(tracker, garbage):
    tracker._record_subtask_progress("a", 20)
    tracker._record_subtask_progress("a", garbage)
    assert tracker._subtask_progress["a"] == 20


def test_recorded_progress_never_goes_back(tracker):
    tracker._record_subtask_progress("a", 60)
    tracker._record_subtask_progress("a", 40)
    assert tracker._subtask_progress["a"] == 60


def test_progress_is_recomputed_from_the_records():
    tracker = TaskTracker("configure", 4)
    for name, status, progress in (
        ("complete", TaskStatus.COMPLETED, 0),
        ("failed, at 10", TaskStatus.FAILED, 10),
        ("at 30", TaskStatus.IN_PROGRESS, 30),
        ("unknown", TaskStatus.IN_PROGRESS, 0),
    ):
        tracker.subtasks[name] = SubtaskResult(name, status)
        tracker.subtasks[name].progress = progress
    tracker._recompute_progress()
    assert tracker.progress == 57  # (100 + 100 + 30 + 0) / 4


def test_an_update_of_a_record_that_was_put_in_by_hand_is_taken_in(tracker):
    tracker.subtasks["a"] = SubtaskResult("a", TaskStatus.IN_PROGRESS)
    tracker.subtasks["b"] = SubtaskResult("b", TaskStatus.IN_PROGRESS)
    tracker.update_task(task_name="a", progress=40)
    assert tracker.progress == 20
    tracker.update_task(task_name="b", status=TaskStatus.COMPLETED)
    tracker.update_task(task_name="a", status=TaskStatus.COMPLETED)
    assert tracker.overall_status is TaskStatus.COMPLETED


# -- _build_progress_payload ----------------------------------------------------------------------


def test_a_progress_payload_is_built_only_when_the_quantized_progress_changes():
    tracker = TaskTracker("configure", 1)
    built = []
    for value in range(0, 101, 3):
        tracker._record_subtask_progress("a", value)
        payload = tracker._build_progress_payload()
        if payload is not None:
            assert payload["task_name"] == "configure"
            assert payload["status"] is TaskStatus.IN_PROGRESS
            assert payload["result"] == (ResultCode.STARTED, "")
            built.append(payload["progress"])
        assert tracker._build_progress_payload() is None
    assert built == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]


# -- _aggregate, _chain_message ------------------------------------------------------------------


def test_aggregate_decides_from_the_records(tracker):
    put(tracker, "a", TaskStatus.COMPLETED, (ResultCode.OK, "fine"))
    tracker._aggregate()
    assert tracker.overall_status is TaskStatus.IN_PROGRESS
    assert tracker.overall_result is ResultCode.STARTED
    put(tracker, "b", TaskStatus.FAILED, (ResultCode.FAILED, "boom"), device_name="low-cbf/x/1")
    tracker._aggregate()
    assert tracker.overall_status is TaskStatus.FAILED
    assert tracker.overall_result is ResultCode.FAILED
    assert tracker.overall_resultcode == (ResultCode.FAILED, "Causes:\n- low-cbf/x/1: boom")
    assert tracker.overall_health == "FAILED"
    assert tracker._chain_message() == tracker.overall_resultcode[1]


def test_aggregate_asks_the_policy(tracker, monkeypatch):
    asked = []
    outcome = AggregationOutcome(TaskStatus.REJECTED, ResultCode.NOT_ALLOWED, "no", "DEGRADED")

    def aggregate(self, subs):
        asked.append(list(subs))
        return outcome

    monkeypatch.setattr(TaskAggregationPolicy, "aggregate", aggregate)
    records = [put(tracker, name, TaskStatus.COMPLETED) for name in "ab"]
    tracker._aggregate()
    assert asked == [records]
    assert tracker.overall_status is TaskStatus.REJECTED
    assert tracker.overall_resultcode == (ResultCode.NOT_ALLOWED, "no")
    assert tracker.overall_health == "DEGRADED"


def test_aggregate_with_all_waiting_is_queued(tracker):
    put(tracker, "a", TaskStatus.QUEUED)
    tracker._aggregate()
    assert tracker.overall_status is TaskStatus.QUEUED
    assert tracker.overall_result is ResultCode.QUEUED


def test_what_has_begun_stays_begun(tracker):
    tracker.update_task(task_name="a", status=TaskStatus.NOT_FOUND)
    tracker.update_task(task_name="a", status=TaskStatus.QUEUED)
    assert tracker.overall_status is TaskStatus.IN_PROGRESS
    tracker._aggregate()
    assert tracker.overall_status is TaskStatus.IN_PROGRESS


def test_the_message_of_a_root_begins_with_its_summary():
    tracker = TaskTracker("configure", 1, is_root=True)
    assert tracker._chain_message() == "Task configure queued"
    tracker.update_task(task_name="a", status=TaskStatus.IN_PROGRESS)
    assert tracker._chain_message() == "Task configure in progress"
    tracker.update_task(task_name="a", status=TaskStatus.COMPLETED)
    assert tracker._chain_message() == "Task configure completed"


# -- _is_task_already_completed ------------------------------------------------------------------


@pytest.mark.parametrize("status", [*TaskStatus, None])
def test_a_final_subtask_is_already_completed(tracker, status):
    tracker.subtasks["a"] = SubtaskResult("a", status)
    assert tracker._is_task_already_completed("a") is (status in FINAL)
    assert tracker._is_task_already_completed("a", "a/b/1") is (status in FINAL)


def test_an_unknown_subtask_is_not_completed(tracker, caplog):
    caplog.set_level(logging.DEBUG)
    assert tracker._is_task_already_completed("never seen", device_name="a/b/1") is False
    assert "a/b/1" not in caplog.text
    assert tracker.subtasks == {}


def test_the_device_of_a_late_update_is_in_the_log(tracker, caplog):
    caplog.set_level(logging.DEBUG)
    tracker.subtasks["a"] = SubtaskResult("a", TaskStatus.COMPLETED)
    assert tracker._is_task_already_completed("a", "a/b/1") is True
    assert "a/b/1" in caplog.text


# -- _collect_devices_for_completion --------------------------------------------------------------


def test_devices_are_collected_sorted_and_without_duplicates():
    tracker = TaskTracker("configure", 4)
    put(tracker, "many", TaskStatus.COMPLETED, None, devices=["z/1/1", "a/1/1"], device_name="x")
    put(tracker, "one", TaskStatus.COMPLETED, None, device_name="m/1/1")
    put(tracker, "none", TaskStatus.COMPLETED)
    put(tracker, "same", TaskStatus.COMPLETED, None, device_name="a/1/1")
    assert tracker._collect_devices_for_completion() == (["a/1/1", "m/1/1", "z/1/1"], [])


@pytest.mark.parametrize(
    ("fields", "failed"),
    [
        ({"failed_devices": ["b"], "devices": ["a", "b"], "device_name": "c"}, ["b"]),
        ({"devices": ["b", "a"], "device_name": "c"}, ["a", "b"]),
        ({"device_name": "c"}, ["c"]),
        ({}, []),
        ({"failed_devices": [], "devices": ["b"]}, ["b"]),
    ],
)
def test_failed_devices_fall_back_to_those_involved(tracker, fields, failed):
    put(tracker, "bad", TaskStatus.FAILED, (ResultCode.FAILED, "x"), **fields)
    put(tracker, "good", TaskStatus.COMPLETED, (ResultCode.OK, ""), device_name="good/1/1")
    assert tracker._collect_devices_for_completion()[1] == failed


@pytest.mark.parametrize(
    ("status", "code", "is_failed"),
    [
        (TaskStatus.COMPLETED, ResultCode.OK, False),
        (TaskStatus.COMPLETED, ResultCode.FAILED, True),
        (TaskStatus.COMPLETED, ResultCode.REJECTED, True),
        (TaskStatus.FAILED, None, True),
        (TaskStatus.REJECTED, None, True),
        (TaskStatus.IN_PROGRESS, None, False),
    ],
)
def test_whose_devices_failed(tracker, status, code, is_failed):
    put(tracker, "a", status, code and (code, "x"), device_name="a/b/1")
    assert tracker._collect_devices_for_completion() == (
        ["a/b/1"],
        ["a/b/1"] if is_failed else [],
    )


# -- _build_completion_payload ---------------------------------------------------------------------


def test_the_completion_payload_can_be_built_by_hand(tracker):
    put(tracker, "a", TaskStatus.COMPLETED, (ResultCode.OK, ""), device_name="a/b/1")
    put(tracker, "b", TaskStatus.FAILED, (ResultCode.FAILED, "boom"), device_name="a/b/2")
    tracker._aggregate()
    payload = tracker._build_completion_payload(context(tracker))
    assert payload["task_name"] == "configure"
    assert payload["status"] is TaskStatus.FAILED
    assert payload["progress"] == 100
    assert payload["result"] == (ResultCode.FAILED, "Causes:\n- a/b/2: boom")
    assert payload["devices"] == ["a/b/1", "a/b/2"]
    assert payload["failed_devices"] == ["a/b/2"]
    assert payload["health_state"] == "FAILED"
    assert "error" not in payload


def test_signalling_by_hand_calls_nobody():
    done = CallbackRecorder()
    tracker = TaskTracker("configure", 1, done)
    tracker.signal_task_completion()
    assert tracker.wait_for_task_completion() is True
    assert len(done) == 0
