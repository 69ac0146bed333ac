"""What is told at the end of a run is the one explanation, made from its outcome and its view."""

from __future__ import annotations

import pytest

from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import TaskEvent
from taskgrove.story.run_story import story_of_events
from taskgrove.view import Explanation, RunView, explain
from taskgrove.view.why import why
from tests.unit.event_streams import Stream, beam_run


def outcome_of(view: RunView) -> AggregationOutcome:
    root = view.root
    assert root is not None
    assert root.status is not None
    assert root.result_code is not None
    return AggregationOutcome(root.status, root.result_code, root.message, root.health_state)


def aborted() -> list[TaskEvent]:
    stream = Stream()
    stream.composed("r", "SEQUENTIAL", ("a",), root=True)
    stream.composed("r/a", "DEVICE", target="x/y/a")
    stream.note("r", "abort-asked", "asked to stop: no light")
    stream.ended("r/a", TaskStatus.ABORTED, ResultCode.ABORTED, "x/y/a: stopped")
    stream.ended("r", TaskStatus.ABORTED, ResultCode.ABORTED)
    return stream.events


@pytest.mark.parametrize("events", [beam_run(16, failed=(3, 7)), beam_run(2), aborted()])
def test_the_end_of_a_run_and_its_record_are_explained_alike(events: list[TaskEvent]) -> None:
    view = RunView().apply_all(events)
    told = explain(outcome_of(view), view)
    assert isinstance(told, Explanation)
    assert told == why(story_of_events(events, now_ns=told.now_ns))


def test_an_outcome_without_a_view_is_told_by_its_message() -> None:
    message = "Task r failed\nCauses:\n- x/y/a: no power\n- x/y/b: no clock"
    told = explain(AggregationOutcome(TaskStatus.FAILED, ResultCode.FAILED, message))
    assert told.outcome == "failed"
    assert told.sentence == (
        "the run failed: Task r failed; x/y/a: no power; x/y/b: no clock; next: fix the cause, then"
        " run the command again"
    )


def test_a_refusal_without_a_tree_is_told_by_its_message() -> None:
    message = "configure is not allowed: obsState is SCANNING"
    told = explain(AggregationOutcome(TaskStatus.REJECTED, ResultCode.REJECTED, message))
    assert message in told.sentence
    assert "before anything was started" in told.sentence
