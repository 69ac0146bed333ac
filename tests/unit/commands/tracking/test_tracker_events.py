"""Observers of one tracker: each accepted change is one event (SPEC S4.9)."""

from __future__ import annotations

import threading

import msgspec
import pytest

from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.commands.tracking.tracker_events import TrackerEvents
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import (
    SLOW_LIMIT_S,
    STALL_LIMIT_S,
    EventBus,
    TaskEvent,
    decode_event,
    encode_event,
)
from taskgrove.testing import CallbackRecorder, EventLog

HANG_GUARD_S = 200.0
IN_PROGRESS, COMPLETED, FAILED = TaskStatus.IN_PROGRESS, TaskStatus.COMPLETED, TaskStatus.FAILED


@pytest.fixture
def log() -> EventLog:
    return EventLog()


def told(log: EventLog) -> list[tuple]:
    return [(event.path, event.kind, event.status, event.progress) for event in log.events]


def test_each_accepted_change_is_an_event(log):
    tracker = TaskTracker("configure", 2)
    tracker.subscribe(log)
    tracker.update_task(task_name="a", status=TaskStatus.QUEUED)
    tracker.update_task(task_name="a", status=IN_PROGRESS)
    tracker.update_task(task_name="a", progress=30)
    tracker.update_task(task_name="a", status=COMPLETED, result=(ResultCode.OK, "done"))
    tracker.update_task(task_name="b", status=FAILED, result=(3, "boom"))
    assert told(log) == [
        ("configure/a", "queued", TaskStatus.QUEUED, 0),
        ("configure/a", "started", IN_PROGRESS, 0),
        ("configure", "started", IN_PROGRESS, 0),
        ("configure/a", "progress", IN_PROGRESS, 30),
        ("configure", "progress", IN_PROGRESS, 10),
        ("configure/a", "finished", COMPLETED, 100),
        ("configure", "progress", IN_PROGRESS, 50),
        ("configure/b", "finished", FAILED, 100),
        ("configure", "finished", FAILED, 100),
    ]
    log.assert_gapless()


def test_an_event_tells_all_that_is_known_of_the_subtask(log):
    tracker = TaskTracker("configure", 1)
    tracker.subscribe(log)
    tracker.update_task(
        task_name="a",
        status=FAILED,
        result=(3, "boom"),
        error=(ValueError("the error"),),
        device_name="a/b/1",
        devices=["a/b/1", "a/b/2"],
        failed_devices=["a/b/2"],
        health_state="FAILED",
        severe=True,
        skipped=True,
        attempt=3,
    )
    [event] = log.of("configure/a")
    assert event.result_code is ResultCode.FAILED
    assert event.message == "a/b/1: boom"
    assert event.devices == ("a/b/1", "a/b/2")
    assert event.failed_devices == ("a/b/2",)
    assert event.health_state == "FAILED"
    assert event.attempt == 3
    assert (event.detail.severe, event.detail.skipped) == (True, True)
    assert "the error" in event.detail.error
    assert event.run_id == "configure"


def test_the_end_of_the_task_carries_the_sum_that_decided(log):
    tracker = TaskTracker("configure_pst", 2)
    tracker.subscribe(log)
    tracker.update_task(task_name="a", status=COMPLETED, device_name="mid-pst/beam/01")
    tracker.update_task(
        task_name="b", status=FAILED, result=(3, "boom"), device_name="mid-pst/beam/02"
    )
    event = log.assert_one_end("configure_pst", COMPLETED)
    assert event.health_state == "DEGRADED"
    assert event.failed_devices == ("mid-pst/beam/02",)
    assert (event.detail.succeeded, event.detail.total) == (1, 2)
    assert event.detail.line == "PST success 1/2 → DEGRADED"


def test_events_are_immutable_and_survive_the_wire(log):
    tracker = TaskTracker("configure", 1)
    tracker.subscribe(log)
    tracker.update_task(task_name="a", status=FAILED, result=(3, "boom"), error=(object(),))
    assert [event.path for event in log.events[-2:]] == ["configure/a", "configure"]
    for event in log.events:
        with pytest.raises(AttributeError):
            event.status = COMPLETED
        assert decode_event(encode_event(event)) == event


def test_what_changes_nothing_is_at_most_a_note(log):
    tracker = TaskTracker("configure", 2)
    tracker.subscribe(log)
    tracker.update_task(task_name="a", status=COMPLETED)
    seen = len(log)
    tracker.update_task(task_name="a", status=COMPLETED)
    assert len(log) == seen, "a duplicate is no news"
    tracker.update_task(task_name="a", status=FAILED, result=(3, "boom"))
    [note] = log.select(kind="note")
    assert note.path == "configure/a"
    assert note.detail.topic == "late"
    assert note.status is COMPLETED
    assert "FAILED" in note.message
    tracker.update_task(task_name="b", status=IN_PROGRESS)
    tracker.update_task(task_name="b", status=TaskStatus.QUEUED)
    assert log.select(topic="refused")[0].path == "configure/b"
    log.assert_gapless()


