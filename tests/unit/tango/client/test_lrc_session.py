"""What a device's session decides from polls, events and errors: each of them given by hand."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.tango.client import contact, polls, session, strangers
from taskgrove.tango.client.client_settings import LrcSettings
from taskgrove.tango.client.command import CommandState, LrcCommand
from taskgrove.tango.client.failure import Failure, FailureKind
from taskgrove.tango.client.lists import Snapshot
from taskgrove.tango.client.protocol import CommandFacts
from taskgrove.tango.client.session import DeviceSession
from taskgrove.testing import ManualClock

BROKEN = Failure(FailureKind.BROKEN, "", "the connection broke")
REFUSED = Failure(FailureKind.REFUSED, "", "no server answers")
RUNS = TaskStatus.IN_PROGRESS


class Link:
    """A device whose polls are answered by hand."""

    device, protocol, generation, has_events, subscribed_at = "a/b/1", 2, 1, True, -100.0
    heard_at = 0.0

    def __init__(self) -> None:
        self.stale = 0

    def mark_stale(self) -> None:
        self.stale += 1

    def heard(self) -> None: ...


class Device:
    """A session, its clock, its timers and its polls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: float) -> None:
        self.clock = ManualClock(monotonic_s=1000.0)
        for module in (contact, session, strangers, polls):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=self.clock.monotonic))
        self.due: list[tuple[float, Callable[[], object]]] = []
        self.asked: list[Callable[[Any, Failure | None], object]] = []
        self.link = Link()
        self.session = DeviceSession(
            "a/b/1",
            LrcSettings(**settings),
            SimpleNamespace(  # type: ignore[arg-type]
                after=self._at, submit=lambda _job, done, slow: self._ask(done)
            ),
        )
        self.session.link = self.link  # type: ignore[assignment]

    def _at(self, delay_s: float, function: Callable[[], object]) -> None:
        self.due.append((self.clock.monotonic() + delay_s, function))

    def _ask(self, done: Callable[[Any, Failure | None], object]) -> None:
        self.asked.append(done)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        now = self.clock.monotonic()
        due, self.due = (
            [item for item in self.due if item[0] <= now],
            [item for item in self.due if item[0] > now],
        )
        for _, function in due:
            function()

    def command(self, name: str = "Configure") -> LrcCommand:
        return LrcCommand("a/b/1", name, lambda _update: None)

    def accepted(self, uid: str = "1_2_Configure") -> LrcCommand:
        command = self.command()
        self.session.accept(command, uid, TaskStatus.QUEUED)
        return command

    def in_doubt(self, name: str = "Configure") -> LrcCommand:
        command = self.command(name)
        self.session.doubt(command, self.clock.monotonic(), BROKEN)
        return command

    def poll(self, *facts: CommandFacts, **checked: CommandFacts) -> None:
        """Answer the poll that is out, or one that nobody asked for."""
        answer = self.asked.pop() if self.asked else None
        found = Snapshot(list(facts), checked, True)
        if answer is None:
            self.session._polls.told(self.session.wanted() or (), found)
        else:
            answer(found, None)

    def fail(self, failure: Failure) -> None:
        answer = self.asked.pop() if self.asked else None
        if answer is None:
            self.session._polls.failed(self.clock.monotonic(), failure)
        else:
            answer(None, failure)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    return Device(monkeypatch)


def text_of(command: LrcCommand) -> str:
    assert command.final is not None
    return str(command.final.result[1])


# -- lost replies ---------------------------------------------------------------------------------


def test_the_one_command_that_a_lost_call_can_have_started_is_followed(device: Device) -> None:
    command = device.in_doubt()
    device.advance(1.0)
    device.poll(CommandFacts("7_8_Configure", RUNS))
    assert (command.command_id, command.final) == ("7_8_Configure", None)
    device.poll(CommandFacts("7_8_Configure", TaskStatus.COMPLETED, result=[0, "done"]))
    assert command.final is not None
    assert command.final.status is TaskStatus.COMPLETED


def test_of_several_candidates_none_is_followed(device: Device) -> None:
    command = device.in_doubt()
    device.advance(1.0)
    device.poll(CommandFacts("7_8_Configure", RUNS), CommandFacts("8_9_Configure", RUNS))
    assert "not known whether it was executed" in text_of(command)
    assert command.final is not None
    assert not command.final.may_retry


