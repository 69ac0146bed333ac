"""The words of an outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import FinishedDetail, LeftOut
from taskgrove.view.explain import explain, grouped, split_message
from taskgrove.view.snapshot import RunView
from tests.unit.event_streams import Stream, beam_run


@dataclass
class FakeDecision:
    line: str


@dataclass
class FakeOutcome:
    """What an AggregationOutcome offers."""

    status: TaskStatus
    result_code: ResultCode
    message: str = ""
    health_state: str | None = None
    decision: FakeDecision | None = None
    left_out: tuple[LeftOut, ...] = ()


def outcome_of(view: RunView) -> Any:
    root = view.root
    assert root is not None
    decision = None if root.decision is None else FakeDecision(root.decision)
    return FakeOutcome(root.status, root.result_code, root.message, root.health_state, decision)  # type: ignore[arg-type]


def test_a_degraded_run_leads_with_its_sum() -> None:
    view = RunView().apply_all(beam_run(16, failed=(3, 7)))
    words = explain(outcome_of(view), view)
    assert words.headline == "COMPLETED, DEGRADED: PST success 14/16"
    assert words.causes[1:] == (
        "mid-pst/beam/03: band 3 not locked",
        "mid-pst/beam/07: band 3 not locked",
    )
    assert words.failed_devices == ("mid-pst/beam/03", "mid-pst/beam/07")
    assert words.decision == "1 of 2 succeeded → DEGRADED"
    assert words.decisions == (
        "configure: 1 of 2 succeeded → DEGRADED",
        "configure_pst: PST success 14/16 → DEGRADED",
    )
    assert "mid-pst/beam/03 and mid-pst/beam/07" in words.advice[0]
    assert "Causes:" in words.lines()


def test_change_the_faults_and_the_words_change() -> None:
    three = RunView().apply_all(beam_run(16, failed=(1, 2, 5), words="no clock"))
    words = explain(outcome_of(three), three)
    assert words.headline == "COMPLETED, DEGRADED: PST success 13/16"
    assert "mid-pst/beam/05: no clock" in words.causes


def test_all_well_is_one_line() -> None:
    view = RunView().apply_all(beam_run(2))
    assert explain(outcome_of(view), view).lines() == ["COMPLETED, OK"]


def test_a_sum_that_nothing_below_explains_stands_without_a_name() -> None:
    stream = Stream()
    stream.composed("r", "PARALLEL", ("p", "q"), root=True)
    for name in "pq":
        stream.composed(f"r/{name}", "PARALLEL", ("a",))
        stream.composed(f"r/{name}/a", "DEVICE", target=f"x/y/{name}")
    stream.ended("r/p", detail=FinishedDetail(line="1 of 1 succeeded → OK"))
    stream.ended("r/q", TaskStatus.FAILED, ResultCode.FAILED)  # without a sum of its own
    line = FinishedDetail(line="1 of 2 succeeded → FAILED")
    stream.ended("r", TaskStatus.FAILED, ResultCode.FAILED, detail=line)
    view = RunView().apply_all(stream.events)
    assert explain(outcome_of(view), view).decisions == ("1 of 2 succeeded → FAILED",)


def test_a_failure_leads_with_its_first_cause() -> None:
    message = "Task configure failed\nCauses:\n- low-cbf/subarray/01: gone\n- other"
    words = explain(FakeOutcome(TaskStatus.FAILED, ResultCode.FAILED, message, "FAILED"))
    assert words.headline == "FAILED: low-cbf/subarray/01: gone (and 1 more)"
    assert words.state == "failed"


def test_a_failure_that_ran_to_its_end_says_so() -> None:
    words = explain(FakeOutcome(TaskStatus.COMPLETED, ResultCode.FAILED, "no clock"))
    assert words.headline == "COMPLETED, FAILED: no clock"


def test_the_cause_of_the_leaf_that_failed_first_leads_and_sums_stay_before_it() -> None:
    stream = Stream()
    stream.composed("r", "PARALLEL", ("a", "b"), root=True)
    for name in "ab":
        stream.composed(f"r/{name}", "DEVICE", target=f"x/y/{name}")
    for name in "ba":
        stream.ended(f"r/{name}", TaskStatus.FAILED, ResultCode.FAILED, f"x/y/{name}: no power")
    stream.ended("r", TaskStatus.FAILED, ResultCode.FAILED)
    view = RunView().apply_all(stream.events)
    message = "Task r failed\nCauses:\n- p - PST success 1/3\n- x/y/a: no power\n- x/y/b: no power"
    words = explain(FakeOutcome(TaskStatus.FAILED, ResultCode.FAILED, message, "FAILED"), view)
    assert words.causes == ("p - PST success 1/3", "x/y/b: no power", "x/y/a: no power")
    assert words.headline == "FAILED: x/y/b: no power (and 2 more)"


def test_a_cause_of_several_leaves_leads_where_one_of_them_failed_first() -> None:
    stream = Stream()
    stream.composed("r", "PARALLEL", ("a", "b", "c"), root=True)
    for name in "abc":
        stream.composed(f"r/{name}", "DEVICE", target="x/y/z")
    for name, words in (("b", "full"), ("a", "no power"), ("c", "full")):
        stream.ended(f"r/{name}", TaskStatus.FAILED, ResultCode.FAILED, f"x/y/z: {words}")
    stream.ended("r", TaskStatus.FAILED, ResultCode.FAILED)
    view = RunView().apply_all(stream.events)
    counted = "2 × x/y/z: full (b, c)"
    message = f"Task r failed\nCauses:\n- x/y/z: no power\n- {counted}"
    words = explain(FakeOutcome(TaskStatus.FAILED, ResultCode.FAILED, message, "FAILED"), view)
    assert words.causes == (counted, "x/y/z: no power")


def test_causes_keep_their_order_where_no_leaf_failed() -> None:
    stream = Stream()
    stream.composed("r", "PARALLEL", ("a",), root=True)
    stream.composed("r/a", "DEVICE", target="x/y/a")
    stream.ended("r/a")
    message = "Task r failed\nCauses:\n- one\n- two"
    view = RunView().apply_all(stream.events)
    words = explain(FakeOutcome(TaskStatus.FAILED, ResultCode.FAILED, message, "FAILED"), view)
    assert words.causes == ("one", "two")


def test_a_degraded_outcome_without_a_sum_tells_what_decided() -> None:
    outcome = FakeOutcome(TaskStatus.COMPLETED, ResultCode.FAILED, "Task r", "DEGRADED")
    assert explain(outcome).headline == "COMPLETED, DEGRADED: Task r"
    outcome.decision = FakeDecision("1 of 2 succeeded → DEGRADED")
    assert explain(outcome).headline == "COMPLETED, DEGRADED: 1 of 2 succeeded → DEGRADED"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (True, "It was stopped on request; run the command again when ready."),
        (False, "Not all of it was run: run the command again when ready."),
    ],
)
def test_advice_after_an_abort(asked: bool, told: str) -> None:
    stream = Stream()
    stream.composed("r", "SEQUENTIAL", ("a",), root=True)
    stream.composed("r/a", "DEVICE", target="x/y/a")
    if asked:
        stream.note("r", "abort-asked", "asked to stop: no light")
    stream.ended("r/a", TaskStatus.ABORTED, ResultCode.ABORTED, "x/y/a: stopped")
    stream.ended("r", TaskStatus.ABORTED, ResultCode.ABORTED)
    view = RunView().apply_all(stream.events)
    assert explain(outcome_of(view), view).advice == (told,)


def test_a_step_without_a_device_is_named_by_its_path() -> None:
    stream = Stream()
    stream.composed("r", "SEQUENTIAL", ("a", "b"), root=True)
    for name in "ab":
        stream.composed(f"r/{name}", "INTERNAL", target="Manager", command_name=name)
        stream.ended(f"r/{name}", TaskStatus.FAILED, ResultCode.FAILED, "ValueError: no")
    stream.ended("r", TaskStatus.FAILED, ResultCode.FAILED)
    view = RunView().apply_all(stream.events)
    assert explain(outcome_of(view), view).advice == (
        "Look at the steps r/a and r/b: their causes are in their own words.",
    )


def test_casualties_stand_apart() -> None:
    message = (
        "Task x failed\nCauses:\n- a - broken\n- b - skipped: a failed\n- c/d/e: skipped: a failed"
    )
    words = explain(FakeOutcome(TaskStatus.FAILED, ResultCode.FAILED, message, "FAILED"))
    assert words.causes == ("a - broken",)
    assert words.casualties == ("b - skipped: a failed", "c/d/e: skipped: a failed")


def test_advice_names_what_to_see_to_first() -> None:
    stream = Stream()
    stream.composed("r", "SEQUENTIAL", ("a", "b", "c", "d"))
    for name in "abcd":
        stream.composed(f"r/{name}", "DEVICE", target=f"x/y/{name}")
    stream.note("r/a", "abandoned")
    stream.ended("r/a", TaskStatus.ABORTED, ResultCode.ABORTED, "x/y/a: given up")
    stream.note("r/b", "timeout")
    stream.ended("r/b", TaskStatus.FAILED, ResultCode.FAILED, "x/y/b: timed out after 5 s")
    stream.ended("r/c", TaskStatus.REJECTED, ResultCode.REJECTED, "x/y/c: busy")
    stream.ended(
        "r/d",
        TaskStatus.REJECTED,
        ResultCode.REJECTED,
        "skipped: c rejected",
        detail=FinishedDetail(skipped=True),
    )
    view = RunView().apply_all(stream.events)
    words = explain(FakeOutcome(TaskStatus.ABORTED, ResultCode.ABORTED, "Task r aborted"), view)
    assert [line.split()[0] for line in words.advice] == ["x/y/a", "x/y/b", "x/y/c", "Steps"]


def test_messages_of_every_form_split() -> None:
    assert split_message("") == ("", [])
    assert split_message("one line") == ("one line", [])
    assert split_message("Causes:\n- a\n- b") == ("", ["a", "b"])
    assert split_message("head\nCauses:\n- a\n") == ("head", ["a"])


def test_what_many_devices_say_alike_is_one_line() -> None:
    message = "Task x aborted\nCauses:\n- first - other words\n" + "\n".join(
        f"- mid-pst/beam/{number:02d}: stopped" for number in range(1, 7)
    )
    words = explain(FakeOutcome(TaskStatus.ABORTED, ResultCode.ABORTED, message))
    assert dict(words.sections())["Causes"] == (
        "first - other words",
        "stopped: 6 devices (mid-pst/beam/01, mid-pst/beam/02, mid-pst/beam/03 and 3 more)",
    )
    assert len(words.causes) == 7


def test_long_lists_end_with_their_rest() -> None:
    message = "Task x failed\nCauses:\n" + "\n".join(f"- step {number}" for number in range(5000))
    words = explain(FakeOutcome(TaskStatus.FAILED, ResultCode.FAILED, message, "FAILED"))
    causes = dict(words.sections())["Causes"]
    assert len(causes) == 21
    assert causes[-1] == "… and 4,980 more"


def test_steps_that_an_abort_kept_from_starting_are_one_line() -> None:
    steps = [f"step-{number} - not started: interrupted by Ctrl-C" for number in range(1, 12)]
    assert grouped(["first: stopped", *steps]) == (
        "first: stopped",
        "not started: interrupted by Ctrl-C: 11 steps (step-1, step-2, step-3 and 8 more)",
    )
    assert grouped(steps[:3]) == tuple(steps[:3])


def test_what_many_steps_say_alike_is_one_line_and_sums_and_devices_are_kept_apart() -> None:
    frames = [f"frame-{number:02d} - queue is full" for number in (3, 7, 11, 20)]
    sums = [f"group-{number} - PST success 1/2" for number in range(4)]
    devices = [f"x/y/{number}: queue is full" for number in range(4)]
    others = ["frame-01 - frame 1: no peaks", "frame-02 - frame 2: no peaks"]
    assert grouped([*sums, *frames, *others, *devices]) == (
        *sums,
        "queue is full: 4 steps (frame-03, frame-07, frame-11 and 1 more)",
        *others,
        "queue is full: 4 devices (x/y/0, x/y/1, x/y/2 and 1 more)",
    )
