"""Whatever is put into an event, it can be written, and what is written can be read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import (
    AnalysisDetail,
    Cause,
    ChainLink,
    ComposedDetail,
    EventBus,
    FinishedDetail,
    NoteDetail,
    PageDetail,
    StartedDetail,
    TaskEvent,
    decode_event,
    encode_event,
)
from taskgrove.events.foreign_values import describe, plain_data, readable
from taskgrove.events.plain_event import plain_event, read_event, substitute
from tests.unit.foreign_values import FOREIGN, foreign_values
from tests.unit.hostile_values import Hostile

FINISHED = TaskEvent(
    run_id="run-1",
    sequence=7,
    path="scan/a",
    kind="finished",
    attempt=2,
    status=TaskStatus.COMPLETED,
    result_code=ResultCode.OK,
    progress=100,
    message="0 of 1 → done",
    devices=("mid-csp/a/1",),
    monotonic_s=5.5,
    wall_ns=1_700_000_000_000_000_000,
    detail=FinishedDetail(rule="default", cause=Cause(kind="raised", chain=(ChainLink("E"),))),
)
DETAILS = (
    ComposedDetail("DEVICE"),
    StartedDetail("command", "1"),
    FinishedDetail(),
    NoteDetail("info"),
    AnalysisDetail("Fit"),
    PageDetail("scan/a", "/pages/a", 1, "5e"),
)
#: What readers order and decide by.
KEPT = ("run_id", "sequence", "path", "kind", "attempt", "status", "result_code", "wall_ns")
PLACES = [("event", FINISHED, name) for name in TaskEvent.__struct_fields__ if name != "schema"]
PLACES += [
    (type(detail).__name__, detail, name)
    for detail in DETAILS
    for name in type(detail).__struct_fields__
]
PLACES += [("cause", FINISHED.detail.cause, name) for name in Cause.__struct_fields__]  # type: ignore[union-attr]


def event_with(place: tuple[str, Any, str], value: Any) -> TaskEvent:
    what, holder, name = place
    holder = msgspec.structs.replace(holder, **{name: value})
    if what == "event":
        return holder  # type: ignore[no-any-return]
    detail = FinishedDetail(cause=holder) if what == "cause" else holder
    return msgspec.structs.replace(FINISHED, detail=detail)


def assert_written_and_read(event: TaskEvent) -> TaskEvent:
    made = plain_event(event)
    back = decode_event(encode_event(made))
    assert back == made
    assert plain_event(back) == back
    for field in TaskEvent.__struct_fields__:
        assert type(getattr(back, field)) is type(getattr(made, field))
    return made


@given(st.sampled_from(PLACES), foreign_values)
def test_any_value_anywhere(place: tuple[str, Any, str], value: Any) -> None:
    made = assert_written_and_read(event_with(place, value))
    encode_event(event_with(place, value))
    if place[0] != "event":
        assert [getattr(made, name) for name in KEPT] == [getattr(FINISHED, name) for name in KEPT]


@pytest.mark.parametrize("kind", sorted(FOREIGN))
@pytest.mark.parametrize("field", ["message", "devices", "detail", "progress", "monotonic_s"])
def test_each_kind_in_the_fields_that_matter(kind: str, field: str) -> None:
    made = assert_written_and_read(event_with(("event", FINISHED, field), FOREIGN[kind]()))
    kept = [name for name in KEPT if name != field]
    assert [getattr(made, name) for name in kept] == [getattr(FINISHED, name) for name in kept]


def test_what_is_plain_stays_the_same_object() -> None:
    for detail in (None, *DETAILS):
        event = msgspec.structs.replace(FINISHED, detail=detail)
        assert plain_event(event) is event


@pytest.mark.parametrize("detail", DETAILS, ids=lambda detail: type(detail).__name__)
def test_what_is_plain_of_an_event_stays_as_it_is(detail: Any) -> None:
    event = msgspec.structs.replace(FINISHED, detail=detail)
    made = plain_event(msgspec.structs.replace(event, message=FOREIGN["numpy float"]()))
    assert made == msgspec.structs.replace(event, message="5.5")


def test_data_of_a_device_is_kept_as_data() -> None:
    detail = FinishedDetail(result_value={"rate": FOREIGN["numpy float"](), "beams": (1, 2)})
    made = plain_event(msgspec.structs.replace(FINISHED, detail=detail))
    assert made.detail == FinishedDetail(result_value={"rate": 5.5, "beams": [1, 2]})


def test_a_number_is_told_as_it_is() -> None:
    made = plain_event(event_with(("event", FINISHED, "message"), FOREIGN["numpy float"]()))
    assert made.message == "5.5"
    assert made.replaced is None


def test_what_was_replaced_is_told_as_data() -> None:
    note = NoteDetail("info", {"size": Hostile()})  # type: ignore[dict-item]
    made = plain_event(msgspec.structs.replace(FINISHED, message=10**5_000, detail=note))
    assert made.message == "a very large integer"
    assert made.replaced == {"detail.data['size']": "it was an object of type Hostile"}
    assert plain_event(msgspec.structs.replace(FINISHED, detail=Hostile())).replaced == {
        "detail": "it was an object of type Hostile"
    }


def test_a_substitute_keeps_what_readers_decide_by() -> None:
    made = substitute(FINISHED, "the database refused it")
    assert [getattr(made, name) for name in KEPT] == [getattr(FINISHED, name) for name in KEPT]
    assert made.replaced == {"event": "the database refused it"}
    assert "the database refused it" in made.message
    assert_written_and_read(made)


@pytest.mark.parametrize(
    "line",
    [
        b'{"schema":1,"run_id":"r","sequence":9,"path":"scan/a","kind":"finished","status":5,'
        b'"message":{"n":{"$":"int","v":"0x1"}},"monotonic_s":1.0,"wall_ns":3}',
        b'{"schema":1,"run_id":"r","sequence":9,"path":"scan/a","kind":"finished","status":5,'
        b'"monotonic_s":null,"wall_ns":3,"detail":{"type":"finished","rule":5}}',
        b"not JSON at all",
        b"",
        b"[1]",
        b'{"schema":7}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"n":' + b"1" * 5_000 + b"}",
    ],
)
def test_a_line_that_is_no_event_is_read_as_far_as_that_goes(line: bytes) -> None:
    found = read_event(line, "run-1", 9)
    assert (found.run_id, found.sequence) == ("run-1", 9)
    assert found.replaced is not None
    assert "cannot be read" in found.replaced["event"]
    assert_written_and_read(found)
    if b"scan/a" in line:
        assert (found.path, found.kind, found.status) == (
            "scan/a",
            "finished",
            TaskStatus.COMPLETED,
        )


def test_foreign_values_are_made_plain_where_they_enter_the_stream() -> None:
    heard: list[TaskEvent] = []
    bus = EventBus("run-1")
    bus.subscribe(heard.append)
    bus.emit("scan", "note", message={"hit rate": FOREIGN["numpy float"]()})
    assert heard[0].message == "hit rate: 5.5"


@given(foreign_values)
def test_words_of_a_value(value: Any) -> None:
    for text in (readable(value), readable(value, 50), describe(value)):
        assert type(text) is str
        text.encode()
    assert len(readable(value, 50)) <= 50
    decoded = msgspec.json.decode(msgspec.json.encode(plain_data(value)))
    assert decoded == plain_data(value)
