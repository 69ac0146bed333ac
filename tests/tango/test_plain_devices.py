"""Devices without long-running commands: their reply is the end, whatever it announces."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.tango import DeviceRunner, LrcClient
from taskgrove.testing import EventLog
from tests.tango.lrc_process import GUARD_S, LrcServer, Updates, eventually

pytestmark = pytest.mark.tango
#: Limit of each call, unless its step has a longer one, in seconds.
CALL_LIMIT_S = 2.0


@pytest.fixture(scope="module")
def server() -> Iterator[LrcServer]:
    with LrcServer(1, 0) as process:
        yield process


@pytest.fixture
def executor() -> Iterator[MainTaskExecutor]:
    runner = DeviceRunner(rpc_timeout_s=CALL_LIMIT_S)
    runners = {TaskExecutionType.DEVICE: runner}
    with MainTaskExecutor(runners=runners, grace_s=GUARD_S) as made:
        yield made
    runner.close()


def run(executor: MainTaskExecutor, server: LrcServer, command: str, *argin: Any, **f: Any) -> Any:
    log = EventLog()
    step = LeafTask("step", server.trl(), command, *argin, **f.pop("leaf", {}))
    tree = Task("prepare", is_root=True, subtasks=[step], **f)
    handle = executor.submit_main_task(tree, observers=[log])
    assert handle.wait(GUARD_S)
    return handle.outcome, log


@pytest.mark.parametrize("command", ["Started", "Queued"])
def test_a_reply_that_announces_more_is_the_end_where_no_more_can_come(
    server: LrcServer, executor: MainTaskExecutor, command: str
) -> None:
    outcome, log = run(executor, server, command)
    assert (outcome.status, outcome.result) == (TaskStatus.COMPLETED, ResultCode.OK)
    notes = [event.message for event in log.select(kind="note", path="prepare/step")]
    assert notes[-1] == (
        "the device tells nothing of its commands, so its reply is taken as the end"
    )
    # There is no id under which somebody could look for it later.
    assert not [e for e in log.select(kind="started", path="prepare/step") if e.detail]


def test_a_command_that_is_attached_to_where_nothing_is_told_ends(server: LrcServer) -> None:
    with LrcClient(not_found_grace_s=0.5) as client:
        updates = Updates()
        assert client.attach(server.trl(), "1_2_Queued", on_update=updates).wait(GUARD_S)
    assert "how it ended is not known" in updates.text


@pytest.mark.parametrize(("command", "above"), [("Move", False), ("MoveCoded", True)])
@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_command_may_take_as_long_as_the_limit_of_its_step(
    server: LrcServer, executor: MainTaskExecutor, command: str, above: bool
) -> None:
    limit = {"timeout": GUARD_S}
    fields: dict[str, Any] = limit if above else {"leaf": limit}
    outcome, _ = run(executor, server, command, 1.5 * CALL_LIMIT_S, **fields)
    assert (outcome.status, outcome.result) == (TaskStatus.COMPLETED, ResultCode.OK)


def test_a_long_limit_of_one_call_is_not_one_of_the_others(server: LrcServer) -> None:
    with LrcClient() as client:
        until = time.monotonic() + GUARD_S
        command = client.invoke(server.trl(), "Move", 0.0, on_update=Updates(), call_until=until)
        assert command.wait(GUARD_S)
        proxy = client._sessions[server.trl()].link._proxy
        assert proxy.get_timeout_millis() == 3000


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_command_line_that_is_ended_does_not_wait_for_a_call(tmp_path: Path) -> None:
    """PyTango's own end waits for every call that is out."""
    with LrcServer(1, 0) as server:  # of its own: it stays busy
        _end_while_it_is_called(server, tmp_path)


def _end_while_it_is_called(server: LrcServer, tmp_path: Path) -> None:
    step = {"command_name": "Move", "argin": 3600.0, "timeout": 7200}
    text = {
        "components": {"resource_manager": server.trl()},
        "commands": {"move": {"type": "sequential", "tasks": {"resource_manager": step}}},
    }
    (tmp_path / "map.json").write_text(json.dumps(text))
    words = [sys.executable, "-m", "taskgrove", "run", "map.json", "move", "--no-record"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    with subprocess.Popen(words, cwd=tmp_path, env=environment) as process:
        eventually(lambda: server.executions, "the command is being called")
        process.send_signal(signal.SIGTERM)
        assert process.wait(GUARD_S) == 5
