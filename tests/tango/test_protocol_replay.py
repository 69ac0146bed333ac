"""Our client, held against scripts of the protocol that it shares no code with.

Each scenario of ``replay_scenarios.yaml`` states a claim about the protocol and what a
client must make of it, update by update.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy
import pytest
import tango

from taskgrove.control_model import TaskStatus
from taskgrove.tango.client.command import LrcUpdate
from taskgrove.tango.lrc_client import LrcClient
from tests.tango.replay_in_process import ReplayInProcess, without_a_wire
from tests.tango.replay_process import SCENARIOS, ReplayServer, scenarios_on_the_wire
from tests.tango.replay_server import VOID_COMMANDS
from tests.tango.replay_watch import (
    ARGIN,
    NO_POLL_S,
    Watch,
    poll_interval_of,
    warm_up,
)

pytestmark = pytest.mark.tango

TRL = "replay/without/wire"

EARLY = {"STAGING", "QUEUED"}


@pytest.fixture(scope="module")
def server() -> Iterator[ReplayServer]:
    with ReplayServer("client") as process:
        yield process


@pytest.fixture
def replay(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayInProcess]:
    """The scenario as a device that every client reaches without a wire."""
    made = ReplayInProcess(name)
    there = without_a_wire({TRL: made})
    monkeypatch.setattr("taskgrove.tango.lrc_client.load_pytango", lambda _what: there)
    yield made
    made.end()


@pytest.mark.parametrize("name", SCENARIOS)
def test_client_makes_of_it_what_the_claim_says(replay: ReplayInProcess, name: str) -> None:
    """Without a wire every event comes, in its order: all that is told is known, step by step."""
    scenario = SCENARIOS[name]
    with LrcClient(poll_interval_s=poll_interval_of(scenario), not_found_grace_s=2.0) as client:
        watches = play(client, TRL, scenario, replay.open_gate, replay.command_inout)
    for command, expected in scenario["expect"].items():
        final = watches[command].final()
        check_end(final, expected)
        if "by" in expected:
            assert final.source == expected["by"], final
        told = check_course(watches[command].seen)
        if "order" in expected:
            # The reply says QUEUED or STARTED too. Where it overtakes the events that were sent
            # before it, these tell nothing new; from IN_PROGRESS on everything must be told.
            late = [[it for it in them if it not in EARLY] for them in (told, expected["order"])]
            assert late[0] == late[1]
            assert set(told) <= {*expected["order"], "QUEUED", "IN_PROGRESS"}
        if "progress" in expected:
            assert progress_of(watches[command].seen) == expected["progress"]
    check_calls(replay.report(), scenario)


@pytest.mark.parametrize("name", scenarios_on_the_wire())
def test_over_the_wire_it_ends_as_the_claim_says(server: ReplayServer, name: str) -> None:
    """A machine that stands still may lose events; PyTango says so, and the end is found."""
    scenario = SCENARIOS[name]
    trl = server.trl(name, "client")
    interval_s = poll_interval_of(scenario)
    with LrcClient(poll_interval_s=interval_s) as client:
        if interval_s == NO_POLL_S:
            warm_up(client, trl)
        watches = play(
            client,
            trl,
            scenario,
            lambda gate: server.open_gate(name, "client", gate),
            tango.DeviceProxy(trl).command_inout,
        )
    for command, expected in scenario["expect"].items():
        check_end(watches[command].final(), expected)
        told = check_course(watches[command].seen)
        if "order" in expected:
            assert set(told) <= {*expected["order"], "QUEUED", "IN_PROGRESS"}
        if "progress" in expected:
            steps = iter(expected["progress"])
            assert all(step in steps for step in progress_of(watches[command].seen))
    check_calls(server.report(name, "client"), scenario)


@pytest.mark.parametrize("name", ["unreadable-lists"])
def test_device_that_cannot_be_read_is_not_hammered(replay: ReplayInProcess, name: str) -> None:
    with LrcClient(poll_interval_s=NO_POLL_S) as client:
        watch = Watch()
        client.invoke(TRL, "Configure", ARGIN, on_update=watch)
        assert watch.final().status is TaskStatus.COMPLETED
    # By the subscription, for the ids that were there before, and at most once for each error.
    reads = replay.report()["reads"]
    assert all(2 <= count <= 2 + 3 for count in reads.values()), reads
    assert len(reads) == 3


def play(
    client: LrcClient,
    trl: str,
    scenario: dict[str, Any],
    open_gate: Callable[[str], object],
    call: Callable[..., object],
) -> dict[str, Watch]:
    """Call and follow what the scenario says, to the end of each command and of its events."""
    watches = start_through_client(client, trl, scenario)
    for gate, status in scenario.get("open_when", {}).items():
        watches["Configure"].status(TaskStatus[status])
        open_gate(gate)
    if "Release" in scenario["commands"]:
        watches["attached"].status(TaskStatus.IN_PROGRESS)
        call("Release", "")
    if "abort_after" in scenario:
        watches[scenario["abort_after"]].status(TaskStatus.IN_PROGRESS)
        acknowledged = Watch()
        client.abort(trl, "the operator asked", on_acknowledged=acknowledged)
        acknowledged.wait(lambda _answer: True, "answer to the abort")
    if "never_ends_before" in scenario:
        assert not any(update.final for update in watches["Configure"].seen)
        open_gate(scenario["never_ends_before"])
    for command in scenario["expect"]:
        watches[command].final()
    barrier = Watch()
    client.invoke(trl, "Barrier", on_update=barrier)
    # All that the device sent before the barrier's events has been handled then.
    assert barrier.final().status is TaskStatus.COMPLETED
    return watches


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


def check_end(final: LrcUpdate, expected: dict[str, Any]) -> None:
    assert final.status is not None
    assert final.status.name in expected["status"].split("|"), final
    assert plain(final.result_value) == expected.get("value"), final
    if "result" in expected:
        assert plain(final.result) == expected["result"], final
    if "result_says" in expected:
        assert expected["result_says"] in str(plain(final.result)), final
    if "may_retry" in expected:
        assert final.may_retry is expected["may_retry"], final


def check_course(updates: list[LrcUpdate]) -> list[str]:
    """There is one end, the last of all, and no step back; return the names of the steps."""
    assert [update.final for update in updates].count(True) == 1, updates
    assert updates[-1].final, updates
    statuses = [update.status for update in updates if update.status is not None]
    ranks = [min(int(status), 3) if status <= 2 else 3 for status in statuses]
    assert ranks == sorted(ranks), f"a step back: {statuses}"
    return without_repeats([status.name for status in statuses])


def progress_of(updates: list[LrcUpdate]) -> list[Any]:
    steps = [one.progress for one in updates if one.progress is not None and not one.final]
    return without_repeats(steps)


def check_calls(report: dict[str, Any], scenario: dict[str, Any]) -> None:
    """Every command was called once, with its argument, and the script had no error."""
    assert report["errors"] == []
    invoked = [] if "attach" in scenario else scenario.get("invoke", ["Configure"])
    more = scenario.get("aborted_by", "").split()
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
