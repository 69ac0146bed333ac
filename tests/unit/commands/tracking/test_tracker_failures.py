"""``update_task`` never raises: errors inside and hostile input (SPEC S4.6, S2.2)."""

from __future__ import annotations

import gc
import itertools
import threading

import pytest

from taskgrove.commands.aggregation import base
from taskgrove.commands.aggregation.policy import TaskAggregationPolicy
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import EventBus
from taskgrove.testing import CallbackRecorder, EventLog
from tests.unit.hostile_values import EndlessNames, Hostile, LyingClass, RefusalError, Unhashable

COMPLETED = TaskStatus.COMPLETED


def boom(*args, **kwargs):
    raise RuntimeError("injected")


def break_at(monkeypatch, tracker: TaskTracker, place: str) -> None:
    part, _, name = place.rpartition(".")
    monkeypatch.setattr(getattr(tracker, part) if part else tracker, name, boom)


def is_released(tracker: TaskTracker) -> bool:
    expired = threading.Event()
    expired.set()
    return tracker.wait_for_task_completion(expired)


def ends_of(done: CallbackRecorder) -> list:
    return [payload for payload in done.payloads if payload["status"].is_final]


def assert_failed_once(tracker: TaskTracker, done: CallbackRecorder) -> None:
    assert is_released(tracker)
    assert tracker.overall_status is TaskStatus.FAILED
    assert tracker.overall_result is ResultCode.FAILED
    assert tracker.overall_health == "FAILED"
    [end] = ends_of(done)
    assert done.payloads[-1] is end, "nothing comes after the completion"
    assert end["task_name"] == tracker.task_name
    assert end["status"] is TaskStatus.FAILED
    assert end["result"][0] is ResultCode.FAILED
    assert end["result"][1]
    assert end["health_state"] == "FAILED"


# -- errors inside -------------------------------------------------------------------------------

# Where an error can be injected, and whether a first report of progress comes across it.
PLACES = {
    "_intake.take_in": True,
    "_intake.checked_status": True,
    "_course.commit": True,
    "_course.progress_payload": True,
    "_judgement.aggregate": False,
    "_judgement.completion_payload": False,
    "_judgement.devices": False,
    "_judgement.keep_errors": True,
}


def hard_update(tracker: TaskTracker, name: str, status: int, progress: int | None = None) -> None:
    """One update that comes across every place."""
    tracker.update_task(
        task_name=name,
        status=status,
        progress=progress,
        result='[0, "fine"]',
        error=("x",),
        device_name="a/b/1",
        devices=["a/b/1"],
    )


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("observed", [False, True])
def test_an_error_inside_fails_the_task_once(monkeypatch, caplog, place, observed):
    done, log = CallbackRecorder(), EventLog()
    tracker = TaskTracker("configure", 1, done)
    if observed:
        tracker.subscribe(log)
    break_at(monkeypatch, tracker, place)
    hard_update(tracker, "a", 2, 55)
    assert is_released(tracker) is PLACES[place]
    hard_update(tracker, "a", 5)
    hard_update(tracker, "a", 5)
    assert_failed_once(tracker, done)
    assert "injected" in caplog.text
    if observed:
        log.assert_gapless()
        log.assert_one_end("configure", TaskStatus.FAILED)


@pytest.mark.parametrize("place", PLACES)
def test_an_error_inside_reaches_the_parent(monkeypatch, place):
    done = CallbackRecorder()
    parent = TaskTracker("configure", 1, done)
    child = TaskTracker("scan", 1, parent.update_task)
    break_at(monkeypatch, child, place)
    hard_update(child, "a", 2, 55)
    hard_update(child, "a", 5)
    assert is_released(child)
    assert_failed_once(parent, done)


@pytest.mark.parametrize("place", PLACES)
def test_an_error_inside_the_parent_leaves_the_child_as_it_is(monkeypatch, place):
    done = CallbackRecorder()
    parent = TaskTracker("configure", 1, done)
    child = TaskTracker("scan", 1, parent.update_task)
    break_at(monkeypatch, parent, place)
    hard_update(child, "a", 2, 55)
    hard_update(child, "a", 5)
    assert is_released(child)
    assert child.overall_status is COMPLETED
    assert is_released(parent)
    assert len(ends_of(done)) == 1


