"""Requests to the client and its runner at the worst moment: each moment is held open."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import tango

from taskgrove.commands.task import LeafTask
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.tango import DeviceRunner, LrcClient
from taskgrove.tango.client.abort import AbortAnswer, AbortDesk
from taskgrove.tango.client.call import Call
from taskgrove.tango.client.command import LrcUpdate
from taskgrove.tango.client.failure import Failure, FailureKind
from taskgrove.tango.client.link import CommandShape
from taskgrove.tango.client.lists import Snapshot
from tests.tango.lrc_process import GUARD_S, Updates

pytestmark = pytest.mark.tango

DEVICE = "low-pst/beam/01"
#: How long a moment is held open for somebody whom a lock now keeps out of it.
HELD_S = 0.2


class Link:
    """A device's blocking side, whose steps can be held."""

    protocol, server, generation, has_events, subscribed_at = 2, "", 1, True, 0.0

    def __init__(self) -> None:
        self.device = DEVICE
        self.log: list[str] = []
        self.inside: dict[str, threading.Event] = {}
        self.go_on: dict[str, threading.Event] = {}
        self.raises: dict[str, list[Exception]] = {}
        self.out_type = "DevVarLongStringArray"
        self.mute = False
        self.within_s = 0.0
        self.reply: Any = [[int(ResultCode.QUEUED)], ["1_2_Configure"]]

    def hold(self, step: str) -> threading.Event:
        """Have a step wait; return what is set once somebody is in it."""
        self.go_on[step] = threading.Event()
        self.inside[step] = threading.Event()
        return self.inside[step]

    def _do(self, step: str) -> None:
        self.log.append(step)
        if step in self.go_on:
            self.inside[step].set()
            assert self.go_on[step].wait(GUARD_S)
        if self.raises.get(step):
            raise self.raises[step].pop(0)

    def ensure(self) -> None:
        self._do("ensure")

    def poll(self, _ids: Any) -> Snapshot:
        self._do("poll")
        return Snapshot([], {}, True)

    def describe(self, name: str) -> CommandShape:
        return CommandShape(name, "DevString", self.out_type)

    def call(
        self, name: str, _argin: Any, *, within_s: float = 0.0, limit_s: float | None = None
    ) -> Any:
        self.within_s = within_s
        self._do("call")
        return self.reply

    def is_mute(self) -> bool:
        return self.mute

    def near_command(self, _name: str) -> None: ...
    def mark_stale(self) -> None: ...
    def heard(self) -> None: ...
    def close(self) -> None: ...


@pytest.fixture
def link() -> Link:
    return Link()


@pytest.fixture
def client(link: Link) -> Iterator[LrcClient]:
    with LrcClient(poll_interval_s=600.0) as made:
        session = made._session(DEVICE)
        session.link = link  # type: ignore[assignment]
        session.abort_desk._link = link  # type: ignore[assignment]
        yield made


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


# -- the client ---------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["ensure", "call"])
def test_a_client_that_is_closed_meanwhile_still_ends_the_command(
    client: LrcClient, link: Link, step: str
) -> None:
    inside, updates = link.hold(step), Updates()
    invoking = in_thread(lambda: client.invoke(DEVICE, "Configure", "{}", on_update=updates))
    assert inside.wait(GUARD_S)
    client.close()
    link.go_on[step].set()
    invoking.join(GUARD_S)
    assert updates.finals == 1
    assert "the client was closed" in updates.text


def test_what_was_there_before_is_learnt_after_a_first_look_that_failed(
    client: LrcClient, link: Link
) -> None:
    link.raises["poll"] = [OSError("no answer")]
    updates = Updates()
    client.invoke(DEVICE, "Configure", "{}", on_update=updates)
    assert updates.final().status is TaskStatus.REJECTED
    assert "call" not in link.log
    client.invoke(DEVICE, "Configure", "{}", on_update=updates)
    assert link.log[-2:] == ["poll", "call"]


