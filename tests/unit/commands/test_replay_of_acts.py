"""A run that operators steered, rebuilt from its events, has the same tree and outcome."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.replay import rebuild
from taskgrove.commands.task import LeafTask, Task
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.testing import EventLog

PATIENCE_S = 30.0


def fails() -> None:
    raise RuntimeError("beam lost")


def step(name: str, function: Callable[[], object] = lambda: None) -> LeafTask:
    return LeafTask.from_callable(function, name=name)


def observe() -> Task:
    scan = step("scan", fails)
    scan.hold = "on_failure"
    return Task(
        "observe",
        skip_subtasks=True,
        is_root=True,
        subtasks=[
            Task("prepare", subtasks=[scan]),
            step("tune"),
            Task("publish", subtasks=[step("a"), step("b")]),
        ],
        finally_tasks=[step("end")],
    )


def decide(handle: RunHandle, log: EventLog, *requests: tuple[str, str]) -> None:
    log.wait_for(
        path="observe/prepare/scan",
        where=lambda event: getattr(event.detail, "topic", "") == "held",
        timeout_s=PATIENCE_S,
    )
    for verb, path in requests:
        assert getattr(handle, verb)(path, "by eye", who="ann").fate == "done"
    assert handle.wait(PATIENCE_S)


@pytest.mark.parametrize("decision", ["accept", "fail", "skip"])
def test_the_outcome_is_that_of_the_run(decision: str) -> None:
    log = EventLog()
    with MainTaskExecutor() as executor:
        handle = executor.submit_main_task(observe(), observers=[log])
        decide(
            handle,
            log,
            ("skip", "observe/tune"),
            ("skip", "observe/publish"),
            (decision, "observe/prepare/scan"),
        )
    outcome = handle.outcome
    assert outcome is not None
    again = rebuild(log.events)
    assert again.outcome is not None
    assert again.outcome == outcome
    assert again.outcome.decision == outcome.decision
    assert (again.uncomposed, again.unplaced) == ((), ())
    if decision == "accept":
        assert (outcome.status, outcome.result) == (TaskStatus.COMPLETED, ResultCode.OK)
        assert (outcome.health_state, outcome.accepted_by) == ("DEGRADED", ("ann",))
        assert outcome.decision is not None
        assert outcome.decision.reason == ("1 of 3 succeeded, 1 accepted by ann, 2 left out by ann")
    else:
        assert outcome.status is TaskStatus.FAILED
    states = {path: node.state for path, node in again.facts.nodes.items()}
    # Also where the failure breaks the sequence before their turn.
    assert states["observe/tune"] == states["observe/publish"] == "left out"
    assert states["observe/finally/end"] == "completed"
