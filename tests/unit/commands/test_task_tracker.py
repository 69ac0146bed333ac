"""What a tracker takes in, and what it tells of it (seed 000, SPEC S4.3 to S4.5, S4.8)."""

from __future__ import annotations

import enum
import inspect
import logging

import pytest

from taskgrove import control_model
from taskgrove.commands import task_tracker
from taskgrove.commands.aggregation.base import read_result
from taskgrove.commands.aggregation.policy import TaskAggregationPolicy
from taskgrove.commands.aggregation.rules import AggregationRule, parse_rule
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.commands.tracking import updates
from taskgrove.commands.tracking.course import MOVES, TrackerRequest, TrackerState
from taskgrove.commands.tracking.updates import NO_CONTEXT
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.testing import CallbackRecorder, EventLog
from tests.moves_walk import walk_cells

OK = (ResultCode.OK, "done")
ABORTED = (TaskStatus.ABORTED, ResultCode.ABORTED, "enough")
FINAL = [TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.ABORTED, TaskStatus.REJECTED]
OPEN = [status for status in TaskStatus if status not in FINAL]


def tracker_of(total: int = 2, **options) -> TaskTracker:
    return TaskTracker("configure", total, **options)


# -- the signatures of seed 000 ------------------------------------------------------------


def test_the_constructor_has_the_documented_parameters_in_order():
    parameters = inspect.signature(TaskTracker.__init__).parameters
    documented = {
        "task_name": inspect.Parameter.empty,
        "total_subtasks": inspect.Parameter.empty,
        "completed_callback": None,
        "logger": None,
        "operation": None,
        "obs_mode": None,
        "is_root": False,
    }
    assert list(parameters)[1:8] == list(documented)
    assert {name: parameters[name].default for name in documented} == documented
    extra = list(parameters.values())[8:]
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in extra)
    assert all(parameter.default is not inspect.Parameter.empty for parameter in extra)


def test_all_documented_arguments_can_be_given_by_position():
    done = CallbackRecorder()
    logger = logging.getLogger("test")
    tracker = TaskTracker("configure", 3, done, logger, "configure", "IMAGING", True)
    assert tracker.task_name == "configure"
    assert tracker.total_subtasks == 3
    assert tracker.completed_callback is done
    assert tracker.logger is logger
    assert (tracker.operation, tracker.obs_mode) == ("configure", "IMAGING")
    assert tracker.is_root is True


def test_the_default_logger_is_that_of_the_module():
    assert tracker_of().logger.name == task_tracker.__name__


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("operation", "Scan"),
        ("obs_mode", "IMAGING"),
        ("devices", ["low-pst/beam/01"]),
        ("failed_devices", ["low-pst/beam/01"]),
        ("health_state", "DEGRADED"),
    ],
)
def test_what_comes_with_plain_progress_is_taken_in(field, given):
    tracker = tracker_of()
    tracker.update_task(task_name="a", status=TaskStatus.IN_PROGRESS)
    tracker.update_task(task_name="a", progress=40, **{field: given})
    assert getattr(tracker.subtasks["a"], field) == given
    if hasattr(tracker, field):
        assert getattr(tracker, field) == given
    assert tracker.progress_of("a") == 40


def test_a_new_tracker_knows_nothing():
    tracker = tracker_of(2)
    assert tracker.subtasks == {}
    assert (tracker.completed_subtasks, tracker.progress) == (0, 0)
    assert tracker.overall_status is TaskStatus.QUEUED
    assert tracker.overall_result is ResultCode.QUEUED
    assert tracker.overall_resultcode == (ResultCode.QUEUED, "")
    assert tracker.overall_health is None
    assert TaskTracker.PROGRESS_STEP == 10


def test_is_root_may_be_none():
    assert not tracker_of(1, is_root=None).is_root


def test_update_task_takes_keywords_only_and_returns_none():
    parameters = inspect.signature(TaskTracker.update_task).parameters
    names = ["task_name", "status", "progress", "result", "error", "kwargs"]
    assert list(parameters)[1:] == names
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in names[:-1])
    assert parameters["kwargs"].kind is inspect.Parameter.VAR_KEYWORD
    assert tracker_of().update_task(task_name="a", status=TaskStatus.QUEUED) is None


