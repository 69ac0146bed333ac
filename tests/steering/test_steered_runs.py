"""Whatever is asked of a run, and whatever fails: the record, the tree and the target agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskgrove.store import RecordDesk, Recorder, Store
from taskgrove.store.history import History
from tests.steering.random_runs import random_run
from tests.steering.steered_run import SteeredRun, carry_out
from tests.steering.steering_oracle import faults_of

#: Seeds of one test.
PART = 25


def faults_in(history: History, run: SteeredRun) -> list[str]:
    """Return what is wrong with a run that has ended, and with its record, in words."""
    found = faults_of(run)
    run_id = run.handle.id
    rows = {node.path: node for node in history.nodes(run_id)}
    for path, node in history.facts(run_id).nodes.items():
        row = rows[path]
        if (row.status, row.message, row.finished) != (node.status, node.message, node.finished):
            found.append(f"{path}: its row says {row.finished}, the log {node.finished}")
    return found


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(n * PART, marks=pytest.mark.thorough) for n in range(1, 20))]
)
def test_any_run_that_is_steered_agrees_with_the_model(first: int, tmp_path: Path) -> None:
    with Store.open(tmp_path / "runs.db") as store, Recorder(store) as recorder:
        for seed in range(first, first + PART):
            run = carry_out(random_run(seed), tmp_path, recorder)
            assert faults_in(History(store), run) == [], f"seed {seed}"


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(n * 8, marks=pytest.mark.thorough) for n in range(1, 20))]
)
def test_the_same_where_the_requests_come_by_the_record(first: int, tmp_path: Path) -> None:
    with Store.open(tmp_path / "runs.db") as store, Recorder(store) as recorder:
        desk, history = RecordDesk(store), History(store)
        for seed in range(first, first + 8):
            run = carry_out(random_run(seed), tmp_path, recorder, desk=desk)
            assert faults_in(history, run) == [], f"seed {seed}"
            told = {item.request.id: item.answer for item in run.asked if item.request.id[0] == "q"}
            rows = {row.request.id: row.answer for row in history.requests(run.handle.id)}
            late = {
                request_id: answer
                for request_id, answer in told.items()
                if request_id not in rows and answer.fate == "too_late"
            }
            assert {**late, **rows} == told, f"seed {seed}"
