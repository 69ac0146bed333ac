"""The client against servers that die, hang and come back; each in a process of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import tango

from taskgrove.control_model import TaskStatus
from taskgrove.tango import LrcClient
from tests.free_port import free_port
from tests.tango.cut_wire import cut_by_kernel
from tests.tango.lrc_process import GUARD_S, LrcServer, Updates, eventually

pytestmark = pytest.mark.tango

LONG = {"duration": 60, "progress": 1000}
QUICK = {"poll_interval_s": 0.3, "rpc_timeout_s": 0.5}


def start(client: LrcClient, trl: str, argin: object, name: str = "Configure") -> Updates:
    updates = Updates()
    client.invoke(trl, name, argin, on_update=updates)
    updates.running()
    return updates


@pytest.mark.parametrize("protocol", [1, 2])
def test_killed_and_restarted_at_once_the_command_is_lost(protocol: int) -> None:
    with LrcServer(2, protocol=protocol) as server, LrcClient(poll_interval_s=0.3) as client:
        first = start(client, server.trl(1), LONG)
        second = start(client, server.trl(2), LONG)
        server.kill()
        server.start()
        for updates in (first, second):
            assert updates.final().status is TaskStatus.FAILED
            # Which words depends on how soon it is back; each way has its test of the session.
            assert updates.text.startswith("Configure ")
            assert updates.final().may_retry
            assert updates.finals == 1
        again = start(client, server.trl(1), {"duration": 0.3})
        assert again.final().status is TaskStatus.COMPLETED


def test_killed_while_the_call_is_out_is_told_as_it_is() -> None:
    with LrcServer() as server, LrcClient(**QUICK) as client, ThreadPoolExecutor(1) as pool:
        assert client.preflight(server.trl(), "Configure", {}) == []
        updates = Updates()
        plan = {"hold_reply_s": 30}
        call = pool.submit(client.invoke, server.trl(), "Configure", plan, on_update=updates)
        eventually(lambda: server.executions, "the command runs")
        server.kill()
        assert call.result(GUARD_S).wait(GUARD_S)
    assert updates.final().status is TaskStatus.FAILED
    assert not updates.final().may_retry
    assert "not known whether it was executed" in updates.text


def test_a_device_that_is_not_there_was_sent_nothing() -> None:
    trl = f"tango://127.0.0.1:{free_port()}/lrc/test/1#dbase=no"
    with LrcClient(**QUICK) as client:
        updates = Updates()
        assert client.invoke(trl, "Configure", {}, on_update=updates).wait(GUARD_S)
        problems = client.preflight(trl, "Configure", {})
    assert updates.final().status is TaskStatus.FAILED
    assert updates.final().may_retry
    assert "cannot be reached, Configure was not sent" in updates.text
    assert trl in updates.text
    assert problems == [updates.text]


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_frozen_server_is_waited_for_and_its_end_is_found() -> None:
    with LrcServer() as server, LrcClient(**QUICK) as client:
        updates = start(client, server.trl(), {"duration": 3.0})  # not over when it is frozen
        server.freeze()
        session = next(iter(client._sessions.values()))
        eventually(lambda: session.is_slow, "a poll has timed out")
        assert updates.finals == 0
        server.thaw()
        assert updates.final().status is TaskStatus.COMPLETED
        assert updates.final().result == [0, "done"]


def test_a_call_to_a_frozen_server_is_executed_at_most_once() -> None:
    with LrcServer() as server, LrcClient(**QUICK) as client:
        first = Updates()  # over so soon that its end may be all that is heard of it
        client.invoke(server.trl(), "Configure", {}, on_update=first)
        assert first.final().status is TaskStatus.COMPLETED
        link = next(iter(client._sessions.values())).link
        link.heard()  # so that it is the call which hangs, not what is done before it
        server.freeze()
        updates = Updates()
        command = client.invoke(server.trl(), "Configure", {"duration": 0.2}, on_update=updates)
        assert command.final is None
        server.thaw()
        assert command.wait(GUARD_S)
        # What was sent may be executed when the server wakes up, or dropped with its connection;
        # what is executed after it was given up is told as not known, too.
        if updates.final().status is TaskStatus.COMPLETED:
            eventually(lambda: len(server.executions) == 2, "the execution is told")
            assert any("reply was lost" in update.note for update in updates.all)
        else:
            assert updates.final().status is TaskStatus.FAILED
            assert "not known whether it was executed" in updates.text
            assert not updates.final().may_retry
        assert 1 <= len(server.executions) <= 2


def test_a_server_that_stays_frozen_is_given_up_with_the_truth() -> None:
    with LrcServer() as server, LrcClient(**QUICK, lost_after_s=1.0) as client:
        updates = start(client, server.trl(), LONG)
        server.freeze()
        final = updates.final()
        assert final.status is TaskStatus.FAILED
        assert not final.may_retry
        assert "unreachable for" in updates.text
        assert "what became of the command is not known" in updates.text


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_frozen_devices_do_not_delay_the_others() -> None:
    with LrcServer(12) as hung, LrcServer() as sound, LrcClient(**QUICK) as client:
        waiting = [start(client, hung.trl(n), LONG) for n in range(1, 13)]
        hung.freeze()
        for _round in range(3):
            # Only a poll can tell of these ends.
            lost = Updates()
            client.invoke(sound.trl(), "Configure", {"lose_all": True}, on_update=lost)
            assert lost.final().source == "poll"
        assert not any(updates.finals for updates in waiting)


def test_a_burst_of_events_loses_no_end() -> None:
    with LrcServer(2) as server, LrcClient(poll_interval_s=0.5) as client:
        noisy = [start(client, server.trl(n), {"burst": 20_000}) for n in (1, 2)]
        for updates in noisy:
            assert updates.final().status is TaskStatus.COMPLETED
            assert updates.final().result == [0, "done"]
            assert updates.finals == 1


@pytest.mark.root
def test_a_lost_event_channel_loses_no_end() -> None:
    with LrcServer() as server, LrcClient(poll_interval_s=0.5) as client:
        updates = start(client, server.trl(), {"duration": 1.0, "progress": 40})
        admin = tango.DeviceProxy(tango.DeviceProxy(server.trl()).adm_name())
        answer = admin.command_inout("ZmqEventSubscriptionChange", ["info"])
        for line in answer[1]:
            if "tcp://" in line:
                cut_by_kernel(int(line.rsplit(":", 1)[1]))
        assert updates.final().status is TaskStatus.COMPLETED
        assert updates.finals == 1


def test_close_with_a_frozen_server_does_not_hang() -> None:
    with LrcServer() as server:
        with LrcClient(**QUICK) as client:
            updates = start(client, server.trl(), LONG)
            server.freeze()
        assert "the client was closed" in updates.text
