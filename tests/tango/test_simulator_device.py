"""Simulated devices seen by bare PyTango: the protocol, and every fault."""

from __future__ import annotations

import json
import time
from queue import SimpleQueue

import pytest
import tango

from taskgrove.tango.simulator import OLD_DEVICE, SimulatedFleet
from tests.tango.bare_client import (
    GUARD_S,
    EventLog,
    finished,
    invoke,
    wait_down,
    wait_status,
    wait_up,
)
from tests.tango.lrc_process import eventually

pytestmark = pytest.mark.tango

V2_ONLY = {"_lrcEvent", "lrcQueue", "lrcExecuting", "lrcFinished"}
SETTINGS = {"duration_s": 0.08, "steps": 4}
#: Of devices whose server dies in mid command: not before the reply to the call has come.
MORTAL = {"duration_s": 1.0, "steps": 4}
DEVICES = [f"low-pst/beam/{number:02d}" for number in range(1, 5)]
V1, OLD, RAISES, STRICT, SLOW_PUSH = (
    f"sim/{word}/01" for word in ("v1", "old", "raises", "strict", "flush")
)
MOTOR = "x01/motor/01"


@pytest.fixture(scope="module")
def fleet():
    special = {
        V1: {"dialect": {"protocol": "v1"}},
        OLD: {"dialect": OLD_DEVICE},
        RAISES: {"bad_argin": "raise"},
        STRICT: {"strict_states": True, "obs_state": "EMPTY", "health_state": "DEGRADED"},
        SLOW_PUSH: {"dialect": {"flush_s": 0.3}},
        MOTOR: {
            "attributes": {"position": 0.0, "names": ["a"], "grid": [[1, 2]], "busy": False},
            "commands": {"MoveTo": {"takes": "DevDouble", "sets": "position"}, "Park": {}},
        },
    }
    with SimulatedFleet(
        [*DEVICES, *special],
        settings=SETTINGS,
        device_settings=special,
        devices_per_process=len(DEVICES) + len(special),
    ) as running:
        yield running


@pytest.fixture
def beam(fleet):
    log = EventLog(fleet.trl(DEVICES[0]), "_lrcEvent")
    log.proxy.command_inout("SimClearFaults")
    yield log
    log.proxy.command_inout("SimClearFaults")
    log.close()


def set_fault(log: EventLog, fault: object, command: str = "Configure") -> None:
    log.proxy.command_inout("SimSetFault", json.dumps({command: fault}))


def run(log: EventLog, command: str = "Configure", argin: str | None = "{}") -> tuple[str, dict]:
    code, uid = invoke(log.proxy, command, argin)
    assert code == 2
    return uid, log.wait_final(uid)


def test_all_is_well(beam):
    uid, end = run(beam)
    assert end == {"status": 5, "result": [0, "Configure completed OK"]}
    assert beam.statuses(uid) == [0, 1, 2, 5]
    assert [c["progress"] for c in beam.changes(uid) if "progress" in c] == [0, 25, 50, 75]
    assert beam.proxy.command_inout("CheckLongRunningCommandStatus", uid) == "COMPLETED"
    assert beam.proxy.command_inout("CheckLongRunningCommandStatus", "1_2_Scan") == "NOT_FOUND"


def test_events_of_one_change_come_in_the_order_of_real_devices(fleet):
    names = [
        "longRunningCommandResult",
        "longRunningCommandStatus",
        "longRunningCommandInProgress",
        "_lrcEvent",
        "lrcExecuting",
        "lrcFinished",
    ]
    log = EventLog(fleet.trl(DEVICES[1]), *names)
    try:
        _, uid = invoke(log.proxy, "End", None)
        seen = log.wait(lambda seen: any(name == "lrcFinished" for name, _ in seen))
        assert [name for name, _ in seen][-6:] == names
        assert json.loads(dict(seen)["lrcFinished"][-1])["uid"] == uid
        assert dict(seen)["longRunningCommandResult"] == [uid, '[0,"End completed OK"]']
    finally:
        log.close()


def test_all_attributes_have_events_and_the_versions_are_offered(fleet):
    proxy = tango.DeviceProxy(fleet.trl(DEVICES[0]))
    assert set(proxy.get_attribute_list()) >= V2_ONLY
    assert list(proxy.lrcProtocolVersions) == [1, 2]
    assert proxy.get_attribute_config("longRunningCommandStatus").max_dim_x == 132
    assert list(proxy.read_attribute("_lrcEvent").value or []) == []


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        ("fail,message=lock lost", {"status": 5, "result": [3, "lock lost"]}),
        ("fail,code=REJECTED,message=x", {"status": 5, "result": [5, "x"]}),
        ({"fail": {"abnormal": True, "message": "x"}}, {"status": 7, "result": [3, "x"]}),
        (
            "raise,message=boom",
            {"status": 7, "result": [3, "Unhandled exception during execution: boom"]},
        ),
        ("reject,how=late", {"status": 6, "result": [6, "Command is not allowed"]}),
        ("garbage", {"status": 5, "result": [42, "?"]}),
        ({"garbage": {"value": "Completed"}}, {"status": 5, "result": "Completed"}),
        ({"garbage": {"value": 0}}, {"status": 5, "result": 0}),
    ],
)
def test_faults_of_the_outcome(beam, fault, end):
    set_fault(beam, fault)
    uid, found = run(beam)
    assert found == end
    assert finished(beam.proxy, uid)["result"] == end["result"]


