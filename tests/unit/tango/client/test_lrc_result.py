"""A final status that comes without its result: how long the result is waited for."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from taskgrove.commands.aggregation.base import parse_result
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.tango.client.client_settings import LrcSettings
from taskgrove.tango.client.command import LrcCommand, LrcUpdate
from taskgrove.tango.client.lists import Snapshot
from taskgrove.tango.client.protocol import CommandFacts, decode_list
from taskgrove.tango.client.session import DeviceSession

UID = "1700000000.0_1_Configure"
ENDED = CommandFacts(UID, status=TaskStatus.COMPLETED)
FAILED = CommandFacts(UID, status=TaskStatus.COMPLETED, result=[3, "no lock"])


class Device:
    """A session whose polls and timers are fired by hand."""

    def __init__(self, **settings: float) -> None:
        self.timers: list[tuple[float, Callable[[], object]]] = []
        self.updates: list[Any] = []
        self.session = DeviceSession(
            "a/b/c",
            LrcSettings(**settings),
            SimpleNamespace(  # type: ignore[arg-type]
                after=lambda delay_s, function: self.timers.append((delay_s, function)),
                submit=lambda job, done, slow: None,
            ),
        )
        self.session.link = SimpleNamespace(  # type: ignore[assignment]
            protocol=2, has_events=True, device="a/b/c", heard=lambda: None
        )
        self.command = LrcCommand("a/b/c", "Configure", self.updates.append)
        self.session.accept(self.command, UID, TaskStatus.QUEUED)

    def expire_graces(self) -> None:
        grace_s = self.session._settings.result_grace_s
        due = [timer for timer in self.timers if timer[0] == grace_s]
        self.timers = [timer for timer in self.timers if timer[0] != grace_s]
        for _, function in due:
            function()

    def poll(self, facts: CommandFacts) -> None:
        self.session.poll_told((UID,), Snapshot([facts], {}, readable=True))


def test_a_result_that_a_slow_poll_brings_is_not_given_up() -> None:
    device = Device()
    device.poll(ENDED)  # the first look: its end is on the list, its result is not yet
    device.expire_graces()
    device.expire_graces()
    assert device.command.final is None
    device.poll(FAILED)
    assert device.updates[-1].final
    assert device.updates[-1].result == [3, "no lock"]


def test_without_a_result_it_ends_when_two_polls_have_told_of_none() -> None:
    device = Device()
    device.poll(ENDED)
    device.poll(ENDED)
    assert device.command.final is None
    device.expire_graces()
    assert device.updates[-1].final
    assert "there is no result" in device.updates[-1].note


def test_it_is_not_waited_for_beyond_the_limit_of_a_lost_device() -> None:
    device = Device(lost_after_s=1e-9)
    device.poll(ENDED)
    device.expire_graces()
    assert device.updates[-1].final


def ended(status: TaskStatus, result: Any) -> LrcUpdate:
    device = Device()
    device.poll(CommandFacts(UID, status=status, result=result))
    final: LrcUpdate = device.updates[-1]
    assert final.final
    return final


DATA = (
    {"addresses": ["a", "b"]}, {}, 42, -1, 8, 0.0, 3.0, 1.5, [], [7], [1, 2, 3], [3, 7], [3, {}],
    [[1, 2], [3, 4]], [[3], [7]], ["alpha", "beta"], [1.5, "Jy"], [None, "x"], [{"a": 1}, "x"],
)  # fmt: skip
RESULTS = (
    ([0, "done"], ResultCode.OK),
    ([3, "boom"], ResultCode.FAILED),
    ([3, None], ResultCode.FAILED),
    ([3.0, "boom"], ResultCode.FAILED),
    (["FAILED", "boom"], ResultCode.FAILED),
    (["ResultCode.FAILED", "boom"], ResultCode.FAILED),
    (["3", "boom"], ResultCode.FAILED),
    ([[3], ["boom"]], ResultCode.FAILED),
    ([False, "boom"], ResultCode.FAILED),
    ([42, "of a code that nobody here knows"], ResultCode.UNKNOWN),
    (3, ResultCode.FAILED),
    (0, ResultCode.OK),
    (False, ResultCode.FAILED),
    (True, ResultCode.OK),
    ("Completed", ResultCode.OK),
    ("[INFO] configured", ResultCode.OK),
    ('{"result": [0, ', ResultCode.UNKNOWN),
    ("FAILED", ResultCode.FAILED),
)


@pytest.mark.parametrize("value", DATA)
def test_a_command_that_completed_may_give_any_value(value: Any) -> None:
    final = ended(TaskStatus.COMPLETED, value)
    assert final.result == (ResultCode.OK, "")
    assert final.result_value == value
    assert type(final.result_value) is type(value)


@pytest.mark.parametrize(("result", "code"), RESULTS)
def test_a_code_or_a_pair_is_no_value(result: Any, code: ResultCode) -> None:
    final = ended(TaskStatus.COMPLETED, result)
    assert (final.result, final.result_value) == (result, None)
    assert parse_result(final.result).code is code


@pytest.mark.parametrize("status", [TaskStatus.FAILED, TaskStatus.REJECTED, TaskStatus.ABORTED])
def test_a_value_is_no_good_end_of_a_command_that_did_not_complete(status: TaskStatus) -> None:
    final = ended(status, {"why": "boom"})
    assert (final.result, final.result_value) == ({"why": "boom"}, None)


def test_a_value_that_no_record_can_keep_is_said_to_be_dropped() -> None:
    final = ended(TaskStatus.COMPLETED, {"n": 10**5000})
    assert (final.result, final.result_value) == ((ResultCode.OK, ""), None)
    assert "its result cannot be kept" in final.note


@pytest.mark.parametrize("status", ["EXPLODED", "IN_PROGRESS", 42])
def test_an_end_whose_status_cannot_be_read_is_no_good_end(status: Any) -> None:
    (facts,) = decode_list("lrcFinished", (json.dumps({"uid": UID, "status": status}),))
    assert facts.status is TaskStatus.COMPLETED
    assert parse_result(facts.result).code is ResultCode.UNKNOWN
    assert str(status) in parse_result(facts.result).message
