"""Progress is published as a draft to those that take drafts, as an event to all others."""

from __future__ import annotations

import time
from typing import Any

import pytest

from taskgrove import ResultCode, TaskStatus, TaskTracker
from taskgrove.commands.tracking.updates import NO_CONTEXT
from taskgrove.events import (
    EventBus,
    ProgressDraft,
    SubtaskFacts,
    TaskEvent,
    decode_event,
    encode_event,
)
from taskgrove.testing import EventLog, ManualClock

RUNNING = TaskStatus.IN_PROGRESS


class Taker:
    """An observer that takes drafts."""

    takes_drafts = True

    def __init__(self) -> None:
        self.heard: list[TaskEvent | ProgressDraft] = []

    def __call__(self, item: Any) -> None:
        self.heard.append(item)

    @property
    def events(self) -> list[TaskEvent]:
        return [item.event() if isinstance(item, ProgressDraft) else item for item in self.heard]


def tracked(total: int = 2) -> tuple[TaskTracker, EventBus]:
    tracker, bus = TaskTracker("configure", total, lambda **_: None), EventBus("run")
    tracker.bind(bus, "configure")
    return tracker, bus


def test_a_draft_stands_for_the_event_that_others_get() -> None:
    tracker, bus = tracked()
    taker, log = Taker(), EventLog()
    bus.subscribe(taker)
    bus.subscribe(log)
    tracker.update_task(
        task_name="beam", status=RUNNING, device_name="a/b/c", result=(ResultCode.STARTED, "tuning")
    )
    for progress in (10, 20, 20, 15, 30, 100):
        tracker.update_task(
            task_name="beam", status=RUNNING, progress=progress, device_name="a/b/c"
        )
    tracker.update_task(task_name="beam", devices=["d/e/f", "a/b/c"], failed_devices=["d/e/f"])
    tracker.update_task(task_name="beam", progress=70, status=RUNNING)
    tracker.update_task(task_name="beam", status=TaskStatus.COMPLETED)
    log.assert_gapless()
    assert taker.events == list(log.events)
    assert any(isinstance(item, ProgressDraft) for item in taker.heard)
    ten = next(event for event in taker.events if event.progress == 10)
    assert (ten.devices, ten.result_code) == (("a/b/c",), ResultCode.STARTED)
    assert ten.message == "a/b/c: tuning"
    assert decode_event(encode_event(ten)) == ten


def test_a_draft_is_what_was_so_when_it_was_made() -> None:
    tracker, bus = tracked()
    taker = Taker()
    bus.subscribe(taker)
    tracker.update_task(task_name="beam", status=RUNNING, devices=["a/b/c"])
    tracker.update_task(task_name="beam", status=RUNNING, progress=10)
    draft = taker.heard[-1]
    assert isinstance(draft, ProgressDraft)
    tracker.update_task(task_name="beam", devices=["d/e/f"], failed_devices=["d/e/f"])
    assert draft.event().devices == ("a/b/c",)
    assert draft.event().failed_devices == ()


def test_a_range_can_be_told() -> None:
    draft = ProgressDraft(SubtaskFacts("run", "root/leaf"), 9, 50, 1.0, 2)
    assert draft.event().sequence_from is None
    event = draft.event(4)
    assert (event.sequence_from, event.sequence, event.path) == (4, 9, "root/leaf")
    assert event.devices == ()


def test_one_that_takes_drafts_and_raises_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    tracker, bus = tracked()
    log = EventLog()

    def raises(_item: Any) -> None:
        raise RuntimeError("full")

    raises.takes_drafts = True  # type: ignore[attr-defined]
    subscription = bus.subscribe(raises, essential=True)
    bus.subscribe(log)
    for progress in (0, 10, 20):
        tracker.update_task(task_name="beam", status=RUNNING, progress=progress)
    log.assert_gapless()
    assert subscription.detached_reason is None
    assert "the record's observer raised" in caplog.text


