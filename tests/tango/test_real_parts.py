"""Parts that others built: a TANGO database, and the C++ device of the TANGO project.

What these tests hold is not our reading of a protocol: Debian's ``TangoTest`` has never heard
of long-running commands, and the database is the one that users have.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgrove.cli.devices import DeviceReader
from taskgrove.cli.run_session import MapSession
from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.commands.command_map import parse_command_map
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import DeviceError
from taskgrove.events import TaskEvent
from taskgrove.tango.device_runner import DeviceRunner
from taskgrove.tango.lrc_client import LrcClient
from tests.free_port import free_port
from tests.tango.database_process import TangoDatabase
from tests.tango.replay_process import GUARD_S, HERE, SCENARIOS_FILE
from tests.tango.replay_watch import NO_POLL_S, warm_up

pytestmark = [pytest.mark.tango, pytest.mark.database]

TANGO_TEST = Path("/usr/lib/tango/TangoTest")
PLAIN = "sys/tg_test/1"
SCRIPTED = "replay/v2-normal/registered"

needs_tango_test = pytest.mark.skipif(
    not TANGO_TEST.exists(), reason="needs the C++ device TangoTest (Debian: tango-test)"
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TangoDatabase]:
    with TangoDatabase(tmp_path_factory.mktemp("database")) as found:
        if TANGO_TEST.exists():
            command = [str(TANGO_TEST), "demo", "-ORBendPoint", "giop:tcp:127.0.0.1:"]
            found.start(command, "TangoTest/demo", {PLAIN: "TangoTest"})
        script = [str(HERE / "replay_server.py"), str(SCENARIOS_FILE), "db", "v2-normal"]
        found.start(
            [sys.executable, *script], "replay_server/scenarios", {SCRIPTED: "Replay_v2_normal"}
        )
        yield found


@pytest.fixture
def executor(
    database: TangoDatabase, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MainTaskExecutor]:
    # Devices are named without a TRL here: TANGO_HOST says where names are looked up.
    monkeypatch.setenv("TANGO_HOST", database.host)
    with (
        LrcClient(poll_interval_s=NO_POLL_S) as client,
        MainTaskExecutor(4, {TaskExecutionType.DEVICE: DeviceRunner(client)}) as found,
    ):
        warm_up(client, SCRIPTED)
        yield found


def run(
    executor: MainTaskExecutor, *leaves: LeafTask
) -> tuple[AggregationOutcome, list[TaskEvent]]:
    events: list[TaskEvent] = []
    root = Task("real", TaskExecutionType.SEQUENTIAL, is_root=True, subtasks=leaves)
    handle = executor.submit_main_task(root, observers=[events.append])
    assert handle.wait(GUARD_S)
    assert handle.outcome is not None
    return handle.outcome, events


def end_of(events: list[TaskEvent], leaf: str) -> TaskEvent:
    [found] = [one for one in events if one.kind == "finished" and one.path == f"real/{leaf}"]
    return found


@needs_tango_test
def test_command_of_a_plain_device_is_a_leaf(executor: MainTaskExecutor) -> None:
    outcome, events = run(executor, LeafTask("echo", PLAIN, "DevString", "all is well"))
    assert (outcome.status, outcome.result) == (TaskStatus.COMPLETED, ResultCode.OK)
    end = end_of(events, "echo")
    assert end.status is TaskStatus.COMPLETED
    assert end.message == f"{PLAIN}: all is well"
    assert end.devices == (PLAIN,)


@needs_tango_test
@pytest.mark.parametrize(
    ("command", "argin"),
    [
        ("DevVoid", None),
        ("DevBoolean", True),
        ("DevLong", 42),
        ("DevDouble", 2.5),
        ("DevVarStringArray", ["a", "b"]),
        ("State", None),
    ],
)
def test_plain_device_completes_whatever_type_it_returns(
    executor: MainTaskExecutor, command: str, argin: object
) -> None:
    outcome, events = run(executor, LeafTask("plain", PLAIN, command, argin))
    assert end_of(events, "plain").status is TaskStatus.COMPLETED
    assert (outcome.status, outcome.result) == (TaskStatus.COMPLETED, ResultCode.OK)


@needs_tango_test
def test_command_that_a_plain_device_does_not_have(executor: MainTaskExecutor) -> None:
    outcome, events = run(executor, LeafTask("typo", PLAIN, "DevStrin", "x"))
    assert outcome.status is TaskStatus.REJECTED
    assert end_of(events, "typo").status is TaskStatus.REJECTED
    assert PLAIN in outcome.message
    assert "DevStrin" in outcome.message


@needs_tango_test
def test_argument_that_a_plain_device_does_not_take(executor: MainTaskExecutor) -> None:
    outcome, events = run(executor, LeafTask("wrong", PLAIN, "DevLong", "not a number"))
    assert outcome.status is TaskStatus.REJECTED
    assert end_of(events, "wrong").status is TaskStatus.REJECTED
    assert end_of(events, "wrong").message == (
        f"{PLAIN}: DevLong takes DevLong (a whole number), not str 'not a number'"
    )
    assert PLAIN in outcome.message


@needs_tango_test
def test_a_pattern_is_resolved_by_the_database(executor: MainTaskExecutor) -> None:
    reader = DeviceReader()
    assert reader.find("sys/tg_test/*") == [PLAIN]
    host = os.environ["TANGO_HOST"]
    assert reader.find(f"tango://{host}/SYS/tg_*/1") == [f"tango://{host}/{PLAIN}"]
    assert reader.find("no/such/*") == []
    with pytest.raises(DeviceError, match="cannot be looked up"):
        reader.find(f"tango://127.0.0.1:{free_port()}/sys/tg_test/*")
    command_map = parse_command_map(
        "go: {type: sequential, tasks: {x: {device: sys/tg_test/*, command_name: DevVoid}}}"
    )
    with MapSession(command_map, reader=reader) as session:
        task = session.compose("go")
        assert [path for path, _ in task.walk()] == ["go", "go/x", "go/x/sys-tg_test-1"]
        assert session.submit(task).wait(GUARD_S)


def test_a_pattern_without_a_database_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TANGO_HOST", raising=False)
    with pytest.raises(DeviceError, match="TANGO_HOST is not set"):
        DeviceReader().find("sys/tg_test/*")


def test_long_running_command_of_a_registered_device(executor: MainTaskExecutor) -> None:
    outcome, events = run(executor, LeafTask("configure", SCRIPTED, "Configure", "{}"))
    assert (outcome.status, outcome.result) == (TaskStatus.COMPLETED, ResultCode.OK)
    end = end_of(events, "configure")
    assert end.message == f"{SCRIPTED}: Configure completed OK"
    assert {one.progress for one in events if one.path == "real/configure"} >= {33, 66}


def test_device_that_the_database_does_not_know(executor: MainTaskExecutor) -> None:
    outcome, _events = run(executor, LeafTask("nobody", "replay/nobody/1", "Configure", "{}"))
    assert outcome.status is TaskStatus.FAILED
    assert "replay/nobody/1" in outcome.message


@needs_tango_test
def test_plain_and_long_running_leaves_in_one_tree(executor: MainTaskExecutor) -> None:
    outcome, events = run(
        executor,
        LeafTask("configure", SCRIPTED, "Configure", "{}"),
        LeafTask("echo", PLAIN, "DevString", "done"),
    )
    assert outcome.status is TaskStatus.COMPLETED
    assert end_of(events, "configure").sequence < end_of(events, "echo").sequence
