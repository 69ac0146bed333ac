"""Events as data, and the bus that nobody can slow or break."""

from __future__ import annotations

import json
import threading
import time
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import (
    SCHEMA_VERSION,
    SLOW_CALLS_LIMIT,
    SLOW_LIMIT_S,
    STALL_LIMIT_S,
    Cause,
    CauseKind,
    ChainLink,
    ComposedDetail,
    EventBus,
    FinishedDetail,
    NoteDetail,
    StartedDetail,
    TaskEvent,
    decode_event,
    encode_event,
)
from taskgrove.events import bus as bus_module

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
COUNT = st.integers(0, 2**31)
MAYBE_TEXT = st.none() | TEXT
CAUSES = st.builds(
    Cause,
    kind=st.sampled_from(get_args(CauseKind)),
    said=TEXT,
    limit_s=st.none() | st.floats(0, 1e9),
    limit_owner=MAYBE_TEXT,
    last_answer_ns=st.none() | COUNT,
    chain=st.lists(st.builds(ChainLink, TEXT, TEXT), max_size=3).map(tuple),
)
DETAILS = st.one_of(
    st.none(),
    st.builds(
        ComposedDetail,
        execution=st.sampled_from(["SEQUENTIAL", "PARALLEL", "INTERNAL", "DEVICE", "ANALYSIS"]),
        children=st.lists(TEXT, max_size=4).map(tuple),
        rule=MAYBE_TEXT,
        timeout_s=st.none() | st.floats(0, 1e9),
        root=st.booleans(),
        target=MAYBE_TEXT,
        pst_group=st.none() | st.booleans(),
        notes=st.lists(TEXT, max_size=4).map(tuple),
    ),
    st.builds(StartedDetail, outside_kind=MAYBE_TEXT, outside_id=MAYBE_TEXT),
    st.builds(
        FinishedDetail,
        rule=MAYBE_TEXT,
        succeeded=st.none() | COUNT,
        needed=st.none() | COUNT,
        total=st.none() | COUNT,
        skipped=st.booleans(),
        severe=st.booleans(),
        error=MAYBE_TEXT,
        cause=st.none() | CAUSES,
    ),
    st.builds(NoteDetail, topic=TEXT, data=st.dictionaries(TEXT, TEXT, max_size=4)),
)
EVENTS = st.builds(
    TaskEvent,
    run_id=TEXT,
    sequence=COUNT,
    sequence_from=st.none() | COUNT,
    path=TEXT,
    kind=st.sampled_from(["composed", "queued", "started", "progress", "finished", "note"]),
    attempt=st.integers(1, 99),
    status=st.none() | st.sampled_from(TaskStatus),
    result_code=st.none() | st.sampled_from(ResultCode),
    progress=st.none() | st.integers(0, 100),
    message=TEXT,
    devices=st.lists(TEXT, max_size=3).map(tuple),
    failed_devices=st.lists(TEXT, max_size=3).map(tuple),
    health_state=st.sampled_from([None, "DEGRADED", "FAILED"]),
    monotonic_s=st.floats(0, 1e9),
    wall_ns=st.integers(0, 2**63 - 1),
    detail=DETAILS,
)


@given(EVENTS)
def test_an_event_survives_the_wire(event: TaskEvent) -> None:
    line = encode_event(event)
    assert b"\n" not in line
    back = decode_event(line)
    assert back == event
    assert type(back.detail) is type(event.detail)


def line_with(**fields: Any) -> bytes:
    made = {"run_id": "r", "sequence": 1, "path": "a", "kind": "note", "monotonic_s": 0.5}
    return json.dumps(made | {"wall_ns": 1} | fields).encode()