def test_an_older_command_of_somebody_else_is_not_followed(device: Device) -> None:
    device.session.learn(
        Snapshot([CommandFacts("1_1_Configure", RUNS)], {}, True), device.clock.monotonic()
    )
    device.advance(0.1)
    command = device.in_doubt()
    for _ in range(3):
        device.poll(CommandFacts("1_1_Configure", RUNS))
        assert not command.command_id
        device.advance(2.0)
    device.poll(CommandFacts("1_1_Configure", RUNS))
    assert "not known whether it was executed" in text_of(command)


def test_another_command_of_the_device_is_no_candidate(device: Device) -> None:
    command = device.in_doubt()
    device.advance(1.0)
    device.poll(CommandFacts("7_8_Scan", RUNS), CommandFacts("8_9_Configure", RUNS))
    assert command.command_id == "8_9_Configure"


def test_of_two_lost_calls_neither_follows_the_one_command_that_is_found(device: Device) -> None:
    first, second = device.in_doubt(), device.in_doubt()
    device.advance(1.0)
    device.poll(CommandFacts("7_8_Configure", RUNS))
    for command in (first, second):
        assert not command.command_id
        assert "not known whether it was executed" in text_of(command)
    assert device.session.doubts == []


def test_of_two_lost_calls_neither_follows_one_of_two_commands(device: Device) -> None:
    first, second = device.in_doubt(), device.in_doubt()
    device.advance(1.0)
    device.poll(CommandFacts("7_8_Configure", RUNS), CommandFacts("8_9_Configure", RUNS))
    assert [command.command_id for command in (first, second)] == ["", ""]


def test_lost_calls_of_different_commands_are_told_apart(device: Device) -> None:
    first, second = device.in_doubt("Configure"), device.in_doubt("Scan")
    device.advance(1.0)
    device.poll(CommandFacts("7_8_Configure", RUNS), CommandFacts("8_9_Scan", RUNS))
    assert (first.command_id, second.command_id) == ("7_8_Configure", "8_9_Scan")


def test_a_call_that_is_out_may_have_started_what_is_found(device: Device) -> None:
    lost, calling = device.in_doubt(), device.command()
    device.session.calling.add(calling)
    device.advance(1.0)
    device.poll(CommandFacts("7_8_Configure", RUNS))
    assert (lost.command_id, lost.final) == ("", None)
    device.session.calling.clear()
    device.session.accept(calling, "7_8_Configure", TaskStatus.QUEUED)
    device.poll(CommandFacts("7_8_Configure", RUNS))
    assert (lost.command_id, lost.final) == ("", None)
    device.advance(10.0)
    device.poll(CommandFacts("7_8_Configure", RUNS))
    assert "not known whether it was executed" in text_of(lost)


def test_a_call_that_stays_out_is_not_waited_for_longer_than_the_search(device: Device) -> None:
    lost, calling = device.in_doubt(), device.command()
    device.session.calling.add(calling)
    device.poll(CommandFacts("7_8_Configure", RUNS))
    device.advance(10.0)
    device.poll(CommandFacts("7_8_Configure", RUNS))
    assert "not known whether it was executed" in text_of(lost)


# -- signs of an end ------------------------------------------------------------------------------


def test_one_refused_connection_proves_nothing(device: Device) -> None:
    command = device.accepted()
    device.fail(REFUSED)
    assert command.final is None
    device.poll(CommandFacts("1_2_Configure", RUNS))
    device.fail(REFUSED)  # refused twice, but not twice in a row
    assert command.final is None
    device.fail(BROKEN)
    device.fail(REFUSED)
    assert command.final is None
    device.fail(REFUSED)
    assert "its server is gone" in text_of(command)


def test_one_poll_that_does_not_find_a_command_proves_nothing(device: Device) -> None:
    command = device.accepted()
    device.poll()
    assert command.final is None
    device.advance(4.9)
    device.poll()
    assert command.final is None
    device.poll(CommandFacts("1_2_Configure", RUNS))
    device.advance(4.9)
    device.poll()
    assert command.final is None
    device.advance(5.1)
    device.poll()
    assert "does not know Configure any more" in text_of(command)
    assert command.final is not None
    assert not command.final.may_retry


