"""kill -9 of the runner at every event of a run, with real processes and a real SQLite file."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgrove.commands.replay import rebuild
from taskgrove.control_model import TaskStatus
from taskgrove.recovery.finding_lost import find_lost, lost_runs
from taskgrove.recovery.lost_run_recovery import recover
from taskgrove.store import Store
from taskgrove.store.history import History
from taskgrove.story.run_node import RunNodes
from taskgrove.testing import EventLog
from tests.recovery.doomed import DEVICE, Nursery, truth_runner

#: The events are dealt out to so many tests: each event costs dozens of fsyncs, and on a busy disk
#: an fsync can take as long as a test should.
PARTS = 6


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as process:
        yield process


@pytest.fixture(scope="module")
def whole(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> RunNodes:
    """The facts of the run that nobody kills."""
    folder = tmp_path_factory.mktemp("whole")
    code, told = nursery.run(folder / "runs.db", "whole", folder / "truth")
    assert code == 0
    with Store.open(folder / "runs.db") as store:
        history = History(store)
        row = history.find("whole")
        assert row.state == "final"
        assert told[-1] == ["exit", "FAILED", row.message]
        return history.facts(row)


def check_lost(history: History, run_id: str, told: list[list[str]], truth: Path) -> None:
    """The record of a killed run holds what was reported, and nothing that did not happen."""
    row, facts = history.find(run_id), history.facts(run_id)
    ended = facts.root is not None and facts.root.is_final
    assert row.state == ("final" if ended else "lost")
    assert row.state_note.endswith(" is gone")
    assert row.lease is None
    for word, *rest in told:
        if word == "exit":
            assert (row.state, row.status.name, row.message) == ("final", *rest)
        else:
            path, status, message = rest
            node = facts.nodes[path]
            assert (node.status.name, node.message) == (status, message)
    happened = truth.read_text().splitlines() if truth.exists() else []
    for name in ("check", "tidy"):
        node = next((n for n in facts.nodes.values() if n.name == name), None)
        if node is not None and node.status is TaskStatus.COMPLETED:
            assert f"ended {name}" in happened
    # The rows say what the log says.
    rows = {node.path: (node.status, node.message) for node in history.nodes(run_id)}
    assert rows == {path: (n.status, n.message) for path, n in facts.nodes.items()}


def check_recovered(
    history: History, run_id: str, before: RunNodes, told: list[list[str]], whole: RunNodes
) -> None:
    """The run has gone on to an end that fits what was on record and what is outside."""
    row, log = history.find(run_id), EventLog()
    for event in history.events(run_id):
        log(event)
    log.assert_gapless()
    facts = RunNodes(log.events)
    for path in facts.nodes:
        log.assert_one_end(path)
    again = rebuild(log.events)
    assert row.state == "final"
    assert again.outcome is not None
    assert (row.status, row.result_code, row.message) == (
        again.outcome.status,
        again.outcome.result,
        again.outcome.message,
    )
    assert "recovered by process" in row.state_note
    for path, node in facts.nodes.items():
        earlier = before.nodes.get(path)
        if earlier is not None and earlier.is_final:
            assert (node.status, node.message) == (earlier.status, earlier.message)
        elif node.is_leaf and earlier is not None and earlier.outside_id is not None:
            assert (node.status, node.message) == (
                whole.nodes[path].status,
                whole.nodes[path].message,
            )
        elif node.is_leaf and node.status is not TaskStatus.REJECTED:
            assert "the runner of this run was lost at" in node.message
    for word, *rest in told:
        if word == "finished":
            assert facts.nodes[rest[0]].status.name == rest[1]


@pytest.mark.parametrize(
    "part",
    # Every sixth event in every run; the others differ in nothing but where the log breaks off.
    [0, *(pytest.param(part, marks=pytest.mark.thorough) for part in range(1, PARTS))],
)
@pytest.mark.parametrize("when", ["enqueued", "committed"])
def test_killed_at_every_event(
    nursery: Nursery, whole: RunNodes, tmp_path: Path, when: str, part: int
) -> None:
    database = tmp_path / "runs.db"
    killed: dict[str, tuple[list[list[str]], Path]] = {}
    for k in range(1 + part, whole.last_sequence + 1, PARTS):
        run_id, truth = f"{when}-{k:03}", tmp_path / f"truth-{k}"
        code, told = nursery.run(database, run_id, truth, k, when)
        assert code == -signal.SIGKILL, told
        killed[run_id] = told, truth
    with Store.open(database) as store:
        history = History(store)
        found = {lost.run_id: lost for lost in find_lost(store)}
        assert set(found) == set(killed)
        assert find_lost(store) == []  # told once
        for run_id, (told, truth) in killed.items():
            check_lost(history, run_id, told, truth)
            kept = int(run_id[-3:]) - (when == "enqueued")
            assert history.find(run_id).last_sequence >= kept
        lost = {run.run_id for run in lost_runs(store)}
        assert lost == {run_id for run_id, run in found.items() if not run.ended}
        assert len(found) - len(lost) <= 6  # the last events come after the outcome
        recovered = 0
        for run_id in sorted(lost):
            before = history.facts(run_id)
            if before.root is None:
                continue
            recover(store, run_id, runners={DEVICE: truth_runner()})
            check_recovered(history, run_id, before, killed[run_id][0], whole)
            recovered += 1
        # Of the first one, nothing but its begin was kept.
        assert recovered >= len(lost) - (part == 0)
