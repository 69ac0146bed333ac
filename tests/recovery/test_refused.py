"""Commands that are refused before anything is started are on record, with their reasons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgrove.commands.execution.refused_run import record_refusal
from taskgrove.commands.leaf_runner import Refusal
from taskgrove.commands.replay import rebuild
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause
from taskgrove.store import Recorder, Store
from taskgrove.store.database.advice import command_line
from taskgrove.store.history import History
from taskgrove.testing import EventLog
from taskgrove.view.record_view import story_of_record
from taskgrove.view.why import why

SOURCE = {"kind": "map", "file": "map.yaml", "text": "", "command": "configure"}
REASON = "the device has no command Configur; did you mean Configure?"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as opened:
        yield opened


NO_COMMAND = Refusal(
    REASON, Cause(kind="no_command", nearest="Configure"), "configure/configure_pst/pst-02"
)


def tree() -> Task:
    beams = [LeafTask(f"pst-0{n}", f"low-pst/beam/0{n}", "Configur") for n in (1, 2)]
    return Task(
        "configure",
        is_root=True,
        subtasks=[
            LeafTask("check", object(), "check", task_type=TaskExecutionType.INTERNAL),
            Task("configure_pst", TaskExecutionType.PARALLEL, subtasks=beams),
            Task("after", subtasks=[LeafTask("x", "low-pss/x/1", "On"), Task("empty")]),
        ],
    )


def refused(store: Store, task: Task | None, *refusals: Refusal) -> None:
    with Recorder(store) as recorder:
        record_refusal(
            recorder,
            "r1",
            RunAbout("configure", SOURCE),
            "configure is refused",
            task=task,
            refused=refusals,
        )


def test_a_refused_tree_is_a_run_whose_nodes_are_all_rejected(store: Store) -> None:
    refused(store, tree(), NO_COMMAND)
    history, log = History(store), EventLog()
    row = history.find("r1")
    assert (row.state, row.status, row.result_code) == (
        "final", TaskStatus.REJECTED, ResultCode.REJECTED,
    )  # fmt: skip
    assert row.message == f"configure is refused\nCauses:\n- low-pst/beam/02: {REASON}"
    for event in history.events("r1"):
        log(event)
    log.assert_gapless()
    nodes = history.facts("r1").nodes
    for path, node in nodes.items():
        log.assert_one_end(path, TaskStatus.REJECTED)
        at_fault = path in "configure/configure_pst/pst-02"  # it, or above it
        assert node.skipped is not at_fault, path
    assert not log.select(kind="started")
    story = story_of_record(row, history.nodes(row), now_ns=row.last_ns, location=store.location)
    found = why(story)
    assert found.sentence.startswith(
        "configure was rejected: configure_pst/pst-02 on low-pst/beam/02 has no command Configur"
        " (did you mean Configure?); it blocked check, configure_pst/pst-01 and after (1 leaf);"
        " next: correct command_name Configur (did you mean Configure?) in map.yaml"
    )
    assert found.next_step.endswith(
        f", then {command_line(store.location, 'resume', 'r1', '--use-file')}"
    )


def test_its_log_gives_the_same_outcome_to_fresh_trackers(store: Store) -> None:
    refused(store, tree(), NO_COMMAND)
    history = History(store)
    rebuilt = rebuild(history.events("r1"))
    assert rebuilt.outcome is not None
    assert (rebuilt.outcome.status, rebuilt.outcome.message) == (
        TaskStatus.REJECTED, history.find("r1").message,
    )  # fmt: skip
    recorded = {path: node.status for path, node in history.facts("r1").nodes.items()}
    assert rebuilt.statuses == recorded


def test_without_a_tree_there_is_an_outcome_and_no_event(store: Store) -> None:
    refused(store, None)
    history = History(store)
    row = history.find("r1")
    assert (row.state, row.status) == ("final", TaskStatus.REJECTED)
    assert list(history.events("r1")) == []
    sentence = why(story_of_record(row, [], now_ns=row.last_ns)).sentence
    assert sentence.startswith("configure was rejected before anything was started: configure is")