def test_a_tracker_that_nobody_observes_makes_no_events(monkeypatch):
    monkeypatch.setattr(TaskEvent, "__init__", None, raising=False)
    emitted = CallbackRecorder()
    monkeypatch.setattr(EventBus, "publish", lambda self, event: emitted(event=event))
    tracker = TaskTracker("configure", 1)
    subscription = tracker.subscribe(lambda event: None)
    subscription.close()
    tracker.update_task(task_name="a", status=IN_PROGRESS, progress=50)
    tracker.update_task(task_name="a", status=COMPLETED)
    assert len(emitted) == 0


def test_any_number_of_observers_hear_the_same(log):
    tracker = TaskTracker("configure", 1)
    logs = [log, *(EventLog() for _ in range(20))]
    for one in logs:
        tracker.subscribe(one)
    tracker.update_task(task_name="a", status=COMPLETED)
    assert all(one.events == log.events for one in logs)
    assert len(log) == 2


def test_a_closed_subscription_hears_nothing_more(log):
    tracker = TaskTracker("configure", 2)
    subscription = tracker.subscribe(log)
    tracker.update_task(task_name="a", status=IN_PROGRESS)
    subscription.close()
    subscription.close()
    tracker.update_task(task_name="a", status=COMPLETED)
    assert {event.kind for event in log.events} == {"started"}


def test_a_raising_observer_is_detached_and_reported(log, caplog):
    tracker = TaskTracker("configure", 1)
    bad = CallbackRecorder(raises=ValueError("bad observer"))
    subscription = tracker.subscribe(lambda event: bad(event=event))
    tracker.subscribe(log)
    tracker.update_task(task_name="a", status=IN_PROGRESS)
    tracker.update_task(task_name="a", status=COMPLETED)
    assert len(bad) == 1
    assert "bad observer" in subscription.detached_reason
    assert "was detached" in caplog.text
    assert len(log.select(topic="observer")) == 1
    assert tracker.overall_status is COMPLETED
    log.assert_gapless()


@pytest.mark.parametrize("kind_of_slow", ["a stall", "slow again and again"])
def test_a_slow_observer_is_detached_and_reported(log, caplog, monkeypatch, kind_of_slow):
    # No waiting: every call of this observer takes as long as this says.
    now = [0.0]
    monkeypatch.setattr("taskgrove.events.bus.SLOW_LIMIT_S", SLOW_LIMIT_S)
    monkeypatch.setattr("taskgrove.events.bus.STALL_LIMIT_S", STALL_LIMIT_S)
    monkeypatch.setattr("taskgrove.events.bus.time.perf_counter", lambda: now[0])
    calls = []

    def slow(event):
        calls.append(event)
        now[0] += 10.0 if kind_of_slow == "a stall" else 0.2

    tracker = TaskTracker("configure", 1)
    subscription = tracker.subscribe(slow)
    tracker.subscribe(log)
    for value in range(1, 20):
        tracker.update_task(task_name="a", progress=value)
    assert len(calls) == (1 if kind_of_slow == "a stall" else 5)
    assert "slow" in subscription.detached_reason
    assert "was detached" in caplog.text
    assert len(log.select(topic="observer")) == 1
    tracker.update_task(task_name="a", status=COMPLETED)
    log.assert_one_end("configure", COMPLETED)
    log.assert_gapless()


def test_an_observer_is_called_outside_the_lock():
    tracker = TaskTracker("configure", 2)
    seen = []

    def curious(event):
        tracker.errors  # noqa: B018 - it takes the lock
        seen.append(tracker.get_status())

    tracker.subscribe(curious)
    tracker.update_task(task_name="a", status=IN_PROGRESS, progress=70)
    assert seen


def test_no_lock_is_held_while_an_observer_is_asked_for_what_it_takes():
    tracker = TaskTracker("configure", 1)
    held = []

    class Curious:
        @property
        def takes_drafts(self):
            held.append(tracker._lock.locked())
            return False

        def __call__(self, event):
            pass

    tracker.subscribe(Curious())
    assert held == [False]


