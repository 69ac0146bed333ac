"""The controls of a terminal that shows a run, without a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from taskgrove import LeafTask, Task
from taskgrove.cli.run_controls import RunControls
from taskgrove.events.steering_request import SteeringAnswer, SteeringRequest, TakeAnswer
from taskgrove.view.terminal_text import UNICODE
from tests.unit.cli.test_decisions import event, note


class FakeKeys:
    """Keys that a test presses."""

    def __init__(self) -> None:
        self.pressed: list[str] = []
        self.is_closed = False

    def read(self) -> list[str]:
        keys, self.pressed = self.pressed, []
        return keys

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> FakeKeys:
    made = FakeKeys()
    monkeypatch.setattr("taskgrove.cli.run_controls.keys_of_terminal", lambda: made)
    return made


def told(controls: RunControls) -> list[str]:
    lines: list[str] = []
    controls.tell_answers(lines.append)
    return lines


def test_a_request_goes_to_the_run_and_its_answer_is_told(keys: FakeKeys) -> None:
    asked: list[SteeringRequest] = []

    def steer(request: SteeringRequest, take_answer: TakeAnswer) -> None:
        asked.append(request)
        take_answer(
            SteeringAnswer(request_id=request.id, fate="done", paths=("o/a",), acted_count=1)
        )

    controls = RunControls(steer)
    controls.open()
    controls.take([note("held", "o/a", "no lock")])
    keys.pressed = ["r", "enter"]
    controls.take([])
    assert [(request.verb, request.path) for request in asked] == [("retry", "o/a")]
    assert asked[0].user
    assert told(controls)[0].startswith("retry: done: o/a is tried again")
    assert told(controls) == []
    controls.close()
    assert keys.is_closed


def test_a_key_means_what_was_shown_when_it_was_pressed(keys: FakeKeys) -> None:
    def steer(*asked: Any) -> None:
        raise AssertionError(asked)

    controls = RunControls(steer)
    controls.open()
    keys.pressed = ["r", "enter"]  # typed before the step was held
    controls.take([note("held", "o/a", "no lock")])
    [*_, line] = controls.lines(80, UNICODE, 0)
    assert line[0][0].startswith("r retry")


def test_without_keys_a_held_step_is_told_with_the_command_to_type() -> None:
    controls = RunControls(None, lambda path: f"taskgrove retry RUN {path}")
    controls.open()
    controls.take([note("undecided", "o/b"), note("held", "o/a", "no\x1b lock")])
    assert told(controls) == [
        "o/a: held: no\\x1b lock; taskgrove retry RUN o/a (or accept, skip, fail)"
    ]
    assert controls.lines(80, UNICODE, 0) == []


def test_of_many_held_steps_the_first_ones_are_told() -> None:
    controls = RunControls(None, lambda path: f"taskgrove retry RUN {path}")
    controls.take([note("held", f"o/{number}") for number in range(1000)])
    lines = told(controls)
    assert len(lines) == 21
    assert lines[-1] == "… and 980 more are held"


def test_a_clean_up_is_known_from_the_tree_before_its_event_comes() -> None:
    leaf = LeafTask("clean", "o/1/1", "End")
    inner = Task("o", subtasks=[LeafTask("scan", "o/1/1", "Scan")], finally_tasks=[leaf])
    controls = RunControls()
    controls.steps.know_tree(Task("root", is_root=True, subtasks=[inner]))
    assert controls.steps.has_clean_up
    controls.take([event("finished", "root/o/finally")])
    assert not controls.steps.has_clean_up
