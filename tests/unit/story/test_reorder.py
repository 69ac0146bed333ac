"""The buffer that puts the events of a run in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from taskgrove.events import TaskEvent
from taskgrove.story.reorder import PATIENCE_S, ReorderBuffer


def event(last: int, first: int | None = None, at_s: float = 0.0) -> TaskEvent:
    """An event that stands for the numbers from ``first`` to ``last``."""
    return TaskEvent(
        run_id="r", sequence=last, sequence_from=first, path="a", kind="progress",
        monotonic_s=at_s, wall_ns=last,
    )  # fmt: skip


def numbers(events: Sequence[TaskEvent]) -> list[int]:
    """The numbers that events stand for."""
    return [
        n for item in events for n in range(item.sequence_from or item.sequence, item.sequence + 1)
    ]


def test_what_comes_early_waits_for_what_is_before_it() -> None:
    buffer = ReorderBuffer()
    assert numbers(buffer.push(event(3))) == []
    assert numbers(buffer.push(event(2))) == []
    assert buffer.has_gap
    assert numbers(buffer.push(event(1))) == [1, 2, 3]
    assert not buffer.has_gap


def test_a_double_is_dropped_whether_it_is_held_or_out() -> None:
    buffer = ReorderBuffer()
    taken = [buffer.push(event(n)) for n in (1, 1, 3, 3, 2, 3, 2)]
    assert [number for ready in taken for number in numbers(ready)] == [1, 2, 3]


def test_an_event_that_stands_for_a_range_closes_it() -> None:
    buffer = ReorderBuffer()
    assert numbers(buffer.push(event(9, 5))) == []
    assert numbers(buffer.push(event(4, 1))) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert numbers(buffer.push(event(7))) == []  # it is among those
    assert numbers(buffer.push(event(10))) == [10]


def test_an_event_with_one_new_number_is_given_out() -> None:
    buffer = ReorderBuffer()
    buffer.push(event(4, 1))
    assert [item.sequence for item in buffer.push(event(6, 3))] == [6]
    assert numbers(buffer.push(event(7))) == [7]


def test_a_gap_is_given_up_by_the_time_since_it_was_first_seen() -> None:
    buffer = ReorderBuffer()
    assert buffer.push(event(3, at_s=10.0)) == []
    # The times of the events say nothing: a busy machine hands them over late.
    assert buffer.push(event(4, at_s=10.0 + 9 * PATIENCE_S)) == []
    assert buffer.settle(500.0) == []
    assert buffer.settle(500.0 + PATIENCE_S / 2) == []
    assert buffer.push(event(6)) == []
    assert numbers(buffer.settle(500.0 + PATIENCE_S)) == [3, 4]
    assert buffer.has_gap  # the second gap has its own time
    assert buffer.settle(500.0 + 1.5 * PATIENCE_S) == []
    assert numbers(buffer.settle(500.0 + 2 * PATIENCE_S)) == [6]


def test_what_was_given_up_is_late_once() -> None:
    buffer = ReorderBuffer()
    buffer.push(event(10))
    assert numbers(buffer.settle()) == [10]
    for first, last in ((4, 6), (1, 1), (9, 9), (7, 8), (2, 3)):
        late = buffer.push(event(last, first))
        assert numbers(late) == [*range(first, last + 1)]
        assert buffer.push(event(last, first)) == []
    assert buffer.push(event(5)) == []


def test_a_log_that_is_in_order_is_only_noted() -> None:
    buffer = ReorderBuffer()
    for item in (event(1), event(5, 3), event(6)):
        buffer.accept(item)
    buffer.give_up_to(9)
    assert buffer.expected == 9
    assert numbers(buffer.push(event(2))) == [2]
    assert buffer.push(event(4)) == []
    assert numbers(buffer.push(event(8, 7))) == [7, 8]


@st.composite
def arrivals(draw: st.DrawFn) -> list[TaskEvent | None]:
    """Events in any order, some more than once; None is a moment at which all waiting ends."""
    events, sequence = [], 0
    for _ in range(draw(st.integers(1, 12))):
        first = sequence + 1
        sequence += draw(st.sampled_from([1, 1, 1, 3]))
        events.append(event(sequence, first if first < sequence else None, sequence / 5))
    missing = draw(st.sets(st.sampled_from(events), max_size=2)) if draw(st.booleans()) else set()
    coming: list[Any] = [item for item in events if item not in missing]
    doubles = draw(st.lists(st.sampled_from(events), max_size=4))
    moments = [None] * draw(st.integers(0, 2))
    return draw(st.permutations([*coming, *(it for it in doubles if it not in missing), *moments]))


@given(arrivals())
def test_nothing_is_lost_or_doubled_and_only_what_is_late_is_out_of_order(
    coming: list[TaskEvent | None],
) -> None:
    buffer = ReorderBuffer()
    out: list[TaskEvent] = []
    for item in coming:
        expected = buffer.expected
        ready = buffer.settle() if item is None else buffer.push(item)
        late = item is not None and item.sequence < expected
        assert ready == [item] * len(ready) if late else all(e.sequence >= expected for e in ready)
        assert [e.sequence for e in ready] == sorted(e.sequence for e in ready)
        out += ready
    out += buffer.settle()
    assert not buffer.has_gap
    assert buffer.settle() == []
    sequences = [item.sequence for item in out]
    assert sorted(sequences) == sorted({item.sequence for item in coming if item is not None})