def test_events_tell_the_change_and_not_what_came_after_it(monkeypatch, log):
    """A thread may be held up between its change and its event."""
    original = TrackerEvents.subtask
    held, release = threading.Event(), threading.Event()

    def held_up(self, *args, **kwargs):
        if threading.current_thread().name == "held up":
            held.set()
            assert release.wait(HANG_GUARD_S)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(TrackerEvents, "subtask", held_up)
    tracker = TaskTracker("configure", 2)
    tracker.subscribe(log)
    thread = threading.Thread(
        target=lambda: tracker.update_task(task_name="a", status=IN_PROGRESS, progress=20),
        name="held up",
        daemon=True,
    )
    thread.start()
    assert held.wait(HANG_GUARD_S)
    tracker.update_task(
        task_name="a", status=FAILED, progress=90, result=(3, "boom"), device_name="a/b/1"
    )
    release.set()
    thread.join(HANG_GUARD_S)
    started, finished = log.of("configure/a")
    assert (started.kind, started.status, started.progress) == ("started", IN_PROGRESS, 20)
    assert (started.result_code, started.message, started.devices) == (None, "", ())
    assert (finished.kind, finished.status) == ("finished", FAILED)
    log.assert_gapless()


def test_sequence_numbers_are_gapless_across_threads(log):
    tracker = TaskTracker("configure", 8)
    tracker.subscribe(log)

    def work(name):
        tracker.update_task(task_name=name, status=IN_PROGRESS)
        for value in range(0, 101, 7):
            tracker.update_task(task_name=name, progress=value)
            tracker.update_task(task_name=name, progress=value // 2)
        tracker.update_task(task_name=name, status=COMPLETED)
        tracker.update_task(task_name=name, status=FAILED)

    threads = [threading.Thread(target=work, args=(f"t{n}",), daemon=True) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_GUARD_S)
    log.assert_gapless()
    log.assert_one_end("configure", COMPLETED)
    for number in range(8):
        path = f"configure/t{number}"
        assert log.statuses(path) == (IN_PROGRESS, COMPLETED)
        log.assert_one_end(path, COMPLETED)
        progress = [event.progress for event in log.of(path) if event.kind != "note"]
        assert progress == sorted(progress)


def test_a_bus_given_from_outside_gets_the_events_under_a_path(log):
    bus = EventBus("run-1")
    bus.subscribe(log)
    tracker = TaskTracker("configure_pst", 1)
    tracker.bind(bus, "configure/configure_pst")
    tracker.update_task(task_name="beam", status=COMPLETED)
    assert {event.run_id for event in log.events} == {"run-1"}
    assert {event.path for event in log.events} == {
        "configure/configure_pst",
        "configure/configure_pst/beam",
    }


def test_observers_from_before_the_run_hear_of_it_too(log):
    early = EventLog()
    tracker = TaskTracker("configure", 1)
    tracker.subscribe(early)
    bus = EventBus("run-1")
    bus.subscribe(log)
    tracker.bind(bus, "configure")
    tracker.update_task(task_name="a", status=COMPLETED)
    assert early.events == log.events
    assert len(log) == 2


def test_a_nested_tracker_tells_its_story_itself(log):
    bus = EventBus("run-1")
    bus.subscribe(log)
    parent = TaskTracker("configure", 1)
    child = TaskTracker("scan", 1, parent=parent)
    parent.bind(bus, "configure")
    child.bind(bus, "configure/scan")
    child.update_task(task_name="a", status=IN_PROGRESS, progress=50)
    child.update_task(task_name="a", status=COMPLETED)
    for path in ("configure", "configure/scan", "configure/scan/a"):
        log.assert_one_end(path, COMPLETED)
    log.assert_gapless()


@pytest.mark.parametrize("error", [(), None, "text", ("a", "b"), ValueError("x"), object()])
def test_errors_of_every_kind_can_be_told(log, error):
    tracker = TaskTracker("configure", 1)
    tracker.subscribe(log)
    tracker.update_task(task_name="a", status=FAILED, error=error)
    [event] = log.of("configure/a")
    assert event.detail.error is None or isinstance(event.detail.error, str)
    assert (event.detail.error is None) == (error in ((), None))
    assert msgspec.json.decode(encode_event(event))["kind"] == "finished"


def test_a_huge_error_is_cut(log):
    tracker = TaskTracker("configure", 1)
    tracker.subscribe(log)
    tracker.update_task(task_name="a", status=FAILED, error=("x" * 1_000_000,))
    assert len(log.of("configure/a")[0].detail.error) <= 1000


def test_a_verdict_from_outside_is_told_as_skipped(log):
    tracker = TaskTracker("configure", 1)
    tracker.subscribe(log)
    tracker.conclude(TaskStatus.REJECTED, ResultCode.REJECTED, "skipped: a failed", skipped=True)
    end = log.assert_one_end("configure", TaskStatus.REJECTED)
    assert end.detail.skipped is True