def test_reject_by_code_sends_nothing_and_queues_nothing(beam):
    set_fault(beam, "reject,message=not today")
    assert invoke(beam.proxy, "Configure") == (5, "not today")
    run(beam, "Scan")
    assert not [value for _, value in beam.seen() if value and value[0].endswith("Configure")]


def test_reject_by_exception(beam):
    set_fault(beam, "reject,how=exception,message=not today")
    with pytest.raises(tango.DevFailed) as caught:
        invoke(beam.proxy, "Configure")
    assert caught.value.args[0].desc == "not today"


def test_a_text_that_is_no_json_at_all(beam):
    set_fault(beam, "garbage,broken=true")
    _, uid = invoke(beam.proxy, "Configure")
    wait_status(beam.proxy, uid, "COMPLETED")
    seen = beam.wait(lambda seen: seen[-1][1][1] == '{"result": [0, ')
    assert seen[-1][1][0] == uid
    assert list(beam.proxy.longRunningCommandResult) == [uid, '{"result": [0, ']


def test_hang_ends_when_it_is_aborted(beam):
    set_fault(beam, "hang,at=50,times=1")
    _, uid = invoke(beam.proxy, "Configure")
    beam.wait(lambda _: {"progress": 50} in _changes(beam, uid))
    _, waiting = invoke(beam.proxy, "Scan")
    code, abort = invoke(beam.proxy, "Abort", None)
    assert code == 1
    assert beam.wait_final(abort) == {"status": 5, "result": [0, "Abort completed OK"]}
    aborted = {"status": 3, "result": [7, "Command has been aborted"]}
    assert beam.wait_final(uid) == beam.wait_final(waiting) == aborted
    assert beam.proxy.obsState.name == "ABORTED"
    run(beam, "ObsReset", None)
    assert beam.proxy.obsState.name == "IDLE"


def _changes(log: EventLog, uid: str) -> list[dict]:
    return [json.loads(v[1]) for n, v in log._seen if n == "_lrcEvent" and v and v[0] == uid]


def test_abort_commands_has_no_id(beam):
    set_fault(beam, "hang,times=1")
    _, uid = invoke(beam.proxy, "Configure")
    assert invoke(beam.proxy, "AbortCommands", None) == (1, "Aborting commands")
    assert beam.wait_final(uid)["status"] == 3


def test_slow_takes_its_factor_longer(beam):
    set_fault(beam, "slow,factor=6,times=1")
    begin = time.monotonic()
    run(beam)
    assert time.monotonic() - begin >= 6 * SETTINGS["duration_s"]


def test_stall_holds_the_call_but_the_command_is_executed(beam):
    set_fault(beam, "stall,for_s=1.5,times=1")
    before = json.loads(beam.proxy.command_inout("SimInfo"))["calls"].get("Configure", 0)
    beam.proxy.set_timeout_millis(500)
    with pytest.raises(tango.CommunicationFailed):
        invoke(beam.proxy, "Configure")
    beam.proxy.set_timeout_millis(int(GUARD_S * 1000))
    calls = json.loads(beam.proxy.command_inout("SimInfo"))["calls"]
    assert calls["Configure"] == before + 1


def test_lost_events_leave_the_truth_to_be_polled(beam):
    set_fault(beam, "lose,events=final,times=1")
    _, uid = invoke(beam.proxy, "Configure")
    assert wait_status(beam.proxy, uid, "COMPLETED") == "COMPLETED"
    run(beam)  # whatever is sent for the first is here by now
    assert beam.statuses(uid) == [0, 1, 2]
    assert finished(beam.proxy, uid)["result"] == [0, "Configure completed OK"]


def test_duplicated_events(beam):
    set_fault(beam, "duplicate,times=1")
    uid, _ = run(beam)
    run(beam)
    assert beam.statuses(uid) == [0, 0, 1, 1, 2, 2, 5, 5]


def test_reordered_events(beam):
    set_fault(beam, "reorder,times=1")
    uid, _ = run(beam)
    run(beam)
    assert beam.statuses(uid) == [1, 0, 2, 5]
    assert beam.changes(uid)[-1] == {"progress": 75}  # after the end


