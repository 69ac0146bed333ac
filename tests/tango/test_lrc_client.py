"""The client on real servers: replies, events, results, arguments, abort, and its own resources."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import tango

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.tango import LrcClient, LrcUpdate
from taskgrove.tango.client.dispatcher import FAST_THREADS, SLOW_THREADS
from tests.tango.lrc_process import GUARD_S, LrcServer, Updates

pytestmark = pytest.mark.tango

#: So slow that what is told at once was told by events. An event that is lost beside a new
#: subscription (0MQ calls it the slow joiner) is made good by a poll all the same.
NO_POLL_S = 20.0


@pytest.fixture(scope="module", params=[1, 2], ids=["v1", "v2"])
def server(request: pytest.FixtureRequest) -> Iterator[LrcServer]:
    with LrcServer(2, protocol=request.param) as process:
        yield process


@pytest.fixture
def client() -> Iterator[LrcClient]:
    with LrcClient(poll_interval_s=NO_POLL_S) as made:
        yield made


def run(client: LrcClient, trl: str, name: str, argin: object = None) -> Updates:
    updates = Updates()
    command = client.invoke(trl, name, argin, on_update=updates)
    assert command.wait(GUARD_S)
    assert updates.finals == 1
    return updates


def test_a_command_is_followed_by_events(server: LrcServer, client: LrcClient) -> None:
    updates = run(client, server.trl(), "Configure", {"progress": 4})
    assert updates.all[0].source == "reply"
    assert updates.all[0].command_id.endswith("_Configure")
    assert [u.progress for u in updates.all if u.progress is not None] == [20, 40, 60, 80]
    final = updates.all[-1]
    assert final.final
    assert (final.status, final.result) == (TaskStatus.COMPLETED, [0, "done"])
    assert final.source == "event"
    assert final.may_retry


def test_events_that_come_before_the_reply_are_not_lost(
    server: LrcServer, client: LrcClient
) -> None:
    updates = run(client, server.trl(), "Configure", {"early": True})
    statuses = [u.status for u in updates.all if u.status is not None]
    assert statuses[-2:] == [TaskStatus.IN_PROGRESS, TaskStatus.COMPLETED]
    assert updates.final().source == "event"


@pytest.mark.parametrize(
    ("plan", "status", "result"),
    [
        ({"result": [3, "no lock"]}, TaskStatus.COMPLETED, [3, "no lock"]),
        ({"result": {"any": "json"}}, TaskStatus.COMPLETED, (ResultCode.OK, "")),
        ({"result": "Completed", "text": True}, TaskStatus.COMPLETED, "Completed"),
        ({"status": "FAILED", "result": [3, "boom"]}, TaskStatus.FAILED, [3, "boom"]),
        ({"status": "REJECTED", "result": [6, "not now"]}, TaskStatus.REJECTED, [6, "not now"]),
        ({"status": "FAILED", "no_result": True}, TaskStatus.FAILED, None),
        ({"no_result": True}, TaskStatus.COMPLETED, None),
    ],
)
def test_results_in_every_form(
    server: LrcServer,
    client: LrcClient,
    plan: dict[str, object],
    status: TaskStatus,
    result: object,
) -> None:
    final = run(client, server.trl(), "Configure", {"duration": 0.05, **plan}).final()
    assert (final.status, final.result) == (status, result)
    assert final.result_value == ({"any": "json"} if "any" in str(plan) else None)


def test_a_result_from_before_the_subscription_is_not_taken(server: LrcServer) -> None:
    with LrcClient(poll_interval_s=NO_POLL_S) as first:
        run(first, server.trl(), "Configure", {"duration": 0.01, "result": [3, "an old one"]})
    with LrcClient(poll_interval_s=NO_POLL_S) as second:
        final = run(second, server.trl(), "Configure", {"duration": 0.1}).final()
    assert final.result == [0, "done"]


@pytest.mark.parametrize(
    ("reply", "status", "code", "text"),
    [
        ([[5], ["queue is full"]], TaskStatus.REJECTED, ResultCode.REJECTED, "queue is full"),
        ([[6], ["not allowed"]], TaskStatus.REJECTED, ResultCode.NOT_ALLOWED, "not allowed"),
        ([[0], ["quick"]], TaskStatus.COMPLETED, ResultCode.OK, "quick"),
        ([[3], ["bad"]], TaskStatus.COMPLETED, ResultCode.FAILED, "bad"),
        ([[4], ["who knows"]], TaskStatus.COMPLETED, ResultCode.UNKNOWN, "who knows"),
        ([[2], [""]], TaskStatus.COMPLETED, ResultCode.OK, ""),
    ],
)
def test_replies_by_code(
    server: LrcServer,
    client: LrcClient,
    reply: object,
    status: TaskStatus,
    code: ResultCode,
    text: str,
) -> None:
    final = run(client, server.trl(), "Configure", {"reply": reply}).final()
    assert (final.status, final.result) == (status, (code, text))
    assert final.source == "reply"
    assert final.may_retry


def test_an_exception_at_the_start_is_a_rejection_with_its_text(
    server: LrcServer, client: LrcClient
) -> None:
    final = run(client, server.trl(), "Raise", "no receiver").final()
    assert final.status is TaskStatus.REJECTED
    assert final.result == (ResultCode.REJECTED, "ValueError: no receiver")
    assert final.error[0].reason == "PyDs_PythonError"


def test_plain_commands_are_over_at_once(server: LrcServer, client: LrcClient) -> None:
    assert run(client, server.trl(), "Echo", "hello").final().result == "hello"
    final = run(client, server.trl(), "Plain").final()
    assert (final.status, final.result) == (TaskStatus.COMPLETED, (ResultCode.OK, ""))
    state = run(client, server.trl(), "State").final()
    assert state.status is TaskStatus.COMPLETED


def test_a_wrong_name_is_rejected_with_the_nearest(server: LrcServer, client: LrcClient) -> None:
    updates = run(client, server.trl(), "Confgure", {})
    assert updates.final().status is TaskStatus.REJECTED
    assert updates.text == "the device has no command Confgure; did you mean Configure?"


def test_a_wrong_argument_is_rejected_before_the_command_is_called(
    server: LrcServer, client: LrcClient
) -> None:
    before = server.read("executed")
    for name, argin, text in [
        ("On", "now", "takes no argument"),
        ("Configure", None, "takes DevString, but was given no argument"),
        ("SetLevel", "high", "takes DevLong64 (a whole number)"),
        ("SetLevel", 2**63, "out of range"),
    ]:
        updates = run(client, server.trl(), name, argin)
        assert updates.final().status is TaskStatus.REJECTED
        assert text in updates.text
        assert client.preflight(server.trl(), name, argin) == [updates.text]
    assert server.read("executed") == before
    assert client.preflight(server.trl(), "SetLevel", 3) == []


def test_two_commands_at_once_on_one_device(server: LrcServer, client: LrcClient) -> None:
    one, two = Updates(), Updates()
    first = client.invoke(
        server.trl(), "Configure", {"duration": 0.2, "result": [0, "one"]}, on_update=one
    )
    second = client.invoke(
        server.trl(), "Configure", {"duration": 0.1, "result": [0, "two"]}, on_update=two
    )
    assert first.wait(GUARD_S)
    assert second.wait(GUARD_S)
    assert one.final().result == [0, "one"]
    assert two.final().result == [0, "two"]
    assert {u.command_id for u in one.all} == {first.command_id} != {second.command_id}


def test_two_clients_on_one_device_see_only_their_own(server: LrcServer) -> None:
    with LrcClient(poll_interval_s=NO_POLL_S) as one, LrcClient(poll_interval_s=NO_POLL_S) as two:
        seen = [Updates() for _ in range(20)]
        commands = [
            (one, two)[n % 2].invoke(
                server.trl(), "Configure", {"result": [0, f"number {n}"]}, on_update=updates
            )
            for n, updates in enumerate(seen)
        ]
        assert all(command.wait(GUARD_S) for command in commands)
    for n, updates in enumerate(seen):
        assert updates.final().result == [0, f"number {n}"]
        assert {update.command_id for update in updates.all} == {commands[n].command_id}


def test_a_lost_end_is_found_by_the_poll(server: LrcServer) -> None:
    with LrcClient(poll_interval_s=0.2) as client:
        final = run(client, server.trl(), "Configure", {"lose_end": True}).final()
    assert (final.status, final.result) == (TaskStatus.COMPLETED, [0, "done"])
    assert final.source == "poll"
    assert "poll" in final.note


def test_a_command_that_the_device_forgets_ends_with_the_truth(server: LrcServer) -> None:
    plan = {"lose_all": True, "forget": True, "duration": 0.05}
    with LrcClient(poll_interval_s=0.1, not_found_grace_s=0.3) as client:
        updates = run(client, server.trl(), "Configure", plan)
    assert updates.final().status is TaskStatus.FAILED
    assert not updates.final().may_retry
    assert "how it ended is not known" in updates.text


def test_abort_is_asked_once_for_all_and_acknowledged(server: LrcServer, client: LrcClient) -> None:
    before = server.read("aborts")
    seen, answers = [Updates(), Updates()], Updates()
    for updates in seen:
        client.invoke(server.trl(), "Configure", {"duration": 60}, on_update=updates)
    for _ in seen:
        client.abort(server.trl(), "enough", on_acknowledged=answers)
    for updates in seen:
        assert updates.final().status is TaskStatus.ABORTED
    results = [updates.final().result for updates in seen]
    # Both end at once, and version 1 has room for one result: who looks later may find none.
    gone = [None] if server.protocol == 1 else []
    assert all(result in ([7, "aborted"], *gone) for result in results)
    answers.wait(lambda _answer: len(answers.all) == 2)
    assert all(answer.acknowledged for answer in answers.all)
    client.abort(server.trl(), "once more", on_acknowledged=answers)
    answers.wait(lambda _answer: len(answers.all) == 3)
    assert server.read("aborts") == before + 1
    # A new command uses the old Abort up.
    again = Updates()
    client.invoke(server.trl(), "Configure", {"duration": 60}, on_update=again)
    client.abort(server.trl(), "that one too")
    assert again.final().status is TaskStatus.ABORTED
    assert server.read("aborts") == before + 2


def test_attach_follows_what_runs_and_what_has_ended(server: LrcServer, client: LrcClient) -> None:
    proxy = tango.DeviceProxy(server.trl())
    command_id = proxy.command_inout("Configure", '{"duration": 0.3}')[1][0]
    first, late = Updates(), Updates()
    client.attach(server.trl(), command_id, on_update=first)
    assert first.final().result == [0, "done"]
    client.attach(server.trl(), command_id, on_update=late)
    assert (late.final().status, late.final().result) == (TaskStatus.COMPLETED, [0, "done"])
    assert first.finals == late.finals == 1


def test_attach_to_a_command_that_is_followed_already(server: LrcServer, client: LrcClient) -> None:
    own, other = Updates(), Updates()
    command = client.invoke(server.trl(), "Configure", {"duration": 0.3}, on_update=own)
    client.attach(server.trl(), command.command_id, on_update=other)
    assert own.final().result == other.final().result == [0, "done"]


def test_a_released_command_tells_nothing_more(server: LrcServer, client: LrcClient) -> None:
    updates = Updates()
    command = client.invoke(server.trl(), "Configure", {"duration": 600}, on_update=updates)
    command.release()
    told = len(updates.all)
    tango.DeviceProxy(server.trl()).command_inout("Abort")  # its end is sent before the next one's
    run(client, server.trl(), "Configure", {})
    assert len(updates.all) <= told + 1
    assert updates.finals == 0


def test_a_deadline_ends_the_waiting_and_not_the_command(server: LrcServer) -> None:
    ask = tango.DeviceProxy(server.trl()).command_inout
    with LrcClient(poll_interval_s=NO_POLL_S) as client:
        run(client, server.trl(), "On")  # connecting counts, too, and may take longer than that
        updates = Updates()
        client.invoke(
            server.trl(),
            "Configure",
            {"duration": 600},
            on_update=updates,
            deadline=time.monotonic() + 1.0,
        )
        final = updates.final()
        assert final.status is TaskStatus.FAILED
        assert not final.may_retry
        assert ask("CheckLongRunningCommandStatus", final.command_id) == "IN_PROGRESS"
    ask("Abort")


def test_a_raising_callback_harms_nobody(server: LrcServer, client: LrcClient) -> None:
    def broken(update: LrcUpdate) -> None:
        raise RuntimeError("a bug of the user's")

    command = client.invoke(server.trl(), "Configure", {}, on_update=broken)
    assert command.wait(GUARD_S)
    assert command.final is not None
    assert run(client, server.trl(), "Configure", {}).final().status is TaskStatus.COMPLETED


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_three_hundred_commands_in_flight_need_no_more_threads(server: LrcServer) -> None:
    with LrcClient(poll_interval_s=0.5) as client:
        run(client, server.trl(1), "On")
        most = threading.active_count() + FAST_THREADS + SLOW_THREADS
        seen = [Updates() for _ in range(300)]
        commands = [
            client.invoke(
                server.trl(1 + n % 2), "Configure", {"duration": 4, "progress": 1}, on_update=u
            )
            for n, u in enumerate(seen)
        ]
        assert sum(command.final is None for command in commands) > 100  # a slow machine's share
        assert threading.active_count() <= most
        assert all(command.wait(GUARD_S) for command in commands)
        assert threading.active_count() <= most
        assert all(u.final().status is TaskStatus.COMPLETED for u in seen)
        assert all(u.finals == 1 for u in seen)
        # Nothing is kept of a command that is over.
        assert not any(session.in_flight() for session in client._sessions.values())


def test_close_ends_the_threads_and_tells_the_truth(server: LrcServer) -> None:
    before = threading.active_count()
    client = LrcClient()
    updates = Updates()
    client.invoke(server.trl(), "Configure", {"duration": 600}, on_update=updates)
    client.close()
    client.close()
    tango.DeviceProxy(server.trl()).command_inout("Abort")
    assert "the client was closed" in updates.text
    assert not updates.final().may_retry
    assert threading.active_count() == before
    with pytest.raises(UsageError, match="closed"):
        client.invoke(server.trl(), "On", on_update=updates)


def test_a_client_that_was_never_used_has_no_threads() -> None:
    before = threading.active_count()
    with LrcClient():
        assert threading.active_count() == before


@pytest.mark.parametrize("setting", [{"poll_interval_s": 0}, {"lost_after_s": float("inf")}])
def test_settings_are_checked(setting: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="seconds above 0"):
        LrcClient(**setting)
    with pytest.raises(UsageError, match="no such setting: colour"):
        LrcClient(colour=1.0)
