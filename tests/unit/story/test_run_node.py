"""When a node ended: as its device tells, where that can be, else when it was told."""

from __future__ import annotations

from typing import Any

import pytest

from taskgrove.control_model import TaskStatus
from taskgrove.events import NoteDetail, StartedDetail, TaskEvent
from taskgrove.story.node_note import OUTSIDE_END
from taskgrove.story.run_node import RunNode
from taskgrove.view.snapshot import RunView

SECOND = 1_000_000_000
STARTED, TOLD = 100 * SECOND, 900 * SECOND


def told(end: str | None) -> list[TaskEvent]:
    """A leaf that began at 100 s, and whose end was read at 900 s."""
    data = {} if end is None else {OUTSIDE_END: end}
    events: list[dict[str, Any]] = [
        {"kind": "started", "wall_ns": STARTED, "detail": StartedDetail("command", "7_On")},
        {"kind": "note", "wall_ns": TOLD, "detail": NoteDetail("reconciled", data)},
        {"kind": "finished", "wall_ns": TOLD, "status": TaskStatus.COMPLETED},
    ]
    return [
        TaskEvent(
            run_id="r1", path="a", sequence=number, monotonic_s=fields["wall_ns"] / SECOND, **fields
        )
        for number, fields in enumerate(events, 1)
    ]


@pytest.mark.parametrize(
    ("end", "ended_ns"),
    [
        (str(300 * SECOND), 300 * SECOND),
        (str(STARTED), STARTED),
        (None, TOLD),
        (str(STARTED - 1), TOLD),  # before it began: the device has another clock
        (str(TOLD + 1), TOLD),  # after it was heard of
        ("-5", TOLD), ("soon", TOLD), ("", TOLD), ("\u0663", TOLD),
    ],
)  # fmt: skip
def test_an_end_from_outside_is_taken_where_it_can_be_true(end: str | None, ended_ns: int) -> None:
    facts, view = RunNode("a"), RunView()
    for event in told(end):
        facts.apply(event)
        view.apply(event)
    shown = view.node("a")
    assert shown is not None
    assert facts.ended_ns == shown.ended_ns == ended_ns
    assert shown.elapsed_s() == pytest.approx((ended_ns - STARTED) / SECOND)


def test_each_attempt_begins_anew() -> None:
    facts = RunNode("a")
    first, *_ = told(None)
    facts.apply(first)
    second = TaskEvent(
        run_id="r1", path="a", sequence=2, kind="started", attempt=2, monotonic_s=5.0,
        wall_ns=STARTED + 5, detail=StartedDetail("command", "8_On"),
    )  # fmt: skip
    facts.apply(second)
    assert (facts.started_ns, facts.attempt_started_ns) == (STARTED, STARTED + 5)


def test_a_silent_target_is_silent_until_it_answers_or_the_node_ends() -> None:
    def told_of(*topics: str, since: str = "") -> int | None:
        facts = RunNode("a")
        for number, topic in enumerate(topics, 1):
            data = {"since_ns": since} if topic == "silent" and since else {}
            ended = topic == "finished"
            facts.apply(
                TaskEvent(
                    run_id="r1", path="a", sequence=number, wall_ns=number * SECOND,
                    monotonic_s=float(number), kind="finished" if ended else "note",
                    status=TaskStatus.FAILED if ended else None,
                    detail=None if ended else NoteDetail(topic, data),
                )
            )  # fmt: skip
        return facts.silent_since_ns

    assert told_of() is None
    assert told_of("silent") == SECOND
    assert told_of("silent", since=str(7 * SECOND)) == 7 * SECOND
    assert told_of("silent", since="soon") == SECOND
    assert told_of("silent", "info", since=str(7 * SECOND)) == 7 * SECOND
    assert told_of("silent", "answers") is None
    assert told_of("silent", "retry") is None
    assert told_of("silent", "finished") is None