def test_progress_that_jumps_back(beam):
    set_fault(beam, "jump-back,at=60,to=5")
    uid, _ = run(beam)
    assert [c["progress"] for c in beam.changes(uid) if "progress" in c] == [0, 25, 50, 5, 75]


def test_the_queue_is_full_at_32(beam):
    set_fault(beam, "hang,times=1")
    _, running = invoke(beam.proxy, "Configure")
    wait_status(beam.proxy, running, "IN_PROGRESS")
    replies = [invoke(beam.proxy, "Scan") for _ in range(33)]
    assert [code for code, _ in replies] == [2] * 32 + [5]
    assert "Queue is full" in replies[-1][1]
    assert len(beam.proxy.lrcQueue) == 32
    _, abort = invoke(beam.proxy, "Abort", None)
    assert beam.wait_final(abort)["status"] == 5
    for uid in [running, *(uid for _, uid in replies[:32])]:
        assert beam.wait_final(uid)["status"] == 3


def test_argin_that_is_no_json_object(fleet, beam):
    code, reason = invoke(beam.proxy, "Configure", "{not json")
    assert code == 5
    assert "Configure needs a JSON object" in reason
    with pytest.raises(tango.DevFailed, match="needs a JSON object"):
        invoke(tango.DeviceProxy(fleet.trl(RAISES)), "Configure", "[1]")


def test_the_faults_are_told_counted_and_refused_when_they_are_none(beam):
    set_fault(beam, ["fail,times=2", "slow"])
    run(beam)
    told = json.loads(beam.proxy.command_inout("SimFaults"))
    assert told == {"Configure": [{"kind": "fail", "times": 1}, {"kind": "slow"}]}
    with pytest.raises(tango.DevFailed, match="did you mean 'fail'"):
        set_fault(beam, "fial")
    with pytest.raises(tango.DevFailed, match="no simulated command"):
        set_fault(beam, "fail", command="Confgure")
    beam.proxy.command_inout("SimClearFaults")
    assert beam.proxy.command_inout("SimFaults") == "{}"


def test_states_that_guards_read(fleet):
    proxy = tango.DeviceProxy(fleet.trl(DEVICES[2]))
    log = EventLog(fleet.trl(DEVICES[2]), "obsState")
    try:
        _, uid = invoke(proxy, "Configure")
        wait_status(proxy, uid, "COMPLETED")
        seen = log.wait(lambda seen: len(seen) >= 2)
        assert [int(value) for _, value in seen] == [3, 4]
        assert (proxy.adminMode.name, proxy.healthState.name) == ("ONLINE", "OK")
        proxy.adminMode = 1
        proxy.command_inout("SimSet", '{"healthState": "DEGRADED", "obsState": "FAULT"}')
        names = (proxy.adminMode.name, proxy.healthState.name, proxy.obsState.name)
        assert names == ("OFFLINE", "DEGRADED", "FAULT")
        with pytest.raises(tango.DevFailed):
            proxy.command_inout("SimSet", '{"healthState": "SICK"}')
    finally:
        log.close()


def test_strict_states_refuse_when_the_turn_comes(fleet):
    proxy = tango.DeviceProxy(fleet.trl(STRICT))
    assert proxy.healthState.name == "DEGRADED"
    _, uid = invoke(proxy, "Configure")
    assert wait_status(proxy, uid, "REJECTED") == "REJECTED"
    for command, argin, state in (
        ("AssignResources", "{}", "IDLE"),
        ("Configure", "{}", "READY"),
        ("Scan", "{}", "SCANNING"),
        ("EndScan", None, "READY"),
        ("GoToIdle", None, "IDLE"),
        ("ReleaseAllResources", None, "EMPTY"),
    ):
        _, uid = invoke(proxy, command, argin)
        wait_status(proxy, uid, "COMPLETED")
        assert proxy.obsState.name == state


def test_a_v1_device_has_no_v2(fleet):
    log = EventLog(fleet.trl(V1), "longRunningCommandStatus", "longRunningCommandResult")
    try:
        assert not V2_ONLY & set(log.proxy.get_attribute_list())
        assert list(log.proxy.lrcProtocolVersions) == [1, 1]
        _, uid = invoke(log.proxy, "Configure")
        seen = log.wait(lambda seen: ("longRunningCommandStatus", [uid, "COMPLETED"]) in seen)
        assert seen[-2:] == [
            ("longRunningCommandResult", [uid, '[0,"Configure completed OK"]']),
            ("longRunningCommandStatus", [uid, "COMPLETED"]),
        ]
    finally:
        log.close()


