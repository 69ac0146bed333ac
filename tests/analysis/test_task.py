"""What the author of an analysis relies on, in its own process and without one."""

from __future__ import annotations

import math
from typing import Any

import pytest

from taskgrove.analysis.channel.parameter_transfer import (
    classes_in,
    receive_parameters,
    send_parameters,
)
from taskgrove.analysis.parameters.base import TaskParameters
from taskgrove.analysis.results import TaskStatus
from taskgrove.errors import AnalysisError
from tests.analysis import sample_tasks as tasks
from tests.analysis.analysis_runs import GUARD_S, Heard, Runs
from tests.analysis.sample_tasks import Mode, Region, SampleParameters


def test_a_task_can_be_tried_without_an_executor() -> None:
    task = tasks.Count(SampleParameters(n=2))
    assert task.run() == {"n": 2, "mode": "FAST"}
    result = task.result([1], "short", status=TaskStatus.FAILED, impl_schemas="A;B")
    assert (result.task_name, result.payload, result.impl_schemas) == ("Count", [1], "A;B")


def test_progress_is_clamped() -> None:
    told: list[Any] = []

    class Reporter:
        def progress(self, percent: float | None, message: str) -> None:
            told.append((percent, message))

    task = tasks.Trivial(tasks.NoParameters())
    task.reporter = Reporter()
    for percent in (-5, 50, 1e9, math.nan, math.inf, None):
        task.report_progress(percent, "x")
    assert told == [(p, "x") for p in (0.0, 50.0, 100.0, None, 100.0, None)]


def test_cancelling_is_heard_once_and_cleaning_up_is_left_in_peace(analyses: Runs) -> None:
    heard = Heard()
    handle = analyses.start(tasks.CleansUpLoudly)
    handle.on_event(heard)
    heard.wait_for("progress", "ready")
    heard.wait_for("progress", "from a thread")
    handle.cancel("enough")
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.CANCELLED
    assert handle.outcome is not None
    assert handle.outcome.return_code == 143
    assert handle.delivery.wait_heard(GUARD_S)
    texts = [event.text for event in heard.events]
    assert texts.count("heard") == 1
    tail = [text for text in texts if text in {"heard", "cleaning", "cleaned", "after"}]
    assert tail == ["heard", "cleaning", "cleaned", "after"]


def test_stages_run_in_order_and_the_last_one_always(analyses: Runs) -> None:
    heard = Heard()
    handle = analyses.start(tasks.StagesInOrder)
    handle.on_event(heard)
    assert handle.wait(GUARD_S)
    assert handle.outcome is not None
    assert handle.outcome.cause == "KeyError: 'lost'"
    assert heard.texts("log")[:3] == ["before", "run", "after"]


def test_parameters_cross_with_their_classes() -> None:
    given = SampleParameters(n=5, mode=Mode.EXACT, region=Region(low=0.1, high=0.2), text="ü")
    plain, buffers = send_parameters(given)
    assert receive_parameters(SampleParameters, plain, buffers) == given
    assert classes_in(SampleParameters) == {Mode, Region}


class Odd(TaskParameters):
    thing: Any = None


def test_parameters_that_cannot_cross(analyses: Runs) -> None:
    with pytest.raises(AnalysisError, match="thing"):
        send_parameters(Odd(thing=object()))
    handle = analyses.run(tasks.Trivial, Odd(thing=object()))
    assert handle.status is TaskStatus.FAILED
    assert handle.outcome is not None
    assert "thing" in handle.outcome.cause
