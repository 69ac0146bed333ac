"""Our client, held against scripts of the protocol that it shares no code with.

Each scenario of ``replay_scenarios.yaml`` states a claim about the protocol and what a
client must make of it, update by update.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy
import pytest
import tango

from taskgrove.control_model import TaskStatus
from taskgrove.tango.client.command import LrcUpdate
from taskgrove.tango.lrc_client import LrcClient
from tests.tango.replay_process import SCENARIOS, ReplayServer
from tests.tango.replay_server import VOID_COMMANDS
from tests.tango.replay_watch import ARGIN, NO_POLL_S, Watch, poll_interval_of, warm_up

pytestmark = pytest.mark.tango

EARLY = {"STAGING", "QUEUED"}
#: Scenarios in which events came so late that a look at the device, or the first event of a
#: subscription, told what they would have: rightly, but not step by step. So it is on a machine
#: that stands still for seconds; more than this share of them, and events are not heard at all.
LATE_SHARE = 0.2
_late: set[str] = set()


@pytest.fixture(scope="module")
def server() -> Iterator[ReplayServer]:
    with ReplayServer("client", "hammered") as process:
        yield process
    assert len(_late) <= LATE_SHARE * len(SCENARIOS), f"events came too late in {sorted(_late)}"


@pytest.mark.parametrize("name", SCENARIOS)
def test_client_makes_of_it_what_the_claim_says(server: ReplayServer, name: str) -> None:
    scenario = SCENARIOS[name]
    trl = server.trl(name, "client")
    interval_s = poll_interval_of(scenario)
    with LrcClient(poll_interval_s=interval_s, rpc_timeout_s=3.0) as client:
        if interval_s == NO_POLL_S:
            warm_up(client, trl)
        watches = start_through_client(client, trl, scenario)
        act_meanwhile(server, client, trl, name, watches)
        for command, expected in scenario["expect"].items():
            watches[command].final()
            check_end(watches[command].final(), expected, name)
        barrier = Watch()
        client.invoke(trl, "Barrier", on_update=barrier)
        assert barrier.final().status is TaskStatus.COMPLETED
    # All that the device sent before the barrier's events has been handled now.
    for command, expected in scenario["expect"].items():
        check_course(watches[command].seen, expected, name)
    check_calls(server, name, "client", [*scenario.get("aborted_by", "").split()])


def test_device_that_cannot_be_read_is_not_hammered(server: ReplayServer) -> None:
    name = "unreadable-lists"
    trl = server.trl(name, "hammered")
    watch = Watch()
    with LrcClient(poll_interval_s=NO_POLL_S, rpc_timeout_s=3.0) as client:
        warm_up(client, trl)
        client.invoke(trl, "Configure", ARGIN, on_update=watch)
        assert watch.final().status is TaskStatus.COMPLETED
    # The script takes 0.6 s; each new subscription reads once, each poll does too.
    assert server.report(name, "hammered")["reads"]["longRunningCommandStatus"] <= 10


def start_through_client(client: LrcClient, trl: str, scenario: dict[str, Any]) -> dict[str, Watch]:
    if "attach" in scenario:
        watches = {"attached": Watch()}
        client.attach(trl, scenario["attach"], on_update=watches["attached"])
        return watches
    watches = {command: Watch() for command in scenario.get("invoke", ["Configure"])}
    for command, watch in watches.items():
        argin = None if command in VOID_COMMANDS else ARGIN
        client.invoke(trl, command, argin, on_update=watch)
    return watches


def act_meanwhile(
    server: ReplayServer, client: LrcClient, trl: str, name: str, watches: dict[str, Watch]
) -> None:
    """Open gates, release and abort as the scenario says."""
    scenario = SCENARIOS[name]
    for gate, status in scenario.get("open_when", {}).items():
        watches["Configure"].status(TaskStatus[status])
        server.open_gate(name, "client", gate)
    if "Release" in scenario["commands"]:
        watches["attached"].status(TaskStatus.IN_PROGRESS)
        tango.DeviceProxy(trl).command_inout("Release", "")
    if "abort_after" in scenario:
        watches[scenario["abort_after"]].status(TaskStatus.IN_PROGRESS)
        acknowledged = Watch()
        client.abort(trl, "the operator asked", on_acknowledged=acknowledged)
        acknowledged.wait(lambda _answer: True, "answer to the abort")
    if "never_ends_before" in scenario:
        assert not any(update.final for update in watches["Configure"].seen)
        server.open_gate(name, "client", scenario["never_ends_before"])


def check_end(final: LrcUpdate, expected: dict[str, Any], name: str) -> None:
    assert final.status is not None
    assert final.status.name in expected["status"].split("|"), final
    if "result" in expected:
        assert plain(final.result) == expected["result"], final
    if "result_says" in expected:
        assert expected["result_says"] in str(plain(final.result)), final
    if (expected.get("by"), final.source) == ("event", "poll"):
        _late.add(name)
    elif "by" in expected:
        assert final.source == expected["by"], final
    if "may_retry" in expected:
        assert final.may_retry is expected["may_retry"], final


def check_course(updates: list[LrcUpdate], expected: dict[str, Any], name: str) -> None:
    assert [update.final for update in updates].count(True) == 1, updates
    assert updates[-1].final, updates
    statuses = [update.status for update in updates if update.status is not None]
    ranks = [min(int(status), 3) if status <= 2 else 3 for status in statuses]
    assert ranks == sorted(ranks), f"a step back: {statuses}"
    if "order" in expected:
        # The reply says QUEUED or STARTED too. Where it overtakes the events that were sent
        # before it, these tell nothing new; from IN_PROGRESS on everything must be told.
        wanted = expected["order"]
        told = without_repeats([status.name for status in statuses])
        check_steps(
            [it for it in told if it not in EARLY], [it for it in wanted if it not in EARLY], name
        )
        assert set(told) <= {*wanted, "QUEUED", "IN_PROGRESS"}
    if "progress" in expected:
        steps = [one.progress for one in updates if one.progress is not None and not one.final]
        check_steps(without_repeats(steps), expected["progress"], name)


def check_steps(told: list[Any], wanted: list[Any], name: str) -> None:
    """Everything wanted was told, in that order; or, where events came late, a part of it."""
    if told != wanted:
        left = iter(wanted)
        assert all(step in left for step in told), f"told {told}, wanted {wanted}"
        _late.add(name)


def check_calls(server: ReplayServer, name: str, member: str, more: list[str]) -> None:
    """Every command was called once, with its argument, and the script had no error."""
    report = server.report(name, member)
    assert report["errors"] == []
    scenario = SCENARIOS[name]
    invoked = [] if "attach" in scenario else scenario.get("invoke", ["Configure"])
    wanted = [[one] if one in VOID_COMMANDS else [one, ARGIN] for one in [*invoked, *more]]
    ours = [call for call in report["calls"] if call[0] in {*invoked, *more, "Abort"}]
    assert ours == wanted


def plain(result: Any) -> Any:
    """A result in one form: JSON decoded, ``[[code], [text]]`` as a pair, tuples as lists."""
    if isinstance(result, str):
        try:
            return json.loads(result)
        except ValueError:
            return result
    if isinstance(result, numpy.ndarray):
        result = result.tolist()
    if isinstance(result, (list, tuple)):
        items = [plain(item) if isinstance(item, numpy.ndarray) else item for item in result]
        if len(items) == 2 and all(isinstance(item, (list, tuple)) for item in items):
            items = [item[0] for item in items]
        return items
    return result


def without_repeats(items: list[Any]) -> list[Any]:
    """The items, each run of equal ones as one."""
    return items[:1] + [after for before, after in pairwise(items) if after != before]
