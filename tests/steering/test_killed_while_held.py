"""kill -9 of a runner while a step is held, with real devices: nothing of it runs twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.control_model import TaskStatus
from taskgrove.recovery.lost_run_recovery import recover
from taskgrove.recovery.resuming import plan_resume
from taskgrove.store import Recorder, Store
from taskgrove.store.history import History
from taskgrove.story.run_node import RunNodes
from taskgrove.testing import EventLog
from tests.cli.command_line import PATIENCE_S
from tests.steering.doomed_while_held import DEVICE, observe
from tests.store.postgres_server import PostgresServer

pytest.importorskip("tango")
pytestmark = pytest.mark.tango

TIMES = 20


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    """Devices whose first scan fails, and the log of what they were told."""
    from taskgrove.tango.simulator import SimulatedFleet

    beams = [f"low-pst/beam/{number:02}" for number in range(2 * TIMES + 2)]
    log = tmp_path_factory.mktemp("log") / "invocations.jsonl"
    faults = {beam: {"Scan": 'fail("the receiver is off"),times=1'} for beam in beams}
    with SimulatedFleet(
        beams, settings={"duration_s": 0.02}, faults=faults, devices_per_process=6, log=log
    ) as started:
        yield started, log


def whole(trl: str) -> RunNodes:
    """The run that nobody kills: its scan is tried again."""
    from taskgrove.tango import DeviceRunner

    log = EventLog()
    with DeviceRunner() as runner, MainTaskExecutor(runners={DEVICE: runner}) as executor:
        handle = executor.submit_main_task(observe(trl), observers=[log], hold=True)
        log.wait_for(topic="held")
        assert handle.retry("observe/scan", "the receiver is on", who="ann").fate == "done"
        assert handle.wait(PATIENCE_S)
    return RunNodes(log.events)


def shape(facts: RunNodes) -> dict[str, tuple[object, ...]]:
    return {
        path: (node.status, node.result_code, node.health_state, node.message)
        for path, node in facts.nodes.items()
    }


def killed_and_resumed(database: str, run_id: str, trl: str) -> RunNodes:
    """Kill a runner while it is held; recover and resume the run; return the facts of the last."""
    from taskgrove.tango import DeviceRunner

    words = [sys.executable, "-m", "tests.steering.doomed_while_held", database, run_id, trl]
    done = subprocess.run(words, timeout=PATIENCE_S, check=False)
    assert done.returncode == -signal.SIGKILL
    with Store.open(database) as store, DeviceRunner() as runner:
        recover(store, run_id, runners={DEVICE: runner})
        scan = History(store).facts(run_id).nodes["observe/scan"]
        assert scan.status is TaskStatus.FAILED
        assert scan.finished is not None
        assert scan.finished.cause is not None
        assert "the receiver is off" in scan.finished.cause.said
        assert [note.topic for note in scan.notes][-1] == "was-held"
        tree = observe(trl)
        ready = plan_resume(store, run_id, tree)
        assert [(leaf.path, leaf.doubt) for leaf in ready.plan.of("redo")] == [
            ("observe/scan", ""),
            ("observe/finally/end", ""),
        ]
        with (
            Recorder(store) as recorder,
            MainTaskExecutor(runners={DEVICE: runner}) as executor,
        ):
            handle = executor.submit_main_task(
                tree, recorder=recorder, about=ready.about, prior=ready.plan.prior
            )
            assert handle.wait(PATIENCE_S)
        return History(store).facts(handle.id)


def check_commands(log: Path, beam: str) -> None:
    """The device was told Configure once, Scan twice, End once, and nothing at once."""
    from taskgrove.tango.simulator import invocations_of, overlapping

    told = [item for item in invocations_of(log) if item.device == beam]
    assert overlapping(told) == []
    assert [item.command for item in told] == ["Configure", "Scan", "Scan", "End"]


def check_same(facts: RunNodes, expected: RunNodes, beam: str, first: str) -> None:
    told = {
        path: (*rest, str(message).replace(beam, first))
        for path, (*rest, message) in shape(facts).items()
    }
    assert told == shape(expected)


@pytest.mark.parametrize("times", [2, pytest.param(TIMES, marks=pytest.mark.thorough)])
def test_a_held_run_that_is_killed_is_resumed_to_the_same_end(
    fleet: tuple[Any, Path], tmp_path: Path, times: int
) -> None:
    started, log = fleet
    first = 0 if times == 2 else 3
    beams = started.devices[first : first + times + 1]
    expected = whole(started.trl(beams[0]))
    assert expected.nodes["observe"].status is TaskStatus.COMPLETED
    check_commands(log, beams[0])
    for number, beam in enumerate(beams[1:]):
        database = str(tmp_path / "runs.db")
        facts = killed_and_resumed(database, f"r{number}", started.trl(beam))
        check_commands(log, beam)
        check_same(facts, expected, beam, beams[0])


@pytest.mark.postgres
@pytest.mark.thorough
def test_the_same_with_postgresql(fleet: tuple[Any, Path], postgres_server: PostgresServer) -> None:
    started, log = fleet
    beams = started.devices[TIMES + 5 : TIMES + 9]
    expected = whole(started.trl(beams[0]))
    url = postgres_server.new_database()
    for number, beam in enumerate(beams[1:]):
        facts = killed_and_resumed(url, f"r{number}", started.trl(beam))
        check_commands(log, beam)
        check_same(facts, expected, beam, beams[0])
