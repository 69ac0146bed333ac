"""The words for steps on attributes, as long as they wait and when they have failed."""

from __future__ import annotations

import pytest

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, FinishedDetail, Place
from taskgrove.events.cause import Reading
from taskgrove.events.details import StepKind
from tests.unit.event_streams import Stream
from tests.why.test_typed_causes import explained

FAILED = TaskStatus.FAILED
MOVING = Reading("State", "MOVING", 1)


def ended(step: StepKind, attribute: str, cause: Cause, message: str = "") -> Stream:
    stream = Stream()
    stream.composed("go", "SEQUENTIAL", ("x",), root=True)
    place = Place("map.yaml", 7, "x")
    stream.composed(
        "go/x", "DEVICE", target="x01/motor/01", command_name=attribute, step=step, place=place
    )
    detail = FinishedDetail(cause=cause)
    stream.ended("go/x", FAILED, ResultCode.FAILED, message=message, detail=detail)
    stream.ended("go", FAILED, ResultCode.FAILED)
    return stream


@pytest.mark.parametrize(
    ("step", "cause", "message", "sentence", "advice"),
    [
        (
            "expect",
            Cause(kind="unmet", expected="State is ON", reading=MOVING),
            "State is MOVING; expected: State is ON",
            "x on x01/motor/01 found that State is MOVING; expected: State is ON",
            "see to x01/motor/01: it has another value of State",
        ),
        (
            "wait",
            Cause(
                kind="timed_out",
                limit_s=2.0,
                limit_owner="go/x",
                expected="State is ON",
                reading=MOVING,
            ),
            "timed out",
            "x on x01/motor/01 waited 2 s (its own timeout) in vain: State was MOVING",
            "find out why State of x01/motor/01 did not change",
        ),
        (
            "wait",
            Cause(kind="timed_out", limit_s=2.0, limit_owner="go/x", expected="State is ON"),
            "timed out",
            "waited 2 s (its own timeout) in vain: it was never read; expected: State is ON",
            "find out why State of x01/motor/01 did not change",
        ),
        (
            "write",
            Cause(kind="timed_out", limit_s=2.0, limit_owner="go/x"),
            "timed out",
            "x on x01/motor/01 did not finish write State within 2 s (its own timeout)",
            "",
        ),
        (
            "write",
            Cause(kind="refused", said="not now"),
            "not now",
            'x on x01/motor/01 refused write State: "not now"',
            "fix the cause on x01/motor/01",
        ),
        (
            "expect",
            Cause(kind="raised", said="no sensor"),
            "no sensor",
            'x on x01/motor/01 could not read State: "no sensor"',
            "see the log of x01/motor/01",
        ),
        (
            "write",
            Cause(kind="no_attribute", nearest="Stat"),
            "",
            "x on x01/motor/01 has no attribute State (did you mean Stat?)",
            "correct attribute State (did you mean Stat?) in map.yaml:7",
        ),
        (
            "command",  # whose `skip_if` asks for another attribute
            Cause(kind="no_attribute", nearest="position", attribute="positon"),
            "",
            "x on x01/motor/01 has no attribute positon (did you mean position?)",
            "correct attribute positon (did you mean position?) in map.yaml:7",
        ),
        (
            "command",
            Cause(kind="raised", said="no sensor", attribute="position"),
            "no sensor",
            'x on x01/motor/01 could not read position: "no sensor"',
            "see the log of x01/motor/01",
        ),
        (
            "write",
            Cause(kind="wrong_argument", expected="DevLong"),
            "State is DevLong (a whole number), not str",
            "x on x01/motor/01 was not done, because State is DevLong",
            "correct `write` of go/x in map.yaml:7",
        ),
        (
            "write",
            Cause(kind="fate_unknown"),
            "no answer",
            "gave no answer, so it is not known whether State was written",
            "check on x01/motor/01 whether State was written",
        ),
        (
            "wait",
            Cause(kind="lost"),
            "it was waiting, and only reads",
            "x on x01/motor/01 has no known end: it was waiting, and only reads",
            "look at State of x01/motor/01",
        ),
    ],
)
def test_a_failure_is_told_in_words_of_the_step(
    step: StepKind, cause: Cause, message: str, sentence: str, advice: str
) -> None:
    found = explained(ended(step, "State", cause, message))
    assert sentence in found.sentence
    assert advice in found.next_step


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("command", "to finish State"),
        ("write", "to finish its write of State"),
        ("wait", "to finish its wait for State"),
        ("expect", "to finish its look at State"),
    ],
)
def test_a_step_at_work_is_told_in_words_of_the_step(step: StepKind, words: str) -> None:
    stream = Stream()
    stream.composed("go", "SEQUENTIAL", ("x",), root=True)
    stream.composed("go/x", "DEVICE", target="x01/motor/01", command_name="State", step=step)
    for path in ("go", "go/x"):
        stream.running(path)
    assert f"x on x01/motor/01 {words}" in explained(stream).sentence
