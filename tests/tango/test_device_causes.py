"""Each way in which a command does not end well gives a cause of its kind, with what is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskgrove.cli.devices import DeviceReader
from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.prior import PriorWork
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import PROBLEM_CODES, TaskStatus
from taskgrove.events import Cause, FinishedDetail, NoteDetail
from taskgrove.tango import DeviceRunner
from taskgrove.tango.simulator import SimulatedFleet
from taskgrove.testing import EventLog
from tests.free_port import free_port
from tests.tango.lrc_process import GUARD_S, LrcServer, eventually

pytestmark = pytest.mark.tango

CBF = "low-cbf/subarray/01"
PSS = "low-pss/subarray/01"
#: Each is harmed by one test only: what hangs there goes on.
MORTAL = [f"low-cbf/subarray/9{number}" for number in range(1, 7)]
LONG = {"duration": 60, "progress": 1000}
QUICK = {"poll_interval_s": 0.3, "rpc_timeout_s": 0.5}


@pytest.fixture(scope="module")
def fleet() -> Iterator[SimulatedFleet]:
    with SimulatedFleet([CBF, PSS, *MORTAL], settings={"duration_s": 0.12, "spread": 0.0}) as made:
        yield made


@pytest.fixture(scope="module")
def server() -> Iterator[LrcServer]:
    with LrcServer(2, 1) as process:
        yield process


@pytest.fixture(scope="module")
def plain() -> Iterator[LrcServer]:
    with LrcServer(1, 0) as process:
        yield process


def ended(
    leaf: LeafTask,
    meanwhile: Callable[[RunHandle, EventLog], object] | None = None,
    *,
    prior: Any = None,
    **settings: float,
) -> tuple[Cause, EventLog]:
    """Run one leaf, do something meanwhile, and return why it ended badly."""
    log, runner = EventLog(), DeviceRunner(**{"poll_interval_s": 0.2, **settings})
    try:
        with MainTaskExecutor(
            runners={TaskExecutionType.DEVICE: runner}, grace_s=GUARD_S
        ) as executor:
            root = Task("root", is_root=True, subtasks=[leaf])
            handle = executor.submit_main_task(root, observers=[log], prior=prior)
            if meanwhile is not None:
                meanwhile(handle, log)
            assert handle.wait(GUARD_S)
    finally:
        runner.close()
    (end,) = log.select(kind="finished", path=f"root/{leaf.name}")
    assert end.status is not TaskStatus.COMPLETED or end.result_code in PROBLEM_CODES
    assert isinstance(end.detail, FinishedDetail)
    assert end.detail.cause is not None
    return end.detail.cause, log


def running(log: EventLog) -> None:
    log.wait_for(path="root/a", where=lambda event: bool(event.progress), timeout_s=GUARD_S)


def simulated(
    fleet: SimulatedFleet, fault: str | None, device: str = CBF, **fields: Any
) -> LeafTask:
    fleet.set_fault(device, "Configure", *([] if fault is None else [fault]))
    argin = fields.pop("argin", {"id": 1})
    return LeafTask("a", fleet.trl(device), "Configure", argin, **fields)


# -- what the device says -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ("fail,message=no clock", "reported", "no clock"),
        ("fail,message=no clock,abnormal=true", "reported", "no clock"),
        ("fail,message=timed out after 30 s (limit set by root)", "reported", "timed out after"),
        ("raise,message=division by zero", "reported", "division by zero"),
        ("reject,message=not now", "refused", "not now"),
        ("reject,message=not now,how=exception", "refused", "not now"),
        ("reject,how=late", "not_allowed", "not allowed"),
        ("garbage,broken=true", "unreadable", ""),
        ("garbage", "unreadable", ""),
    ],
)
def test_what_a_device_says_is_quoted(
    fleet: SimulatedFleet, fault: str, kind: str, said: str
) -> None:
    cause, _ = ended(simulated(fleet, fault))
    assert (cause.kind, cause.device) == (kind, CBF)
    assert said in cause.said
    assert cause.said
    assert "unusable result" not in cause.said
    if "message" in fault and kind != "reported":
        assert cause.said.startswith("not now")  # no words of ours before it


def test_a_device_that_was_aborted_by_somebody_else(fleet: SimulatedFleet) -> None:
    import tango

    def abort(_handle: RunHandle, log: EventLog) -> None:
        running(log)
        tango.DeviceProxy(fleet.trl(CBF)).command_inout("Abort")

    cause, _ = ended(simulated(fleet, "hang"), abort)
    assert (cause.kind, cause.said) == ("aborted", "Command has been aborted")
    assert cause.outside_id


def test_an_abort_of_the_run_tells_its_reason(fleet: SimulatedFleet) -> None:
    def abort(handle: RunHandle, log: EventLog) -> None:
        running(log)
        handle.abort("the beam is off")

    cause, _ = ended(simulated(fleet, "hang"), abort)
    assert (cause.kind, cause.said, cause.device) == ("aborted", "the beam is off", CBF)


# -- what it refuses, or PyTango before it ---------------------------------------------------------


def test_a_command_that_is_not_there_has_a_near_one(fleet: SimulatedFleet) -> None:
    cause, _ = ended(LeafTask("a", fleet.trl(CBF), "Confgure", {"id": 1}))
    assert (cause.kind, cause.nearest, cause.device) == ("no_command", "Configure", CBF)
    assert cause.chain


@pytest.mark.parametrize("argin", [7, None])
def test_a_wrong_argument_tells_what_would_be_right(fleet: SimulatedFleet, argin: Any) -> None:
    cause, _ = ended(simulated(fleet, None, argin=argin))
    assert (cause.kind, cause.expected) == ("wrong_argument", "DevString")


def test_a_device_that_is_not_there_has_a_near_one(fleet: SimulatedFleet) -> None:
    trl = fleet.trl(CBF)
    leaf = LeafTask("b", trl.replace("subarray/01", "subarray/09"), "Configure", {"id": 1})

    def both(_handle: RunHandle, log: EventLog) -> None:
        log.wait_for(path="root/b", kind="finished", timeout_s=GUARD_S)

    log, runner = EventLog(), DeviceRunner()
    with MainTaskExecutor(runners={TaskExecutionType.DEVICE: runner}) as executor:
        root = Task("root", is_root=True, subtasks=[simulated(fleet, None), leaf])
        assert executor.submit_main_task(root, observers=[log]).wait(GUARD_S)
    runner.close()
    (end,) = log.select(kind="finished", path="root/b")
    assert isinstance(end.detail, FinishedDetail)
    cause = end.detail.cause
    assert cause is not None
    assert (cause.kind, cause.nearest) == ("no_device", CBF)
    assert cause.said == ""
    assert "CORBA" not in end.message
    assert "its server has no device of that name" in end.message


def test_a_queue_that_is_full_is_known_by_the_reason_of_the_error(server: LrcServer) -> None:
    cause, _ = ended(LeafTask("a", server.trl(), "Full"))
    assert (cause.kind, cause.said) == ("queue_full", "three commands wait")


def test_an_error_that_the_device_was_told_by_another_is_its_own_refusal(server: LrcServer) -> None:
    cause, _ = ended(LeafTask("a", server.trl(1), "Relay", server.trl(2)))
    assert cause.kind == "refused"
    assert any(link.type == "API_CommandNotFound" for link in cause.chain)


def test_a_name_that_tango_cannot_carry_is_wrong_in_the_map() -> None:
    cause, _ = ended(LeafTask("a", "a/b/\N{GREEK SMALL LETTER ALPHA}", "On"))
    assert cause.kind == "misconfigured"


def test_an_exception_of_a_plain_command(plain: LrcServer) -> None:
    cause, _ = ended(LeafTask("a", plain.trl(), "Move", -1.0))
    assert cause.kind == "raised"
    assert "sleep length must be non-negative" in cause.said
    assert cause.chain[0].type == "API_CommandFailed"
    assert cause.chain[-1].text == cause.said


# -- devices that are gone ------------------------------------------------------------------------


def test_a_device_that_cannot_be_reached() -> None:
    trl = f"tango://127.0.0.1:{free_port()}/a/b/1#dbase=no"
    cause, _ = ended(LeafTask("a", trl, "On"), **QUICK)
    assert (cause.kind, cause.device, cause.said) == ("unreachable", "a/b/1", "")
    assert cause.errno_name == "ECONNREFUSED"


def test_a_server_that_is_taken_for_a_database(plain: LrcServer) -> None:
    trl = plain.trl()
    assert trl.endswith("#dbase=no")
    cause, log = ended(LeafTask("a", trl.removesuffix("#dbase=no"), "Move", 0.0))
    assert (cause.kind, cause.name_problem) == ("unreachable", "no_database")
    assert cause.nearest == trl
    (end,) = log.select(kind="finished", path="root/a")
    assert f"did you mean {trl}?" in end.message


def test_a_database_that_is_not_there() -> None:
    cause, log = ended(LeafTask("a", f"tango://127.0.0.1:{free_port()}/a/b/1", "On"), **QUICK)
    assert (cause.kind, cause.name_problem) == ("unreachable", "database_gone")
    assert cause.nearest is None
    (end,) = log.select(kind="finished", path="root/a")
    assert "the TANGO database does not answer" in end.message


@pytest.mark.thorough  # it waits for limits of TANGO; the kinds beside it do not
def test_a_server_that_takes_connections_and_does_not_answer(fleet: SimulatedFleet) -> None:
    leaf = simulated(fleet, None, MORTAL[2])
    fleet.suspend(MORTAL[2])
    try:
        cause, _ = ended(leaf, **QUICK)
    finally:
        fleet.resume(MORTAL[2])
    assert (cause.kind, cause.errno_name) == ("unreachable", "ETIMEDOUT")


def test_a_server_that_dies(fleet: SimulatedFleet) -> None:
    def kill(_handle: RunHandle, log: EventLog) -> None:
        running(log)
        fleet.kill(MORTAL[0])

    cause, _ = ended(simulated(fleet, "hang", MORTAL[0]), kill)
    assert cause.kind == "died"
    assert cause.outside_id
    assert cause.last_answer_ns is not None
    assert 0 < time.time_ns() - cause.last_answer_ns < GUARD_S * 1e9


@pytest.mark.leaks("the fleet has a new server process; the fleet stops it")
def test_a_server_that_is_restarted(fleet: SimulatedFleet) -> None:
    cause, _ = ended(simulated(fleet, "restart,for_s=0.2,times=1", MORTAL[1]))
    assert cause.kind == "restarted"


def test_a_call_whose_answer_was_lost() -> None:
    with LrcServer() as server:

        def kill(_handle: RunHandle, _log: EventLog) -> None:
            eventually(lambda: server.executions, "the command runs")
            server.kill()

        leaf = LeafTask("a", server.trl(), "Configure", {"hold_reply_s": 30})
        cause, _ = ended(leaf, kill, **QUICK)
    assert cause.kind == "fate_unknown"
    assert cause.chain


def test_a_command_that_the_device_has_forgotten(server: LrcServer) -> None:
    leaf = LeafTask("a", server.trl(), "Configure", {})
    prior = {"root/a": PriorWork("1_2_Configure", status=TaskStatus.IN_PROGRESS)}
    cause, _ = ended(leaf, prior=prior, not_found_grace_s=0.4)
    assert (cause.kind, cause.outside_id) == ("forgotten", "1_2_Configure")


@pytest.mark.parametrize(("device", "lost_after_s"), [(MORTAL[3], 1.0), (MORTAL[4], 60.0)])
@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_server_that_hangs(fleet: SimulatedFleet, device: str, lost_after_s: float) -> None:
    """It is given up, or a limit expires before: the silence is told either way."""

    def freeze(_handle: RunHandle, log: EventLog) -> None:
        running(log)
        frozen_ns.append(time.time_ns())
        fleet.suspend(device)

    frozen_ns: list[int] = []
    leaf = simulated(fleet, "hang", device, timeout=None if lost_after_s < 60 else 6.0)
    try:
        cause, log = ended(leaf, freeze, **QUICK, lost_after_s=lost_after_s)
    finally:
        fleet.resume(device)
    assert cause.kind == ("silent" if lost_after_s < 60 else "timed_out")
    assert cause.device == device
    assert cause.outside_id
    assert cause.last_answer_ns is not None
    assert abs(cause.last_answer_ns - frozen_ns[0]) < 2e9
    if lost_after_s < 60:
        return
    assert (cause.limit_s, cause.limit_owner) == (6.0, "root/a")
    (note,) = log.select(kind="note", topic="silent")
    assert isinstance(note.detail, NoteDetail)
    assert note.detail.data == {"since_ns": str(cause.last_answer_ns)}
    assert note.detail.cause == Cause(
        kind="silent", last_answer_ns=cause.last_answer_ns, outside_id=cause.outside_id,
        device=device,
    )  # fmt: skip


@pytest.mark.thorough  # it waits for limits of TANGO; the kinds beside it do not
def test_a_server_that_hung_and_answers_again(fleet: SimulatedFleet) -> None:
    device = MORTAL[5]

    def freeze(_handle: RunHandle, log: EventLog) -> None:
        running(log)
        fleet.suspend(device)
        log.wait_for(topic="silent", timeout_s=GUARD_S)
        fleet.resume(device)
        log.wait_for(topic="answers", timeout_s=GUARD_S)

    cause, log = ended(simulated(fleet, "hang", device, timeout=10.0), freeze, **QUICK)
    assert (cause.kind, cause.last_answer_ns) == ("timed_out", None)
    assert [note.detail.topic for note in log.select(kind="note", path="root/a")].count(
        "answers"
    ) == 1


def test_who_asks_before_a_run_is_told_of_the_name_that_was_meant(fleet: SimulatedFleet) -> None:
    there = fleet.trl(CBF)
    missing, _ = DeviceReader().ping_all([there.replace("subarray/01", "subarray/09"), there])
    assert missing.unknown
    assert missing.problem == f"its server has no device of that name; did you mean {CBF}?"
    assert "start its server" not in missing.hint
    assert missing.cause is not None
    assert (missing.cause.kind, missing.cause.nearest) == ("no_device", CBF)