def test_after_a_break_a_command_is_lost_at_the_second_look(device: Device) -> None:
    command = device.accepted()
    device.fail(BROKEN)
    device.poll()
    device.advance(0.1)
    device.poll()
    assert command.final is None
    device.advance(0.3)
    device.poll()
    assert "was lost with the server" in text_of(command)
    assert command.final is not None
    assert command.final.may_retry


def test_a_command_that_is_checked_for_by_its_id_is_not_missed(device: Device) -> None:
    command = device.accepted()
    for _ in range(3):
        device.poll(**{"1_2_Configure": CommandFacts("1_2_Configure", RUNS)})
        device.advance(10.0)
    assert command.final is None


# -- event errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "age_s", "stale"),
    [
        ("API_EventTimeout", 0.0, True),  # the channel is dead, however young
        ("API_EventTimeout", 100.0, True),
        ("API_SomethingElse", 100.0, True),
        ("API_SomethingElse", 0.0, False),  # its first read, which an attribute may refuse
        ("API_MissedEvents", 100.0, False),
    ],
)
def test_an_event_error_has_the_subscription_renewed_and_the_device_polled(
    device: Device, reason: str, age_s: float, stale: bool
) -> None:
    device.accepted()
    device.link.subscribed_at = device.clock.monotonic() - age_s
    device.due.clear()
    device.session.on_event_error(1, reason)
    assert bool(device.link.stale) is stale
    assert device.session._polls.interval() == 1.0
    device.advance(0.2)
    assert len(device.asked) == 1


def test_after_an_event_error_a_slow_poll_becomes_a_watch_of_one_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = Device(monkeypatch, poll_interval_s=600.0)
    device.accepted()
    assert device.session._polls.interval() == 600.0
    device.session.on_event_error(1, "API_EventTimeout")
    assert device.session._polls.interval() == 1.0
    device.advance(contact.WATCH_S + 0.1)
    assert device.session._polls.interval() == 600.0


def test_an_error_of_an_older_subscription_means_nothing(device: Device) -> None:
    device.accepted()
    device.due.clear()
    device.session.on_event_error(0, "API_EventTimeout")
    assert device.link.stale == 0
    assert device.due == []


def test_an_end_whose_event_never_comes_has_the_subscription_renewed(device: Device) -> None:
    device.accepted()
    device.poll(CommandFacts("1_2_Configure", TaskStatus.COMPLETED, result=[0, "done"]))
    assert device.link.stale == 0
    device.advance(2.1)
    assert device.link.stale == 1


def test_an_end_whose_event_is_only_late_leaves_the_subscription(device: Device) -> None:
    command = device.accepted()
    device.poll(CommandFacts("1_2_Configure", TaskStatus.COMPLETED, result=[0, "done"]))
    device.session.on_event("_lrcEvent", ("1_2_Configure", '{"status": 5, "result": [0, "done"]}'))
    device.advance(2.1)
    assert device.link.stale == 0
    assert command.final is not None
    assert command.final.result == [int(ResultCode.OK), "done"]


# -- silence --------------------------------------------------------------------------------------

SILENT = Failure(FailureKind.TIMED_OUT, "", "no answer came in time")


def test_silence_is_told_once_with_its_beginning_and_so_is_its_end(device: Device) -> None:
    told: list[Any] = []
    command = LrcCommand("a/b/1", "Configure", told.append)
    device.session.accept(command, "1_2_Configure", TaskStatus.QUEUED)
    answered_ns = SYSTEM_CLOCK.wall_ns()
    for _ in range(3):
        device.advance(1.5)
        device.session._polls.failed(device.clock.monotonic() - 1.0, SILENT)
    device.poll(CommandFacts("1_2_Configure", RUNS))
    began, over = [update for update in told if update.answers is not None]
    assert (began.answers, over.answers) == (False, True)
    assert began.cause.kind == "silent"
    # The clock was advanced by hand: the last answer lies 3 s before the note.
    silent_s = (answered_ns - began.cause.last_answer_ns) / 1e9
    assert 2.0 < silent_s < 4.0


