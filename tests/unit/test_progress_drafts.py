"""Progress is published as a draft to those that take drafts, as an event to all others."""

from __future__ import annotations

from typing import Any

import pytest

from taskgrove import ResultCode, TaskStatus, TaskTracker
from taskgrove.events import EventBus, ProgressDraft, TaskEvent, decode_event, encode_event
from taskgrove.testing import EventLog

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
    draft = ProgressDraft("run", 9, "root", "leaf", 50, None, "", None, None, None, None, 1.0, 2)
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
