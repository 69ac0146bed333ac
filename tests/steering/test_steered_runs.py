"""Whatever is asked of a run, and whatever fails: the record, the tree and the target agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskgrove.store import Recorder, Store
from taskgrove.store.history import History
from tests.steering.random_runs import random_run
from tests.steering.steered_run import carry_out
from tests.steering.steering_oracle import faults_of

#: Seeds of one test.
PART = 25


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(n * PART, marks=pytest.mark.thorough) for n in range(1, 20))]
)
def test_any_run_that_is_steered_agrees_with_the_model(first: int, tmp_path: Path) -> None:
    with Store.open(tmp_path / "runs.db") as store, Recorder(store) as recorder:
        history = History(store)
        for seed in range(first, first + PART):
            run = carry_out(random_run(seed), tmp_path, recorder)
            assert faults_of(run) == [], f"seed {seed}"
            rows = {node.path: node for node in history.nodes(f"seed-{seed}")}
            for path, node in history.facts(f"seed-{seed}").nodes.items():
                row = rows[path]
                assert (row.status, row.message) == (node.status, node.message)
                assert row.finished == node.finished
