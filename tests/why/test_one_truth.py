"""What counts as a failure is one rule: of the policy, of every surface, and of the record."""

from __future__ import annotations

import itertools
import sqlite3

import pytest

from taskgrove.commands.aggregation.base import SubtaskResult
from taskgrove.commands.aggregation.policy import TaskAggregationPolicy
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import FINAL_STATUSES, ResultCode, TaskStatus
from taskgrove.story.node_state import state_of
from taskgrove.story.run_story import story_of_events, story_of_facts
from taskgrove.testing import EventLog, FakeDeviceRunner, Script
from taskgrove.view.snapshot import RunView
from taskgrove.view.tree_text import render_plain
from taskgrove.view.why import why
from tests.why.staging import GUARD_S

ENDS = [
    (status, code)
    for status, code in itertools.product(FINAL_STATUSES, ResultCode)
    if status is not TaskStatus.ABORTED
]
GOOD_STATES = ("completed",)


@pytest.mark.parametrize(("status", "code"), ENDS)
def test_a_state_shows_a_problem_where_the_policy_counts_one(
    status: TaskStatus, code: ResultCode
) -> None:
    policy = TaskAggregationPolicy("configure")
    problem = policy.is_problem(SubtaskResult("a", status, (code, "words")))
    assert (state_of(status, code, None) not in GOOD_STATES) is problem


@pytest.mark.parametrize(("status", "code"), ENDS)
def test_the_record_counts_a_problem_where_the_policy_does(
    status: TaskStatus, code: ResultCode
) -> None:
    pytest.importorskip("sqlalchemy")
    from taskgrove.store.queries.run_outcome import OUTCOME_SQL, good_code_sql, outcome_word

    policy = TaskAggregationPolicy("configure")
    good = not policy.is_problem(SubtaskResult("a", status, (code, "words")))
    word = outcome_word("final", status, code, None)
    assert (word == "ok") is good
    row = f"(SELECT 'final' AS state, {status:d} AS status, {code:d} AS result_code,"
    connection = sqlite3.connect(":memory:")
    try:
        told = [
            outcome
            for outcome, condition in OUTCOME_SQL.items()
            if connection.execute(
                f"SELECT count(*) FROM {row} NULL AS health_state) r WHERE {condition}"
            ).fetchone()[0]
        ]
        (by_code,) = connection.execute(
            f"SELECT {good_code_sql('r.result_code')} FROM {row} 1) r"
        ).fetchone()
    finally:
        connection.close()
    assert told == [word]
    assert status is not TaskStatus.COMPLETED or bool(by_code) is good


@pytest.mark.parametrize("code", [ResultCode.STARTED, ResultCode.QUEUED])
def test_an_end_that_says_how_it_was_accepted_is_a_good_one(code: ResultCode) -> None:
    """A device may answer ``[1, "..."]`` as the result of a command that has ended."""
    log = EventLog()
    runners = {TaskExecutionType.DEVICE: FakeDeviceRunner({"a": Script(result=(code, "scanning"))})}
    tree = Task(
        "scan", is_root=True, skip_subtasks=True,
        subtasks=[LeafTask("a", "x/y/1", "Scan"), LeafTask("b", "x/y/2", "Scan")],
    )  # fmt: skip
    with MainTaskExecutor(2, runners) as executor:
        handle = executor.submit_main_task(tree, observers=[log])
        assert handle.wait(GUARD_S)
    assert handle.outcome is not None
    assert handle.outcome.result_code is ResultCode.OK
    view = RunView(handle.id)
    for event in log.events:
        view.apply(event)
    assert {node.state for node in view.nodes.values()} == {"completed"}
    assert "failed" not in render_plain(view)
    found = why(story_of_events(log.events, now_ns=0))
    assert found.groups == ()
    assert found.outcome == "completed"
    assert "nothing failed" in found.sentence
    assert why(story_of_facts(view, run_id=handle.id, now_ns=0)).sentence == found.sentence
