"""A retry on real devices: what may still run there is stopped first, and never runs twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.events import NoteDetail
from taskgrove.tango import DeviceRunner
from taskgrove.tango.simulator import Invocation, SimulatedFleet, invocations_of, overlapping
from taskgrove.testing import EventLog

pytestmark = pytest.mark.tango

GUARD_S = 60.0
SCANS, FREEZES = "low-cbf/subarray/01", "low-cbf/subarray/02"


@pytest.fixture(scope="module")
def log_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("invocations") / "log.jsonl"


@pytest.fixture(scope="module")
def fleet(log_file: Path) -> Iterator[SimulatedFleet]:
    settings = {"duration_s": 0.1, "spread": 0.0}
    with SimulatedFleet([SCANS, FREEZES], settings=settings, log=log_file) as made:
        yield made


@contextmanager
def held(
    fleet: SimulatedFleet, device: str, *, timeout: float | None = None, **settings: float
) -> Iterator[tuple[RunHandle, EventLog]]:
    """Run a scan that hangs the first time."""
    fleet.set_fault(device, "Scan", "hang,times=1")
    leaf = LeafTask("scan", fleet.trl(device), "Scan", {"id": 1}, timeout=timeout)
    log, runner = EventLog(), DeviceRunner(poll_interval_s=0.2, **settings)
    try:
        with MainTaskExecutor(
            runners={TaskExecutionType.DEVICE: runner}, grace_s=GUARD_S
        ) as executor:
            root = Task("root", is_root=True, subtasks=[leaf])
            handle = executor.submit_main_task(root, observers=[log], hold=True)
            try:
                yield handle, log
            finally:
                handle.abort("the test is over")
    finally:
        runner.close()


def scans(file: Path, device: str) -> list[Invocation]:
    """Return the scans of a device, of which no two ran at once."""
    assert not list(overlapping(invocations_of(file)))
    return [
        item for item in invocations_of(file) if (item.device, item.command) == (device, "Scan")
    ]


def test_a_scan_that_hangs_is_stopped_before_it_is_tried_again(
    fleet: SimulatedFleet, log_file: Path
) -> None:
    with held(fleet, SCANS, timeout=1.0) as (handle, log):
        note = log.wait_for(topic="held", timeout_s=GUARD_S)
        assert isinstance(note.detail, NoteDetail)
        assert note.detail.cause is not None
        assert note.detail.cause.kind == "timed_out"
        answer = handle.retry("root/scan")
        (objection,) = answer.objections
        assert (answer.fate, objection.reason) == ("refused", "may_be_at_work")
        assert objection.outside_id == note.detail.cause.outside_id
        assert handle.retry("root/scan", abort_first=True).fate == "done"
        assert handle.wait(GUARD_S)
        assert handle.ok
    assert len(scans(log_file, SCANS)) == 2


@pytest.mark.thorough  # it waits for limits of TANGO; its neighbour tests the rule sooner
def test_a_scan_of_a_device_that_was_silent_is_stopped_before_it_is_tried_again(
    fleet: SimulatedFleet, log_file: Path
) -> None:
    with held(fleet, FREEZES, rpc_timeout_s=0.5, lost_after_s=1.0) as (handle, log):
        log.wait_for(kind="started", path="root/scan", timeout_s=GUARD_S)
        fleet.suspend(FREEZES)
        try:
            note = log.wait_for(topic="held", timeout_s=GUARD_S)
        finally:
            fleet.resume(FREEZES)
        assert isinstance(note.detail, NoteDetail)
        assert note.detail.cause is not None
        assert note.detail.cause.kind == "silent"
        assert handle.retry("root/scan").objections[0].reason == "may_be_at_work"
        assert handle.retry("root/scan", abort_first=True).fate == "done"
        assert handle.wait(GUARD_S)
        assert handle.ok
    assert len(scans(log_file, FREEZES)) == 2
