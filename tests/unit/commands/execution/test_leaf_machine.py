"""Every state of an attempt at a leaf, and every request in it."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from taskgrove.commands.execution.composite import Composite
from taskgrove.commands.execution.leaf_machine import MOVES, LeafRequest, LeafState
from taskgrove.commands.execution.leaf_run import LeafRun
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import TaskStatus
from taskgrove.testing import EventLog, FakeDeviceRunner
from tests.moves_walk import walk_cells

R = LeafRequest
GUARD_S = 200.0

#: The requests that bring a new attempt into each state.
WAYS = {
    LeafState.WAITING: [],
    LeafState.ATTACHING: [R.ADOPT],
    LeafState.ATTACHING_ABORTED: [R.ADOPT, R.ABORT],
    LeafState.CALLING: [R.CALL],
    LeafState.RUNNING: [R.CALL, R.RETURN],
    LeafState.ABORTING_IN_CALL: [R.CALL, R.ABORT],
    LeafState.ABORTING: [R.CALL, R.RETURN, R.ABORT],
    LeafState.EXPIRED_IN_CALL: [R.CALL, R.EXPIRE],
    LeafState.EXPIRED: [R.CALL, R.RETURN, R.EXPIRE],
    LeafState.EXPIRED_STOPPED: [R.CALL, R.EXPIRE, R.FINISH],
    LeafState.ENDED: [R.FINISH],
}


class Owner:
    """A run that only has a lock."""

    lock = threading.Lock()


def attempt() -> LeafRun:
    leaf = LeafTask.from_callable(lambda: None, name="a")
    root = Task("root", is_root=True, subtasks=[leaf])
    runner: Any = FakeDeviceRunner()
    owner: Any = Owner()
    return LeafRun(owner, leaf, Composite(root, None, "root"), runner)


def in_state(state: LeafState) -> LeafRun:
    made = attempt()
    for request in WAYS[state]:
        assert made.move(request) is not None
    return made


def test_every_request_in_every_state(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    walk_cells(MOVES, in_state, LeafRun.move, lambda run: run.state, lambda _: len(caplog.records))
    assert "root/a, attempt 1: RETURN is refused in state WAITING" in caplog.text


@pytest.mark.parametrize("state", LeafState)
def test_an_attempt_is_over_once_its_end_is_decided(state: LeafState) -> None:
    decided = MOVES[state, R.FINISH] is not LeafState.ENDED
    assert in_state(state).is_over == decided


def test_an_abort_that_comes_while_the_runner_is_called_is_sent_in_the_call() -> None:
    """The runner is not waited for: a call may take as long as its device likes."""
    in_call, go_on, log = threading.Event(), threading.Event(), EventLog()

    class Slow(FakeDeviceRunner):
        def start(self, context: Any) -> None:
            in_call.set()
            assert go_on.wait(GUARD_S)
            context.finish(TaskStatus.ABORTED)

        def abort(self, context: Any, reason: str) -> None:
            states.append(context.state)
            super().abort(context, reason)
            go_on.set()

    states: list[LeafState] = []
    runner = Slow()
    tree = Task("root", is_root=True, subtasks=[LeafTask("scan", "x/pst/1", "Scan")])
    with MainTaskExecutor(runners={TaskExecutionType.DEVICE: runner}, grace_s=GUARD_S) as executor:
        handle = executor.submit_main_task(tree, observers=[log])
        assert in_call.wait(GUARD_S)
        handle.abort()
        assert handle.wait(GUARD_S)
    assert states == [LeafState.ABORTING_IN_CALL]
    log.assert_one_end("root/scan", TaskStatus.ABORTED)