# -- what an update costs (S4.3) -------------------------------------------------------------


def test_an_update_recomputes_nothing_and_the_policy_is_asked_once(monkeypatch):
    asked = []
    aggregate = TaskAggregationPolicy.aggregate

    def counted(self, subs):
        asked.append(len(subs))
        return aggregate(self, subs)

    def never(self):
        raise AssertionError("an update recomputes from the records")

    monkeypatch.setattr(TaskAggregationPolicy, "aggregate", counted)
    monkeypatch.setattr(TaskTracker, "_recompute_completion", never)
    monkeypatch.setattr(TaskTracker, "_recompute_progress", never)
    tracker = tracker_of(50, completed_callback=CallbackRecorder())
    for number in range(50):
        tracker.update_task(task_name=f"t{number}", status=TaskStatus.IN_PROGRESS, progress=50)
        assert tracker.overall_status is TaskStatus.IN_PROGRESS
        assert tracker.overall_result is ResultCode.STARTED
        tracker.update_task(task_name=f"t{number}", status=TaskStatus.COMPLETED, result=OK)
    assert tracker.overall_status is TaskStatus.COMPLETED
    assert tracker.overall_resultcode == (ResultCode.OK, "")
    assert asked == [50]


def test_results_are_parsed_outside_the_lock(monkeypatch):
    seen = []

    def read(value):
        seen.append(tracker._lock.locked())
        return read_result(value)

    monkeypatch.setattr(updates, "read_result", read)
    tracker = tracker_of(1)
    tracker.update_task(task_name="a", status=TaskStatus.COMPLETED, result='[0, "fine"]')
    assert seen == [False]


# -- one subtask ---------------------------------------------------------------------------


def test_an_unknown_name_is_taken_in():
    tracker = tracker_of()
    tracker.update_task(task_name="new", status=TaskStatus.IN_PROGRESS)
    assert tracker.subtasks["new"].name == "new"
    assert tracker.subtasks["new"].status is TaskStatus.IN_PROGRESS


def test_the_latest_of_every_field_is_kept():
    tracker = tracker_of()
    tracker.update_task(
        task_name="a",
        status=TaskStatus.IN_PROGRESS,
        device_name="low-cbf/subarray/01",
        devices=["x/y/1", "x/y/2", "x/y/1"],
        failed_devices=["x/y/2"],
        operation="configure",
        obs_mode="IMAGING",
        source="event",
        something_else=1,
    )
    tracker.update_task(task_name="a", result=(ResultCode.FAILED, "boom"))
    record = tracker.subtasks["a"]
    assert record.device_name == "low-cbf/subarray/01"
    assert record.devices == ["x/y/1", "x/y/2"]
    assert record.failed_devices == ["x/y/2"]
    assert (record.operation, record.obs_mode) == ("configure", "IMAGING")
    assert record.result_code is ResultCode.FAILED
    assert record.message == "low-cbf/subarray/01: boom"
    tracker.update_task(task_name="a", devices=["x/y/3"], failed_devices=[], device_name=None)
    assert (record.devices, record.failed_devices) == (["x/y/3"], [])
    assert record.device_name == "low-cbf/subarray/01"


def test_a_result_that_is_not_given_keeps_the_earlier_one():
    tracker = tracker_of(1)
    tracker.update_task(task_name="a", result=(ResultCode.FAILED, "boom"))
    tracker.update_task(task_name="a", status=TaskStatus.COMPLETED, result=None)
    assert tracker.overall_result is ResultCode.FAILED
    assert "boom" in tracker.overall_resultcode[1]


def test_a_later_result_replaces_the_earlier_one():
    tracker = tracker_of(1)
    tracker.update_task(task_name="a", result=(ResultCode.FAILED, "boom"))
    tracker.update_task(task_name="a", status=TaskStatus.COMPLETED, result=OK)
    assert tracker.overall_result is ResultCode.OK


