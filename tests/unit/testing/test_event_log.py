"""EventLog collects, waits and judges."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from taskgrove.control_model import TaskStatus
from taskgrove.events import EventBus, EventKind, NoteDetail, TaskEvent
from taskgrove.testing import EventLog


def event(sequence: int, kind: EventKind = "progress", path: str = "a", **fields: Any) -> TaskEvent:
    made: dict[str, Any] = {"run_id": "r", "monotonic_s": 0.0, "wall_ns": 0, **fields}
    return TaskEvent(sequence=sequence, kind=kind, path=path, **made)


def log_of(*events: TaskEvent) -> EventLog:
    log = EventLog()
    for item in events:
        log(item)
    return log


def test_it_observes_a_bus() -> None:
    bus, log = EventBus("run-1"), EventLog()
    bus.subscribe(log)
    bus.emit("a", "started", status=TaskStatus.IN_PROGRESS)
    [seen] = log.events
    assert (seen.path, seen.kind, seen.run_id) == ("a", "started", "run-1")


def test_it_orders_by_sequence_what_came_out_of_order() -> None:
    log = log_of(event(2), event(1), event(3))
    assert [item.sequence for item in log.events] == [1, 2, 3]
    assert len(log) == 3


def test_it_selects_by_every_condition() -> None:
    note = event(3, "note", "a/b", detail=NoteDetail(topic="late"))
    end = event(2, "finished", "a/b", status=TaskStatus.FAILED)
    log = log_of(event(1), end, note)
    assert log.select(kind="finished") == (end,)
    assert log.select(status=TaskStatus.FAILED, path="a/b") == (end,)
    assert log.select(topic="late") == (note,)
    assert log.select(where=lambda item: item.sequence > 1) == (end, note)
    assert log.of("a/b") == (end, note)
    assert log.select(kind="finished", path="a") == ()


def test_it_waits_for_what_another_thread_publishes() -> None:
    bus, log = EventBus("r"), EventLog()
    bus.subscribe(log)

    def publish() -> None:
        for _ in range(3):
            bus.emit("a", "progress", progress=10)
        bus.emit("a", "finished", status=TaskStatus.COMPLETED)

    thread = threading.Timer(0.05, publish)
    thread.start()
    assert log.wait_for(kind="progress", count=3).sequence == 3
    assert log.wait_for(kind="finished", path="a").status is TaskStatus.COMPLETED
    thread.join()


def test_what_never_comes_is_told_with_what_did() -> None:
    log = log_of(event(1, "note", message="hello", detail=NoteDetail(topic="info"), progress=3))
    with pytest.raises(AssertionError) as caught:
        log.wait_for(kind="finished", path="a", timeout_s=0.01)
    text = str(caught.value)
    assert "0 of 1 events with kind='finished', path='a'" in text
    assert "#1 a note 3 % [info] 'hello'" in text


def test_nothing_came_is_said_too() -> None:
    with pytest.raises(AssertionError, match="no event came"):
        EventLog().wait_for(timeout_s=0)


def test_statuses_are_told_without_repetition() -> None:
    statuses = [TaskStatus.QUEUED, TaskStatus.IN_PROGRESS, TaskStatus.IN_PROGRESS, None]
    log = log_of(*(event(number, status=status) for number, status in enumerate(statuses, 1)))
    assert log.statuses("a") == (TaskStatus.QUEUED, TaskStatus.IN_PROGRESS)


def test_a_gapless_log_may_hold_coalesced_events() -> None:
    log_of(event(1), event(5, sequence_from=2), event(6)).assert_gapless()
    log_of(event(8), event(9)).assert_gapless(first=None)
    EventLog().assert_gapless()


@pytest.mark.parametrize(
    ("log", "text"),
    [
        (log_of(event(1), event(3)), "event 2 is missing"),
        (log_of(event(2)), "event 1 is missing"),
        (log_of(event(1), event(1)), "event 1 is there twice"),
        (log_of(event(1), event(2), event(4, sequence_from=2)), "event 2 is there twice"),
        (log_of(event(1), event(2, run_id="other")), "events of 2 runs"),
    ],
)
def test_gaps_and_doubles_are_found(log: EventLog, text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        log.assert_gapless()


def test_one_end_is_returned() -> None:
    end = event(2, "finished", status=TaskStatus.FAILED)
    log = log_of(event(1), end, event(3, "note"))
    assert log.assert_one_end("a", TaskStatus.FAILED) is end


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([event(1)], "ended 0 times"),
        ([], "ended 0 times; no event of a came"),
        ([event(1, "finished"), event(2, "finished")], "ended 2 times"),
        ([event(1, "finished", status=TaskStatus.FAILED)], "ended FAILED, not COMPLETED"),
        ([event(1, "finished")], "ended no status, not COMPLETED"),
        (
            [event(1, "finished", status=TaskStatus.COMPLETED), event(2, progress=50)],
            "went on after its end: #2 a progress 50 %",
        ),
    ],
)
def test_any_other_end_is_found(events: list[TaskEvent], text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        log_of(*events).assert_one_end("a", TaskStatus.COMPLETED)
