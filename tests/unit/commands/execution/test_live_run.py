"""Every state of a run, and every request in it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.commands.exclusive import ExclusiveDevice
from taskgrove.commands.execution.device_turn import DeviceTurn
from taskgrove.commands.execution.engine import Engine
from taskgrove.commands.execution.live_run import Run
from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.execution.run_machine import MOVES, RunRequest, RunState
from taskgrove.commands.task import LeafTask, Task
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import EventBus, NoteDetail
from tests.moves_walk import walk_cells

R = RunRequest
WAYS = {
    RunState.SUBMITTED: [],
    RunState.ABORTED_EARLY: [R.ABORT],
    RunState.WAITING: [R.AWAIT],
    RunState.RUNNING: [R.BEGIN],
    RunState.PAUSED: [R.BEGIN, R.PAUSE],
    RunState.ABORTING: [R.BEGIN, R.ABORT],
    RunState.ABORTING_ALL: [R.BEGIN, R.ABORT_ALL],
    RunState.ENDED: [R.BEGIN, R.END],
    RunState.FINAL: [R.BEGIN, R.END, R.KEPT],
    RunState.WITHDRAWN: [R.WITHDRAW],
}
DONE = AggregationOutcome(TaskStatus.COMPLETED, ResultCode.OK, "", "OK")


class NeverKept:
    """A recorder that is told of the end and does not write it."""

    def begin_run(self, *_: Any, **__: Any) -> Any:
        return lambda _event: None

    def end_run(self, *_: Any) -> None: ...


class NeverFree:
    """A keeper of devices that never answers."""

    def hold_devices(self, *_: Any) -> None: ...


class Idle(Engine):
    """Threads that never come: what is submitted waits."""

    def __init__(self) -> None:
        super().__init__(1, 1.0, {})
        self.pool = self.control = Waits()  # type: ignore[assignment]


class Waits:
    """A pool without threads."""

    def submit(self, _job: Any) -> None: ...


def new_run(finals: list[Run]) -> Run:
    tree = Task("root", is_root=True, subtasks=[LeafTask.from_callable(lambda: None, name="a")])
    return Run(
        Idle(),
        tree,
        EventBus("run-1"),
        {},
        recorder=NeverKept(),
        goes_on=False,
        start_nothing=None,
        when_final=finals.append,
        logger=logging.getLogger("tests"),
    )


def begin_alone(run: Run) -> None:
    run._turn = DeviceTurn(run, NeverFree(), (ExclusiveDevice("x", "a/b/c"),))
    run.begin()


def ask(run: Run, request: RunRequest) -> object:
    return {
        R.BEGIN: run.begin,
        R.AWAIT: lambda: begin_alone(run),
        R.GRANT: lambda: run.granted("", NoteDetail("devices-held")),
        R.GIVE_UP: lambda: run.give_up_turn(lambda: None),
        R.PAUSE: lambda: run.pause(None),
        R.CONTINUE: lambda: run.go_on(None),
        R.ABORT: lambda: run.abort("asked"),
        R.ABORT_ALL: lambda: run.abort("asked", stop_finally=True),
        R.END: run._end,
        R.KEPT: lambda: run._report(DONE),
        R.WITHDRAW: run.withdraw,
    }[request]()


@pytest.fixture(autouse=True)
def leaves_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskgrove.commands.execution.schedule.Schedule.begin", lambda *_: None)


def test_every_request_in_every_state(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    finals: list[Run] = []

    def in_state(state: RunState) -> Run:
        run = new_run(finals)
        for request in WAYS[state]:
            ask(run, request)
        return run

    walk_cells(MOVES, in_state, ask, lambda run: run.state, lambda _: len(caplog.records))
    assert "run run-1 of root: KEPT is refused in state RUNNING" in caplog.text
    assert {run.state for run in finals} == {RunState.FINAL, RunState.WITHDRAWN}


def test_what_is_final_is_told_once_and_its_handle_has_the_outcome() -> None:
    finals: list[Run] = []
    run = new_run(finals)
    handle = RunHandle(run)
    for request in (R.BEGIN, R.ABORT, R.END):
        ask(run, request)
        assert handle.outcome is None
    for _ in range(2):
        ask(run, R.KEPT)
    assert finals == [run]
    assert handle.outcome == DONE
    assert run.abort_reason == "asked"
    assert not run.abort("again")
