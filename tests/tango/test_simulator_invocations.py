"""The invocations that simulated devices log: of every kind of call, on real servers."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import tango

from taskgrove.tango.simulator import (
    OLD_DEVICE,
    Invocation,
    SimulatedFleet,
    invocations_of,
    overlapping,
    run_simulator,
)
from tests.tango.bare_client import invoke, wait_down, wait_status, wait_up
from tests.tango.lrc_process import eventually

pytestmark = pytest.mark.tango

NEW, V1, OLD, RAISES = "sim/new/01", "sim/v1/01", "sim/old/01", "sim/raises/01"
ENDS = ("COMPLETED", "FAILED", "ABORTED", "REJECTED")


@pytest.fixture(scope="module")
def log_file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("invocations") / "log.jsonl"


@pytest.fixture(scope="module")
def fleet(log_file):
    special = {
        V1: {"dialect": {"protocol": "v1"}},
        OLD: {"dialect": OLD_DEVICE},
        RAISES: {"bad_argin": "raise"},
    }
    with SimulatedFleet(
        [NEW, *special],
        settings={"duration_s": 0.05, "steps": 2},
        device_settings=special,
        log=log_file,
    ) as running:
        yield running


class Device:
    """A device of the fleet, and what its log says since the test began."""

    def __init__(self, fleet, name: str, file: Path) -> None:
        self.name, self._file = name, file
        self.proxy = tango.DeviceProxy(fleet.trl(name))
        self._before = len(self._all())

    def _all(self) -> list[Invocation]:
        return [item for item in invocations_of(self._file) if item.device == self.name]

    def logged(self) -> list[Invocation]:
        return self._all()[self._before :]

    def run(self, command: str, argin: str | None) -> str:
        _, uid = invoke(self.proxy, command, argin)
        wait_status(self.proxy, uid, *ENDS)
        return uid


@pytest.fixture
def device(fleet, log_file):
    def named(name: str = NEW) -> Device:
        return Device(fleet, name, log_file)

    yield named
    for name in (NEW, V1, OLD, RAISES):
        tango.DeviceProxy(fleet.trl(name)).command_inout("SimClearFaults")


@pytest.mark.parametrize("name", [NEW, V1, OLD])
def test_a_command_and_its_failure_are_logged_in_every_dialect(name, fleet, device):
    beam = device(name)
    good = beam.run("Configure", '{"band": "low"}')
    fleet.set_fault(name, "Scan", "fail,message=no lock,times=1")
    bad = beam.run("Scan", "{}")
    configure, scan = beam.logged()
    assert (configure.id, configure.status, configure.result_code) == (good, "COMPLETED", "OK")
    assert configure.argin == '{"band": "low"}'
    assert (scan.id, scan.status, scan.result_code, scan.message) == (
        bad,
        "COMPLETED",
        "FAILED",
        "no lock",
    )
    assert configure.called_ns <= configure.begin_ns < configure.end_ns <= scan.called_ns
    assert not overlapping(beam.logged())
    shown = json.loads(beam.proxy.read_attribute("invocations").value)
    assert [item["id"] for item in shown[-2:]] == [good, bad]


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("raise", "FAILED", "FAILED"),
        ("fail,abnormal=true", "FAILED", "FAILED"),
        ("reject,how=late", "REJECTED", "NOT_ALLOWED"),
        ("garbage,broken=true", "COMPLETED", None),
    ],
)
def test_how_it_ended_is_logged(fault, status, code, fleet, device):
    beam = device()
    fleet.set_fault(NEW, "Configure", f"{fault},times=1")
    beam.run("Configure", "{}")
    (found,) = beam.logged()
    assert (found.status, found.result_code) == (status, code)
    assert (found.begin_ns is None) == (status == "REJECTED")


def test_a_refused_call_is_logged_without_an_id(fleet, device):
    beam, raising = device(), device(RAISES)
    fleet.set_fault(NEW, "Configure", "reject,message=busy,times=1")
    invoke(beam.proxy, "Configure", "{}")
    fleet.set_fault(NEW, "Configure", "reject,how=exception,message=away,times=1")
    with pytest.raises(tango.DevFailed):
        invoke(beam.proxy, "Configure", "{}")
    with pytest.raises(tango.DevFailed):
        invoke(raising.proxy, "Configure", "[")
    found = [*beam.logged(), *raising.logged()]
    assert [(item.id, item.begin_ns, item.status) for item in found] == 3 * [
        (None, None, "REJECTED")
    ]
    assert [item.message for item in found[:2]] == ["busy", "away"]


@pytest.mark.parametrize("command", ["Abort", "AbortCommands"])
def test_an_abort_is_an_invocation_too(command, fleet, device):
    beam = device()
    fleet.set_fault(NEW, "Scan", "hang,at=0,times=1")
    _, scan_id = invoke(beam.proxy, "Scan", "{}")
    wait_status(beam.proxy, scan_id, "IN_PROGRESS")
    _, waiting = invoke(beam.proxy, "End", None)
    _, abort_id = invoke(beam.proxy, command, None)
    wait_status(beam.proxy, waiting, "ABORTED")
    eventually(lambda: beam.logged()[-1].end_ns is not None, "the abort has ended")
    scan, end, abort = beam.logged()
    assert (scan.command, scan.status, end.command, end.status) == (
        "Scan",
        "ABORTED",
        "End",
        "ABORTED",
    )
    assert end.begin_ns is None
    assert abort.command == command
    assert abort.id == (abort_id if command == "Abort" else None)
    assert (abort.status, abort.end_ns >= scan.end_ns) == ("COMPLETED", True)
    assert [(a.command, b.command) for a, b in overlapping(beam.logged())] == [("Scan", "End")]


def test_what_began_before_a_kill_is_there_afterwards(tmp_path):
    file = tmp_path / "log.jsonl"
    with SimulatedFleet([NEW], settings={"duration_s": 0.05}, log=file) as fleet:
        fleet.set_fault(NEW, "Scan", "crash,times=1")
        proxy = tango.DeviceProxy(fleet.trl(NEW))
        invoke(proxy, "Scan", "{}")
        wait_down(proxy)
        fleet.restart(NEW)
        wait_up(proxy)
        _, uid = invoke(proxy, "Configure", "{}")
        wait_status(proxy, uid, *ENDS)
        shown = json.loads(proxy.read_attribute("invocations").value)
    scan, configure = invocations_of(file)
    assert (scan.command, scan.status, scan.end_ns) == ("Scan", "IN_PROGRESS", None)
    assert scan.begin_ns is not None
    assert scan.server != configure.server
    assert not overlapping([scan, configure])
    assert [item["command"] for item in shown] == ["Configure"]


def test_the_log_is_made_before_the_servers_and_is_private(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    with run_simulator({"pst": "sim/one/01"}, {"duration_s": 0.05}, log=file) as running:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert invocations_of(file) == []
        proxy = tango.DeviceProxy(running.trl("sim/one/01"))
        _, uid = invoke(proxy, "On", None)
        wait_status(proxy, uid, *ENDS)
    assert [item.command for item in invocations_of(file)] == ["On"]
