"""Every cell of the stages of an analysis, walked by a supervision with a real process."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest

from taskgrove.analysis.running.analysis_events import EventDelivery
from taskgrove.analysis.running.environment import AnalysisEnvironment
from taskgrove.analysis.running.handle import AnalysisHandle
from taskgrove.analysis.running.launch import Launched, Plan, launch, plan_of
from taskgrove.analysis.running.outcome import ProcessEnd
from taskgrove.analysis.running.spec import AnalysisSpec
from taskgrove.analysis.running.stages import MOVES, AnalysisRequest, AnalysisStage
from taskgrove.analysis.running.supervision import Supervision
from taskgrove.loops.loop import TimerEntry
from taskgrove.redaction import Redaction
from tests.analysis.analysis_runs import until
from tests.moves_walk import walk_cells

SPEC = AnalysisSpec(
    name="sleeper", program="/bin/sleep", environment=AnalysisEnvironment(), redaction=Redaction()
)


class StillLoop:
    """A loop whose time stands still: what is posted runs when the test says so."""

    def __init__(self) -> None:
        self.posted: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    def post(self, function: Callable[..., object], *args: Any) -> None:
        self.posted.append((function, args))

    def at(self, instant: float, action: Callable[[], object]) -> TimerEntry:
        return TimerEntry(instant, action)

    def watch(self, *_: Any) -> None: ...

    unwatch = rewatch = discard = watch

    def run(self) -> None:
        while self.posted:
            function, args = self.posted.popleft()
            function(*args)


class Machine:
    """A supervision, and its process where it has one."""

    def __init__(self) -> None:
        self.loop = StillLoop()
        self.ends: list[ProcessEnd] = []
        handle = AnalysisHandle("sleeper", EventDelivery(lambda function: None))
        loop: Any = self.loop
        self.supervision = Supervision(loop, SPEC, handle, self.ends.append)
        self.started: list[Launched] = []
        self.held: list[int] = []

    def ask(self, request: AnalysisRequest) -> None:
        supervision = self.supervision
        match request:
            case AnalysisRequest.START:
                plan = plan_of(SPEC, "stages.1", {})
                plan = Plan(spec=SPEC, mark=plan.mark, environment={}, cwd=None,
                            argv=("/bin/sleep", "600"), start=None)  # fmt: skip
                self.started.append(launch(plan))
                output = f"/proc/{self.started[-1].process.pid}/fd/1"
                self.held.append(os.open(output, os.O_WRONLY))  # so its output has no end
                supervision.begin(plan, self.started[-1])
            case AnalysisRequest.STOP:
                supervision.stop()
            case AnalysisRequest.RESUME:
                supervision.resume()
            case AnalysisRequest.END:
                supervision.cancel("enough", at_limit=False)
            case AnalysisRequest.KILL:
                supervision._kill()
            case AnalysisRequest.EXIT:
                supervision._on_exit()
            case AnalysisRequest.GIVE_UP:
                supervision._give_up()
            case AnalysisRequest.FINISH if supervision.stage is AnalysisStage.SETTLING:
                self.kill()
                supervision._settle()
            case AnalysisRequest.FINISH:
                supervision.never_ran(ProcessEnd())
        self.loop.run()

    def kill(self) -> None:
        while self.held:
            os.close(self.held.pop())
        for launched in self.started:
            with suppress(ProcessLookupError):
                os.killpg(launched.process.pid, signal.SIGKILL)
                os.waitid(os.P_PID, launched.process.pid, os.WEXITED | os.WNOWAIT)

    def close(self) -> None:
        self.kill()
        is_over = self.supervision.stage is AnalysisStage.OVER
        for launched in self.started[1:] if is_over else self.started:
            launched.discard()
        for launched in self.started:  # the first was followed; it may have been given up
            launched.process.wait()


#: How each stage is reached.
WAYS = {
    "PREPARING": "",
    "HELD": "STOP",
    "CALLED_OFF": "END",
    "RUNNING": "START",
    "SUSPENDED": "START STOP",
    "ENDING": "START END",
    "KILLED": "START END KILL",
    "SETTLING": "START EXIT",
    "OVER": "START EXIT FINISH",
}


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    made: list[Machine] = []
    yield made
    for machine in made:
        machine.close()


def reach(machines: list[Machine], stage: AnalysisStage) -> Machine:
    machine = Machine()
    machines.append(machine)
    for name in WAYS[stage.name].split():
        machine.ask(AnalysisRequest[name])
    return machine


def test_every_cell_is_kept_to(machines: list[Machine], caplog: pytest.LogCaptureFixture) -> None:
    walk_cells(
        MOVES,
        lambda stage: reach(machines, stage),
        Machine.ask,
        lambda machine: machine.supervision.stage,
        lambda _: sum("is refused in stage" in record.message for record in caplog.records),
    )


def test_an_end_is_told_once_whatever_comes_after(machines: list[Machine]) -> None:
    for stage in (AnalysisStage.PREPARING, AnalysisStage.CALLED_OFF, AnalysisStage.SETTLING):
        machine = reach(machines, stage)
        for request in (AnalysisRequest.FINISH, *AnalysisRequest):
            if request is not AnalysisRequest.START:
                machine.ask(request)
        assert len(machine.ends) == 1
        assert machine.ends[0].cancelled == (stage is AnalysisStage.CALLED_OFF)


def test_a_process_that_comes_after_the_call_off_is_ended(machines: list[Machine]) -> None:
    machine = reach(machines, AnalysisStage.CALLED_OFF)
    machine.ask(AnalysisRequest.START)
    assert machine.supervision.stage is AnalysisStage.ENDING
    assert machine.started[0].process.wait(60) == -signal.SIGTERM


def test_a_process_that_comes_after_a_stop_is_suspended(machines: list[Machine]) -> None:
    machine = reach(machines, AnalysisStage.HELD)
    machine.ask(AnalysisRequest.START)
    process = psutil.Process(machine.started[0].process.pid)
    until(lambda: process.status() == psutil.STATUS_STOPPED)