@pytest.mark.parametrize("method", ["aggregate", "is_problem"])
def test_a_policy_that_raises_fails_the_task(monkeypatch, caplog, method):
    monkeypatch.setattr(TaskAggregationPolicy, method, boom)
    done = CallbackRecorder()
    tracker = TaskTracker("configure", 1, done)
    tracker.update_task(task_name="a", status=COMPLETED)
    assert_failed_once(tracker, done)
    assert "RuntimeError: injected" in tracker.overall_resultcode[1]
    assert "RuntimeError: injected" in caplog.text


@pytest.mark.parametrize("nothing", [None, "an outcome", 7])
def test_a_policy_that_gives_no_outcome_fails_the_task(monkeypatch, nothing):
    monkeypatch.setattr(TaskAggregationPolicy, "aggregate", lambda self, subs: nothing)
    done = CallbackRecorder()
    tracker = TaskTracker("configure", 1, done)
    tracker.update_task(task_name="a", status=COMPLETED)
    assert_failed_once(tracker, done)


def test_an_aggregation_that_does_nothing_fails_the_task(monkeypatch):
    done = CallbackRecorder()
    tracker = TaskTracker("configure", 1, done)
    monkeypatch.setattr(tracker._judgement, "aggregate", lambda: None)
    tracker.update_task(task_name="a", status=COMPLETED)
    assert_failed_once(tracker, done)


def test_an_error_that_cannot_be_printed_fails_the_task_all_the_same(monkeypatch):
    done = CallbackRecorder()
    tracker = TaskTracker("configure", 1, done)

    def refuse(*args):
        raise RefusalError

    monkeypatch.setattr(tracker._course, "commit", refuse)
    hard_update(tracker, "a", 5)
    assert_failed_once(tracker, done)
    assert "RefusalError" in tracker.overall_resultcode[1]


def test_reading_the_outcome_after_an_error_inside_never_raises(monkeypatch):
    tracker = TaskTracker("configure", 1, is_root=True)
    monkeypatch.setattr(tracker._judgement, "aggregate", boom)
    tracker.update_task(task_name="a", status=COMPLETED)
    code, message = tracker.overall_resultcode
    assert code is ResultCode.FAILED
    assert message.splitlines()[0] == "Task configure failed"
    assert tracker._chain_message() == message


def test_events_that_cannot_be_made_harm_nothing(monkeypatch, caplog):
    done, log = CallbackRecorder(), EventLog()
    tracker = TaskTracker("configure", 1, done)
    tracker.subscribe(log)
    monkeypatch.setattr(EventBus, "emit", boom)
    tracker.update_task(task_name="a", status=TaskStatus.IN_PROGRESS, progress=55)
    tracker.update_task(task_name="a", status=COMPLETED)
    tracker.update_task(task_name="a", status=TaskStatus.FAILED)
    assert is_released(tracker)
    assert tracker.overall_status is COMPLETED
    assert [payload["progress"] for payload in done.payloads] == [0, 50, 100]
    assert "injected" in caplog.text


# -- hostile input -------------------------------------------------------------------------------


def hostile_values() -> list:
    numpy = pytest.importorskip("numpy")
    return [
        Hostile(),
        Unhashable(),
        LyingClass(),
        EndlessNames(),
        RefusalError(),
        object(),
        Hostile,
        numpy.array([1, 2, 3]),
        numpy.array([[3], [1]]),
        numpy.array(["a", "b"]),
        numpy.array([]),
        numpy.array([50]),
        numpy.float64("nan"),
        numpy.int64(50),
        numpy.zeros((100, 100)),
        float("nan"),
        float("inf"),
        -(10**400),
        10**400,
        1j,
        True,
        b"\xff\x00",
        bytearray(b"x"),
        "x" * 3_000_000,
        "\ud800",
        "",
        "\x00\x1b[31m",
        [],
        [[]],
        [None],
        {},
        {"a": object()},
        set(),
        (1, 2, 3, 4),
        (Hostile(), Hostile()),
        [Hostile()],
        {Hostile(): Hostile()},
        range(5),
        iter([1, 2]),
        (item for item in "ab"),
        lambda: None,
        TaskStatus.FAILED,
        ResultCode.FAILED,
        TaskStatus,
    ]