def test_a_device_that_raises_on_polls_is_not_silent(device: Device) -> None:
    told: list[Any] = []
    command = LrcCommand("a/b/1", "Configure", told.append)
    device.session.accept(command, "1_2_Configure", TaskStatus.QUEUED)
    for _ in range(5):
        device.advance(2.0)
        device.session._polls.failed(
            device.clock.monotonic() - 1.0, Failure(FailureKind.RAISED, "x", "y")
        )
    assert [update for update in told if update.answers is not None] == []


def test_what_is_lost_says_when_its_device_last_answered(device: Device) -> None:
    command, other = device.accepted(), device.in_doubt("Scan")
    before_ns = SYSTEM_CLOCK.wall_ns()
    device.advance(1.0)
    device.fail(REFUSED)
    device.advance(1.0)
    device.fail(REFUSED)
    assert command.final is not None
    assert command.final.cause is not None
    assert command.final.cause.kind == "died"
    assert command.final.cause.last_answer_ns is not None
    assert 1.0 < (before_ns - command.final.cause.last_answer_ns) / 1e9 < 3.0
    assert other.final is not None
    assert other.final.cause is not None
    assert other.final.cause.kind == "fate_unknown"


# -- requests in states in which nobody expects them ----------------------------------------------


def test_a_command_that_was_given_up_while_it_was_called_is_not_followed(device: Device) -> None:
    command = device.command()
    device.session.begin(command, device.clock.monotonic() + 1.0)
    device.advance(1.5)
    assert "its limit expired" in text_of(command)
    device.session.accept(command, "1_2_Configure", TaskStatus.QUEUED)
    assert device.session.in_flight() == []
    device.session.doubt(command, 0.0, BROKEN)
    assert device.session.in_flight() == []


def test_a_command_that_was_released_while_it_was_called_is_not_followed(device: Device) -> None:
    command = device.command()
    device.session.release(command)
    device.session.accept(command, "1_2_Configure", TaskStatus.QUEUED)
    assert device.session.in_flight() == []


def test_a_device_that_was_given_up_is_searched_for_anew(device: Device) -> None:
    first = device.accepted()
    for _ in range(2):
        device.fail(BROKEN)
        device.advance(31.0)
    assert "was unreachable" in text_of(first)
    second = device.accepted("2_3_Configure")
    device.fail(BROKEN)
    assert second.final is None


def test_a_reply_ends_the_silence_of_a_device(device: Device) -> None:
    told: list[Any] = []
    command = LrcCommand("a/b/1", "Configure", told.append)
    device.session.accept(command, "1_2_Configure", TaskStatus.QUEUED)
    device.session._polls.late()
    device.session.accept(device.command("Scan"), "2_3_Scan", TaskStatus.QUEUED)
    assert [update.answers for update in told if update.answers is not None] == [False, True]


def test_a_command_that_a_poll_finds_staged_is_not_missed(device: Device) -> None:
    command = device.accepted()
    device.poll()
    assert command.state is CommandState.MISSED
    device.poll(CommandFacts("1_2_Configure", TaskStatus.STAGING))
    assert command.state is CommandState.FOLLOWED


def told(device: Device, uid: str = "1_2_Configure", progress: int = 10) -> None:
    device.link.heard_at = device.clock.monotonic()
    device.session.on_event("_lrcEvent", (uid, f'{{"progress": {progress}}}'))


def test_a_device_that_tells_of_its_commands_is_not_polled(device: Device) -> None:
    device.accepted()
    for progress in range(10, 50, 10):
        device.advance(0.9)
        told(device, progress=progress)
    device.advance(0.2)
    assert not device.asked
    device.advance(0.8)  # a second after the last event
    assert len(device.asked) == 1


def test_a_command_of_which_nothing_is_heard_is_polled_for_beside_one_that_tells(
    device: Device,
) -> None:
    device.accepted()
    device.accepted("3_4_Scan")
    for progress in (10, 20):
        device.advance(0.55)
        told(device, progress=progress)
    assert len(device.asked) == 1


def test_after_trouble_a_device_that_tells_is_polled_all_the_same(device: Device) -> None:
    device.accepted()
    device.session.on_event_error(1, "API_MissedEvents")
    told(device)
    device.advance(0.2)
    assert len(device.asked) == 1
