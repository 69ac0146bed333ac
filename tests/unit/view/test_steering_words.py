"""The words of an answer: what was done, why not, and a command line that can be typed."""

from __future__ import annotations

import shlex
from typing import Any, get_args

import pytest

from taskgrove.cli.app import VERBS
from taskgrove.control_model import TaskStatus
from taskgrove.events.steering_request import (
    TOO_LATE,
    SteeringAnswer,
    SteeringObjection,
    SteeringReason,
    SteeringRequest,
    SteeringVerb,
)
from taskgrove.events.steering_request import (
    VERBS as VERBS_OF_RUNS,
)
from taskgrove.story.operator_acts import OperatorAct
from taskgrove.view.act_words import act_line
from taskgrove.view.steering_words import answer_line, answer_lines, decision_lines, request_line

RUN = "20261130T150000Z-00000001"
SCAN = "observe/scan"


def asked(verb: SteeringVerb = "retry", path: str = SCAN, **more: Any) -> SteeringRequest:
    return SteeringRequest(id="r1", verb=verb, path=path, **more)


def done(*paths: str, count: int | None = None, **more: Any) -> SteeringAnswer:
    acted = len(paths) if count is None else count
    return SteeringAnswer(request_id="r1", fate="done", paths=paths, acted_count=acted, **more)


def refused(reason: SteeringReason, **facts: Any) -> SteeringAnswer:
    fate = "too_late" if reason in TOO_LATE else "refused"
    objection = SteeringObjection(reason=reason, **facts)
    return SteeringAnswer(request_id="r1", fate=fate, objections=(objection,))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("request_", "answer", "line"),
    [
        (asked("retry"), done(SCAN), "done: observe/scan is tried again"),
        (
            asked("retry"),
            done(SCAN, is_kept_by_pause=True),
            "done: observe/scan is tried again when the pause ends",
        ),
        (asked("accept"), done(SCAN), "done: observe/scan is accepted"),
        (asked("skip"), done(SCAN), "done: observe/scan is skipped"),
        (asked("fail"), done(SCAN), "done: observe/scan fails: its failure stands"),
        (asked("abort", ""), done("observe"), "done: the run is being aborted"),
        (
            asked("abort", "", stop_finally=True),
            done("observe"),
            "done: the run is being aborted, and its clean-up is stopped",
        ),
        (asked("continue", ""), done("observe"), "done: the run goes on"),
        (
            asked("pause", ""),
            done("observe"),
            "done: the run is paused; running steps go on, and so do their timeouts",
        ),
        (
            asked("pause", SCAN),
            done(SCAN),
            "done: the run pauses when observe/scan is about to start",
        ),
    ],
)
def test_an_effect_is_one_line(
    request_: SteeringRequest, answer: SteeringAnswer, line: str
) -> None:
    assert answer_lines(request_, answer, RUN) == [line]


def test_many_steps_are_counted_and_the_first_are_named() -> None:
    told = answer_lines(asked(path="observe/**"), done("observe/a", "observe/b", count=40), RUN)
    assert told == [
        "done: 40 steps are tried again",
        "  observe/a",
        "  observe/b",
        "  … and 38 more",
    ]


def test_what_was_not_done_stands_below_what_was() -> None:
    left = SteeringObjection(reason="may_be_at_work", path="observe/b", outside_id="7_Scan")
    told = answer_lines(asked(path="observe/*"), done("observe/a", objections=(left,)), RUN)
    assert told == [
        "done: observe/a is tried again",
        "  not observe/b: its earlier attempt may still be at work (as 7_Scan)",
        f"Next: taskgrove retry {RUN} observe/b --abort-first",
    ]


@pytest.mark.parametrize("reason", get_args(SteeringReason))
@pytest.mark.parametrize("verb", get_args(SteeringVerb))
def test_every_reason_has_words_and_its_advice_can_be_typed(
    reason: SteeringReason, verb: SteeringVerb
) -> None:
    request = asked(verb, SCAN if verb in ("retry", "skip", "accept", "fail") else "")
    answer = refused(reason, status=TaskStatus.COMPLETED, who="ann", because_of="observe/end")
    first, *rest = answer_lines(request, answer, RUN, ("--db", "a b.db"))
    assert first.startswith("too late: " if reason in TOO_LATE else "refused: ")
    verbs = {name for below in VERBS.values() for name in below} | {*VERBS_OF_RUNS, "watch"}
    for line in rest:
        words = shlex.split(line.removeprefix("Next: "))
        assert (words[0], words[-2:]) == ("taskgrove", ["--db", "a b.db"])
        assert words[1] in verbs


def test_a_mistyped_path_is_asked_for_again_with_all_that_was_said() -> None:
    request = asked("accept", "observe/scn", why="it's done")
    told = answer_lines(request, refused("no_such_node", path="observe/scn", nearest=SCAN), RUN)
    assert told == [
        "refused: the run has no node 'observe/scn'; did you mean 'observe/scan'?",
        f"Next: taskgrove accept {RUN} observe/scan --why 'it'\"'\"'s done'",
    ]


def test_a_pattern_without_a_match_is_named_as_one() -> None:
    answer = refused("no_such_node", path="observe/scn/**", nearest=SCAN)
    told = answer_lines(asked("skip", "observe/scn/**"), answer, RUN)
    assert told == [
        "refused: the pattern 'observe/scn/**' matches no node of the run; did you mean"
        " 'observe/scan'?",
        f"Next: taskgrove skip {RUN} observe/scan",
    ]


def test_a_pause_before_a_step_that_was_refused_is_told_as_one() -> None:
    request = asked("pause", SCAN)
    act = OperatorAct(request, "refused", objections=refused("has_begun", path=SCAN).objections)
    assert "asked to pause before observe/scan, which was refused" in act_line(act, 0)
    two = SteeringAnswer(request_id="r", fate="refused", objections=act.objections * 2)
    assert answer_lines(request, two, RUN)[0] == "refused: pause before observe/scan"


def test_a_pause_that_was_asked_for_before_names_who_and_when() -> None:
    told = answer_lines(asked("pause", ""), refused("already", who="ann", since_ns=0), RUN)
    assert told == [
        "refused: the run is paused already by ann at 1970-01-01 00:00:00 UTC",
        f"Next: taskgrove continue {RUN}",
    ]


def test_foreign_words_are_harmless() -> None:
    [first, _] = answer_lines(asked(), refused("fault", path=SCAN, said="\x1b[31mred"), RUN)
    assert first == "refused: observe/scan: the run could not carry it out: \\x1b[31mred"


def test_the_line_below_a_live_tree_names_the_request() -> None:
    told = answer_line(asked(who="ann"), done(SCAN))
    assert told == "retry: done: observe/scan is tried again (asked by ann)"


def test_command_lines_are_quoted_for_a_shell() -> None:
    assert request_line(asked("pause", "a b"), RUN) == f"taskgrove pause {RUN} --before 'a b'"
    assert request_line(asked("abort", "", stop_finally=True), RUN, ("--db", "x")) == (
        f"taskgrove abort {RUN} --stop-finally --db x"
    )
    assert decision_lines(RUN, "a b")[:2] == (
        f"taskgrove retry {RUN} 'a b'",
        f"taskgrove accept {RUN} 'a b' --why REASON",
    )


def test_a_step_that_has_begun_is_told_by_the_request() -> None:
    answer = refused("has_begun", path=SCAN)
    assert "so it cannot be left out" in answer_line(asked("skip"), answer)
    assert "so the run cannot pause before it" in answer_line(asked("pause"), answer)
