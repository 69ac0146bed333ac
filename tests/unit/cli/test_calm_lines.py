"""The plain lines of a run in a pipe: when they tell how far it is."""

from __future__ import annotations

from typing import Any, cast

import pytest

from taskgrove.cli import surfaces
from taskgrove.cli.surfaces import CalmLines
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task
from taskgrove.events.new_request import new_request
from taskgrove.testing import EventLog
from taskgrove.view.snapshot import RunView
from tests.unit.event_streams import Stream


class Lines:
    """A terminal that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say_line(self, pieces: list[tuple[str, str]]) -> None:
        self.lines.append("".join(text for text, _ in pieces).strip())


def test_a_tally_that_does_not_change_is_told_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(surfaces.time, "monotonic", lambda: now[0])
    stream = Stream()
    stream.composed("go", "SEQUENTIAL", ("a", "b"))
    stream.running("go/a")
    view, terminal = RunView().apply_all(stream.events), Lines()
    calm = CalmLines(cast(Any, terminal), view, clock=lambda: now[0])
    told: list[float] = []
    for second in range(1, 3600):
        now[0] = float(second)
        before = len(terminal.lines)
        calm.show(())
        if len(terminal.lines) > before:
            told.append(now[0])
    assert told == [10, 30, 70, 150, 310, 630, 1270, 1910, 2550, 3190]
    seen = len(stream.events)
    stream.ended("go/a")
    view.apply_all(stream.events[seen:])
    calm.show(())
    assert "completed" in terminal.lines[-1]


def test_an_abort_names_the_person_once() -> None:
    log, view, terminal = EventLog(), RunView(), Lines()

    def waits(task_abort_event: Any) -> None:
        task_abort_event.wait()

    with MainTaskExecutor() as executor:
        tree = Task("go", is_root=True, subtasks=[LeafTask.from_callable(waits)])
        handle = executor.submit_main_task(tree, observers=[log])
        handle.steer(new_request("abort", why="storm", who="zed"), lambda _answer: None)
        log.wait_for(topic="abort-asked", path="go")
        assert handle.wait(100.0)
    view.apply_all(log.events)
    CalmLines(cast(Any, terminal), view).show(log.events)
    (line,) = [line for line in terminal.lines if " go: asked to stop" in line]
    assert line.endswith("go: asked to stop: storm (asked by zed)")