FIELDS = [
    "task_name",
    "status",
    "progress",
    "result",
    "error",
    "device_name",
    "devices",
    "failed_devices",
    "operation",
    "obs_mode",
    "source",
    "health_state",
    "severe",
    "skipped",
    "attempt",
    "something_else",
]


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("field", FIELDS)
def test_whatever_comes_in_a_field_the_task_ends_once(field, observed, caplog, monkeypatch):
    monkeypatch.setattr(base, "_DEVICES_LIMIT", 1_000)  # so many names are taken of an endless list
    for value in hostile_values():
        done, top, log = CallbackRecorder(), CallbackRecorder(), EventLog()
        parent = TaskTracker("configure", 1, top, is_root=True)
        tracker = TaskTracker("scan", 2, done, parent=parent)
        if observed:
            tracker.subscribe(log)
        for update in (
            {"task_name": "a", "status": TaskStatus.IN_PROGRESS},
            {"task_name": "a", "status": TaskStatus.IN_PROGRESS, field: value},
            {"task_name": "b", field: value},
            {"task_name": "b", "status": COMPLETED, "progress": 50, field: value},
            {"task_name": "b", field: value},
            {"task_name": "a", "status": COMPLETED},
            {"task_name": "b", "status": COMPLETED},
            {"task_name": "c", "status": COMPLETED},
            {"task_name": "c", "status": TaskStatus.FAILED, field: value},
        ):
            tracker.update_task(**update)
        assert is_released(tracker)
        assert is_released(parent)
        assert len(ends_of(done)) == 1
        assert len(ends_of(top)) == 1
        assert tracker.overall_status.is_final
        assert parent.overall_status.is_final
        assert isinstance(parent.overall_resultcode[1], str)
        assert 0 <= tracker.progress <= 100
        if observed:
            log.assert_gapless()
            log.assert_one_end("scan")
    caplog.clear()
    gc.collect()


@pytest.mark.parametrize("field", [name for name in FIELDS if name not in ("task_name", "status")])
def test_garbage_beside_a_good_end_does_not_fail_the_task(field):
    for value in (object(), 1j, [], float("nan"), [None], b"\xff", {}):
        if field == "result":
            continue
        tracker = TaskTracker("configure", 1)
        tracker.update_task(**{"task_name": "a", "status": COMPLETED, field: value})
        assert tracker.overall_status is COMPLETED, value
        assert tracker.overall_result is ResultCode.OK, value


@pytest.mark.parametrize("field", ["operation", "obs_mode", "device_name", "source"])
def test_hostile_texts_do_not_fail_the_task(field):
    for value in (Hostile(), LyingClass()):
        tracker = TaskTracker("configure", 1)
        tracker.update_task(**{"task_name": "a", "status": COMPLETED, field: value})
        assert tracker.overall_status is COMPLETED


@pytest.mark.parametrize("name", [7, None, (1, 2), 1.5, TaskStatus.FAILED, frozenset()])
def test_a_name_that_is_no_text_is_a_name_all_the_same(name):
    log = EventLog()
    tracker = TaskTracker("configure", 1)
    tracker.subscribe(log)
    tracker.update_task(task_name=name, status=TaskStatus.FAILED, result=(3, "boom"))
    assert is_released(tracker)
    assert tracker.overall_status is TaskStatus.FAILED
    log.assert_gapless()


def test_a_missing_or_positional_argument_is_the_callers_mistake():
    tracker = TaskTracker("configure", 1)
    with pytest.raises(TypeError):
        tracker.update_task(status=COMPLETED)
    with pytest.raises(TypeError):
        tracker.update_task("a", COMPLETED)


def test_a_huge_message_is_cut():
    done = CallbackRecorder()
    tracker = TaskTracker("configure", 1, done)
    tracker.update_task(task_name="a", status=COMPLETED, result=(3, "x" * 10_000_000))
    assert len(done.payloads[-1]["result"][1]) < 5000


def test_ten_thousand_causes_stay_readable():
    done = CallbackRecorder()
    tracker = TaskTracker("configure", 10_000, done)
    for number in range(10_000):
        tracker.update_task(task_name=f"t{number}", status=TaskStatus.FAILED, result=(3, "boom"))
    lines = done.payloads[-1]["result"][1].splitlines()
    assert len(lines) == 202
    assert lines[-1] == "- … and 9800 more"


@pytest.mark.parametrize(
    "order", list(itertools.permutations(["callback", "observer", "hook"])), ids="-".join
)
def test_all_that_is_attached_may_raise_at_once(order):
    tracker = TaskTracker("configure", 1)
    for what in order:
        if what == "callback":
            tracker.completed_callback = boom
        elif what == "observer":
            tracker.subscribe(boom)
        else:
            tracker.when_closed(boom)
    tracker.update_task(task_name="a", status=TaskStatus.IN_PROGRESS)
    tracker.update_task(task_name="a", status=COMPLETED)
    assert is_released(tracker)
    assert tracker.overall_status is COMPLETED