def test_completed_without_any_result_is_ok():
    tracker = tracker_of(1)
    tracker.update_task(task_name="a", status=TaskStatus.COMPLETED)
    assert tracker.subtasks["a"].result_code is ResultCode.OK
    assert tracker.overall_resultcode == (ResultCode.OK, "")


def test_an_acknowledgement_is_no_result():
    tracker = tracker_of(1)
    tracker.update_task(
        task_name="a", status=TaskStatus.COMPLETED, result=(TaskStatus.FAILED, "1_2_Configure")
    )
    assert tracker.overall_result is ResultCode.OK


@pytest.mark.parametrize("result", ['[3, "boom"]', [[3], ["boom"]], "(3, 'boom')", [3, "boom"]])
def test_results_of_every_form_are_understood(result):
    tracker = tracker_of(1)
    tracker.update_task(task_name="a", status=TaskStatus.COMPLETED, result=result)
    assert tracker.overall_result is ResultCode.FAILED
    assert tracker.subtasks["a"].message == "boom"


@pytest.mark.parametrize("order", ["device first", "result first", "together"])
def test_the_device_is_put_before_the_message_once(order):
    tracker = tracker_of(1)
    device = {"device_name": "mid-pst/beam/01"}
    result = {"result": (ResultCode.FAILED, "boom")}
    steps = {
        "device first": [device, result, device],
        "result first": [result, device, device],
        "together": [{**device, **result}, device],
    }[order]
    for step in steps:
        tracker.update_task(task_name="a", status=TaskStatus.IN_PROGRESS, **step)
    # A name that is equal, but another object.
    tracker.update_task(task_name="a", device_name="".join(["mid-pst/", "beam/01"]))
    assert tracker.subtasks["a"].message == "mid-pst/beam/01: boom"


def test_another_device_later_is_not_put_before_the_first():
    tracker = tracker_of(1)
    tracker.update_task(task_name="a", device_name="a/b/1", result=(ResultCode.FAILED, "boom"))
    tracker.update_task(task_name="a", device_name="a/b/2")
    assert tracker.subtasks["a"].message == "a/b/1: boom"


def test_an_empty_device_name_is_none():
    tracker = tracker_of(1)
    tracker.update_task(task_name="a", device_name="a/b/1")
    tracker.update_task(task_name="a", device_name="")
    assert tracker.subtasks["a"].device_name == "a/b/1"


class ForeignStatus(enum.IntEnum):
    """What ``ska_control_model`` would send."""

    IN_PROGRESS = 2
    COMPLETED = 5


class ForeignCode(enum.IntEnum):
    """What ``ska_control_model`` would send."""

    FAILED = 3


@pytest.mark.parametrize("status", [5, 5.0, ForeignStatus.COMPLETED, "COMPLETED", "completed"])
def test_equal_integers_and_foreign_enums_are_statuses(status):
    tracker = tracker_of(1)
    tracker.update_task(task_name="a", status=status, result=(ForeignCode.FAILED, "boom"))
    assert tracker.subtasks["a"].status is TaskStatus.COMPLETED
    assert tracker.subtasks["a"].result_code is ResultCode.FAILED
    assert tracker.is_complete


@pytest.mark.parametrize("status", [17, -1, 2.5, True, "RUNNING", object(), [5], b"5", ""])
def test_what_is_no_status_is_told_and_ignored(status, caplog):
    tracker = tracker_of(1)
    tracker.update_task(task_name="a", status=TaskStatus.IN_PROGRESS)
    tracker.update_task(task_name="a", status=status, progress=40)
    assert tracker.subtasks["a"].status is TaskStatus.IN_PROGRESS
    assert tracker.progress == 40
    assert "reported an unknown status" in caplog.text


# -- progress (S4.4) -----------------------------------------------------------------------


