"""The same scripts of the protocol, through the runner of device leaves and the executor.

The client alone is held against them in ``test_protocol_replay``; here the question is what
a user gets: how the leaf ended, the outcome of the tree, and whether it names cause and device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import StartedDetail, TaskEvent
from taskgrove.tango.device_runner import DeviceRunner
from taskgrove.tango.lrc_client import LrcClient
from tests.tango.replay_process import GUARD_S, SCENARIOS, ReplayServer, scenarios_on_the_wire
from tests.tango.replay_server import VOID_COMMANDS
from tests.tango.replay_watch import ARGIN, NO_POLL_S, Watch, poll_interval_of, warm_up

pytestmark = pytest.mark.tango


@pytest.fixture(scope="module")
def server() -> Iterator[ReplayServer]:
    with ReplayServer("runner") as process:
        yield process


@pytest.mark.parametrize("name", scenarios_on_the_wire(attached=False))
def test_tree_ends_as_the_claim_says(server: ReplayServer, name: str) -> None:
    scenario = SCENARIOS[name]
    tree = tree_of(scenario, server.trl(name, "runner"))
    events = Watch()
    interval_s = poll_interval_of(scenario)
    with (
        LrcClient(poll_interval_s=interval_s, rpc_timeout_s=3.0) as client,
        MainTaskExecutor(2, {TaskExecutionType.DEVICE: DeviceRunner(client)}) as executor,
    ):
        if interval_s == NO_POLL_S:
            warm_up(client, server.trl(name, "runner"))
        handle = executor.submit_main_task(tree, observers=[events])
        for gate, status in scenario.get("open_when", {}).items():
            events.wait(reached("configure", TaskStatus[status]), status)
            server.open_gate(name, "runner", gate)
        if "abort_after" in scenario:
            for leaf in tree.subtasks:
                events.wait(has_started(leaf.name), f"start of {leaf.name}")
            path = scenario["abort_after"].lower()
            events.wait(reached(path, TaskStatus.IN_PROGRESS), "command to abort")
            handle.abort("the operator asked")
        if "never_ends_before" in scenario:
            events.wait(lambda event: event.kind == "note", "note of the abort")
            server.open_gate(name, "runner", scenario["never_ends_before"])
        assert handle.wait(GUARD_S), events.seen
    assert handle.outcome is not None
    finished = [event for event in events.seen if event.kind == "finished"]
    for command, expected in scenario["expect"].items():
        [event] = [one for one in finished if one.path == f"replay/{command.lower()}"]
        check_leaf(event, expected)
    check_outcome(handle.outcome, scenario, f"replay/{name}/runner")
    ids = server.report(name, "runner")["ids"]
    for event in events.seen:
        if isinstance(event.detail, StartedDetail) and event.detail.outside_kind == "command":
            assert event.detail.outside_id in ids.values()


def tree_of(scenario: dict[str, Any], trl: str) -> Task:
    leaves = [
        LeafTask(command.lower(), trl, command, None if command in VOID_COMMANDS else ARGIN)
        for command in scenario["expect"]
    ]
    return Task("replay", TaskExecutionType.PARALLEL, is_root=True, subtasks=leaves)


def reached(leaf: str, status: TaskStatus) -> Callable[[TaskEvent], bool]:
    return lambda event: event.path == f"replay/{leaf}" and event.status is status


def has_started(leaf: str) -> Callable[[TaskEvent], bool]:
    return lambda event: event.path == f"replay/{leaf}" and event.kind == "started"


def check_leaf(event: TaskEvent, expected: dict[str, Any]) -> None:
    assert event.status is not None
    assert event.status.name in expected["status"].split("|"), event
    result = expected.get("result")
    if isinstance(result, list):
        known = result[0] in iter(ResultCode)
        assert event.result_code == (result[0] if known else ResultCode.UNKNOWN), event
    for text in texts_of(expected):
        assert text in event.message, event


def texts_of(expected: dict[str, Any]) -> list[str]:
    """What a message about the end must hold."""
    result = expected.get("result", expected.get("result_says"))
    if isinstance(result, list):
        return [result[1]]
    return [result] if isinstance(result, str) else []


def check_outcome(outcome: Any, scenario: dict[str, Any], device: str) -> None:
    """The tree is as good as its leaves, and names what went wrong, and where."""
    ends = list(scenario["expect"].values())
    bad = [one for one in ends if not is_success(one)]
    if any(one["status"] == "ABORTED" for one in ends):
        assert (outcome.status, outcome.result) == (TaskStatus.ABORTED, ResultCode.ABORTED)
    elif all(one["status"] == "REJECTED" for one in ends):  # nothing has begun: a refusal
        codes = {result_of(one)[0] for one in ends}
        code = ResultCode.NOT_ALLOWED if ResultCode.NOT_ALLOWED in codes else ResultCode.REJECTED
        assert (outcome.status, outcome.result) == (TaskStatus.REJECTED, code)
        assert outcome.health_state is None
    elif bad:
        assert (outcome.status, outcome.result) == (TaskStatus.FAILED, ResultCode.FAILED)
        assert outcome.health_state == "FAILED"
    elif "abort_after" not in scenario:  # what an aborted run ends as is not the device's matter
        assert (outcome.status, outcome.result) == (TaskStatus.COMPLETED, ResultCode.OK)
    if bad:
        assert device in outcome.message
    for text in (text for one in bad for text in texts_of(one)):
        assert text in outcome.message


def result_of(expected: dict[str, Any]) -> list[Any]:
    result = expected.get("result")
    return result if isinstance(result, list) else [None]


def is_success(expected: dict[str, Any]) -> bool:
    result = expected.get("result")
    if expected["status"] != "COMPLETED":
        return False
    return not isinstance(result, list) or result[0] == ResultCode.OK