def test_nothing_is_called_before_what_was_there_is_learnt(client: LrcClient, link: Link) -> None:
    looking, called = link.hold("poll"), link.hold("call")
    link.go_on["call"].set()
    threads = []
    for _ in range(2):
        threads.append(
            in_thread(lambda: client.invoke(DEVICE, "Configure", "{}", on_update=Updates()))
        )
        assert looking.wait(GUARD_S)
    assert not called.wait(HELD_S)
    link.go_on["poll"].set()
    for thread in threads:
        thread.join(GUARD_S)
    assert link.log.count("poll") == 1


def test_a_callback_that_exits_keeps_nobody_else_from_the_end(
    client: LrcClient, link: Link
) -> None:
    def quits(update: LrcUpdate) -> None:
        if update.final:
            raise SystemExit(3)

    link.reply = [[int(ResultCode.REJECTED)], ["not now"]]
    command = client.invoke(DEVICE, "Configure", "{}", on_update=quits)
    assert command.wait(GUARD_S / 6)
    updates = Updates()
    client.invoke(DEVICE, "Configure", "{}", on_update=updates)
    assert updates.final(GUARD_S / 6).status is TaskStatus.REJECTED


@pytest.mark.parametrize(
    ("out_type", "mute", "patient"),
    [
        ("DevVoid", False, True),
        ("DevString", True, True),
        ("DevVarLongStringArray", True, True),  # coded, and nothing else will tell of it
        ("DevVarLongStringArray", False, False),  # its end is told by events, soon or late
    ],
)
def test_a_reply_that_is_the_end_may_take_as_long_as_its_step(
    client: LrcClient, link: Link, out_type: str, mute: bool, patient: bool
) -> None:
    link.out_type, link.mute = out_type, mute
    until = time.monotonic() + 1000.0
    client.invoke(DEVICE, "Configure", "{}", on_update=Updates(), call_until=until)
    assert (link.within_s > 500.0) is patient
    client.invoke(DEVICE, "Configure", "{}", on_update=Updates())
    assert link.within_s == 0.0


@pytest.mark.parametrize("name", ["Conf\0igure", "Configur€"])
def test_a_name_that_tango_would_change_is_refused(
    client: LrcClient, link: Link, name: str
) -> None:
    updates = Updates()
    client.invoke(DEVICE, name, "{}", on_update=updates)
    assert updates.final().status is TaskStatus.REJECTED
    assert "holds" in updates.text
    assert "call" not in link.log
    assert "holds" in client.preflight(DEVICE, name, "{}")[0]