def test_progress_is_the_mean_over_the_expected_subtasks():
    tracker = tracker_of(4)
    tracker.update_task(task_name="a", status=TaskStatus.IN_PROGRESS, progress=50)
    assert tracker.progress == 12  # 12.5, rounded down
    tracker.update_task(task_name="b", status=TaskStatus.COMPLETED)
    assert tracker.progress == 37
    tracker.update_task(task_name="b", progress=3)
    assert tracker.progress == 37


@pytest.mark.parametrize(("reported", "kept"), [(-20, 0), (0, 0), (99, 99), (100, 100), (250, 100)])
@pytest.mark.parametrize("begun", [True, False])
def test_progress_is_clamped(reported, kept, begun):
    tracker = tracker_of(1)
    if begun:
        tracker.update_task(task_name="a", status=TaskStatus.IN_PROGRESS)
    tracker.update_task(task_name="a", progress=reported)
    assert tracker.progress == tracker.progress_of("a") == kept
    assert not tracker.is_complete


def test_progress_never_goes_back():
    tracker = tracker_of(1)
    for value in (60, 20, 59, 0, -1):
        tracker.update_task(task_name="a", status=TaskStatus.IN_PROGRESS, progress=value)
        assert tracker.progress == 60


@pytest.mark.parametrize(
    "garbage", ["half", b"x", object(), [50], {}, float("nan"), float("inf"), 1j, (), ""]
)
def test_garbage_for_progress_is_ignored(garbage):
    tracker = tracker_of(1)
    tracker.update_task(task_name="a", status=TaskStatus.IN_PROGRESS, progress=30)
    tracker.update_task(task_name="a", progress=garbage)
    assert tracker.progress == 30
    assert tracker.overall_status is TaskStatus.IN_PROGRESS


def test_who_makes_progress_has_begun():
    tracker = tracker_of(1)
    tracker.update_task(task_name="a", status=TaskStatus.QUEUED)
    tracker.update_task(task_name="a", progress=10)
    assert tracker.subtasks["a"].status is TaskStatus.IN_PROGRESS
    assert tracker.overall_status is TaskStatus.IN_PROGRESS


def test_progress_of_one_hundred_is_no_completion():
    done = CallbackRecorder()
    tracker = tracker_of(1, completed_callback=done)
    tracker.update_task(task_name="a", progress=100)
    assert tracker.overall_status is TaskStatus.IN_PROGRESS
    assert [payload["progress"] for payload in done.payloads] == [0]


def test_more_names_than_expected_never_take_progress_over_one_hundred():
    tracker = tracker_of(2)
    for name in "abcd":
        tracker.update_task(task_name=name, status=TaskStatus.IN_PROGRESS, progress=90)
    assert tracker.progress == 100
    assert not tracker.is_complete


# -- late and illegal updates (S4.4) ---------------------------------------------------------


def story_of(tracker: TaskTracker, name: str = "a") -> tuple:
    record = tracker.subtasks[name]
    return (
        *(getattr(record, field) for field in type(record).__slots__),
        tracker.completed_subtasks,
        tracker.progress,
        tracker.operation,
        tracker.obs_mode,
        tracker.errors,
        tracker.overall_status,
    )


@pytest.mark.parametrize("first", FINAL)
@pytest.mark.parametrize("second", [*TaskStatus, None])
def test_an_update_of_a_final_subtask_changes_nothing(first, second):
    tracker = tracker_of(2)
    tracker.update_task(
        task_name="a", status=first, result=(ResultCode.OK, "first"), device_name="a/b/1"
    )
    before = story_of(tracker)
    tracker.update_task(
        task_name="a",
        status=second,
        progress=10,
        result=(ResultCode.FAILED, "second"),
        error=("late",),
        device_name="a/b/2",
        devices=["a/b/2"],
        failed_devices=["a/b/2"],
        operation="other",
        obs_mode="other",
        health_state="FAILED",
        severe=True,
        skipped=True,
    )
    assert story_of(tracker) == before


def test_a_late_result_after_the_end_is_ignored():
    tracker = tracker_of(2)
    tracker.update_task(task_name="a", status=TaskStatus.COMPLETED)
    tracker.update_task(task_name="a", result=(ResultCode.FAILED, "boom"))
    tracker.update_task(task_name="b", status=TaskStatus.COMPLETED)
    assert tracker.overall_result is ResultCode.OK


