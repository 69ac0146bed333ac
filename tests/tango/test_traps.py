"""The four traps of PyTango: each is shown with bare PyTango, then shown to be cured.

Everything runs on real servers in processes of their own.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import tango

from taskgrove.control_model import TaskStatus
from taskgrove.tango import LrcClient
from tests.tango.cut_wire import Wire, cut_by_kernel
from tests.tango.lrc_process import GUARD_S, LrcServer, Updates, eventually

pytestmark = pytest.mark.tango

#: The call blocks long enough to break its connection in its midst.
HELD = {"hold_reply_s": 1.0, "duration": 0.1}


@contextmanager
def event_log(proxy: Any, gate: threading.Event | None = None) -> Iterator[list[Any]]:
    """Yield the list that bare PyTango's ``_lrcEvent`` goes into; with a gate, it is slow.

    A proxy that is dropped while it is subscribed frees its callback before the thread that
    delivers has done with it: PyTango then crashes the process. So the subscription is ended.
    """
    seen: list[Any] = []

    def on_event(event: Any) -> None:
        if gate is not None:
            gate.wait(GUARD_S)
        seen.append(event.errors[0].reason if event.err else tuple(event.attr_value.value))

    number = proxy.subscribe_event("_lrcEvent", tango.EventType.CHANGE_EVENT, on_event)
    try:
        yield seen
    finally:
        if gate is not None:
            gate.set()
        proxy.unsubscribe_event(number)


def ends_of(seen: list[Any], command_id: str) -> list[Any]:
    pairs = [item for item in seen if isinstance(item, tuple) and item[:1] == (command_id,)]
    return [item for item in pairs if json.loads(item[1]).get("status") == 5]


# -- a call is silently executed twice ------------------------------------------------


def break_a_bare_call(server: LrcServer, cut: Callable[[], None]) -> Any:
    """Call with PyTango's defaults, and cut the connection while the command runs."""
    proxy = tango.DeviceProxy(server.trl())
    proxy.ping()
    before = len(server.executions)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(proxy.command_inout, "Configure", json.dumps(HELD))
        eventually(lambda: len(server.executions) > before, "the command runs")
        cut()
        reply = call.result(GUARD_S)
    return reply, len(server.executions) - before


def break_a_call_of_the_client(server: LrcServer, cut: Callable[[], None]) -> Any:
    before = len(server.executions)
    updates = Updates()
    with LrcClient(poll_interval_s=0.5) as client, ThreadPoolExecutor(1) as pool:
        assert client.preflight(server.trl(), "Configure", HELD) == []
        call = pool.submit(client.invoke, server.trl(), "Configure", HELD, on_update=updates)
        eventually(lambda: len(server.executions) > before, "the command runs")
        cut()
        command = call.result(GUARD_S)
        assert command.wait(GUARD_S)
    return updates, len(server.executions) - before


def check_double_execution(server: LrcServer, cut: Callable[[], None]) -> None:
    reply, executions = break_a_bare_call(server, cut)
    assert int(reply[0][0]) == 2  # it returned as if nothing had happened ...
    assert executions == 2  # ... and the command was executed twice

    updates, executions = break_a_call_of_the_client(server, cut)
    assert executions == 1
    final = updates.final()
    assert (final.status, final.result) == (TaskStatus.COMPLETED, [0, "done"])
    assert any("reply was lost" in update.note for update in updates.all)


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_broken_connection_executes_a_command_once() -> None:
    with Wire() as wire, LrcServer(publish=wire.port) as server:
        wire.target = server.port
        check_double_execution(server, wire.cut)


@pytest.mark.root
@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_connection_cut_by_the_kernel_executes_a_command_once() -> None:
    with LrcServer() as server:
        check_double_execution(server, lambda: cut_by_kernel(server.port))


# -- the deaf resubscription ------------------------------------------------------------


def deaf_after_restart() -> bool:
    """Subscribe anew beside a stale subscription; return whether the end was not heard."""
    with LrcServer() as server:
        stale = tango.DeviceProxy(server.trl())
        with event_log(stale):
            server.kill()
            server.start()
            server.read("pid")
            fresh = tango.DeviceProxy(server.trl())
            with event_log(fresh) as seen:
                uid = fresh.command_inout("Configure", '{"duration": 0.2}')[1][0]
                check = "CheckLongRunningCommandStatus"
                eventually(lambda: fresh.command_inout(check, uid) == "COMPLETED", "it ends")
                threading.Event().wait(0.3)
                return not ends_of(seen, uid)


def test_a_restarted_server_is_heard_at_once() -> None:
    # PyTango's own tick, every ten seconds, may come just then and hide the trap once.
    assert any(deaf_after_restart() for _attempt in range(3))

    with LrcServer() as server, LrcClient(poll_interval_s=30.0) as client:
        first = Updates()
        assert client.invoke(server.trl(), "Configure", {}, on_update=first).wait(GUARD_S)
        server.kill()
        server.start()
        server.read("pid")
        second = Updates()
        assert client.invoke(server.trl(), "Configure", {}, on_update=second).wait(GUARD_S)
    assert second.final().source == "event"
    assert [u.progress for u in second.all if u.progress is not None] == [25, 50, 75]


# -- the end that is lost at the tail of a burst -------------------------------------------


def test_an_end_lost_at_the_tail_of_a_burst_is_found() -> None:
    gate = threading.Event()
    with LrcServer() as server, LrcClient(poll_interval_s=0.5) as client:
        proxy = tango.DeviceProxy(server.trl())
        gate.set()
        with event_log(proxy, gate) as seen:
            gate.clear()  # from here on PyTango's only event thread is held up
            updates = Updates()
            plan = {"burst": 60_000, "progress": 0}
            command = client.invoke(server.trl(), "Configure", plan, on_update=updates)
            assert updates.final().status is TaskStatus.COMPLETED
            assert updates.final().source == "poll"
            gate.set()
            # What comes after the burst is heard again, and tells nothing of the loss.
            marker = proxy.command_inout("Scan", '{"duration": 0.1}')[1][0]

            def marker_or_silence() -> bool:
                check = proxy.command_inout("CheckLongRunningCommandStatus", marker)
                return bool(ends_of(seen, marker)) or check == "COMPLETED"

            eventually(marker_or_silence, "the marker ends")
            assert not ends_of(seen, command.command_id)


# -- blindness after a kill ---------------------------------------------------------------


def test_a_killed_server_is_noticed_before_its_events_tell() -> None:
    with (
        LrcServer() as server,
        LrcClient(poll_interval_s=0.5) as client,
        event_log(tango.DeviceProxy(server.trl())) as seen,
    ):
        updates = Updates()
        client.invoke(server.trl(), "Configure", {"duration": 60}, on_update=updates)
        updates.running()
        server.kill()
        final = updates.final()
        # An event-only client knows nothing yet: PyTango tells of it in 8 to 19 s.
        assert not [item for item in seen if isinstance(item, str)]
    assert final.status is TaskStatus.FAILED
    assert "its server is gone" in updates.text
    assert final.may_retry
