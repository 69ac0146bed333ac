"""Every stage of a step, and every request in it; and the clock of a limit from above."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from taskgrove.commands.execution.attempts import Attempt
from taskgrove.commands.execution.composite import Composite
from taskgrove.commands.execution.leaf_run import LeafRun
from taskgrove.commands.execution.waiting_steps import (
    MOVES,
    Stage,
    StageRequest,
    WaitingStep,
    WaitingSteps,
)
from taskgrove.commands.task import LeafTask, Task
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.testing import FakeDeviceRunner
from tests.moves_walk import walk_cells
from tests.unit.commands.execution.live_steering import PARALLEL

R = StageRequest
#: The requests that bring a step into each stage; one that has failed begins ACTIVE.
WAYS = {
    Stage.UNBEGUN: [],
    Stage.PARKED: [R.PARK],
    Stage.ACTIVE: [],
    Stage.DELAYED: [R.DELAY],
    Stage.UNDECIDED: [R.DOUBT],
    Stage.HELD: [R.HOLD],
    Stage.ENDED: [R.HOLD, R.FAIL],
}
FAILED = Attempt(1, TaskStatus.FAILED, (ResultCode.FAILED, "no lock"), {})


class Owner:
    """A run that only has a lock."""

    lock = threading.Lock()


class Machine:
    """A step with the registry that moves it."""

    def __init__(self, *, has_failed: bool) -> None:
        leaf = LeafTask.from_callable(lambda: None, name="a")
        self.composite = Composite(
            Task("root", PARALLEL, is_root=True, subtasks=[leaf], timeout=100.0, rule="any"),
            None,
            "root",
        )
        self.steps = WaitingSteps(Owner.lock)
        runner: Any = FakeDeviceRunner()
        owner: Any = Owner()
        attempt = LeafRun(owner, leaf, self.composite, runner) if has_failed else None
        self.step = WaitingStep(
            leaf, self.composite, leaf_run=attempt, attempts=(FAILED,) if has_failed else ()
        )


def in_stage(stage: Stage) -> Machine:
    machine = Machine(has_failed=stage not in (Stage.UNBEGUN, Stage.PARKED))
    for request in WAYS[stage]:
        assert machine.steps.move(machine.step, request) is not None
    return machine


def test_every_request_in_every_stage(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    walk_cells(
        MOVES,
        in_stage,
        lambda machine, request: machine.steps.move(machine.step, request),
        lambda machine: machine.step.stage,
        lambda _: len(caplog.records),
    )
    assert "root/a: PARK is refused in stage ACTIVE" in caplog.text


@pytest.mark.parametrize("stage", Stage)
def test_only_steps_that_wait_have_an_entry(stage: Stage) -> None:
    machine = in_stage(stage)
    waits = stage in (Stage.PARKED, Stage.DELAYED, Stage.UNDECIDED, Stage.HELD)
    assert machine.steps.all() == ([machine.step] if waits else [])
    assert (machine.steps.find(machine.step.node) is machine.step) is waits
    is_open = stage in (Stage.DELAYED, Stage.UNDECIDED, Stage.HELD)
    assert machine.steps.open() == ([machine.step] if is_open else [])
    is_failed = stage in (Stage.UNDECIDED, Stage.HELD)
    assert list(machine.composite.undecided) == (["a"] if is_failed else [])


@pytest.mark.parametrize("stage", Stage)
def test_the_clock_from_above_stands_still_while_all_below_is_kept(stage: Stage) -> None:
    clock = in_stage(stage).composite.clock
    assert clock is not None
    assert (clock.still_since is not None) is (stage in (Stage.PARKED, Stage.HELD))


def test_the_clock_goes_on_during_a_delay_until_the_run_is_paused() -> None:
    machine = in_stage(Stage.DELAYED)
    clock = machine.composite.clock
    assert clock is not None
    assert (clock.at_work, clock.waiting, clock.still_since) == (1, 0, None)
    machine.steps.is_paused = True
    assert not machine.steps.delay_over(machine.step)
    assert machine.step.is_due
    assert (clock.at_work, clock.waiting) == (0, 1)
    assert clock.still_since is not None
    machine.steps.is_paused = False
    assert machine.steps.delay_over(machine.step)
    assert (clock.at_work, clock.waiting, clock.still_since) == (0, 0, None)


def test_a_limit_is_later_by_the_time_that_its_clock_stood_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    machine = in_stage(Stage.HELD)
    clock = machine.composite.clock
    assert clock is not None
    at = clock.limit.at
    now += 50.0
    assert machine.composite.limit == clock.limit._replace(at=at + 50.0)
    machine.steps.move(machine.step, R.RETRY)
    now += 7.0
    assert machine.composite.limit == clock.limit
    assert clock.limit.at == at + 50.0


def test_the_first_limit_is_found_among_all_clocks_above() -> None:
    inner = Task("inner", subtasks=[LeafTask.from_callable(lambda: None, name="a")], timeout=50.0)
    root = Task("root", is_root=True, subtasks=[inner], timeout=100.0)
    above = Composite(root, None, "root")
    below = Composite(inner, above, "root/inner")
    assert below.limit is not None
    assert below.limit.owner == "root/inner"
    assert above.clock is not None
    above.clock.limit = above.clock.limit._replace(at=0.0)
    assert below.limit.owner == "root"