def test_duplicates_count_once():
    done = CallbackRecorder()
    tracker = tracker_of(2, completed_callback=done)
    for _ in range(5):
        tracker.update_task(task_name="a", status=TaskStatus.COMPLETED, result=OK)
    assert (tracker.completed_subtasks, tracker.progress) == (1, 50)
    assert not any(payload["status"].is_final for payload in done.payloads)


def test_not_found_is_not_final_and_can_be_found_again():
    tracker = tracker_of(1)
    tracker.update_task(task_name="a", status=TaskStatus.NOT_FOUND)
    assert not tracker.is_complete
    assert tracker.completed_subtasks == 0
    tracker.update_task(task_name="a", status=TaskStatus.IN_PROGRESS)
    tracker.update_task(task_name="a", status=TaskStatus.COMPLETED)
    assert tracker.overall_status is TaskStatus.COMPLETED


@pytest.mark.parametrize(
    ("before", "then"),
    [
        (TaskStatus.IN_PROGRESS, TaskStatus.QUEUED),
        (TaskStatus.IN_PROGRESS, TaskStatus.STAGING),
        (TaskStatus.QUEUED, TaskStatus.STAGING),
    ],
)
def test_a_move_back_is_refused_whole(before, then):
    tracker = tracker_of(1)
    tracker.update_task(task_name="a", status=before, result=(ResultCode.STARTED, "first"))
    tracker.update_task(
        task_name="a", status=then, progress=70, result=(ResultCode.FAILED, "second")
    )
    record = tracker.subtasks["a"]
    assert (record.status, record.result_code, record.message) == (
        before,
        ResultCode.STARTED,
        "first",
    )
    assert tracker.progress == 0


def test_an_ignored_update_is_told_in_the_log(caplog):
    caplog.set_level(logging.DEBUG)
    tracker = tracker_of(2)
    tracker.update_task(task_name="a", status=TaskStatus.COMPLETED)
    tracker.update_task(task_name="a", status=TaskStatus.FAILED, result=(3, "boom"))
    assert "late update of a ignored" in caplog.text


# -- completion and what can be read ---------------------------------------------------------


def test_it_is_complete_when_all_are_final():
    tracker = tracker_of(3)
    for count, (name, status) in enumerate(zip("abc", FINAL, strict=False)):
        assert tracker.overall_status in (TaskStatus.QUEUED, TaskStatus.IN_PROGRESS)
        assert tracker.completed_subtasks == count
        tracker.update_task(task_name=name, status=status)
    assert tracker.completed_subtasks == 3
    assert tracker.progress == 100
    assert tracker.overall_status is TaskStatus.ABORTED


@pytest.mark.parametrize("status", FINAL)
def test_until_all_are_final_it_is_in_progress_whatever_the_policy_says(status):
    tracker = tracker_of(2)
    tracker.update_task(task_name="a", status=status, result=(ResultCode.ABORTED, "x"))
    assert tracker.get_status() is tracker.overall_status is TaskStatus.IN_PROGRESS
    assert tracker.get_result() is tracker.overall_result is ResultCode.STARTED
    assert tracker.overall_resultcode[0] is ResultCode.STARTED
    assert tracker.overall_health is None


@pytest.mark.parametrize("status", [TaskStatus.STAGING, TaskStatus.QUEUED])
def test_with_all_waiting_it_is_queued(status):
    tracker = tracker_of(2)
    tracker.update_task(task_name="a", status=status)
    tracker.update_task(task_name="b", status=status)
    assert tracker.get_status() is TaskStatus.QUEUED
    assert tracker.get_result() is ResultCode.QUEUED