def test_progress_tells_what_has_become_of_the_subtask_meanwhile() -> None:
    tracker, bus = tracked()
    taker = Taker()
    bus.subscribe(taker)
    update = tracker.update_task
    update(task_name="beam", status=RUNNING, devices=["a/b/c"])
    for number, change in enumerate(
        [
            {"devices": ["d/e/f"]},
            {"failed_devices": ["d/e/f"]},
            {"result": (ResultCode.STARTED, "tuning")},
            {"device_name": "g/h/i", "result": (ResultCode.STARTED, "tuned")},
            {"health_state": "DEGRADED"},
        ]
    ):
        update(task_name="beam", status=RUNNING, progress=10 * number + 1)
        update(task_name="beam", **change)
        update(task_name="beam", status=RUNNING, progress=10 * number + 2)
        changed, told = taker.events[-2:]
        assert isinstance(taker.heard[-1], ProgressDraft)
        for name in ("path", "devices", "failed_devices", "result_code", "message", "health_state"):
            assert getattr(told, name) == getattr(changed, name), (name, change)


def test_a_helper_that_changes_a_record_changes_what_progress_tells() -> None:
    tracker, bus = tracked()
    taker = Taker()
    bus.subscribe(taker)
    tracker.update_task(task_name="beam", status=RUNNING)
    tracker.update_task(task_name="beam", progress=1)
    with tracker._lock:
        tracker._upsert_subtask("beam", None, (ResultCode.STARTED, "tuning"), NO_CONTEXT)
    tracker.update_task(task_name="beam", progress=2)
    assert taker.events[-1].message == "tuning"


def test_a_subtask_that_gets_a_tracker_is_told_of_by_that_one_only() -> None:
    tracker, bus = tracked()
    taker = Taker()
    bus.subscribe(taker)
    tracker.update_task(task_name="inner", status=RUNNING, progress=1)
    tracker.update_task(task_name="inner", status=RUNNING, progress=2)
    inner = TaskTracker("inner", 1, parent=tracker)
    inner.bind(bus, "configure/inner")
    count = len(taker.heard)
    tracker.update_task(task_name="inner", status=RUNNING, progress=3)
    assert tracker.progress_of("inner") == 3
    assert len(taker.heard) == count


def test_another_run_of_a_tracker_tells_its_own_name_and_path() -> None:
    tracker, bus = tracked()
    first, second = Taker(), Taker()
    subscription = bus.subscribe(first)
    tracker.update_task(task_name="beam", status=RUNNING, progress=1)
    tracker.update_task(task_name="beam", status=RUNNING, progress=2)
    subscription.close()
    again = EventBus("again")
    again.subscribe(second)
    tracker.bind(again, "scan")
    tracker.update_task(task_name="beam", status=RUNNING, progress=3)
    assert [(e.run_id, e.sequence, e.path) for e in second.events] == [("again", 1, "scan/beam")]
    assert isinstance(second.heard[0], ProgressDraft)


def test_instants_go_on_by_the_monotonic_clock_whatever_is_done_to_the_wall_clock() -> None:
    clock = ManualClock(monotonic_s=5.0, wall_ns=1_000)
    tracker, bus = TaskTracker("configure", 1), EventBus("run", clock)
    tracker.bind(bus, "configure")
    taker = Taker()
    bus.subscribe(taker)
    tracker.update_task(task_name="beam", status=RUNNING, progress=1)
    for progress, hours in ((2, -3), (3, 5)):
        clock.set_wall_ns(clock.wall_ns() + hours * 3_600 * 10**9)
        clock.advance(2.0)
        tracker.update_task(task_name="beam", status=RUNNING, progress=progress)
    tracker.update_task(task_name="beam", status=TaskStatus.COMPLETED)
    assert [e.monotonic_s for e in taker.events if e.kind == "progress"] == [7.0, 9.0]
    for event in taker.events:
        assert event.wall_ns == 1_000 + int((event.monotonic_s - 5.0) * 1e9)


def test_progress_tells_the_time_of_the_machine() -> None:
    tracker, bus = tracked()
    taker = Taker()
    bus.subscribe(taker)
    tracker.update_task(task_name="beam", status=RUNNING)
    for progress in range(1, 50):
        before = (time.time_ns(), time.monotonic())
        tracker.update_task(task_name="beam", status=RUNNING, progress=progress)
        after = (time.time_ns(), time.monotonic())
        event = taker.events[-1]
        assert before[1] <= event.monotonic_s <= after[1]
        # The clocks were compared when the bus was made; a thread may have been put aside there.
        assert before[0] - 10**9 <= event.wall_ns <= after[0] + 10**9
