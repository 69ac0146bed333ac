"""The measurements of the history run, on a small one; what they show is never asserted."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from benchmarks import history as benchmark
from benchmarks.history_data import write_history
from taskgrove.store.history import History
from taskgrove.store.store import Store
from taskgrove.story.run_node import RunNodes


@pytest.mark.thorough
def test_the_rows_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "EVENTS_PER_RUN", 120)
    monkeypatch.setattr(benchmark, "ROUNDS", 1)
    monkeypatch.setattr(benchmark, "REPEATS", 1)
    rows = list(benchmark.rows(24))
    assert {"list of the newest 20 runs", "why: a run explained", "statistics of all runs"} <= {
        row.name for row in rows
    }
    assert all(row.value > 0 for row in rows)
    assert {row.aim for row in rows if row.name.startswith("statistics of")} == {3}


def test_the_ways_of_raw_sql_agree_with_the_statistics(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    Store.open(file).close()
    events, _ = write_history(file, 30, 120)
    with History.open(file) as history:
        assert sum(run.last_sequence for run in history.runs()) == events
        run = history.find("last-degraded")
        assert [node.path for node in history.nodes(run)] == list(
            RunNodes(history.events(run)).nodes
        )
        found = history.stats()
        good = sum(row.ok_count + row.degraded_count for row in found.nodes)
    connection = sqlite3.connect(file)
    try:
        assert benchmark.windows(connection) == len(found.nodes) + len(found.devices)
        # A device's window leaves out the composites; the lists hold every duration.
        assert benchmark.grouped_lists(connection) >= good
        assert benchmark.plain_rows(connection) >= good
    finally:
        connection.close()