def test_complete_by_count_with_more_names_known_tells_of_the_final_ones():
    tracker = tracker_of(2)
    tracker.update_task(task_name="running", status=TaskStatus.IN_PROGRESS, progress=20)
    tracker.update_task(task_name="a", status=TaskStatus.COMPLETED, result=OK)
    tracker.update_task(task_name="b", status=TaskStatus.COMPLETED, result=OK)
    assert tracker.overall_status is TaskStatus.COMPLETED
    assert tracker.overall_result is ResultCode.OK
    assert tracker.progress == 100
    tracker.update_task(task_name="running", status=TaskStatus.FAILED, result=(3, "boom"))
    tracker.update_task(task_name="never seen", status=TaskStatus.FAILED, result=(3, "boom"))
    assert tracker.overall_status is TaskStatus.COMPLETED
    assert tracker.completed_subtasks == 2


def test_the_root_message_has_a_summary_line():
    tracker = tracker_of(1, is_root=True)
    tracker.update_task(task_name="a", status=TaskStatus.FAILED, result=(3, "boom"))
    assert tracker.overall_resultcode == (
        ResultCode.FAILED,
        "Task configure failed\nCauses:\n- a - boom",
    )
    nested = tracker_of(1)
    nested.update_task(task_name="a", status=TaskStatus.FAILED, result=(3, "boom"))
    assert nested.overall_resultcode[1] == "Causes:\n- a - boom"


def test_health_is_told_when_complete():
    tracker = TaskTracker("configure_pst", 2)
    tracker.update_task(task_name="a", status=TaskStatus.COMPLETED, device_name="mid-pst/beam/01")
    tracker.update_task(
        task_name="b", status=TaskStatus.FAILED, result=(3, "x"), device_name="mid-pst/beam/02"
    )
    assert tracker.overall_health == "DEGRADED"
    assert tracker.outcome().decision.line == "PST success 1/2 → DEGRADED"


@pytest.mark.parametrize("total", [0, -1, -100])
def test_without_subtasks_it_is_complete_from_the_start(total):
    done = CallbackRecorder()
    tracker = tracker_of(total, completed_callback=done)
    assert tracker.wait_for_task_completion() is True
    assert tracker.overall_status is TaskStatus.COMPLETED
    assert tracker.overall_resultcode[0] is ResultCode.OK
    assert tracker.overall_health is None
    assert tracker.progress == 100
    tracker.update_task(task_name="a", status=TaskStatus.FAILED, result=(3, "boom"))
    tracker.update_task(task_name="b", progress=50)
    assert tracker.overall_status is TaskStatus.COMPLETED
    assert len(done) == 0


def test_an_explicit_rule_decides():
    tracker = tracker_of(3, rule=parse_rule("any"))
    for name in "ab":
        tracker.update_task(task_name=name, status=TaskStatus.FAILED, result=(3, "x"))
    tracker.update_task(task_name="c", status=TaskStatus.COMPLETED)
    assert tracker.overall_status is TaskStatus.COMPLETED


# -- context ---------------------------------------------------------------------------------


def test_set_context_rebuilds_the_policy_only_when_something_changes():
    tracker = tracker_of(1, operation="configure", obs_mode="IMAGING")
    policy = tracker._judgement.policy
    assert isinstance(policy, TaskAggregationPolicy)
    assert (policy.operation, policy.obs_mode) == ("configure", "IMAGING")
    tracker.set_context()
    tracker.set_context("configure", None)
    tracker.set_context(None, "IMAGING")
    assert tracker._judgement.policy is policy
    tracker.set_context(obs_mode="PULSAR_TIMING")
    assert tracker._judgement.policy is not policy
    assert (tracker._judgement.policy.operation, tracker._judgement.policy.obs_mode) == (
        "configure",
        "PULSAR_TIMING",
    )
    assert (tracker.operation, tracker.obs_mode) == ("configure", "PULSAR_TIMING")
    assert tracker._judgement.policy.task_name == "configure"


def test_set_context_keeps_what_the_policy_was_told_otherwise():
    tracker = tracker_of(2, is_root=True, pst_group=True)
    tracker.set_context("scan")
    assert tracker._judgement.policy.is_root is True
    assert tracker._judgement.policy.pst_group is True