def test_a_reader_tolerates_fields_that_it_does_not_know() -> None:
    detail = {"type": "note", "topic": "info", "colour": "blue"}
    event = decode_event(line_with(invented_later=[1, 2], detail=detail))
    assert event.schema == SCHEMA_VERSION
    assert event.detail == NoteDetail(topic="info")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"kind": "exploded"}, r"\$\.kind"),
        ({"sequence": "one"}, r"\$\.sequence"),
        ({"status": 99}, r"\$\.status"),
        ({"detail": {"type": "gossip"}}, r"\$\.detail"),
    ],
)
def test_a_bad_line_says_where(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=text):
        decode_event(line_with(**fields))


def test_what_is_not_json_is_a_decode_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_event(b'{"run_id": ')


def test_events_cannot_be_changed() -> None:
    event = decode_event(line_with())
    with pytest.raises(AttributeError):
        event.path = "b"  # type: ignore[misc]


def test_status_and_code_are_enums_again_after_decoding() -> None:
    event = decode_event(line_with(status=5, result_code=0))
    assert event.status is TaskStatus.COMPLETED
    assert event.result_code is ResultCode.OK


def test_nothing_is_built_or_counted_while_nobody_observes() -> None:
    bus = EventBus("r")
    assert not bus.active
    bus.emit("a", "note")
    seen: list[TaskEvent] = []
    subscription = bus.subscribe(seen.append)
    assert bus.active
    bus.emit("a", "note")
    assert [event.sequence for event in seen] == [1]
    subscription.close()
    subscription.close()
    assert not bus.active
    bus.emit("a", "note")
    assert len(seen) == 1
    assert subscription.detached_reason is None


def test_every_observer_gets_every_event_and_a_late_one_only_what_follows() -> None:
    bus = EventBus("r")
    first: list[TaskEvent] = []
    second: list[TaskEvent] = []
    bus.subscribe(first.append)
    bus.emit("a", "queued")
    bus.subscribe(second.append)
    bus.emit("a", "started", status=TaskStatus.IN_PROGRESS)
    assert [event.kind for event in first] == ["queued", "started"]
    assert second == first[1:]


def test_the_time_is_read_from_the_clock_that_was_given() -> None:
    class Frozen:
        def monotonic(self) -> float:
            return 12.5

        def wall_ns(self) -> int:
            return 34

    bus = EventBus("r", Frozen())
    seen: list[TaskEvent] = []
    bus.subscribe(seen.append)
    bus.emit("a", "note")
    assert (seen[0].monotonic_s, seen[0].wall_ns) == (12.5, 34)


def test_an_observer_that_raises_is_detached_and_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = EventBus("run-7")
    seen: list[TaskEvent] = []
    calls: list[TaskEvent] = []

    def broken(event: TaskEvent) -> None:
        calls.append(event)
        raise KeyError("lost")

    subscription = bus.subscribe(broken)
    bus.subscribe(seen.append)
    bus.emit("a/b", "queued")
    bus.emit("a/b", "started")
    assert len(calls) == 1
    assert sorted(event.sequence for event in seen) == [1, 2, 3]
    [note] = [event for event in seen if event.kind == "note"]
    assert note.detail == NoteDetail(topic="observer")
    assert note.path == "a/b"
    assert "broken was detached: it raised KeyError: 'lost'" in note.message
    assert subscription.detached_reason == "it raised KeyError: 'lost'"
    assert "run-7" in caplog.text
    assert "broken" in caplog.text


