"""The state machines of the client for devices, driven through every cell of their tables."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest

from taskgrove.commands.attribute_condition import AttributeCondition
from taskgrove.control_model import TaskStatus
from taskgrove.events import Cause
from taskgrove.moves import Answer, Table
from taskgrove.tango import device_runner
from taskgrove.tango.client import abort, attribute_wait, command, contact, link
from taskgrove.tango.client.abort import AbortAnswer, AbortDesk, DeskNews
from taskgrove.tango.client.attribute_shape import AttributeShape
from taskgrove.tango.client.attribute_steps import AttributeSteps, StepEnd
from taskgrove.tango.client.attribute_wait import AttributeWait, Seen, WaitNews
from taskgrove.tango.client.command import CommandNews, LrcCommand
from taskgrove.tango.client.contact import Contact, ContactNews
from taskgrove.tango.client.failure import Failure, FailureKind
from taskgrove.tango.client.protocol import CommandFacts
from taskgrove.tango.device_runner import CallRequest, _Follower
from tests.moves_walk import walk_cells

ID = "1_2_Configure"
REFUSED = Failure(FailureKind.REFUSED, "", "no server answers")


def walk(
    caplog: pytest.LogCaptureFixture,
    moves: Table[Any, Any],
    new: Callable[[], Any],
    ask: Callable[[Any, Any], object],
) -> None:
    """Walk a table; each state is reached by the shortest row of requests."""

    def path_to(wanted: Enum) -> list[Enum]:
        start = next(iter(moves))[0]
        paths: dict[Enum, list[Enum]] = {start: []}
        queue = [start]
        for state in queue:
            for (at, request), cell in moves.items():
                if at is state and not isinstance(cell, Answer) and cell not in paths:
                    paths[cell] = [*paths[state], request]
                    queue.append(cell)
        return paths[wanted]

    def reach(state: Enum) -> Any:
        machine = new()
        for request in path_to(state):
            ask(machine, request)
        return machine

    walk_cells(moves, reach, ask, lambda machine: machine.state, lambda _: len(caplog.records))


def test_a_command_of_the_client_does_what_its_table_says(caplog: pytest.LogCaptureFixture) -> None:
    def tell(machine: LrcCommand, news: CommandNews) -> None:
        done = TaskStatus.COMPLETED
        acts: dict[CommandNews, Callable[[], object]] = {
            CommandNews.ACCEPTED: lambda: machine.begin(ID, None, "reply", ""),
            CommandNews.FOUND: lambda: machine.take(CommandFacts(ID, progress=1), "event"),
            CommandNews.STATUS_ONLY: lambda: machine.take(CommandFacts(ID, done), "event"),
            CommandNews.END: lambda: machine.fail("x", Cause(kind="silent"), may_retry=False),
        }
        acts.get(news, lambda: machine.move(news))()

    updates: list[Any] = []
    walk(caplog, command.MOVES, lambda: LrcCommand("a/b/1", "Configure", updates.append), tell)
    assert updates


def test_an_end_that_a_device_reports_is_a_move_in_every_state_that_is_not_final() -> None:
    state, news = command.CommandState, CommandNews
    for at in set(state) - {state.ENDED, state.RELEASED}:
        assert command.MOVES[at, news.END] is state.ENDED
        if at is not state.RESULT_DUE:  # the same end, told again
            assert command.MOVES[at, news.STATUS_ONLY] is state.RESULT_DUE


def test_the_contact_with_a_device_does_what_its_table_says(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def tell(machine: Contact, news: ContactNews) -> None:
        acts: dict[ContactNews, Callable[[], object]] = {
            ContactNews.REPLY: lambda: machine.answered(news),
            ContactNews.POLL_TOLD: lambda: machine.answered(news),
            ContactNews.POLL_FAILED: lambda: machine.poll_failed(0.0, REFUSED),
            ContactNews.GIVEN_UP: machine.give_up,
        }
        acts.get(news, lambda: machine.move(news))()

    walk(caplog, contact.MOVES, lambda: Contact("a/b/1"), tell)


def test_a_wait_for_an_attribute_does_what_its_table_says(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shape = AttributeShape("x", "DevLong")
    ends: list[StepEnd] = []

    def new() -> AttributeWait:
        nothing = SimpleNamespace(submit=lambda *_a, **_k: None, after=lambda *_a: None)
        session: Any = SimpleNamespace(
            dispatcher=nothing, waits=set(), link=SimpleNamespace(device="a/b/1")
        )
        condition = AttributeCondition(attribute="x", value=1)
        steps = AttributeSteps(session, lambda _device: None)
        return AttributeWait(steps, condition, ends.append, interval_s=1.0, give_up_after_s=None)

    def tell(wait: AttributeWait, news: WaitNews) -> None:
        acts: dict[WaitNews, Callable[[], object]] = {
            WaitNews.LOOK: wait._look,
            WaitNews.LOOKED: lambda: wait._back(Seen(shape, 2, 1), None),
            WaitNews.END: lambda: wait._take(Seen(shape, 1, 1)),
        }
        acts[news]()

    walk(caplog, attribute_wait.MOVES, new, tell)
    assert {end.text for end in ends} == {"x is 1"}


def test_the_abort_of_a_device_does_what_its_table_says(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[AbortAnswer] = []

    def new() -> AbortDesk:
        link: Any = SimpleNamespace(device="a/b/1")
        return AbortDesk(link, lambda *_args, **_slow: None)

    def tell(desk: AbortDesk, news: DeskNews) -> None:
        acts: dict[DeskNews, Callable[[], object]] = {
            DeskNews.ASK: lambda: desk.ask(answers.append, slow=False),
            DeskNews.COMMAND: desk.note_command,
            DeskNews.ACCEPTED: lambda: desk._called(AbortAnswer(True, "accepted"), None),
            DeskNews.UNHEARD: lambda: desk._called(AbortAnswer(False, "no"), None),
            DeskNews.CLOSE: desk.close,
        }
        acts[news]()

    walk(caplog, abort.MOVES, new, tell)
    assert {answer.acknowledged for answer in answers} == {True, False}


def test_the_call_of_a_leaf_does_what_its_table_says(caplog: pytest.LogCaptureFixture) -> None:
    context: Any = SimpleNamespace(path="configure/beam")
    walk(
        caplog,
        device_runner.MOVES,
        lambda: _Follower(context, lambda _follower: None),
        lambda machine, request: machine.move(CallRequest(request)),
    )


def test_who_waits_for_an_abort_is_answered_when_the_client_is_closed() -> None:
    answers: list[AbortAnswer] = []
    link: Any = SimpleNamespace(device="a/b/1")
    desk = AbortDesk(link, lambda *_args, **_slow: None)
    desk.ask(answers.append, slow=False)
    desk.note_command()
    desk.ask(answers.append, slow=False)
    desk.close()
    desk.ask(answers.append, slow=False)
    assert [answer.acknowledged for answer in answers] == [False, False, False]
    assert "the client was closed" in answers[0].text


def test_the_link_to_a_device_does_what_its_table_says(caplog: pytest.LogCaptureFixture) -> None:
    module: Any = SimpleNamespace()
    subscriptions: Any = SimpleNamespace()

    def new() -> link.DeviceLink:
        return link.DeviceLink(
            module, "a/b/1", subscriptions, rpc_timeout_s=1.0, on_broken=lambda _link: None
        )

    walk(caplog, link.MOVES, new, lambda machine, request: machine._move(request))
