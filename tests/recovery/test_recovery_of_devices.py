"""kill -9 of a runner while real devices configure: they go on, and recovery follows them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import TaskStatus
from taskgrove.recovery.lost_run_recovery import look_at_lost, recover
from taskgrove.recovery.resuming import plan_resume
from taskgrove.store import Recorder, Store
from taskgrove.store.history import History
from taskgrove.tango.client.protocol import decode_moment
from taskgrove.testing import EventLog
from taskgrove.view.snapshot import RunView
from tests.cli.command_line import PATIENCE_S, start, taskgrove

pytest.importorskip("tango")
pytestmark = pytest.mark.tango

BEAMS = [f"low-pst/beam/0{number}" for number in (1, 2, 3)]
DEVICE = TaskExecutionType.DEVICE

Killed = Callable[[float, dict[str, Any]], tuple[Any, Path]]


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Killed]:
    """Start three beams, and a runner that is killed once the record holds their commands.

    These take so long that none is over before, also where the disk is slow.
    """
    from taskgrove.tango.simulator import SimulatedFleet

    fleets: list[Any] = []

    def begin(duration_s: float, faults: dict[str, Any]) -> tuple[Any, Path]:
        settings = {"duration_s": duration_s, "steps": 4}
        fleet = SimulatedFleet(BEAMS, settings=settings, faults=faults).start()
        fleets.append(fleet)
        database = tmp_path / "runs.db"
        trls = [fleet.trl(beam) for beam in BEAMS]
        words = [sys.executable, "-m", "tests.recovery.doomed_with_devices"]
        done = subprocess.run([*words, str(database), "r1", *trls], timeout=PATIENCE_S, check=False)
        assert done.returncode == -signal.SIGKILL
        return fleet, database

    yield begin
    for fleet in fleets:
        fleet.stop()


def finished_ns(trl: str) -> int:
    """Wait until a device has ended its command, and return when, as the device says."""
    import tango

    proxy, deadline = tango.DeviceProxy(trl), time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for text in proxy.read_attribute("lrcFinished").value or ():
            moment = decode_moment(json.loads(text)["finished_time"])
            assert moment is not None
            return moment
        time.sleep(0.02)
    raise AssertionError("it never ended")


def recovered(database: Path) -> tuple[Any, EventLog, Any]:
    from taskgrove.tango import DeviceRunner

    log = EventLog()
    with Store.open(database) as store, DeviceRunner(poll_interval_s=0.3) as runner:
        _, plan = look_at_lost(store, "r1")
        assert len(plan.of("followed")) == 3
        recover(store, "r1", runners={DEVICE: runner})
        history = History(store)
        for event in history.events("r1"):
            log(event)
        log.assert_gapless()
        for path in history.facts("r1").nodes:
            log.assert_one_end(path)
        return history.find("r1"), log, history.facts("r1").nodes


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_devices_that_still_run_are_followed_to_their_true_ends(killed: Killed) -> None:
    killed_fleet, database = killed(4.0, {BEAMS[1]: {"Configure": 'fail("no lock"),at=80'}})
    row, log, nodes = recovered(database)
    assert killed_fleet.is_alive(BEAMS[0])
    ends = {name: nodes[f"configure/configure_pst/pst-0{name}"] for name in (1, 2, 3)}
    assert [node.status for node in ends.values()] == [TaskStatus.COMPLETED] * 3
    assert ends[2].message == "low-pst/beam/02: no lock"
    assert nodes["configure/configure_pst"].health_state == "DEGRADED"
    # Recovery starts nothing: what comes after is not begun.
    assert nodes["configure/scan"].status is TaskStatus.ABORTED
    assert "not started: the runner of this run was lost" in nodes["configure/scan"].message
    assert row.state == "final"
    assert log.select(topic="recovered", path="configure")
    ids = {event.detail.outside_id for event in log.select(kind="started") if event.detail}
    assert len(ids) == 3  # the same commands before and after


@pytest.mark.thorough  # the rule is tested without a device too
def test_a_device_cannot_talk_a_resume_into_doubts(tmp_path: Path) -> None:
    from taskgrove.tango import DeviceRunner
    from taskgrove.tango.simulator import SimulatedFleet

    said = "timed out; it is not known whether it was executed, and it may go on"
    faults = {BEAMS[1]: {"Configure": f'fail("{said}")'}}
    with (
        SimulatedFleet(BEAMS[:2], settings={"duration_s": 30.0}, faults=faults) as fleet,
        Store.open(tmp_path / "runs.db") as store,
        Recorder(store) as recorder,
        DeviceRunner() as runner,
        MainTaskExecutor(2, {DEVICE: runner}) as executor,
    ):

        def tree() -> Task:
            slow, talks = (fleet.trl(beam) for beam in BEAMS[:2])
            steps = [
                LeafTask("slow", slow, "Configure", "{}", timeout=0.5),
                LeafTask("talks", talks, "Configure", "{}"),
            ]
            return Task("root", TaskExecutionType.PARALLEL, subtasks=steps)

        executor.submit_main_task(tree(), recorder=recorder).wait(PATIENCE_S)
        slow, talks = plan_resume(store, "last", tree()).plan.of("redo")
        assert talks.ended is not None
        assert said in talks.ended.message
        assert talks.doubt == ""
        assert slow.doubt.endswith(
            f"{BEAMS[0]} was not stopped when its timeout expired, and may still run"
        )


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_an_end_that_came_before_anybody_looked_has_the_time_of_its_device(
    killed: Killed,
) -> None:
    fleet, database = killed(2.0, {})
    ended_ns = [finished_ns(fleet.trl(beam)) for beam in BEAMS]
    row, log, nodes = recovered(database)
    for number, moment in enumerate(ended_ns, 1):
        path = f"configure/configure_pst/pst-0{number}"
        told = log.assert_one_end(path, TaskStatus.COMPLETED)
        assert nodes[path].ended_ns == moment < told.wall_ns
        assert nodes[path].started_ns < moment
        view = RunView()
        view.apply_all(log.events)
        assert view.node(path).ended_ns == moment
    with Store.open(database) as store:  # the row of each node says the same as its events
        kept = {node.path: node.ended_ns for node in History(store).nodes(row)}
    assert [kept[f"configure/configure_pst/pst-0{n}"] for n in (1, 2, 3)] == ended_ns
    instants = [event.wall_ns for event in log.events]
    assert instants == sorted(instants)


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_device_that_was_restarted_knows_nothing_any_more(killed: Killed) -> None:
    fleet, database = killed(2.0, {})
    fleet.restart(BEAMS[2])
    row, _, nodes = recovered(database)
    lost = nodes["configure/configure_pst/pst-03"]
    assert lost.status is TaskStatus.FAILED
    assert "does not know" in lost.message
    assert nodes["configure/configure_pst/pst-01"].status is TaskStatus.COMPLETED
    assert row.status is TaskStatus.ABORTED  # what came after the beams is not started


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_two_recoveries_at_once_and_one_goes_on(killed: Killed, tmp_path: Path) -> None:
    _, database = killed(4.0, {})
    options = ("r1", "--db", str(database), "--no-live")
    both = [start("recover", *options, cwd=tmp_path) for _ in range(2)]
    told = [process.communicate(timeout=PATIENCE_S) for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [2, 5], told
    refused = told[codes.index(2)][1]
    # The slower one finds that the other is at it, or already done with it.
    allowed = (
        "being recovered by another process",
        "its runner still runs",
        "there is nothing to recover",
    )
    assert any(words in refused for words in allowed), refused
    with Store.open(database) as store:
        log = EventLog()
        for event in History(store).events("r1"):
            log(event)
        log.assert_gapless()
        assert len(log.select(topic="recovered")) == 1
        pst = log.assert_one_end("configure/configure_pst", TaskStatus.COMPLETED)
        assert pst.health_state is None


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_lost_run_is_recovered_before_it_is_resumed_and_nothing_runs_twice(
    killed: Killed, tmp_path: Path
) -> None:
    _, database = killed(2.0, {})
    done = taskgrove("resume", "r1", "--db", str(database), "--yes", cwd=tmp_path)
    # It was recorded from Python: recovered, and then only its program can build the tree.
    assert done.returncode == 2
    assert "3 followed to their end" in done.stdout
    assert 'taskgrove.store.resume("r1", tree)' in done.stderr
    with Store.open(database) as store:
        assert History(store).find("r1").state == "final"