# -- abort ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "can"), [(["Abort"], True), (["AbortCommands"], True), (["Stop"], False)]
)
def test_a_client_tells_whether_a_device_has_an_abort_without_calling_it(
    client: LrcClient,
    link: Link,
    there: list[str],
    can: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def describe(name: str) -> CommandShape:
        if name in there:
            return CommandShape(name, "DevVoid", "DevString")
        error = tango.DevError()
        error.reason, error.desc, error.origin = "API_CommandNotFound", f"no {name}", "here"
        raise tango.DevFailed(error)

    monkeypatch.setattr(link, "describe", describe)
    assert client.can_abort(DEVICE) is can
    assert link.log == ["ensure"]


def test_a_device_that_gives_no_answer_may_have_an_abort(client: LrcClient, link: Link) -> None:
    link.raises["ensure"] = [OSError("no answer")]
    assert client.can_abort(DEVICE)


def test_a_neighbour_is_asked_for_names_before_it_has_answered_the_client() -> None:
    place = "tango://127.0.0.1:1/"
    names = SimpleNamespace(
        adm_name=lambda: "dserver/lrc/1",
        set_timeout_millis=lambda _ms: None,
        command_inout=lambda _name: ["Lrc::lrc/test/1", "Lrc::other/far/away"],
    )
    with LrcClient() as client:
        for number in (9, 1):
            client._session(f"{place}lrc/test/{number}#dbase=no")
        client._tango = SimpleNamespace(DeviceProxy=lambda _device: names)
        unknown = Failure(FailureKind.BROKEN, "API_DeviceNotFound", "lrc/test/9 is not there")
        assert client._near_device(f"{place}lrc/test/9#dbase=no", unknown) == "lrc/test/1"


class Desk:
    """An abort desk whose calls are answered by hand."""

    def __init__(self) -> None:
        self.calls: list[Callable[[Any, Failure | None], object]] = []
        self.answers: list[AbortAnswer] = []
        self.desk = AbortDesk(Link(), self._submit)  # type: ignore[arg-type]

    def _submit(self, _job: Any, done: Any, *, slow: bool) -> None:
        self.calls.append(done)

    def ask(self) -> None:
        self.desk.ask(self.answers.append, slow=False)

    def answer(self, number: int) -> None:
        self.calls[number](AbortAnswer(True, "the device accepted Abort", "Abort"), None)


def test_an_abort_for_a_command_that_came_while_one_was_out_is_sent_for_itself() -> None:
    desk = Desk()
    desk.ask()
    desk.desk.note_command()  # it may have reached the device after that Abort
    desk.ask()
    desk.answer(0)
    assert len(desk.calls) == 2
    assert len(desk.answers) == 1
    desk.answer(1)
    assert len(desk.answers) == 2
    desk.ask()
    assert len(desk.calls) == 2
    assert len(desk.answers) == 3


def test_an_abort_that_a_command_overtook_answers_nobody_who_asks_later() -> None:
    desk = Desk()
    desk.ask()
    desk.desk.note_command()
    desk.answer(0)
    desk.ask()
    assert len(desk.calls) == 2


def test_who_raises_at_an_abort_s_answer_keeps_it_from_nobody() -> None:
    def boom(_answer: AbortAnswer) -> None:
        raise ValueError("no")

    desk = Desk()
    desk.desk.ask(boom, slow=False)
    desk.ask()
    desk.answer(0)
    assert len(desk.answers) == 1


def test_an_abort_after_attaching_or_a_lost_reply_is_sent(client: LrcClient, link: Link) -> None:
    def abort() -> AbortAnswer:
        answers: list[AbortAnswer] = []
        answered = threading.Event()
        client.abort(
            DEVICE, "asked", on_acknowledged=lambda it: (answers.append(it), answered.set())
        )
        assert answered.wait(GUARD_S)
        return answers[0]

    abort()
    assert link.log.count("call") == 1
    client.attach(DEVICE, "1_2_Configure", on_update=Updates())
    abort()
    assert link.log.count("call") == 2
    shape, updates = link.describe("Configure"), Updates()
    command, session = client._new_command(DEVICE, "Configure", updates, None)
    lost = Failure(FailureKind.BROKEN, "", "the connection broke")
    call = Call(session, command, client._why_not)
    session.dispatcher.post(call.failed, shape, 0.0, lost)
    abort()
    assert link.log.count("call") == 3


class CommunicationFailed(Exception):  # noqa: N818 - PyTango's name, which tells what was sent
    """As PyTango's: the connection broke after something may have been sent."""

    def __init__(self) -> None:
        super().__init__(SimpleNamespace(reason="API_CorbaException", desc="CORBA: broken"))


@pytest.mark.parametrize(("step", "sent"), [("ensure", False), ("call", True)])
def test_an_abort_is_said_to_be_sent_where_it_may_have_been(
    client: LrcClient, link: Link, step: str, sent: bool
) -> None:
    link.raises[step] = [CommunicationFailed()]
    answers: queue.Queue[AbortAnswer] = queue.Queue()
    client.abort(DEVICE, "asked", on_acknowledged=answers.put)
    answer = answers.get(timeout=GUARD_S)
    assert (answer.acknowledged, answer.sent) == (False, sent)
    assert ("may have been heard" in answer.text) is sent


# -- the runner ---------------------------------------------------------------------------------


class Context:
    """A leaf's context that remembers its notes."""

    path, run_id, attempt, deadline = "root/beam", "run", 1, None

    def __init__(self) -> None:
        self.leaf = LeafTask("beam", DEVICE, "Configure", abort_on_timeout=True)
        self.abort_event = threading.Event()
        self.is_over = False
        self.notes: list[str] = []
        self.fates: list[str] = []

    def note(self, topic: str, text: str, **data: str) -> None:
        self.notes.append(text)
        self.fates.append(data.get("fate", topic))

    def update(self, **_: Any) -> None: ...
    def started(self, *_: Any) -> None: ...
    def finish(self, *_: Any, **__: Any) -> bool:
        self.is_over = True
        return True


class Client:
    """A client that only remembers; ``during`` is called while a command is being called."""

    def __init__(self) -> None:
        self.aborts: list[str] = []
        self.sent = 0
        self.during: Callable[[], object] = lambda: None
        self.reply = LrcUpdate("1_2_Configure", TaskStatus.QUEUED)
        self.answer = AbortAnswer(True, "the device accepted Abort", "Abort")

    def invoke(self, *_: Any, on_update: Any, may_call: Callable[[], bool], **__: Any) -> None:
        if may_call():
            self.sent += 1
            self.during()
            on_update(self.reply)

    def attach(self, *_: Any, **__: Any) -> None:
        self.during()

    def abort(self, device: str, *_: Any, on_acknowledged: Any, **__: Any) -> None:
        self.aborts.append(device)
        on_acknowledged(self.answer)


@pytest.fixture
def made() -> tuple[DeviceRunner, Client, Context]:
    client = Client()
    return DeviceRunner(client), client, Context()  # type: ignore[arg-type]


def test_an_abort_before_a_command_is_attached_to_reaches_its_device(made: Any) -> None:
    runner, client, context = made
    context.abort_event.set()
    runner.abort(context, "asked")
    assert not client.aborts
    runner.attach(context, "1_2_Configure")
    assert client.aborts == [DEVICE]


def test_an_abort_at_a_limit_while_the_command_is_called_is_asked_again(made: Any) -> None:
    runner, client, context = made

    def expire() -> None:
        context.is_over = True
        context.abort_event.set()
        runner.abort(context, "its limit expired")

    client.during = expire
    runner.start(context)
    assert client.aborts == [DEVICE, DEVICE]  # the first may have come before the command
    assert context.fates == ["asked again", "abort-acknowledged"]


@pytest.mark.parametrize(
    ("answer", "fate"),
    [
        (AbortAnswer(True, "accepted"), "abort-acknowledged"),
        (AbortAnswer(False, "refused"), "not acknowledged"),
        (AbortAnswer(False, "cannot be reached", sent=False), "not sent"),
    ],
)
def test_what_came_of_an_abort_is_told_as_data(made: Any, answer: AbortAnswer, fate: str) -> None:
    runner, client, context = made
    client.answer = answer
    runner.start(context)
    runner.abort(context, "asked")
    assert context.fates == [fate]


def test_an_abort_of_what_was_never_sent_is_said_to_be_needless(made: Any) -> None:
    runner, client, context = made
    context.abort_event.set()
    runner.start(context)
    runner.abort(context, "asked")
    assert (client.sent, client.aborts, context.fates) == (0, [], ["not needed"])


def test_a_limit_that_only_tells_aborts_no_device(made: Any) -> None:
    runner, client, context = made

    def expire() -> None:
        context.is_over = True
        context.abort_event.set()

    client.during = expire
    runner.start(context)
    assert not client.aborts


def test_a_command_that_ended_at_once_is_not_aborted_again(made: Any) -> None:
    runner, client, context = made

    def abort() -> None:
        context.abort_event.set()
        runner.abort(context, "asked")

    client.during = abort
    client.reply = LrcUpdate("", TaskStatus.REJECTED, final=True)
    runner.start(context)
    assert client.aborts == [DEVICE]


def test_a_device_is_left_alone_when_the_abort_comes_as_its_command_may_not_be_called(
    made: Any,
) -> None:
    runner, client, context = made
    threads: list[threading.Thread] = []

    class Held(threading.Event):
        def is_set(self) -> bool:
            if not threads:
                self.set()
                threads.append(in_thread(lambda: runner.abort(context, "asked")))
                threads[0].join(HELD_S)
            return super().is_set()

    context.abort_event = Held()
    runner.start(context)
    threads[0].join(GUARD_S)
    assert (client.sent, client.aborts) == (0, [])


@pytest.mark.parametrize(("deadline", "until"), [(None, None), (100.0, 100.5)])
def test_a_call_is_told_of_the_limit_of_its_step(
    made: Any, deadline: float | None, until: float | None
) -> None:
    runner, client, context = made
    context.deadline = deadline
    told: list[Any] = []
    client.invoke = lambda *_, call_until, **__: told.append(call_until)
    runner.start(context)
    assert told == [until]
