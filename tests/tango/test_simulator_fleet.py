"""The fleet: its processes start, die, come back, and never outlive it."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import tango

import taskgrove
from taskgrove.errors import DeviceError, MissingExtraError, UsageError
from taskgrove.tango.simulation import fleet as fleet_module
from taskgrove.tango.simulation.server import Nursery, Report, _Group, reserve_port
from taskgrove.tango.simulator import SimulatedFleet, device_names, run_simulator
from tests.tango.bare_client import (
    GUARD_S,
    EventLog,
    invoke,
    wait_down,
    wait_status,
    wait_up,
)

pytestmark = pytest.mark.tango

CBF, PSS = "low-cbf/subarray/01", "low-pss/subarray/01"
BEAMS = [f"low-pst/beam/{number:02d}" for number in range(1, 17)]
COMPONENTS = {"cbf": CBF, "pss": PSS, "pst": BEAMS}
QUICK = {"duration_s": 0.05, "steps": 2}


def info(trl: str) -> dict:
    return json.loads(tango.DeviceProxy(trl).command_inout("SimInfo"))


def wait_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + GUARD_S
    while alive := [pid for pid in pids if _runs(pid)]:
        assert time.monotonic() < deadline, f"still running: {alive}"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_eighteen_devices_each_in_a_process_of_its_own():
    threads = threading.active_count()
    with SimulatedFleet([CBF, PSS, *BEAMS], settings=QUICK) as fleet:
        pids = fleet.pids
        assert list(pids) == [CBF, PSS, *BEAMS]
        assert len(set(pids.values())) == 18
        assert {device: info(fleet.trl(device))["pid"] for device in fleet.devices} == pids
        assert len(set(fleet.trls.values())) == 18
        assert threading.active_count() == threads  # a fleet has no thread here
        everything = [*pids.values(), fleet.nursery_pid]
        for pid in pids.values():
            for connection in psutil.Process(pid).net_connections():
                if connection.status == psutil.CONN_LISTEN:
                    assert connection.laddr.ip == "127.0.0.1"
    assert not [pid for pid in everything if psutil.pid_exists(pid)]  # ended, and reaped


def test_devices_may_share_a_process():
    with SimulatedFleet(BEAMS, settings=QUICK, devices_per_process=6) as fleet:
        assert len(set(fleet.pids.values())) == 3
        for device in BEAMS:
            assert info(fleet.trl(device))["name"] == device
        fleet.kill(BEAMS[0])
        assert [fleet.is_alive(device) for device in BEAMS] == [False] * 6 + [True] * 10


def test_kill_and_restart_keep_the_address():
    with SimulatedFleet([CBF, PSS], settings=QUICK) as fleet:
        trl, old = fleet.trl(CBF), fleet.pid(CBF)
        proxy = tango.DeviceProxy(trl)
        proxy.ping()
        fleet.kill(CBF)
        assert fleet.pid(CBF) is None
        assert not fleet.is_alive(CBF)
        assert not psutil.pid_exists(old)
        with pytest.raises(tango.DevFailed):
            proxy.ping()
        fleet.restart(CBF)
        assert fleet.trl(CBF) == trl
        assert fleet.pid(CBF) not in {None, old}
        wait_up(proxy)
        fleet.restart(CBF)  # while it runs
        wait_up(proxy)
        _, uid = invoke(proxy, "Configure")
        assert wait_status(proxy, uid, "COMPLETED") == "COMPLETED"


def test_a_server_killed_by_somebody_else_is_noticed():
    with SimulatedFleet([CBF], settings=QUICK) as fleet:
        proxy = tango.DeviceProxy(fleet.trl(CBF))
        os.kill(fleet.pid(CBF), signal.SIGKILL)
        wait_down(proxy)
        wait_for_death(fleet, CBF)


def wait_for_death(fleet: SimulatedFleet, device: str) -> None:
    deadline = time.monotonic() + GUARD_S
    while fleet.is_alive(device):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_nobody_is_given_the_port_of_a_server_that_is_down():
    with SimulatedFleet([CBF], settings=QUICK) as fleet:
        port = int(fleet.trl(CBF).split(":")[2].split("/")[0])
        fleet.kill(CBF)
        with socket.socket() as intruder, pytest.raises(OSError, match="in use"):
            intruder.bind(("127.0.0.1", port))


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_suspended_process_answers_nothing_until_it_is_resumed():
    with SimulatedFleet([CBF], settings=QUICK) as fleet:
        proxy = tango.DeviceProxy(fleet.trl(CBF))
        proxy.ping()
        proxy.set_timeout_millis(300)
        fleet.suspend(CBF)
        with pytest.raises(tango.DevFailed):
            proxy.ping()
        assert fleet.is_alive(CBF)
        fleet.resume(CBF)
        wait_up(proxy)
        fleet.kill(CBF)
        with pytest.raises(DeviceError, match="ended"):
            fleet.suspend(CBF)


def test_a_suspended_and_a_hanging_process_are_ended_too():
    faults = [f"{PSS}:Scan=hang,deaf=true,at=0"]
    fleet = SimulatedFleet([CBF, PSS], settings=QUICK, faults=faults).start()
    pids = [*fleet.pids.values()]
    try:
        proxy = tango.DeviceProxy(fleet.trl(PSS))
        _, uid = invoke(proxy, "Scan")
        wait_status(proxy, uid, "IN_PROGRESS")
        fleet.suspend(CBF)
    finally:
        fleet.stop()
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    fleet.stop()  # again, harmlessly
    with pytest.raises(DeviceError, match="not running"):
        fleet.trl(CBF)


def test_a_fleet_can_be_started_again():
    fleet = SimulatedFleet([CBF], settings=QUICK)
    for _ in range(2):
        with fleet:
            assert fleet.start() is fleet  # a second start changes nothing
            assert info(fleet.trl(CBF))["pid"] == fleet.pid(CBF)


PARENT = """
import sys, time
from taskgrove.tango.simulator import SimulatedFleet
fleet = SimulatedFleet(["a/b/1", "a/b/2", "a/b/3"]).start()
print(fleet.nursery_pid, *fleet.pids.values(), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("victim", ["parent", "nursery"])
def test_no_process_outlives_the_one_that_it_belongs_to(victim):
    root = str(Path(taskgrove.__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    ) as parent:
        try:
            nursery, *servers = map(int, parent.stdout.readline().split())
            assert len(servers) == 3
            os.kill(parent.pid if victim == "parent" else nursery, signal.SIGKILL)
            wait_gone([*servers, nursery])
        finally:
            parent.kill()


def test_a_fleet_whose_nursery_died_says_so():
    with SimulatedFleet([CBF], settings=QUICK) as fleet:
        os.kill(fleet.nursery_pid, signal.SIGKILL)
        wait_gone([fleet.nursery_pid])
        with pytest.raises(DeviceError, match="process ended"):
            fleet.kill(CBF)


def test_ctrl_c_at_the_terminal_is_not_for_the_devices():
    with SimulatedFleet([CBF], settings=QUICK) as fleet:
        assert os.getsid(fleet.pid(CBF)) != os.getsid(0)


def test_a_server_that_cannot_start_stops_everything_and_its_words_are_told():
    fleet = SimulatedFleet([CBF], env={"ORBendPoint": "nonsense:"}, start_timeout_s=GUARD_S)
    with pytest.raises(DeviceError, match="server of low-cbf/subarray/01 ended"):
        fleet.start()
    assert fleet.nursery_pid is None


def test_a_stranger_on_the_port_is_told_from_the_process_that_was_started():
    with SimulatedFleet([CBF], settings=QUICK) as fleet:
        wrong = Report(event="ready", group=0, pid=1, token="?")
        with pytest.raises(DeviceError, match="another process answers"):
            fleet_module._check_identity(fleet.trl(CBF), wrong, time.monotonic() + GUARD_S)


def test_a_reserved_port_can_be_listened_on_besides():
    with reserve_port("127.0.0.1") as reserved, socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(reserved.getsockname())
        server.listen()


def test_faults_set_from_python_strike_and_are_cleared():
    with SimulatedFleet([CBF], settings=QUICK) as fleet:
        log = EventLog(fleet.trl(CBF), "_lrcEvent")
        try:
            fleet.set_fault(CBF, "Scan", "fail,message=a", {"slow": {"factor": 2}})
            _, uid = invoke(log.proxy, "Scan")
            assert log.wait_final(uid)["result"] == [3, "a"]
            fleet.set_fault(CBF, "Scan")
            _, uid = invoke(log.proxy, "Scan")
            assert log.wait_final(uid)["result"][0] == 0
        finally:
            log.close()


def test_a_map_s_components_become_addresses():
    section = {
        "duration_s": 0.4,
        "steps": 2,
        "faults": {BEAMS[2]: {"Configure": "fail"}},
        "devices": {PSS: {"obs_state": "EMPTY"}},
        "devices_per_process": 18,
    }
    more = [f"{BEAMS[3]}:Configure=raise"]
    with run_simulator(COMPONENTS, section, faults=more, speed=8.0) as fleet:
        addresses = fleet.components(COMPONENTS)
        assert list(addresses) == list(COMPONENTS)
        assert addresses["cbf"] == fleet.trl(CBF)
        assert [trl.split("/", 3)[3] for trl in addresses["pst"]] == [
            f"{b}#dbase=no" for b in BEAMS
        ]
        assert tango.DeviceProxy(addresses["pss"]).obsState.name == "EMPTY"
        proxies = [tango.DeviceProxy(trl) for trl in addresses["pst"]]
        uids = [invoke(proxy, "Configure")[1] for proxy in proxies]
        for proxy, uid in zip(proxies, uids, strict=True):
            wait_status(proxy, uid, "COMPLETED", "FAILED")
        results = [json.loads(proxy.lrcFinished[-1])["result"][0] for proxy in proxies]
        assert results == [0, 0, 3, 3, *[0] * 12]
        with pytest.raises(UsageError, match="did you mean 'low-pst/beam/01'"):
            fleet.components({"pst": ["low-pst/bean/01"]})


def test_device_names_of_a_map_come_once_each():
    assert device_names(COMPONENTS) == [CBF, PSS, *BEAMS]
    assert device_names({"a": CBF, "b": [CBF, PSS]}) == [CBF, PSS]
    assert device_names({"a": CBF, "b": [CBF.upper(), PSS]}) == [CBF, PSS]


@pytest.mark.parametrize(
    ("devices", "options", "says"),
    [
        ([], {}, "at least one device"),
        (["cbf"], {}, "no TANGO device name"),
        (["a/b/c#dbase=no"], {}, "no TANGO device name"),
        ([CBF, CBF.upper()], {}, "named twice"),
        ([CBF], {"speed": 0.0}, "over 0"),
        ([CBF], {"devices_per_process": 0}, "at least 1"),
        ([CBF], {"faults": ["low-cfb/subarray/01:Scan=fail"]}, f"did you mean '{CBF}'"),
        ([CBF], {"device_settings": {PSS: {}}}, "no device of this fleet"),
        ([CBF], {"settings": {"duration": 1}}, "did you mean 'duration_s'"),
    ],
)
def test_what_cannot_be_simulated_is_refused_before_anything_starts(devices, options, says):
    with pytest.raises(UsageError) as caught:
        SimulatedFleet(devices, **options)
    assert says in str(caught.value)


def test_a_wrong_key_of_the_section_is_refused():
    with pytest.raises(UsageError, match="did you mean 'faults'"):
        run_simulator(COMPONENTS, {"fautls": {}})


def test_without_pytango_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tango", None)
    with pytest.raises(MissingExtraError, match=r"taskgrove\[tango\]"):
        SimulatedFleet([CBF]).start()


def test_a_server_that_is_killed_as_it_wants_to_be_restarted_stays_away() -> None:
    ours, theirs = socket.socketpair()
    read_end, write_end = os.pipe()
    with (
        ours, theirs, reserve_port("127.0.0.1") as reserved,
        subprocess.Popen(["/bin/sleep", "600"]) as process,
    ):  # fmt: skip
        nursery = Nursery(theirs)
        group = _Group(0, {}, "127.0.0.1", reserved, pid=process.pid, pipe=read_end)
        nursery._selector.register(read_end, selectors.EVENT_READ, group)
        os.write(write_end, b'{"restart_after_s": 0.0}\n')
        nursery._signal(group, signal.SIGKILL)
        os.close(write_end)
        while group.pid:
            nursery._listen(group)
        report = json.loads(ours.recv(65536))
        nursery._selector.close()
        for end in (nursery._life_read, nursery._life_write):
            os.close(end)
    assert (report["event"], report["reason"]) == ("ended", "signal 9")
    assert not report["will_restart"]
    assert group.restart_at is None