def test_the_last_observer_that_raises_leaves_a_silent_bus(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = EventBus("r")

    def broken(event: TaskEvent) -> None:
        raise ValueError

    bus.subscribe(broken)
    bus.emit("a", "queued")
    assert not bus.active
    bus.emit("a", "started")
    assert caplog.text.count("was detached") == 1


class FakeTime:
    """Stands in for the performance counter: an observer says how long it took."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def observer(self, *durations: float) -> Any:
        left = list(durations)

        def slow(event: TaskEvent) -> None:
            self.now += left.pop(0)

        return slow


@pytest.mark.parametrize(
    ("durations", "survives"),
    [
        ([SLOW_LIMIT_S * 2] * SLOW_CALLS_LIMIT, False),
        ([SLOW_LIMIT_S * 2] * (SLOW_CALLS_LIMIT - 1) + [0.0, SLOW_LIMIT_S * 2], True),
        ([SLOW_LIMIT_S / 2] * SLOW_CALLS_LIMIT * 4, True),
        ([STALL_LIMIT_S * 1.1], False),
        ([STALL_LIMIT_S * 0.9], True),
    ],
)
def test_an_observer_that_is_slow_again_and_again_is_detached(
    monkeypatch: pytest.MonkeyPatch, durations: list[float], survives: bool
) -> None:
    monkeypatch.setattr(bus_module, "SLOW_LIMIT_S", SLOW_LIMIT_S)
    monkeypatch.setattr(bus_module, "STALL_LIMIT_S", STALL_LIMIT_S)
    bus = EventBus("r")
    seen: list[TaskEvent] = []
    subscription = bus.subscribe(FakeTime(monkeypatch).observer(*durations))
    bus.subscribe(seen.append)
    for _ in durations:
        bus.emit("a", "progress", progress=1)
    assert (subscription.detached_reason is None) is survives
    notes = [event for event in seen if event.kind == "note"]
    assert len(notes) == (0 if survives else 1)
    assert all("was slow" in note.message for note in notes)


def test_an_observer_may_leave_and_subscribe_from_within_a_call() -> None:
    bus = EventBus("r")
    late: list[TaskEvent] = []

    def restless(event: TaskEvent) -> None:
        subscription.close()
        bus.subscribe(late.append)

    subscription = bus.subscribe(restless)
    bus.emit("a", "queued")
    bus.emit("a", "started")
    assert [event.kind for event in late] == ["started"]


def test_threads_share_one_gapless_sequence() -> None:
    bus = EventBus("r")
    seen: list[TaskEvent] = []
    bus.subscribe(seen.append)
    gate = threading.Barrier(8)

    def publish(number: int) -> None:
        gate.wait()
        for step in range(250):
            bus.emit(f"leaf-{number}", "progress", progress=step % 100)

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(event.sequence for event in seen) == list(range(1, 2001))
    for number in range(8):
        own = [event.sequence for event in seen if event.path == f"leaf-{number}"]
        assert own == sorted(own)


def test_a_number_taken_under_a_lock_is_published_later() -> None:
    bus = EventBus("r")
    seen: list[TaskEvent] = []
    bus.subscribe(seen.append)
    early = bus.next_sequence()
    bus.emit("b", "note")
    bus.emit("a", "note", sequence=early)
    assert [(event.path, event.sequence) for event in seen] == [("b", 2), ("a", 1)]


def test_subscribing_while_others_publish_loses_nobody() -> None:
    bus = EventBus("r")
    bus.subscribe(lambda event: None)
    stop = threading.Event()

    def publish() -> None:
        while not stop.is_set():
            bus.emit("a", "note")

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for _ in range(100):
            got: list[TaskEvent] = []
            subscription = bus.subscribe(got.append)
            bus.emit("own", "note")
            subscription.close()
            assert any(event.path == "own" for event in got)
    finally:
        stop.set()
        thread.join()


def test_the_schema_is_written_and_a_newer_one_is_refused() -> None:
    line = encode_event(
        TaskEvent(run_id="r", sequence=1, path="a", kind="note", monotonic_s=0.0, wall_ns=0)
    )
    assert b'"schema":1' in line
    with pytest.raises(msgspec.ValidationError, match="schema 99"):
        decode_event(line.replace(b'"schema":1', b'"schema":99'))


def test_what_is_no_text_is_escaped() -> None:
    event = TaskEvent(
        run_id="r",
        sequence=1,
        path="a",
        kind="note",
        message="\ud800 x",
        monotonic_s=0.0,
        wall_ns=0,
    )
    assert decode_event(encode_event(event)).message == "\\ud800 x"
