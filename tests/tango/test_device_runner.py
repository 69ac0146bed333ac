"""DEVICE leaves on real servers, through the executor and by themselves."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import tango

from taskgrove.commands.execution.leaf_machine import LeafState
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import MissingExtraError, UsageError
from taskgrove.tango import DeviceRunner, LrcClient
from taskgrove.tango.client.dispatcher import FAST_THREADS, SLOW_THREADS
from taskgrove.tango.device_runner import target_name
from taskgrove.tango.simulator import SimulatedFleet
from taskgrove.testing import EventLog
from tests.tango.lrc_process import GUARD_S, LrcServer, Updates, eventually

pytestmark = pytest.mark.tango


@pytest.fixture(scope="module")
def server() -> Iterator[LrcServer]:
    with LrcServer(4) as process:
        yield process


@pytest.fixture
def executor() -> Iterator[MainTaskExecutor]:
    runner = DeviceRunner(poll_interval_s=0.5)
    runners = {TaskExecutionType.DEVICE: runner}
    with MainTaskExecutor(max_workers=2, runners=runners, grace_s=GUARD_S) as made:
        yield made
    runner.close()


def leaf(server: LrcServer, member: int = 1, plan: Any = None, **fields: Any) -> LeafTask:
    name = fields.pop("name", f"leaf-{member}")
    return LeafTask(name, server.trl(member), "Configure", plan or {}, **fields)


def tree(*leaves: LeafTask, parallel: bool = True) -> Task:
    kind = TaskExecutionType.PARALLEL if parallel else TaskExecutionType.SEQUENTIAL
    return Task("configure", kind, is_root=True, subtasks=leaves)


def run(executor: MainTaskExecutor, task: Task, observers: Any = ()) -> Any:
    handle = executor.submit_main_task(task, observers=observers)
    assert handle.wait(GUARD_S)
    return handle.outcome


def test_a_tree_of_devices_completes(server: LrcServer, executor: MainTaskExecutor) -> None:
    seen = Updates()
    outcome = run(executor, tree(*(leaf(server, n) for n in (1, 2, 3, 4))), [seen])
    assert (outcome.status, outcome.result) == (TaskStatus.COMPLETED, ResultCode.OK)
    started = [event for event in seen.all if event.kind == "started" and event.detail]
    ids = {event.detail.outside_id for event in started if event.detail.outside_kind == "command"}
    assert len(ids) == 4


def test_a_failure_names_the_device_once(server: LrcServer, executor: MainTaskExecutor) -> None:
    outcome = run(executor, tree(leaf(server, 1, {"result": [3, "no receiver"]}), leaf(server, 2)))
    assert outcome.status is TaskStatus.FAILED
    assert outcome.message.count("lrc/test/1: no receiver") == 1


def test_a_refusal_before_the_call_names_what_the_command_takes(
    server: LrcServer, executor: MainTaskExecutor
) -> None:
    wrong = LeafTask("level", server.trl(1), "SetLevel", "high")
    task = tree(wrong)
    outcome = run(executor, task)
    assert "SetLevel takes DevLong64" in outcome.message
    assert task.tracker.subtasks["level"].status is TaskStatus.REJECTED


def test_abort_reaches_the_devices(server: LrcServer, executor: MainTaskExecutor) -> None:
    leaves = [leaf(server, 1 + n % 2, {"duration": 60}, name=f"leaf-{n}") for n in range(4)]
    before = server.read("aborts", 1)
    handle = executor.submit_main_task(tree(*leaves))
    for item in leaves:
        eventually(lambda task=item: task.tracker.overall_status == 2, "the leaf runs")
    handle.abort("the operator asked")
    assert handle.wait(GUARD_S)
    assert handle.outcome.status is TaskStatus.ABORTED
    # One Abort ends all of a device, some of them before its answer comes.
    assert {item.tracker.overall_status for item in leaves} == {TaskStatus.ABORTED}
    assert server.read("aborts", 1) == before + 1


def test_a_timeout_is_told_and_the_device_goes_on(
    server: LrcServer, executor: MainTaskExecutor
) -> None:
    device = tango.DeviceProxy(server.trl(1))
    try:
        outcome = run(executor, tree(leaf(server, 1, {"duration": 600}, timeout=1.0)))
        assert outcome.status is TaskStatus.FAILED
        assert "timed out after 1 s" in outcome.message
        assert server.read("longRunningCommandStatus", 1)[-1] == "IN_PROGRESS"
    finally:
        device.command_inout("Abort")


def test_a_rejected_leaf_is_tried_again(server: LrcServer, executor: MainTaskExecutor) -> None:
    seen = Updates()
    refused = leaf(server, 1, {"reply": [[5], ["queue is full"]]}, retries=2)
    outcome = run(executor, tree(refused), [seen])
    assert "queue is full" in outcome.message
    assert max(event.attempt for event in seen.all) == 3


def test_three_hundred_leaves_need_two_workers(
    server: LrcServer, executor: MainTaskExecutor
) -> None:
    assert run(executor, tree(leaf(server))).status is TaskStatus.COMPLETED
    allowed = threading.active_count() + 2 + FAST_THREADS + SLOW_THREADS
    plan = {"duration": 1.5, "progress": 1}
    leaves = [leaf(server, 1 + n % 4, plan, name=f"leaf-{n}") for n in range(300)]
    most = 0
    handle = executor.submit_main_task(tree(*leaves))
    while not handle.wait(0.02):
        most = max(most, threading.active_count())
    assert handle.outcome.status is TaskStatus.COMPLETED
    assert most <= allowed


def test_attach_follows_a_command_that_runs(server: LrcServer) -> None:
    told: list[Any] = []
    over = threading.Event()
    context = SimpleNamespace(
        leaf=leaf(server),
        is_over=False,
        abort_event=threading.Event(),
        started=lambda kind, uid: told.append((kind, uid)),
        note=lambda topic, text, **data: told.append((topic, text)),
        update=lambda **fields: told.append(fields),
        finish=lambda *args, **fields: (told.append(args), over.set()),
    )
    with LrcClient(poll_interval_s=0.5) as client:
        updates = Updates()
        command = client.invoke(server.trl(1), "Configure", {"duration": 0.5}, on_update=updates)
        runner = DeviceRunner(client)
        runner.attach(context, command.command_id)  # type: ignore[arg-type]
        assert over.wait(GUARD_S)
        runner.close()
        assert ("command", command.command_id) in told
        assert told[-1] == (TaskStatus.COMPLETED, [0, "done"])
        # A client that was given stays open.
        assert client.preflight(server.trl(1), "On") == []
    assert updates.final().status is TaskStatus.COMPLETED


def test_preflight_and_limits(server: LrcServer) -> None:
    runner = DeviceRunner()
    assert runner.preflight(leaf(server)) == []
    problems = runner.preflight(LeafTask("x", server.trl(1), "On", 5))
    assert problems == ["On takes no argument, but was given int 5"]
    plain, limited = runner.limits(leaf(server)), runner.limits(leaf(server, timeout=1))
    assert (plain.abort, plain.timeout) == ("ask", "reported")
    assert "abort_on_timeout" in limited.note
    told = runner.limits(leaf(server, timeout=1, abort_on_timeout=True))
    assert told.timeout == "enforced"
    runner.close()
    with pytest.raises(UsageError, match="closed"):
        runner.preflight(leaf(server))


def test_targets_by_name_and_by_object() -> None:
    trl = "tango://127.0.0.1:1/a/b/c#dbase=no"
    assert target_name(LeafTask("x", trl, "On")) == trl
    assert target_name(LeafTask("x", SimpleNamespace(name=trl), "On")) == trl
    with pytest.raises(UsageError, match="names no TANGO device"):
        target_name(LeafTask("x", object(), "On"))


def test_without_pytango_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"taskgrove\[tango\]"):
        DeviceRunner()
    monkeypatch.setitem(__import__("sys").modules, "tango", None)
    with pytest.raises(MissingExtraError, match=r"taskgrove\[tango\]"):
        LrcClient()


def test_settings_belong_to_the_own_client() -> None:
    with LrcClient() as client, pytest.raises(UsageError, match="settings belong"):
        DeviceRunner(client, poll_interval_s=1.0)


@pytest.mark.parametrize("ends", ["limit", "abort"])
def test_what_has_ended_before_its_call_is_never_sent(ends: str) -> None:
    device = "low-cbf/subarray/01"
    with SimulatedFleet([device]) as fleet, DeviceRunner() as runner:
        proxy = tango.DeviceProxy(fleet.trl(device))
        proxy.ping()
        fleet.suspend(device)
        runners = {TaskExecutionType.DEVICE: runner}
        log = EventLog()
        with MainTaskExecutor(2, runners, grace_s=0.5) as executor:
            timeout = 0.5 if ends == "limit" else None
            late = LeafTask("late", fleet.trl(device), "Configure", {}, timeout=timeout)
            handle = executor.submit_main_task(tree(late), observers=[log])
            log.wait_for(kind="composed", path="configure/late", timeout_s=GUARD_S)
            if ends == "abort":
                eventually(
                    lambda: (
                        LeafState.CALLING
                        in [item.state for item in tuple(handle._run.schedule.active)]
                    ),
                    "the leaf has begun",
                )
                handle.abort()
            assert handle.wait(GUARD_S)
            fleet.resume(device)
            # Connecting goes on now, and only then would the command be sent.
            log.wait_for(kind="note", path="configure/late", topic="late", timeout_s=GUARD_S)
        calls = json.loads(proxy.command_inout("SimInfo"))["calls"]
        known = [*(proxy.lrcExecuting or ()), *(proxy.lrcFinished or ())]
    assert handle.outcome.status is (TaskStatus.FAILED if ends == "limit" else TaskStatus.ABORTED)
    assert calls.get("Configure", 0) == 0
    # Abort is device-wide: it would stop what others run there.
    assert not any("Abort" in command for command in known)