def test_an_update_may_bring_the_context():
    tracker = tracker_of(1)
    tracker.update_task(task_name="a", operation="scan")
    tracker.update_task(task_name="a", obs_mode="IMAGING")
    assert (tracker.operation, tracker.obs_mode) == ("scan", "IMAGING")
    assert (tracker._judgement.policy.operation, tracker._judgement.policy.obs_mode) == (
        "scan",
        "IMAGING",
    )


def test_the_last_update_may_bring_the_context():
    seen = []

    class Rule(AggregationRule):
        label = "seen"

        def decide(self, tally, context):
            seen.append((context.operation, context.obs_mode))

    tracker = tracker_of(1, rule=Rule())
    tracker.update_task(
        task_name="a", status=TaskStatus.COMPLETED, operation="scan", obs_mode="IMAGING"
    )
    assert tracker.overall_status is TaskStatus.COMPLETED
    assert set(seen) == {("scan", "IMAGING")}


# -- taking over ------------------------------------------------------------------------------


def test_expected_names_settle_the_order_of_the_causes():
    tracker = tracker_of(3)
    tracker.expect(["a", "b", "c"])
    for name in "cab":
        tracker.update_task(task_name=name, status=TaskStatus.FAILED, result=(3, "boom"))
    assert tracker.overall_resultcode[1] == "Causes:\n- a - boom\n- b - boom\n- c - boom"


def test_expecting_a_name_twice_or_late_changes_nothing():
    tracker = tracker_of(1)
    tracker.update_task(task_name="a", status=TaskStatus.IN_PROGRESS, progress=30)
    record = tracker.subtasks["a"]
    tracker.expect(["a", "a"])
    assert tracker.subtasks == {"a": record}
    assert tracker.progress == 30


def test_a_record_can_be_adopted():
    first, second = tracker_of(2), tracker_of(1)
    first.update_task(
        task_name="a",
        status=TaskStatus.IN_PROGRESS,
        progress=42,
        result=(ResultCode.STARTED, "on its way"),
        device_name="a/b/1",
        devices=["a/b/1", "a/b/2"],
    )
    second.adopt(first.subtasks["a"])
    assert second.progress == 42
    mine, other = second.subtasks["a"], first.subtasks["a"]
    for field in type(mine).__slots__:
        assert getattr(mine, field) == getattr(other, field), field


# -- the moves of the tracker --------------------------------------------------------------


def reached(state: TrackerState) -> TaskTracker:
    """A tracker of two subtasks that is in a state."""
    tracker = tracker_of(2)
    if state is TrackerState.RUNNING:
        tracker.update_task(task_name="a", status=TaskStatus.IN_PROGRESS)
    if state >= TrackerState.DECIDED:
        tracker.hold()
        tracker.conclude(*ABORTED)
    if state is TrackerState.CLOSED:
        tracker.release()
    return tracker


def test_every_cell_of_a_tracker_is_as_its_table_says(caplog):
    requests = {
        TrackerRequest.BEGIN: lambda tracker: tracker._course._begin(begun=True),
        TrackerRequest.COMPLETE: lambda tracker: tracker._course.complete(NO_CONTEXT),
        TrackerRequest.CONCLUDE: lambda tracker: tracker.conclude(*ABORTED),
        TrackerRequest.CLOSE: lambda tracker: tracker._close(),
    }
    walk_cells(
        MOVES,
        reached,
        lambda tracker, request: tracker.hold() or requests[request](tracker),
        lambda tracker: tracker._course.state,
        lambda tracker: caplog.text.count("is refused in the state"),
    )


def test_every_cell_of_a_subtask_is_as_its_table_says():
    log = EventLog()

    def reach(status: TaskStatus) -> TaskTracker:
        tracker = tracker_of(2)
        tracker.subscribe(log)
        tracker.update_task(task_name="a", status=status)
        return tracker

    walk_cells(
        control_model.MOVES,
        reach,
        lambda tracker, status: tracker.update_task(task_name="a", status=status),
        lambda tracker: tracker.subtasks["a"].status,
        lambda tracker: len([event for event in log.events if event.kind == "note"]),
    )
