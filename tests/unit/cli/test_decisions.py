"""The keys of a terminal that shows a run: what each one asks for, and what is shown of it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from taskgrove.cli.decisions import MOVES, Decisions, KeyStage, Press
from taskgrove.cli.open_steps import OpenSteps
from taskgrove.control_model import TaskStatus
from taskgrove.events import Cause, ComposedDetail, NoteDetail, TaskEvent
from taskgrove.events.steering_request import SteeringRequest
from taskgrove.story.run_node import RunNodes
from taskgrove.view.terminal_text import UNICODE, width_of
from tests.moves_walk import walk_cells

NUMBERS = itertools.count(1)
SECOND_NS = 1_000_000_000
FINALLY = ComposedDetail("SEQUENTIAL", is_finally=True)


def event(kind: str, path: str, message: str = "", **more: Any) -> TaskEvent:
    number = next(NUMBERS)
    return TaskEvent(
        sequence=number, run_id="r", path=path, kind=kind, wall_ns=0, monotonic_s=0.0,
        message=message, **more,
    )  # type: ignore[arg-type]  # fmt: skip


def note(topic: str, path: str, message: str = "", **more: Any) -> TaskEvent:
    if topic in ("held", "undecided", "delayed"):
        more = {"cause": Cause(kind="reported", said=message, attempt=1), **more}
    return event("note", path, message, detail=NoteDetail(topic, **more))


class Shown:
    """The keys of a run, and what they asked for."""

    def __init__(self, *held: str) -> None:
        self.steps = OpenSteps()
        self.asked: list[tuple[str, str, str]] = []
        self.keys = Decisions(self.steps, lambda *request: self.asked.append(request))
        self.steps.take([note("held", path, "no lock on the pulsar") for path in held])

    def press(self, *keys: str) -> Shown:
        self.keys.press(keys)
        return self

    def text(self, width: int = 80) -> list[str]:
        lines = self.keys.lines(width, UNICODE, 12 * SECOND_NS)
        return ["".join(text for text, _ in line) for line in lines]


@pytest.mark.parametrize(
    ("key", "verb"), [("r", "retry"), ("a", "accept"), ("s", "skip"), ("f", "fail")]
)
def test_a_decision_asks_for_its_reason_and_then_the_run(key: str, verb: str) -> None:
    shown = Shown("observe/scan").press(key)
    assert not shown.asked
    assert shown.text()[-1].startswith(f"Why {verb} observe/scan? (")
    shown.press(*"by hand", "enter")
    assert shown.asked == [(verb, "observe/scan", "by hand")]
    assert shown.keys.stage is KeyStage.CHOOSING


def test_only_an_accepted_failure_needs_a_reason() -> None:
    shown = Shown("observe/scan")
    shown.press("a", " ", "enter")
    assert not shown.asked
    assert "an accepted failure needs a reason" in shown.text()
    shown.press("escape", "r", "enter")
    assert shown.asked == [("retry", "observe/scan", "")]


def test_a_reason_can_be_corrected_and_left() -> None:
    shown = Shown("observe/scan").press("f", *"oop", "backspace", *"ps", "clear", *"no", "enter")
    assert shown.asked == [("fail", "observe/scan", "no")]
    shown.press("f", *"no", "escape", "enter")
    assert len(shown.asked) == 1


def test_among_several_the_keys_choose_the_next_and_the_one_before() -> None:
    shown = Shown("o/a", "o/b", "o/c")
    for keys, chosen in (((), "o/a"), (("n",), "o/b"), (("down", "right"), "o/a"), (("N",), "o/c")):
        shown.press(*keys)
        assert shown.keys.chosen is not None
        assert shown.keys.chosen.path == chosen
    shown.press("up", "left", "left", "s", "enter")
    assert shown.asked == [("skip", "o/c", "")]


def test_a_step_that_is_decided_on_elsewhere_is_not_asked_about_any_more() -> None:
    shown = Shown("o/a", "o/b").press("r")
    shown.steps.take([note("retry", "o/a")])
    shown.keys.settle()
    shown.press("enter")
    assert not shown.asked
    shown.press("r", "enter")
    assert shown.asked == [("retry", "o/b", "")]


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        ("", []),
        ("r", ["nothing was asked: the run is being aborted"]),
        ("x", ["nothing was asked: the run is being aborted"]),
    ],
)
def test_a_run_that_is_being_aborted_has_no_keys(keys: str, lines: list[str]) -> None:
    shown = Shown("o/a").press(*keys)
    shown.steps.take([note("abort-asked", "o")])
    shown.keys.settle()
    assert shown.text() == lines
    shown.press("y", "r", "enter", "p")
    assert not shown.asked


def test_with_nothing_held_only_the_run_can_be_paused_and_aborted() -> None:
    shown = Shown().press(*"rasfnN", "enter")
    assert not shown.asked
    assert shown.text() == ["p pause  x abort"]


def test_p_pauses_and_continues() -> None:
    shown = Shown().press("p")
    request = SteeringRequest(id="1", verb="pause", who="ann", why="rain")
    shown.steps.take([note("paused", "o", request=request)])
    assert shown.text() == ["paused by ann for 12.0 s: rain", "p continue  x abort"]
    shown.press("p")
    shown.steps.take([note("continued", "o")])
    assert shown.text() == ["p pause  x abort"]
    assert shown.asked == [("pause", "", ""), ("continue", "", "")]


@pytest.mark.parametrize(("answer", "aborts"), [("y", True), ("n", False), ("enter", False)])
def test_an_abort_is_asked_about_once_more(answer: str, aborts: bool) -> None:
    shown = Shown("o/a").press("x")
    assert shown.text()[-1] == "Abort the run? y: yes, any other key: no"
    shown.press(answer)
    assert shown.asked == ([("abort", "", "")] if aborts else [])


def test_what_is_shown_fits_80_columns() -> None:
    shown = Shown("observe/configure_pst/pst-beam-01" + "x" * 80, "o/b")
    shown.steps.take([note("held", "o/b", "schloß " * 40)])
    assert shown.text()[0].startswith("held 1/2 for 12.0 s: observe/configure_pst/")
    assert shown.text()[-1] == "r retry  a accept  s skip  f fail  n next  p pause  x abort"
    for keys in ((), ("n", "r"), tuple("reason " * 30)):
        shown.press(*keys)
        assert all(width_of(line) <= 80 for line in shown.text())
    assert shown.text()[-1].endswith("reason reason _")


def test_a_hold_with_a_limit_says_until_when_and_the_cause_is_the_work_s_own_words() -> None:
    shown = Shown("o/a")
    data = {"until_ns": str(60 * SECOND_NS), "words": "no clock"}
    shown.steps.take([note("held", "o/a", "attempt 1 ended: no clock", data=data)])
    assert shown.text()[:2] == ["held for 12.0 s, until 00:01:00 UTC: o/a", "  no clock"]


def test_foreign_words_are_harmless() -> None:
    shown = Shown("o/a")
    shown.steps.take([note("held", "o/a", "\x1b[31mred")])
    assert "\\x1b[31mred" in shown.text()[1]


@pytest.mark.parametrize(
    "after",
    [
        event("started", "o/a", attempt=2),
        event("finished", "o/a", status=TaskStatus.FAILED),
        note("retry", "o/a"),
    ],
    ids=["started", "finished", "retry"],
)
def test_a_step_is_open_until_its_next_attempt_or_its_end(after: TaskEvent) -> None:
    for topic in ("delayed", "undecided", "held"):
        steps = OpenSteps()
        [new] = steps.take([note(topic, "o/a", "no lock", )])  # fmt: skip
        assert (new.path, new.wait.how, new.words) == ("o/a", topic, "no lock")
        assert steps.take([event("progress", "o/a"), note("info", "o/a")]) == []
        assert list(steps.steps) == ["o/a"]
        steps.take([after])
        assert not steps.steps


def test_a_retry_that_a_pause_keeps_can_still_be_decided_otherwise() -> None:
    steps = OpenSteps()
    steps.take([note("held", "o/a", "no lock"), note("paused", "o")])
    [parked] = steps.take([note("parked", "o/a", request=SteeringRequest(id="1", verb="retry"))])
    assert (parked.wait.how, parked.is_held, parked.words) == ("parked", False, "no lock")
    assert list(steps.steps) == ["o/a"]


def test_a_step_that_never_began_is_parked_and_not_open() -> None:
    steps = OpenSteps()
    assert steps.take([note("paused", "o"), note("parked", "o/a")]) == []
    assert not steps.steps


def test_the_oldest_is_first_whatever_is_told_of_it_later() -> None:
    steps = OpenSteps()
    notes = [note("held", "o/a"), note("held", "o/b"), note("info", "o/a")]
    assert [step.path for step in steps.take(notes)] == list(steps.steps) == ["o/a", "o/b"]


def test_the_limit_of_a_hold_tells_no_second_hold() -> None:
    steps = OpenSteps()
    assert len(steps.take([note("held", "o/a", "no lock")])) == 1
    assert steps.take([note("hold-expired", "o/a")]) == []


def test_a_step_that_is_open_no_more_is_not_told_as_new() -> None:
    assert OpenSteps().take([note("held", "o/a"), note("retry", "o/a")]) == []


def test_a_clean_up_is_to_come_until_it_has_ended() -> None:
    steps = OpenSteps()
    steps.take([event("composed", "o/finally", detail=FINALLY)])
    assert steps.has_clean_up
    steps.take([event("finished", "o/finally", status=TaskStatus.COMPLETED)])
    assert not steps.has_clean_up


def test_a_clean_up_of_a_run_that_goes_on_is_known_from_its_nodes() -> None:
    nodes = RunNodes([event("composed", "o/finally", detail=FINALLY)])
    steps = OpenSteps()
    steps.know(nodes.nodes.values())
    assert steps.has_clean_up
    nodes.fold(event("finished", "o/finally", status=TaskStatus.ABORTED))
    steps = OpenSteps()
    steps.know(nodes.nodes.values())
    assert not steps.has_clean_up


def test_an_abort_ends_a_pause() -> None:
    steps = OpenSteps()
    steps.take([note("paused", "o")])
    assert steps.pause is not None
    steps.take([note("abort-asked", "o/a")])
    assert not steps.aborting
    steps.take([note("abort-asked", "o")])
    assert steps.aborting
    assert steps.pause is None


# -- every cell of the table ----------------------------------------------------------------------

TO_STAGE: dict[KeyStage, tuple[Press, ...]] = {
    KeyStage.CHOOSING: (),
    KeyStage.GIVING_REASON: (Press.DECIDE,),
    KeyStage.CONFIRMING: (Press.ABORT,),
    KeyStage.CLOSED: (Press.CLOSE,),
}


def reach(stage: KeyStage) -> Decisions:
    keys = Shown("o/a").keys
    for press in TO_STAGE[stage]:
        keys.act(press)
    return keys


def test_every_cell_of_the_table() -> None:
    walk_cells(MOVES, reach, Decisions.act, lambda keys: keys.stage, lambda _: 0)


def test_a_closed_terminal_shows_nothing_and_asks_nothing() -> None:
    shown = Shown("o/a")
    shown.keys.act(Press.CLOSE)
    shown.press(*"rxpy", "enter")
    assert not shown.asked
    assert shown.text() == []