def test_an_old_device_has_bare_results_and_none_on_an_exception(fleet):
    log = EventLog(fleet.trl(OLD), "longRunningCommandResult", "longRunningCommandStatus")
    try:
        assert "lrcProtocolVersions" not in log.proxy.get_attribute_list()
        assert "Abort" not in log.proxy.get_command_list()
        assert list(log.proxy.longRunningCommandInProgress) == ["", ""]
        _, uid = invoke(log.proxy, "Configure")
        log.wait(lambda seen: ("longRunningCommandStatus", [uid, "COMPLETED"]) in seen)
        assert ("longRunningCommandResult", [uid, '"Configure completed OK"']) in log.seen()
        set_fault(log, "raise,times=1")
        _, bad = invoke(log.proxy, "Configure")
        wait_status(log.proxy, bad, "FAILED")
        assert next(iter(log.proxy.longRunningCommandResult)) == uid
    finally:
        log.close()


def test_a_device_that_flushes_its_events_now_and_then(fleet):
    log = EventLog(fleet.trl(SLOW_PUSH), "_lrcEvent")
    try:
        begin = time.monotonic()
        uid, _ = run(log, "End", None)
        assert time.monotonic() - begin >= 0.3
        assert log.statuses(uid) == [0, 1, 2, 5]
    finally:
        log.close()


def test_init_starts_the_device_anew_also_in_mid_command(fleet):
    log = EventLog(fleet.trl(DEVICES[3]), "_lrcEvent")
    try:
        set_fault(log, "hang,deaf=true,times=1")
        _, uid = invoke(log.proxy, "Configure")
        wait_status(log.proxy, uid, "IN_PROGRESS")
        log.proxy.set_timeout_millis(int(GUARD_S * 1000))
        log.proxy.Init()
        assert log.proxy.command_inout("CheckLongRunningCommandStatus", uid) == "NOT_FOUND"
        assert run(log)[1]["status"] == 5
    finally:
        log.close()


def test_crash_ends_the_process_in_mid_command():
    faults = ["low-cbf/subarray/01:Configure=crash,at=40"]
    with SimulatedFleet(["low-cbf/subarray/01"], settings=MORTAL, faults=faults) as fleet:
        proxy = tango.DeviceProxy(fleet.trl("low-cbf/subarray/01"))
        assert invoke(proxy, "Configure")[0] == 2
        wait_down(proxy)
        # The fleet hears of it from the process that watches the servers.
        eventually(lambda: fleet.pid("low-cbf/subarray/01") is None, "the fleet knows")
        with pytest.raises(tango.DevFailed):
            invoke(proxy, "Configure")


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_restart_brings_the_device_back_without_its_memory():
    device = "low-cbf/subarray/01"
    faults = {device: {"Configure": {"restart": {"at": 40, "for_s": 0.2, "times": 1}}}}
    with SimulatedFleet([device], settings=MORTAL, faults=faults) as fleet:
        old_pid = fleet.pid(device)
        trl = fleet.trl(device)
        proxy = tango.DeviceProxy(trl)
        _, uid = invoke(proxy, "Configure")
        fleet.wait_restarted(device, old_pid)
        assert fleet.pid(device) != old_pid
        assert fleet.trl(device) == trl
        again = tango.DeviceProxy(trl)
        wait_up(again)
        assert wait_status(again, uid, "NOT_FOUND") == "NOT_FOUND"
        assert again.command_inout("SimFaults") == "{}"  # it has struck once
        _, uid = invoke(again, "Configure")
        assert wait_status(again, uid, "COMPLETED") == "COMPLETED"


def test_a_device_stands_in_for_any_other(fleet):
    proxy = tango.DeviceProxy(fleet.trl(MOTOR))
    told = SimpleQueue()
    number = proxy.subscribe_event("position", tango.EventType.CHANGE_EVENT, told.put)
    log = EventLog(fleet.trl(MOTOR), "_lrcEvent")
    try:
        assert told.get(timeout=GUARD_S).attr_value.value == 0.0
        _, uid = invoke(proxy, "MoveTo", 3.2)
        assert log.wait_final(uid)["status"] == 5
        assert told.get(timeout=GUARD_S).attr_value.value == 3.2
        _, uid = invoke(proxy, "Park", None)
        assert log.wait_final(uid)["status"] == 5
    finally:
        proxy.unsubscribe_event(number)
        log.close()
    assert proxy.position == 3.2
    for name, value in (("names", ["x", "y"]), ("grid", [[3, 4], [5, 6]]), ("busy", True)):
        proxy.write_attribute(name, value)
        read = proxy.read_attribute(name).value
        read = read.tolist() if hasattr(read, "tolist") else read
        assert (list(read) if isinstance(read, tuple) else read) == value
    proxy.command_inout("SimSetFault", json.dumps({"MoveTo": "fail,message=stuck"}))
    _, uid = invoke(proxy, "MoveTo", 1.0)
    eventually(lambda: "stuck" in str(proxy.lrcFinished), "it failed")
    assert proxy.position == 3.2
