"""A final status that comes without its result: how long the result is waited for."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from taskgrove.control_model import TaskStatus
from taskgrove.tango.client.command import LrcCommand
from taskgrove.tango.client.lists import Snapshot
from taskgrove.tango.client.protocol import CommandFacts
from taskgrove.tango.client.session import DeviceSession
from taskgrove.tango.client.settings import LrcSettings

UID = "1700000000.0_1_Configure"
ENDED = CommandFacts(UID, status=TaskStatus.COMPLETED)
FAILED = CommandFacts(UID, status=TaskStatus.COMPLETED, result=[3, "no lock"])


class Device:
    """A session whose polls and timers are fired by hand."""

    def __init__(self, **settings: float) -> None:
        self.timers: list[tuple[float, Callable[[], object]]] = []
        self.updates: list[Any] = []
        self.session = DeviceSession(
            LrcSettings(**settings),
            at=lambda delay_s, function: self.timers.append((delay_s, function)),
            submit=lambda job, done, slow: None,
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
